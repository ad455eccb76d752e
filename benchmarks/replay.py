"""The Rust project's lists replayed commit by commit, as claims and into Neo4j.

    python -m benchmarks.replay [--commits 200]

Reads `rust-team` in ORGRAPH_SHARED_DATA by deploy/rust-team. With 0 commits no Neo4j is started.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from discovery.configuration import all_sources
from discovery.connector import Incremental, Position
from discovery.connectors.table import build
from discovery.files import locate
from discovery.git import open_repository
from discovery.runner import Runner
from discovery.sources import OrganizationConfig, SourceConfig, load_organization
from graph.database import connect
from graph.neo4j_server import start
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes

#: The first commit of August 2019, when all people have ids.
FIRST = "113a2a0c3f4c11052ba3a303d452447ec135512c"


def at(source: SourceConfig, commit: str | None) -> SourceConfig:
    return source.model_copy(update={"options": {**source.options, **({"commit": commit} if commit else {})}})


def as_claims(organization: OrganizationConfig, source: SourceConfig) -> None:
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
    broken = sum(change.position is None for change in changes)
    print(f"first commit: {len(items) - 1} claims in {read:.2f} s")
    rate = f"{len(changes) / took:.0f} a second"
    print(
        f"{len(changes)} commits, {broken} of them broken: {took:.2f} s, {rate}; {computed:.2f} s computing"
    )


async def into_neo4j(organization: OrganizationConfig, source: SourceConfig, commits: int) -> None:
    """The same into a fresh Neo4j, as far as `commits` after the first; then a crawl without changes."""
    path = locate(organization, source.options["repository"])
    with open_repository(path) as repository:
        after = repository.commits(FIRST, repository.commit(source.options["branch"]))
        last = [commit.id for commit, _ in zip(after, range(commits), strict=False)][-1]
    with TemporaryDirectory() as folder:
        server = start(Path(folder))
        try:
            async with connect(server.uri, server.auth) as database:
                await database.ensure_schema()
                store = FactStore(database, load_shapes(), load_authorization())
                runner = Runner(organization, store, database)
                await runner.run(all_sources(organization)[0])
                for what, commit in (("first", FIRST), (f"{commits} commits", last), ("unchanged", last)):
                    report = await runner.run(at(source, commit))
                    seconds = report.duration.total_seconds()
                    [scope] = report.scopes
                    print(f"Neo4j, {what}: {report.outcome}, {scope.claims} claims in {seconds:.2f} s")
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=200)
    commits = parser.parse_args().commits
    organization = load_organization(Path(__file__).parents[1] / "deploy" / "rust-team" / "sources.toml")
    [source] = organization.source
    as_claims(organization, source)
    if commits:
        asyncio.run(into_neo4j(organization, source, commits))


if __name__ == "__main__":
    main()
