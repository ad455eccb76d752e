"""What crawls keep in Neo4j: a `_Run` each, and how far scopes were read, a `_Reading` each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from neo4j import AsyncManagedTransaction

from discovery.connector import Places
from discovery.places import packed, unpacked
from discovery.reports import RunReport, ScopeReport
from graph.database import Database

#: Between two looks at crawls that are under way, and two writes of one.
EVERY_S = 1.0
_UNDER_WAY = "running"
_LOST = "it ended without a report, as where a service is killed; what it wrote stands, and the next goes on"


async def record_run(database: Database, report: RunReport, *, outcome: str | None = None) -> None:
    """Keep what became of a crawl, apart from the live nodes; again, for one that is under way."""
    ended = None if outcome == _UNDER_WAY else report.started + report.duration
    properties = {
        "ended": ended,
        "outcome": outcome or report.outcome,
        "error": report.error or "; ".join(scope.why for scope in report.scopes if scope.why) or None,
        "claims": sum(scope.claims for scope in report.scopes),
        "added": sum(scope.added for scope in report.scopes),
        "changed": sum(scope.changed for scope in report.scopes),
        "retracted": sum(scope.retracted for scope in report.scopes),
        "problems": [f"{problem.place}: {problem.message}" for problem in report.problems],
        "quarantined": len(report.violations),
        "notes": list(report.notes),
        "scopes": [f"{scope.scope}: {scope.outcome}" for scope in report.scopes],
    }
    await execute(
        database,
        """OPTIONAL MATCH (lost:_Run {source: $source, outcome: $under_way}) WHERE lost.started < $started
           SET lost.outcome = 'failed', lost.error = $why, lost.ended = lost.at, lost.at = datetime()
           WITH DISTINCT 1 AS one
           MERGE (r:_Run {source: $source, started: $started}) SET r += $properties, r.at = datetime()""",
        source=report.source,
        started=report.started,
        under_way=_UNDER_WAY,
        why=_LOST,
        properties=properties,
    )


class UnderWay:
    """Keeps the record of a crawl as it goes on."""

    def __init__(self, database: Database, source: str, started: datetime) -> None:
        self._database, self._source, self._started = database, source, started
        self._scopes: dict[str, ScopeReport] = {}
        self._written = time.monotonic()

    async def tell(self, scope: ScopeReport) -> None:
        """The scope so far."""
        self._scopes[scope.scope] = scope
        if time.monotonic() - self._written < EVERY_S:
            return
        self._written = time.monotonic()
        so_far = tuple(self._scopes.values())
        report = RunReport(self._source, self._started, datetime.now(UTC) - self._started, so_far)
        await record_run(self._database, report, outcome=_UNDER_WAY)


@dataclass(frozen=True, slots=True)
class Run:
    """A crawl as it is recorded."""

    source: str
    started: datetime
    ended: datetime | None
    outcome: str
    """As of its report, or `running`."""
    error: str | None
    claims: int
    added: int
    changed: int
    retracted: int
    quarantined: int
    problems: Sequence[str]
    scopes: Sequence[str]
    """Each with its outcome so far."""


async def last_runs(database: Database, source: str | None, first: int) -> list[Run]:
    """The latest crawls, of one source or of all, the latest first."""
    records = await database.read(
        """MATCH (r:_Run) WHERE $source IS NULL OR r.source = $source
           RETURN r {.*} AS run ORDER BY r.started DESC LIMIT $first""",
        source=source,
        first=first,
    )
    return [_run(record["run"]) for record in records]


async def follow_runs(database: Database) -> AsyncGenerator[Run, None]:
    """Crawls that are under way, and each again when there is more to tell of it, for ever."""
    told: dict[tuple[str, datetime], Run] | None = None
    while True:
        records = await database.read(
            """MATCH (r:_Run) WHERE r.outcome = $under_way OR r.at > datetime() - duration({minutes: 1})
               RETURN r {.*} AS run ORDER BY r.at""",
            under_way=_UNDER_WAY,
        )
        runs = {(run.source, run.started): run for run in (_run(record["run"]) for record in records)}
        for key, run in runs.items():
            if run.outcome == _UNDER_WAY if told is None else told.get(key) != run:
                yield run
        told = runs
        await asyncio.sleep(EVERY_S)


def _run(kept: Mapping[str, Any]) -> Run:
    return Run(
        kept["source"],
        kept["started"].to_native(),
        None if kept.get("ended") is None else kept["ended"].to_native(),
        kept["outcome"],
        kept.get("error"),
        kept["claims"],
        kept["added"],
        kept["changed"],
        kept["retracted"],
        kept["quarantined"],
        kept["problems"],
        kept["scopes"],
    )


async def execute(database: Database, query: str, **parameters: Any) -> None:
    """One query in a write transaction of its own."""

    async def work(transaction: AsyncManagedTransaction) -> None:
        await (await transaction.run(query, parameters)).consume()

    await database.write_transaction(work)


async def position_of(database: Database, source: str, scope: str, configuration: str) -> str | None:
    """How far a scope was read completely under this configuration; None when it must be read whole."""
    records = await database.read(
        """MATCH (r:_Reading {source: $source, scope: $scope, configuration: $configuration})
           RETURN r.position AS position""",
        source=source,
        scope=scope,
        configuration=configuration,
    )
    return str(records[0]["position"]) if records else None


def reached(configuration: str, position: str, places: Places | None = None) -> dict[str, str]:
    """What the scope's `_Reading` keeps of a position, for `Crawl.write`."""
    kept = {"configuration": configuration, "position": position}
    return kept if places is None else kept | {"places": packed(places)}


async def remember(database: Database, source: str, scope: str, kept: Mapping[str, str]) -> None:
    """Keep that of a scope's reading, and the rest as it is."""
    query = "MERGE (r:_Reading {source: $source, scope: $scope}) SET r += $kept"
    await execute(database, query, source=source, scope=scope, kept=kept)


async def remember_places(database: Database, source: str, scope: str, places: Places) -> None:
    await remember(database, source, scope, {"places": packed(places)})


async def places_of(database: Database, source: str) -> Mapping[str, Places]:
    """By which keys the files of a source are known, by scope."""
    records = await database.read(
        """MATCH (r:_Reading {source: $source}) WHERE r.places IS NOT NULL
           RETURN r.scope AS scope, r.places AS places""",
        source=source,
    )
    return {record["scope"]: unpacked(record["places"]) for record in records}


async def forget_position(database: Database, source: str, scope: str) -> None:
    """Before a whole reading: when it breaks off, what stands is no longer what a position tells of."""
    query = "MATCH (r:_Reading {source: $source, scope: $scope}) REMOVE r.configuration, r.position"
    await execute(database, query, source=source, scope=scope)


async def scopes_read(database: Database, source: str) -> frozenset[str]:
    """The scopes that the source ever completed."""
    records = await database.read("MATCH (s:_Source {name: $source}) RETURN s.scope AS scope", source=source)
    return frozenset(record["scope"] for record in records)


async def last_completed(database: Database) -> Mapping[str, datetime]:
    """When each source last completed a crawl in this epoch of the database, by its name."""
    records = await database.read(
        """MATCH (meta:_Meta)
           MATCH (r:_Run {outcome: 'complete'}) WHERE coalesce(meta.epochBegan <= r.ended, true)
           RETURN r.source AS source, max(r.ended) AS ended"""
    )
    return {record["source"]: record["ended"].to_native() for record in records}


async def prune_runs(database: Database, before: datetime) -> None:
    """Forget crawls that ended before then, but not the last complete one of a source."""
    async with database.driver.session(database=database.name) as session:
        result = await session.run(
            """
            MATCH (r:_Run) WHERE r.ended < $before AND (r.outcome <> 'complete' OR EXISTS {
                MATCH (later:_Run {source: r.source, outcome: 'complete'}) WHERE later.ended > r.ended
            })
            CALL (r) { DELETE r } IN TRANSACTIONS OF 1000 ROWS
            """,
            before=before,
        )
        await result.consume()
