"""What was extracted from texts and samples: proposals, with the words they rest on, and what was decided.

One `_Extraction` each. What tightens handling stands by itself, as a claim of `SOURCE/extracted`, until a
person agrees that it goes; what a person accepted is a claim of `SOURCE/reviewed`. Both are handled as the
source is. What was rejected is not proposed again while what it rests on stays as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, LiteralString

import orjson
from neo4j import AsyncManagedTransaction
from neo4j.time import DateTime

from graph.claims import Claim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.facts import Stated, fact_of
from graph.own_claims import keep_claims
from graph.store import FactStore
from graph.tuples import REVIEWED, native

Decision = Literal["accepted", "rejected"]

_SCOPE = "extractions"
_FOR_EVER = timedelta(days=365_000)


@dataclass(frozen=True, slots=True)
class Extraction:
    """A proposal: what would follow, what it rests on, and what a person decided of it, if anybody did."""

    source: str
    fact: str
    """The rule, or the relationship, that is proposed."""
    about: str
    """The entity that it was read from: who sees that sees the proposal."""
    collection: str
    """Where both are placed."""
    statement: str
    """In words."""
    quote: str
    """The words of the passage; nothing of values that were sampled."""
    evidence: str
    confidence: float
    extractor: str
    """`wording`, `names or samples`, or a model by its name."""
    digest: str
    """Of what it rests on: it changes when that does."""
    claims: bytes
    """All that follows once it is accepted, packed."""
    standing: bytes
    """What of that stands already, since it tightens handling, packed; of `SOURCE/extracted`."""
    found: bool | None = True
    """Whether the last reading still found it; None, of what is proposed anew: as it was."""
    decision: Decision | None = None
    reason: str | None = None
    by: str | None = None
    """The account that decided."""
    agent: str | None = None
    at: datetime | None = None
    decided_on: str | None = None
    """The digest that was looked at."""

    @property
    def id(self) -> str:
        return extraction_id(self.source, self.fact)

    @property
    def tightens(self) -> bool:
        """Whether handling rests on it before anybody agreed."""
        return bool(unpacked(self.standing)) or self.fact.partition(" ")[2].startswith("CLASSIFIED_AS ")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which extractions are asked for."""

    source: str | None = None
    about: str | None = None
    """The entity that they were read from."""
    decided: bool = False
    """Those on which somebody decided, in place of those that wait."""


#: Of an extraction `x`, with the parts of `Chosen` as parameters.
CHOSEN: LiteralString = """
    ($source IS NULL OR x.source = $source) AND ($about IS NULL OR x.about = $about)
    AND (x.decision IS NOT NULL) = $decided
    """


def extraction_id(source: str, fact: str) -> str:
    """Of the proposal of a fact by a source; it tells neither."""
    return sha256(f"{source} {fact}".encode()).hexdigest()[:32]


def packed(claims: Iterable[Claim]) -> bytes:
    """Claims as a record keeps them."""
    rows = [Stated("", "", 0, fact_of(claim), claim).to_row() for claim in claims]
    return zlib.compress(orjson.dumps(rows), 1)


def unpacked(rows: bytes) -> list[Claim]:
    """The inverse of `packed`."""
    return [Stated.from_row("", "", 0, row).claim for row in orjson.loads(zlib.decompress(rows))]


def extracted(policy: SourcePolicy) -> SourcePolicy:
    """The source of what is read out of another one's texts and stands by itself."""
    return replace(policy, name=f"{policy.name}/extracted", grants=frozenset(), max_age=_FOR_EVER)


def reviewed(policy: SourcePolicy) -> SourcePolicy:
    """The source of what people accepted of that, which they are believed before it."""
    return replace(
        policy,
        name=policy.name + REVIEWED,
        grants=frozenset(),
        trust=policy.trust + 1,
        max_age=_FOR_EVER,
    )


def of_source(name: str) -> Sequence[str]:
    """The names of both, for what is declared of the source itself."""
    return f"{name}/extracted", name + REVIEWED


async def extractions(
    database: Database, source: str, facts: Collection[str] | None = None
) -> Sequence[Extraction]:
    """All of a source, or those of some facts, decided or not."""
    if facts is None:
        records = await database.read(
            "MATCH (x:_Extraction {source: $source}) RETURN properties(x) AS row ORDER BY x.id", source=source
        )
    else:
        records = await database.read(
            "UNWIND $ids AS id MATCH (x:_Extraction {id: id}) RETURN properties(x) AS row ORDER BY x.id",
            ids=[extraction_id(source, fact) for fact in facts],
        )
    return [extraction_from(record["row"]) for record in records]


async def extraction_with(database: Database, id: str) -> Extraction | None:
    """The extraction of that id."""
    records = await database.read("MATCH (x:_Extraction {id: $id}) RETURN properties(x) AS row", id=id)
    return extraction_from(records[0]["row"]) if records else None


async def rejected(database: Database, source: str) -> Mapping[str, str]:
    """By fact: on which evidence it was rejected."""
    records = await database.read(
        """MATCH (x:_Extraction {source: $source, decision: 'rejected'})
           RETURN x.fact AS fact, x.decided_on AS digest""",
        source=source,
    )
    return {record["fact"]: record["digest"] for record in records}


async def propose(
    database: Database,
    source: str,
    found: Iterable[Extraction],
    whole: Literal["rules", "classifications"] | None = None,
) -> None:
    """Keep what a reading found; `whole`: it is all of that kind that the source has.

    A decision stands on, but a rejection only while what it rests on is the same. A rule that is found no
    more goes, unless handling rests on it or somebody accepted it: then it waits for a person. So does a
    classification, as long as what it is about is there.
    """
    rows = [_row(one) for one in found]

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            """
            UNWIND $rows AS row
            MERGE (x:_Extraction {id: row.id})
            WITH x, row, CASE
                WHEN x.decision = 'rejected' AND x.decided_on <> row.digest THEN {}
                ELSE x {.decision, .reason, .by, .agent, .at, .decided_on} END AS decided
            WITH x, row, decided, coalesce(row.found, x.found, true) AS found
            SET x = row
            SET x += decided, x.found = found
            """,
            rows=rows,
        )
        if whole is not None:
            await tx.run(
                """
                MATCH (x:_Extraction {source: $source}) WHERE NOT x.id IN $ids
                  AND x.fact CONTAINS ' CLASSIFIED_AS ' = $classifications
                SET x.found = false
                WITH x WHERE CASE WHEN $classifications
                    THEN NOT EXISTS { (:Entity {id: x.about}) }
                    ELSE x.decision IS NULL AND NOT x.tightens END
                DELETE x
                """,
                source=source,
                ids=[row["id"] for row in rows],
                classifications=whole == "classifications",
            )

    await database.write_transaction(work)


async def decide(database: Database, id: str, values: Mapping[str, Any]) -> Extraction | None:
    """Note a decision on the evidence as it is; None when there is no such extraction any more."""

    async def work(tx: AsyncManagedTransaction) -> Extraction | None:
        result = await tx.run(
            """MATCH (x:_Extraction {id: $id}) SET x += $values, x.decided_on = x.digest
               RETURN properties(x) AS row""",
            id=id,
            values=dict(values),
        )
        record = await result.single()
        return None if record is None else extraction_from(record["row"])

    return await database.write_transaction(work)


async def follow(store: FactStore, policy: SourcePolicy) -> None:
    """Make the claims what the records of the source `policy` say. Raises as `keep_claims`."""

    async def stand() -> tuple[list[Claim], list[Claim]]:
        known = await extractions(store.database, policy.name)
        return _divided((unpacked(one.standing), one.decision != "rejected") for one in known)

    async def agreed() -> tuple[list[Claim], list[Claim]]:
        known = await extractions(store.database, policy.name)
        return _divided((_accepted(one), one.decision == "accepted") for one in known)

    await keep_claims(store, extracted(policy), _SCOPE, stand)
    await keep_claims(store, reviewed(policy), _SCOPE, agreed)


async def withdraw(store: FactStore, policy: SourcePolicy, fact: str) -> None:
    """Take back what the source itself claims of a proposed relationship, in each of its scopes."""
    start, type_, end = fact.split(" ")
    claim = RelationshipClaim(start, type_, end, "")
    records = await store.database.read(
        """
        MATCH (:Entity {id: $start})-[r]->(:Entity {id: $end}) WHERE type(r) = $type
        UNWIND r.pages AS number MATCH (p:_Page {number: number, source: $source})
        RETURN DISTINCT p.scope AS scope
        """,
        start=start,
        end=end,
        type=type_,
        source=policy.name,
    )

    async def nothing() -> tuple[list[Claim], list[Claim]]:
        return [], [claim]

    for record in records:
        await keep_claims(store, policy, record["scope"], nothing)


def extraction_from(row: Mapping[str, Any]) -> Extraction:
    """From the properties of its node."""
    values: dict[str, Any] = {
        name: native(value) if isinstance(value, DateTime) else value
        for name, value in row.items()
        if name not in {"id", "tightens"}
    }
    return Extraction(**values)


def _row(one: Extraction) -> dict[str, Any]:
    row = {name: value for name, value in asdict(one).items() if value is not None}
    return row | {"id": one.id, "tightens": one.tightens}


def _divided(known: Iterable[tuple[list[Claim], bool]]) -> tuple[list[Claim], list[Claim]]:
    """What stands and what does not; what one record says stands, another does not take away."""
    stands: dict[str, Claim] = {}
    gone: dict[str, Claim] = {}
    for claims, holds in known:
        (stands if holds else gone).update((fact_of(claim), claim) for claim in claims)
    return list(stands.values()), [claim for fact, claim in gone.items() if fact not in stands]


def _accepted(one: Extraction) -> list[Claim]:
    """As a person says them."""
    said = f"accepted by {one.by}: {one.reason}; {one.evidence}"
    return [replace(claim, evidence=said, confidence=1.0) for claim in unpacked(one.claims)]
