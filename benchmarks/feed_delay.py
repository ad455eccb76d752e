"""How long after a commit a follower of the change feed has it, at 200 writes a second.

    python -m benchmarks.feed_delay [--quick]

Starts an embedded Neo4j of its own in a temporary folder. Twenty sources change one fact at a time (new
people, other job titles, new relationships), each of them ten times a second: a write begins when its time
has come, however long earlier ones take. The delay is from when the store has said that a revision is
committed until the follower has it; beside it the time from when the write was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.crawl import Crawl, Step
from graph.database import Database, connect
from graph.feed import advance, current_revision, follow
from graph.neo4j_server import embedded_neo4j
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
SOURCES, RATE = 20, 200
WARM_SECONDS = 15
POLICY = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))


def person(source: int, number: int, title: str) -> EntityClaim:
    values = {"name": f"Person {source}-{number}", "jobTitle": title}
    return EntityClaim(f"person:p{source}-{number}", "Person", COMPANY, values, f"line {number}")


def said(source: int, turn: int) -> Claim:
    """In turn: a new person, whom another owns nothing of yet; a relationship; another title for both."""
    number, step = divmod(turn, 3)
    if step == 0:
        return person(source, number, "Analyst")
    if step == 1:
        return RelationshipClaim(f"person:p{source}-{number}", "OWNS", f"document:d{source}", f"line {turn}")
    return person(source, number, "Boss")


class Delays:
    """When each revision was asked for, was told as committed, and was delivered."""

    def __init__(self) -> None:
        self.asked: dict[int, float] = {}
        self.committed: dict[int, float] = {}
        self.delivered: dict[int, float] = {}

    async def write(self, crawl: Crawl, claim: Claim, at: float) -> None:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        [report] = await crawl.write_steps([Step([claim])])
        if report.quarantined:
            raise SystemExit(f"refused: {report.quarantined[0]}")
        self.asked[report.revision] = at
        self.committed[report.revision] = time.perf_counter()

    async def follow(self, database: Database) -> None:
        async for revisions in follow(database, "benchmark"):
            now = time.perf_counter()
            for revision in revisions:
                self.delivered[revision.number] = now


async def measure(database: Database, store: FactStore, seconds: float) -> Mapping[str, float]:
    delays = Delays()
    await advance(database, "benchmark", await current_revision(database))
    following = asyncio.create_task(delays.follow(database))
    async with AsyncExitStack() as stack:
        crawls = [await stack.enter_async_context(store.crawl(POLICY, f"source {n}")) for n in range(SOURCES)]
        for number, crawl in enumerate(crawls):
            await crawl.write(
                [
                    EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "line 1"),
                    EntityClaim(f"document:d{number}", "Document", COMPANY, {"name": "d"}, "line 2"),
                ]
            )
        turns = int((WARM_SECONDS + seconds) * RATE / SOURCES)
        begun = time.perf_counter()

        async def writes(source: int) -> None:
            for turn in range(turns):
                at = begun + (turn + source / SOURCES) * SOURCES / RATE
                await delays.write(crawls[source], said(source, turn), at)

        await asyncio.gather(*(writes(source) for source in range(SOURCES)))
        took = time.perf_counter() - begun
        last = max(delays.committed)
        while last not in delays.delivered and not following.done():  # noqa: ASYNC110 - a dictionary tells nobody
            await asyncio.sleep(0.01)
        following.cancel()
    measured = [n for n, at in delays.asked.items() if at >= begun + WARM_SECONDS]
    from_commit = [1000 * max(0.0, delays.delivered[n] - delays.committed[n]) for n in measured]
    from_write = [1000 * (delays.delivered[n] - delays.asked[n]) for n in measured]
    return {
        "sources": SOURCES,
        "writes": len(measured),
        "writes_per_second_wanted": RATE,
        "writes_per_second": round(turns * SOURCES / took, 1),
        **percentiles("commit_to_delivery_ms", from_commit),
        **percentiles("write_to_delivery_ms", from_write),
    }


def percentiles(name: str, of: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(of, n=100)
    return {f"{name}_p50": round(cuts[49], 1), f"{name}_p99": round(cuts[98], 1)}


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_neo4j(Path(folder)) as server, connect(server.uri, server.auth) as database:
            await database.ensure_schema()
            store = FactStore(database, load_shapes(), load_authorization())
            results = await measure(database, store, seconds)
    print(json.dumps({"benchmark": "feed_delay", "results": results}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Times the change feed under small writes.")
    parser.add_argument("--quick", action="store_true", help="ten seconds of it, in under 50 seconds")
    asyncio.run(main(10 if parser.parse_args().quick else 60))
