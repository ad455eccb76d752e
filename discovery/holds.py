"""The brake: crawls that would retract too much are held (`_Hold` in Neo4j) until a person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from neo4j import AsyncManagedTransaction

from discovery.runs import execute
from graph.database import Database

Decision = Literal["confirmed", "dropped", "lapsed"]
"""A person said yes; a person said no; a later crawl had nothing to ask any more."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A crawl of a scope that waits for a person. Until then the scope is not complete, so that what
    access rests on in it is suspended past the source's maximum age."""

    source: str
    scope: str
    gone: int
    """Claims that it would retract."""
    standing: int
    """Claims of the scope, those included."""
    why: str

    def __str__(self) -> str:
        return (
            f"held: {self.why}: {self.gone} of {self.standing} claims would be retracted; "
            f"`orgraph held confirm {self.source}` if they are gone, `orgraph held drop {self.source}` if not"
        )


class NothingHeldError(Exception):
    """No crawl of the source waits for a decision."""


async def held(database: Database, source: str | None = None) -> Sequence[Hold]:
    """What waits for a decision."""
    records = await database.read(
        """MATCH (h:_Hold) WHERE h.decision IS NULL AND ($source IS NULL OR h.source = $source)
           RETURN h.source AS source, h.scope AS scope, h.gone AS gone, h.standing AS standing, h.why AS why
           ORDER BY source, scope""",
        source=source,
    )
    return [Hold(**record.data()) for record in records]


async def hold(database: Database, found: Hold) -> None:
    """Ask; the same question once only, also where its answer was no."""
    await execute(
        database,
        """
        OPTIONAL MATCH (no:_Hold {source: $source, scope: $scope, gone: $gone, standing: $standing})
          WHERE no.decision = 'dropped'
        WITH count(no) AS answered WHERE answered = 0
        OPTIONAL MATCH (open:_Hold {source: $source, scope: $scope}) WHERE open.decision IS NULL
        DELETE open
        WITH DISTINCT answered
        CREATE (h:_Hold {source: $source, scope: $scope, gone: $gone, standing: $standing})
        SET h.why = $why, h.at = $at
        """,
        source=found.source,
        scope=found.scope,
        gone=found.gone,
        standing=found.standing,
        why=found.why,
        at=datetime.now(UTC),
    )


async def decide(
    database: Database, source: str, decision: Decision, by: str, shown: tuple[str, int] | None = None
) -> Sequence[Hold]:
    """Record who decided on what the source has waiting; what that is. Raises NothingHeldError.

    `shown`: the scope, and how many claims would go, that alone is decided on; all without.
    """
    waiting = [one for one in await held(database, source) if shown in (None, (one.scope, one.gone))]
    decided = [
        one for one in waiting if await _close(database, one.source, one.scope, decision, by, one.gone)
    ]
    if not decided:
        what = "" if shown is None else f"with {shown[1]} claims that would go from {shown[0][:200]!r} "
        raise NothingHeldError(
            f"no crawl of {source[:200]!r} {what}waits; `orgraph held list` shows those that do"
        )
    return decided


async def lapse(database: Database, source: str, scope: str) -> None:
    """A crawl of the scope was completed: nothing waits, and what was confirmed is carried out."""
    records = await database.read(
        """MATCH (h:_Hold {source: $source, scope: $scope})
           WHERE h.decision IS NULL OR (h.decision = 'confirmed' AND h.carriedOut IS NULL)
           RETURN count(h) AS waiting""",
        source=source,
        scope=scope,
    )
    if not records[0]["waiting"]:
        return
    await _close(database, source, scope, "lapsed", "")
    query = "MATCH (h:_Hold {source: $source, scope: $scope, decision: 'confirmed'}) SET h.carriedOut = true"
    await execute(database, query, source=source, scope=scope)


async def allowance(database: Database, source: str, scope: str) -> int:
    """Claims that a person agreed to see retracted in the next crawl of the scope."""
    records = await database.read(
        """MATCH (h:_Hold {source: $source, scope: $scope, decision: 'confirmed'})
           WHERE h.carriedOut IS NULL RETURN max(h.gone) AS gone""",
        source=source,
        scope=scope,
    )
    return int(records[0]["gone"] or 0)


async def _close(  # noqa: PLR0913, PLR0917  what is decided, and by whom
    database: Database, source: str, scope: str, decision: Decision, by: str, gone: int | None = None
) -> bool:
    """Whether it waited, with as many claims to go if that is asked."""

    async def work(transaction: AsyncManagedTransaction) -> bool:
        result = await transaction.run(
            """MATCH (h:_Hold {source: $source, scope: $scope})
               WHERE h.decision IS NULL AND ($gone IS NULL OR h.gone = $gone)
               SET h.decision = $decision, h.decidedBy = $by, h.decidedAt = $at
               RETURN count(h) AS closed""",
            source=source,
            scope=scope,
            gone=gone,
            decision=decision,
            by=by,
            at=datetime.now(UTC),
        )
        return bool((await result.single(strict=True))["closed"])

    return await database.write_transaction(work)
