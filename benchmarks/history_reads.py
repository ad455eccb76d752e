"""What history costs: one hop on groups without a past, on groups with ten past versions per relationship.

    python -m benchmarks.history_reads [--quick]

Starts an embedded Neo4j of its own in a temporary folder. The reads take turns; medians. Governed reads by
the store's API, and plain Cypher over live nodes with and without a type, which is what analysts write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

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
GROUPS, MEMBERS, VERSIONS = 10, 50, 10
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


async def governed(database: Database, group: str, as_of: int | None) -> float:
    started = time.perf_counter()

    async def work(tx: AsyncManagedTransaction) -> Sequence[Neighbour]:
        now, visible = datetime.now(UTC), b"\1" * 10
        view = View(tx, load(), visible, now)
        if as_of is not None:
            view = PastView(tx, load(), visible, now, await point(tx, When(as_of)))
        return (await view.neighbours([group], 2 * MEMBERS))[group]

    found = await database.read_transaction(work)
    return took(started, len(found), group)


async def plain(database: Database, group: str, query: LiteralString) -> float:
    started = time.perf_counter()
    return took(started, len(await database.read(query, id=group)), group)


def took(started: float, found: int, group: str) -> float:
    ended = time.perf_counter()
    if found not in (MEMBERS, MEMBERS + 1):  # with or without its collection
        raise SystemExit(f"{found} neighbours of {group}, expected {MEMBERS} and its collection")
    return ended - started


TYPED: LiteralString = "MATCH (:Entity {id: $id})<-[:MEMBER_OF]-(m:Person) RETURN m.id AS id, m.name AS name"
UNTYPED: LiteralString = "MATCH (:Entity {id: $id})--(m) RETURN m.id AS id, m.name AS name"


async def main(reads: int) -> None:
    load()
    times: dict[str, list[float]] = defaultdict(list)
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
            for turn in range(reads):
                group = turn % GROUPS
                for kind in ("new", "old") if turn % 2 else ("old", "new"):
                    id = f"group:{kind}{group}"
                    times[f"governed {kind}"].append(await governed(database, id, None))
                    times[f"typed {kind}"].append(await plain(database, id, TYPED))
                    times[f"untyped {kind}"].append(await plain(database, id, UNTYPED))
                times["past"].append(await governed(database, f"group:old{group}", middle))
    median = {name: statistics.median(of[reads // 3 :]) for name, of in times.items()}
    for name, seconds in sorted(median.items()):
        print(f"{name:14} {1000 * seconds:6.1f} ms")
    results = {
        "neighbours": MEMBERS,
        "past_versions": VERSIONS,
        **{
            f"{what}_with_history_of_without": round(median[f"{what} old"] / median[f"{what} new"], 3)
            for what in ("governed", "typed", "untyped")
        },
        "as_of_the_middle_of_current": round(median["past"] / median["governed new"], 3),
    }
    print(json.dumps({"benchmark": "history_reads", "results": results}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Times current and past reads of one hop.")
    parser.add_argument("--quick", action="store_true", help="fewer reads, in under 50 seconds")
    asyncio.run(main(90 if parser.parse_args().quick else 600))
