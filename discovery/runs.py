"""What crawls keep in Neo4j: a `_Run` each, and how far scopes were read, a `_Reading` each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from neo4j import AsyncManagedTransaction

from discovery.reports import RunReport
from graph.database import Database


async def record_run(database: Database, report: RunReport) -> None:
    """Keep what became of a crawl, apart from the live nodes."""
    properties = {
        "source": report.source,
        "started": report.started,
        "ended": report.started + report.duration,
        "outcome": report.outcome,
        "error": report.error or "; ".join(scope.why for scope in report.scopes if scope.why) or None,
        "claims": sum(scope.claims for scope in report.scopes),
        "added": sum(scope.added for scope in report.scopes),
        "changed": sum(scope.changed for scope in report.scopes),
        "retracted": sum(scope.retracted for scope in report.scopes),
        "problems": [f"{problem.place}: {problem.message}" for problem in report.problems],
        "quarantined": len(report.violations),
        "scopes": [f"{scope.scope}: {scope.outcome}" for scope in report.scopes],
    }
    await execute(database, "CREATE (r:_Run) SET r = $properties", properties=properties)


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


def reading(configuration: str, position: str) -> dict[str, str]:
    """What the scope's `_Reading` keeps of a position, for `Crawl.write`."""
    return {"configuration": configuration, "position": position}


async def remember_position(
    database: Database, source: str, scope: str, configuration: str, position: str
) -> None:
    await execute(
        database,
        """MERGE (r:_Reading {source: $source, scope: $scope})
           SET r += $reading""",
        source=source,
        scope=scope,
        reading=reading(configuration, position),
    )


async def forget_position(database: Database, source: str, scope: str) -> None:
    """Before a whole reading: when it breaks off, what stands is no longer what a position tells of."""
    query = "MATCH (r:_Reading {source: $source, scope: $scope}) DELETE r"
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


async def entity_names(database: Database) -> Mapping[str, str]:
    """Ids of persons, organizations and units by their names; a name that two of them have is left out."""
    records = await database.read(
        """MATCH (n:Entity) WHERE n:Person OR n:Organization OR n:OrganizationalUnit
           WITH n.name AS name, collect(n.id) AS ids WHERE size(ids) = 1
           RETURN name, ids[0] AS id"""
    )
    return {record["name"]: record["id"] for record in records}
