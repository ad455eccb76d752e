"""How quickly the fact store takes in facts, against plain driver code in the same run.

    python -m benchmarks.fact_store [--quick]

Starts an embedded Neo4j of its own in a temporary folder and loads the same rows three times: by a
bare `UNWIND $rows MATCH ends CREATE`, through the fact store (claims, gate, audiences, revisions,
outbox), and through the fact store again, where all of it stands already. Bare and whole path take
turns, a slice of the rows each, so that other work on the machine slows both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from neo4j import AsyncSession

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.crawl import Crawl
from graph.database import Database, connect
from graph.feed import current_revision
from graph.neo4j_server import embedded_neo4j
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
BATCH = 2_000
#: Turns that bare and whole path take.
SLICES = 10
CONFIGURATION = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))
DIRECTORY = SourcePolicy("directory", frozenset({"MEMBER_OF"}), frozenset({COMPANY}), 50, timedelta(days=1))


def entities(count: int) -> list[EntityClaim]:
    """Seven tenths people, a tenth groups, two tenths documents."""
    found = []
    kinds = ("Person",) * 7 + ("Group", "Document", "Document")
    for number in range(count):
        kind, key = kinds[number % 10], f"{number:06}"
        values = {"name": f"{kind} number {key}", "description": f"the {kind.lower()} with the number {key}"}
        found.append(
            EntityClaim(f"{kind.lower()}:{key}", kind, COMPANY, values, f"directory.ldif:{number * 7}")
        )
    return found


def relationships(of: Sequence[EntityClaim], count: int) -> Iterator[RelationshipClaim]:
    """Memberships, ownership and mentions between random ends, each once, in no order."""
    rng = random.Random(7)  # noqa: S311  the same at each run
    by_class: dict[str, list[str]] = {}
    for entity in of:
        by_class.setdefault(entity.class_name, []).append(entity.id)
    kinds = (
        ("Person", "MEMBER_OF", "Group"),
        ("Person", "OWNS", "Document"),
        ("Document", "MENTIONS", "Person"),
        ("Document", "MENTIONS", "Group"),
    )
    said: set[int] = set()
    while len(said) < count:
        start, type_, end = rng.choice(kinds)
        claim = (rng.choice(by_class[start]), type_, rng.choice(by_class[end]))
        if hash(claim) not in said:
            said.add(hash(claim))
            yield RelationshipClaim(*claim, f"directory.ldif:{len(said) * 3}")


async def bare_entities(session: AsyncSession, rows: Sequence[EntityClaim]) -> None:
    by_class: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        by_class.setdefault(row.class_name, []).append({"id": row.id, "values": dict(row.values)})
    for class_name, of_class in by_class.items():
        query = "UNWIND $rows AS row CREATE (n:Bare:$($label) {id: row.id}) SET n += row.values"
        await (await session.run(query, rows=of_class, label=f"Bare{class_name}")).consume()


async def bare_relationships(session: AsyncSession, rows: Sequence[RelationshipClaim]) -> None:
    by_type: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_type.setdefault(row.type, []).append({"start": row.start, "end": row.end})
    for type_, of_type in by_type.items():
        query = """UNWIND $rows AS row MATCH (a:Bare {id: row.start}) MATCH (b:Bare {id: row.end})
                   CREATE (a)-[r:$($type)]->(b)"""
        await (await session.run(query, rows=of_type, type=f"BARE_{type_}")).consume()


def batches(claims: Sequence[Claim]) -> Iterator[Sequence[Claim]]:
    for start in range(0, len(claims), BATCH):
        yield claims[start : start + BATCH]


async def bare(database: Database, claims: Sequence[Claim]) -> float:
    started = time.perf_counter()
    async with database.driver.session(database=database.name) as session:
        for batch in batches(claims):
            await bare_entities(session, [one for one in batch if isinstance(one, EntityClaim)])
            await bare_relationships(session, [one for one in batch if isinstance(one, RelationshipClaim)])
    return time.perf_counter() - started


async def whole(crawl: Crawl, claims: Sequence[Claim]) -> float:
    async def read() -> AsyncIterator[Sequence[Claim]]:
        for batch in batches(claims):
            yield batch

    started = time.perf_counter()
    async for report in crawl.write_each(read()):
        if report.quarantined:
            raise SystemExit(f"the corpus is refused: {report.quarantined[0]}")
    return time.perf_counter() - started


async def load(database: Database, store: FactStore, nodes: int, edges: int) -> dict[str, float]:
    of = entities(nodes)
    claims: list[Claim] = [*of, *relationships(of, edges)]
    idle = resident()
    times = {"nodes": [0.0, 0.0], "relationships": [0.0, 0.0]}
    async with store.crawl(DIRECTORY, "all") as crawl:
        for what, rows in (("nodes", claims[:nodes]), ("relationships", claims[nodes:])):
            slice_ = -(-len(rows) // SLICES)
            for start in range(0, len(rows), slice_):
                part = rows[start : start + slice_]
                took = await bare(database, part), await whole(crawl, part)
                times[what] = [sum(pair) for pair in zip(times[what], took, strict=True)]
            print(
                f"{len(rows)} {what}: bare {times[what][0]:.1f} s, whole path {times[what][1]:.1f} s",
                flush=True,
            )
        await crawl.complete()
    seconds_bare, seconds_whole = (sum(pair) for pair in zip(*times.values(), strict=True))
    before = await current_revision(database)
    started = time.perf_counter()
    async with store.crawl(DIRECTORY, "all") as crawl:
        await whole(crawl, claims)
        await crawl.complete()
    again = time.perf_counter() - started
    return {
        "nodes": nodes,
        "relationships": edges,
        "bare_rows_per_second": round(len(claims) / seconds_bare),
        "whole_rows_per_second": round(len(claims) / seconds_whole),
        "whole_of_bare": round(seconds_bare / seconds_whole, 3),
        **{f"whole_of_bare_{what}": round(took[0] / took[1], 3) for what, took in times.items()},
        "reasserted_times_quicker": round(seconds_whole / again, 1),
        "revisions_of_reassertion": await current_revision(database) - before,
        "mebibytes_above_idle": (resident() - idle) >> 20,
    }


def resident() -> int:
    """The most that this process held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def main(nodes: int, edges: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            embedded_neo4j(Path(folder)) as server,
            connect(server.uri, server.auth) as database,
        ):
            await database.ensure_schema()
            async with database.driver.session(database=database.name) as session:
                constraint = "CREATE CONSTRAINT bare_id FOR (n:Bare) REQUIRE n.id IS UNIQUE"
                await (await session.run(constraint)).consume()
            store = FactStore(database, load_shapes(), load_authorization())
            async with store.crawl(CONFIGURATION, "all") as crawl:
                await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "line 1")])
                await crawl.complete()
            results = await load(database, store, nodes, edges)
    print(json.dumps({"benchmark": "fact_store", "results": results}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Loads facts by bare queries and by the whole path.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows, in under 50 seconds")
    quick = parser.parse_args().quick
    asyncio.run(main(*((10_000, 50_000) if quick else (200_000, 1_000_000))))
