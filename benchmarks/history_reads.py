"""What history costs: one hop on groups without a past, on groups with ten past versions per relationship.

    python benchmarks/history_reads.py

Starts an embedded Neo4j of its own in a temporary folder. The three reads take turns; medians.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from neo4j import AsyncManagedTransaction

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database, connect
from graph.entity_view import Neighbour
from graph.feed import current_revision
from graph.neo4j_server import embedded_neo4j
from graph.past import PastView, When, point
from graph.store import FactStore
from graph.view import View
from ontologies import load, load_authorization, load_shapes

COMPANY = "collection:company"
GROUPS, MEMBERS, VERSIONS, READS = 10, 50, 10, 150
SOURCE = SourcePolicy("configuration", frozenset({"MEMBER_OF"}), frozenset({COMPANY}), 50, timedelta(days=1))


def entity(id: str, class_name: str) -> EntityClaim:
    return EntityClaim(id, class_name, COMPANY, {"name": id}, "line 1")


def claims(kind: str, version: int) -> list[Claim]:
    """Groups of one kind with their members, whose relationships say something else in each version."""
    made: list[Claim] = []
    for group in range(GROUPS):
        made.append(entity(f"group:{kind}{group}", "Group"))
        for member in range(MEMBERS):
            person = f"person:{kind}{group}-{member}"
            made.append(entity(person, "Person"))
            confidence = 1 - version / 100
            made.append(RelationshipClaim(person, "MEMBER_OF", f"group:{kind}{group}", "line 1", confidence))
    return made


async def crawl(store: FactStore, scope: str, said: Sequence[Claim]) -> None:
    async with store.crawl(SOURCE, scope) as crawl:
        await crawl.write([entity(COMPANY, "Collection"), *said])
        await crawl.complete()


async def one_hop(database: Database, group: str, as_of: int | None) -> float:
    started = time.perf_counter()

    async def work(tx: AsyncManagedTransaction) -> Sequence[Neighbour]:
        now, visible = datetime.now(UTC), b"\1" * 10
        view = View(tx, load(), visible, now)
        if as_of is not None:
            view = PastView(tx, load(), visible, now, await point(tx, When(as_of)))
        return (await view.neighbours([group], 2 * MEMBERS))[group]

    found = await database.read_transaction(work)
    if len(found) != MEMBERS + 1:
        raise SystemExit(f"{len(found)} neighbours of {group}, expected {MEMBERS + 1}")
    return time.perf_counter() - started


async def main() -> None:
    load()
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_neo4j(Path(folder)) as server, connect(server.uri, server.auth) as database:
            await database.ensure_schema()
            store = FactStore(database, load_shapes(), load_authorization())
            await crawl(store, "new", claims("new", 0))
            middle = 0
            for version in range(VERSIONS + 1):
                await crawl(store, "old", claims("old", version))
                if version == VERSIONS // 2:
                    middle = await current_revision(database)
            times: dict[str, list[float]] = {"new": [], "old": [], "past": []}
            for turn in range(READS):
                group = turn % GROUPS
                times["new"].append(await one_hop(database, f"group:new{group}", None))
                times["old"].append(await one_hop(database, f"group:old{group}", None))
                times["past"].append(await one_hop(database, f"group:old{group}", middle))
    without, with_, past = (statistics.median(times[name][READS // 3 :]) for name in times)
    print(f"{MEMBERS} neighbours, {VERSIONS} past versions of each relationship, median of {READS} reads")
    print(f"current, without history {1000 * without:6.1f} ms")
    print(f"current, with history    {1000 * with_:6.1f} ms  {with_ / without:.2f} x")
    print(f"as of the middle         {1000 * past:6.1f} ms  {past / without:.2f} x")


if __name__ == "__main__":
    asyncio.run(main())
