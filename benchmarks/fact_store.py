"""How quickly the fact store takes in facts, against plain driver code in the same run.

    python benchmarks/fact_store.py [--quick]

Starts an embedded Neo4j of its own in a temporary folder and loads the same rows three times: by a
bare `UNWIND $rows MATCH ends CREATE`, through the fact store (claims, gate, audiences, revisions,
outbox), and through the fact store again, where all of it stands already. Bare and whole path take
turns, a slice of the rows each, so that other work on the machine slows both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from neo4j import AsyncSession

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database, connect
from graph.feed import current_revision
from graph.neo4j_server import embedded_neo4j
from graph.store import Crawl, FactStore
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
BATCH = 2_000
#: Turns that bare and whole path take.
SLICES = 20
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
    rng = random.Random(7)  # noqa: S311
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
    started = time.perf_counter()
    for batch in batches(claims):
        report = await crawl.write(batch)
        if report.quarantined:
            raise SystemExit(f"the corpus is refused: {report.quarantined[0]}")
    return time.perf_counter() - started


async def load(database: Database, store: FactStore, nodes: int, edges: int) -> None:
    of = entities(nodes)
    claims: list[Claim] = [*of, *relationships(of, edges)]
    idle = _resident()
    slice_ = -(-len(claims) // SLICES)
    times = [0.0, 0.0]
    edge_times = [0.0, 0.0]
    async with store.crawl(DIRECTORY, "all") as crawl:
        for start in range(0, len(claims), slice_):
            part = claims[start : start + slice_]
            took = await bare(database, part), await whole(crawl, part)
            times = [times[0] + took[0], times[1] + took[1]]
            print(f"{start + len(part)} rows: bare {times[0]:.1f} s, whole path {times[1]:.1f} s", flush=True)
            if start >= nodes:
                edge_times = [edge_times[0] + took[0], edge_times[1] + took[1]]
        await crawl.complete()
    print(f"{nodes} nodes and {edges} relationships, batches of {BATCH}")
    print(f"bare        {times[0]:8.1f} s  {len(claims) / times[0]:9.0f} rows/s")
    print(f"whole path  {times[1]:8.1f} s  {len(claims) / times[1]:9.0f} rows/s")
    print(
        f"of the bare rate: all {times[0] / times[1]:.2f}, relationships {edge_times[0] / edge_times[1]:.2f}"
    )
    before = await current_revision(database)
    started = time.perf_counter()
    async with store.crawl(DIRECTORY, "all") as crawl:
        await whole(crawl, claims)
        await crawl.complete()
    again = time.perf_counter() - started
    assert await current_revision(database) == before  # noqa: S101
    print(
        f"re-asserted {again:8.1f} s  {len(claims) / again:9.0f} rows/s: {times[1] / again:.1f} x the first"
    )
    print(f"memory above idle, at most: {(_resident() - idle) / 2**20:.0f} MiB")


def _resident() -> int:
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
            await load(database, store, nodes, edges)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    arguments = parser.parse_args()
    asyncio.run(main(*((20_000, 100_000) if arguments.quick else (200_000, 1_000_000))))
