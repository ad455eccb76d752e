"""The Rust project's lists replayed commit by commit, as claims and into Neo4j.

    python -m benchmarks.replay [--quick]

Reads `rust-team` in ORGRAPH_SHARED_DATA by deploy/rust-team, all its commits as claims and 300 of them into
an embedded Neo4j of its own in a temporary folder. Then the graph as of twenty of these commits is compared
with a fresh load of each into a second one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from neo4j import AsyncManagedTransaction

from discovery.configuration import all_sources
from discovery.connector import Incremental, Position
from discovery.connectors.table import build
from discovery.files import locate
from discovery.git import open_repository
from discovery.reports import ScopeReport
from discovery.runner import Progress, Runner, no_progress
from discovery.sources import OrganizationConfig, SourceConfig, load_organization
from graph.database import Database, connect
from graph.entity_view import EntityView, RelationshipView
from graph.feed import current_revision
from graph.neo4j_server import embedded_neo4j
from graph.past import PastView, When, point
from graph.store import FactStore
from ontologies import load
from ontologies.loader import load_authorization, load_shapes

#: The first commit of August 2019, when all people have ids.
FIRST = "113a2a0c3f4c11052ba3a303d452447ec135512c"


def at(source: SourceConfig, commit: str | None) -> SourceConfig:
    return source.model_copy(update={"options": {**source.options, **({"commit": commit} if commit else {})}})


def as_claims(organization: OrganizationConfig, source: SourceConfig) -> dict[str, float]:
    """Read a commit, then follow all after it, without a store."""
    begun = perf_counter()
    connector = build(organization, at(source, FIRST), {})
    [scope] = connector.scopes()
    items = list(connector.read(scope))
    read = perf_counter() - begun
    [position] = [item.text for item in items if isinstance(item, Position)]
    head = build(organization, source, {})
    if not isinstance(head, Incremental):
        raise SystemExit("the connector tells no changes")
    begun, computing = perf_counter(), process_time()
    changes = list(head.changes(scope, position))
    took, computed = perf_counter() - begun, process_time() - computing
    return {
        "claims_of_the_first_commit": len(items) - 1,
        "first_commit_seconds": round(read, 2),
        "commits": len(changes),
        "commits_broken": sum(change.position is None for change in changes),
        "commits_per_second": round(len(changes) / took, 1),
        "seconds_computing": round(computed, 2),
    }


@dataclass(frozen=True, slots=True)
class Graph:
    """What was known at a revision, without the revisions since which it is."""

    entities: Mapping[str, EntityView]
    relationships: Mapping[tuple[str, str, str], RelationshipView]


async def graph_as_of(database: Database, revision: int) -> Graph:
    """All of it, by the reads of the past."""

    async def work(tx: AsyncManagedTransaction) -> Graph:
        at = await point(tx, When(as_of=revision))
        view = PastView(tx, load(), b"\1" * 1_000, datetime.now(UTC), at)
        page = await view.entities("Entity", 1_000)
        entities = list(page.items)
        while page.end_cursor is not None:
            page = await view.entities("Entity", 1_000, page.end_cursor)
            entities += page.items
        links = await view.outgoing([one.id for one in entities])
        return Graph(
            {one.id: replace(one, since=0) for one in entities},
            {(one.start, one.type, one.end): replace(one, since=0) for one in links},
        )

    return await database.read_transaction(work)


@asynccontextmanager
async def fresh_neo4j() -> AsyncIterator[Database]:
    with TemporaryDirectory() as folder:
        async with embedded_neo4j(Path(folder)) as server, connect(server.uri, server.auth) as database:
            yield database


async def emptied(database: Database) -> None:
    """With its indexes and counters and nothing else."""
    async with database.driver.session(database=database.name) as session:
        wipe = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS"
        await (await session.run(wipe)).consume()
    await database.ensure_schema()


async def crawled(
    database: Database,
    organization: OrganizationConfig,
    sources: list[SourceConfig],
    progress: Progress = no_progress,
) -> float:
    """Seconds that crawling these sources took, one after the other."""
    store = FactStore(database, load_shapes(), load_authorization())
    runner = Runner(organization, store, database, progress)
    seconds = 0.0
    for source in sources:
        report = await runner.run(source)
        seconds += report.duration.total_seconds()
        if report.outcome == "failed" or report.violations:
            raise SystemExit(f"{source.name}: {report}")
    return seconds


async def people(database: Database) -> dict[str, int]:
    """How many had several names, and how many names were of several accounts, ever."""
    records = await database.read(
        """
        MATCH (n:Account) RETURN n.id AS id, toLower(n.name) AS name
        UNION
        MATCH (v:_Version) WHERE v.class = 'Account' RETURN v.id AS id, toLower(v.name) AS name
        """
    )
    names: dict[str, set[str]] = defaultdict(set)
    accounts: dict[str, set[str]] = defaultdict(set)
    for id_, name in (record.values() for record in records):
        names[id_].add(name)
        accounts[name].add(id_)
    return {
        "accounts": len(names),
        "renamed": sum(len(of) > 1 for of in names.values()),
        "names_passed_on": sum(len(of) > 1 for of in accounts.values()),
    }


async def into_neo4j(
    organization: OrganizationConfig, source: SourceConfig, commits: int, points: int
) -> dict[str, float]:
    """The first commit, then as many after it, to so many points where a fresh load is compared."""
    configuration = all_sources(organization)[0]
    path = locate(organization, source.options["repository"])
    with open_repository(path) as repository:
        after = repository.commits(FIRST, repository.commit(source.options["branch"]))
        ids = [commit.id for commit, _ in zip(after, range(commits), strict=False)]
    compared = ids[len(ids) // points - 1 :: len(ids) // points]
    async with fresh_neo4j() as database:
        await database.ensure_schema()
        first = await crawled(database, organization, [configuration, at(source, FIRST)])
        followed, then = iter(ids), {}

        def note(_source: str, scope: ScopeReport) -> None:
            """One more commit is followed, and in the store."""
            if (commit := next(followed)) in compared:
                then[commit] = scope.revision

        seconds = await crawled(database, organization, [at(source, ids[-1])], note)
        unchanged = await crawled(database, organization, [at(source, compared[-1])])
        graphs = {commit: await graph_as_of(database, revision) for commit, revision in then.items()}
        told = await people(database)
    different = 0
    async with fresh_neo4j() as database:
        for commit in compared:
            await emptied(database)
            await crawled(database, organization, [configuration, at(source, commit)])
            fresh = await graph_as_of(database, await current_revision(database))
            different += fresh != graphs[commit]
            print(f"{commit}: {len(fresh.entities)} entities, {len(fresh.relationships)} relationships")
    return {
        "first_commit_seconds": round(first, 2),
        "commits": len(ids),
        "commits_per_second": round(len(ids) / seconds, 1),
        "crawl_without_changes_seconds": round(unchanged, 2),
        "points_compared": len(compared),
        "points_different": different,
        **told,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Follows a repository's history into the store.")
    parser.add_argument("--quick", action="store_true", help="20 commits into Neo4j, in under 50 seconds")
    quick = parser.parse_args().quick
    organization = load_organization(Path(__file__).parents[1] / "deploy" / "rust-team" / "sources.toml")
    [source] = organization.source
    results = {
        "claims": as_claims(organization, source),
        "neo4j": asyncio.run(into_neo4j(organization, source, *((20, 2) if quick else (300, 20)))),
    }
    print(json.dumps({"benchmark": "replay", "results": results}))


if __name__ == "__main__":
    main()
