"""Who may see what: the index in memory, every document shared by itself, and revocations.

    python -m benchmarks.visibility [--quick] [--part index|revocation|worst-case]

`index`: 10,000 people in 2,000 nested groups, 100,000 documents in folders to depth 10, each shared by
itself, 1,000,000 tuples in all; no database. `worst case`: as many documents in Neo4j, an audience each, for
somebody who sees half of them. `revocation`: three processes under leases follow a graph of 10,000 people,
all of them in one of 2,000 nested groups; each is asked ten times as soon as a revocation has returned.
Milliseconds where nothing else is said; figures as JSON on the last line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from neo4j import AsyncManagedTransaction

from graph.audiences import Userset
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import EMBEDDING_DIMENSIONS, Database, connect
from graph.neo4j_server import Neo4jServer, embedded_neo4j
from graph.rebac.relation_tuples import TupleKey
from graph.store import FactStore
from graph.tuples import Voucher
from graph.view import View
from graph.visible_sets.evaluation import Evaluation
from graph.visible_sets.index import VisibilityIndex
from graph.visible_sets.saved import load_saved, save
from ontologies import load, load_authorization, load_shapes
from ontologies.authorization_model import parse_dsl

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define parent: [folder]
    define denied: [user, group#member]
    define reader: [user, group#member]
    define viewer: (reader or viewer from parent) but not denied
type document
  relations
    define folder: [folder]
    define denied: [user, group#member]
    define guest: [user, group#member]
    define viewer: (guest or viewer from folder) but not denied
""")
SOURCE = Voucher("configuration", "all")
NOW = datetime.now(UTC)
DEPTH = 10
COMPANY = "collection:company"
ADA = "account:sample/ada"
LIVE = timedelta(days=1)
CONFIGURATION = SourcePolicy("configuration", frozenset({"MAY_VIEW"}), frozenset({COMPANY}), 100, LIVE)
DIRECTORY = SourcePolicy(
    "directory", frozenset({"HAS_ACCOUNT", "MEMBER_OF", "SUBGROUP_OF"}), frozenset({COMPANY}), 90, LIVE
)
MEMBERSHIP = RelationshipClaim("person:ada", "MEMBER_OF", "group:staff", "line 1")
BATCH = 2_000


def tuples(documents: int, choose: random.Random) -> Iterator[TupleKey]:
    """Ten for each document. The reader of half of the documents is in group:0 alone."""
    people, groups, folders = documents // 10, documents // 50, documents // 10
    for group in range(1, groups):
        if group % 8:  # chains of eight
            yield TupleKey(f"group:{group}#member", "member", f"group:{group - 1}")
    for person in range(people):
        yield TupleKey(f"user:{person}", "member", f"group:{choose.randrange(1, groups)}")
    for folder in range(2, folders):
        if folder % DEPTH:
            yield TupleKey(f"folder:{folder - 1}", "parent", f"folder:{folder}")
    yield TupleKey("user:reader", "member", "group:0")
    for document in range(documents):
        # A tenth of them in one folder, which can be moved.
        folder = choose.randrange(2, folders) if document % 10 else 0
        yield TupleKey(f"folder:{folder}", "folder", f"document:{document}")
        if document % 2:
            yield TupleKey("group:0#member", "guest", f"document:{document}")
        for _ in range(8 if document % 2 else 9):
            yield TupleKey(f"user:{choose.randrange(people)}", "guest", f"document:{document}")


def resident() -> float:
    """Of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def seconds(began: float) -> float:
    return time.perf_counter() - began


def measured(times: int, *works: Callable[[], object]) -> float:
    """The median of all of them together, in milliseconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        for work in works:
            work()
        found.append(1000 * seconds(began))
    return statistics.median(found)


def index_figures(documents: int) -> dict[str, float]:
    made = list(tuples(documents, random.Random(1)))  # noqa: S311  the same at each run
    before, began = resident(), time.perf_counter()
    index = VisibilityIndex()
    for key in made:
        index.put(key, "", [SOURCE])
    loaded = seconds(began)
    for document in range(documents):
        index.define(document, Userset(f"document:{document}", "viewer"))
    index.next_audience = documents
    memory = resident() - before

    def sees(user: str) -> bytes:
        return Evaluation(index, MODEL, user, frozenset(), NOW, {}).visible()

    def membership(vouchers: Sequence[Voucher]) -> None:
        index.put(TupleKey("user:reader", "member", "group:0"), "", vouchers)

    def check() -> object:
        asked = Evaluation(index, MODEL, "user:reader", frozenset(), NOW, {})
        return asked.value(("document:1", "viewer"))

    index.put(TupleKey("user:mover", "reader", "folder:1"), "", [SOURCE])
    moved = TupleKey("folder:1", "parent", "folder:0")
    half, whole = sees("user:reader").count(1), sees("user:0").count(1)
    membership([])
    if half < documents // 2 or sees("user:reader").count(1):
        raise SystemExit("the reader does not see what it should")
    figures = {
        "tuples": len(made),
        "load_s": loaded,
        "memory_mib": memory,
        "seen_by_reader": half,
        "seen_by_somebody": whole,
        "visible_set_of_half": measured(20, partial(membership, [SOURCE]), partial(sees, "user:reader")),
        "visible_set_of_somebody": measured(20, partial(sees, "user:0")),
        "membership_change": measured(200, partial(membership, []), partial(membership, [SOURCE])) / 2,
        "folder_moved": measured(200, partial(index.put, moved, "", [SOURCE]), partial(index.put, moved)) / 2,
        "folder_moved_and_seen": measured(
            20, partial(index.put, moved, "", [SOURCE]), partial(sees, "user:mover")
        ),
        "seen_in_folder": sees("user:mover").count(1),
        "check": measured(20, check),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "visibility.index"
        began = time.perf_counter()
        save(index, path, "epoch", "meaning")
        figures["save_s"] = seconds(began)
        figures["file_mib"] = path.stat().st_size / 2**20
        began = time.perf_counter()
        load_saved(path, "epoch", "meaning")
        figures["load_saved_s"] = seconds(began)
    return figures


async def worst_case(database: Database, documents: int) -> dict[str, float]:
    choose = np.random.default_rng(2)

    async def write(tx: AsyncManagedTransaction, first: int) -> None:
        rows = [
            [number, choose.normal(size=EMBEDDING_DIMENSIONS).tolist()]
            for number in range(first, min(first + 1_000, documents))
        ]
        await tx.run(
            """
            UNWIND $rows AS row
            CREATE (n:Entity:Document {
                id: 'document:' + row[0], name: 'D', audience: row[0],
                sources: ['x'], confidence: 1.0, since: 1
            })
            WITH n, row CALL db.create.setNodeVectorProperty(n, 'embedding', row[1])
            """,
            rows=rows,
        )

    began = time.perf_counter()
    for first in range(0, documents, 1_000):

        async def batch(tx: AsyncManagedTransaction, first: int = first) -> None:
            await write(tx, first)

        await database.write_transaction(batch)
    async with database.driver.session(database=database.name) as session:
        await (await session.run("CALL db.awaitIndexes(300)")).consume()
    loaded = seconds(began)
    visible = bytes(number % 2 for number in range(documents))
    vector = choose.normal(size=EMBEDDING_DIMENSIONS).tolist()
    times: dict[str, list[float]] = {"count": [], "vector_search": []}
    for _ in range(10):

        async def count(tx: AsyncManagedTransaction) -> int:
            return (await View(tx, load(), visible, NOW).entities("Document", 1)).total

        async def search(tx: AsyncManagedTransaction) -> int:
            return len(await View(tx, load(), visible, NOW).by_embedding(vector, 10))

        for name, work, expected in (("count", count, documents // 2), ("vector_search", search, 10)):
            began = time.perf_counter()
            found = await database.read_transaction(work)
            times[name].append(1000 * seconds(began))
            if found != expected:
                raise SystemExit(f"{name}: {found}, expected {expected}")
    return {"audiences": documents, "load_s": loaded} | {
        name: statistics.median(found[2:]) for name, found in times.items()
    }


@asynccontextmanager
async def reading(server: Neo4jServer) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.reading_process", server.uri, server.auth[1], ADA, "Collection",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    try:
        await _said(process)
        while await ask(process, 1) == ["no lease"]:  # it reads who may see what the first time
            continue
        yield process
    finally:
        process.kill()
        await process.wait()


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # noqa: S101  a pipe
    return (await process.stdout.readline()).decode().strip()


async def ask(process: asyncio.subprocess.Process, times: int) -> list[str]:
    assert process.stdin is not None  # noqa: S101  a pipe
    process.stdin.write(b"\n" * times)
    return [await _said(process) for _ in range(times)]


def entity(id: str, class_name: str, **values: str) -> EntityClaim:
    return EntityClaim(id, class_name, COMPANY, {"name": id, **values}, "line 1")


def everybody(people: int) -> Iterator[Claim]:
    """People with an account each, in three of the groups and in the one that may see; groups eight deep."""
    choose = random.Random(3)  # noqa: S311  the same at each run
    groups = people // 5
    for group in range(groups):
        yield entity(f"group:{group}", "Group")
        if group >= groups // 8:
            above = f"group:{choose.randrange(group - groups // 8, group)}"
            yield RelationshipClaim(f"group:{group}", "SUBGROUP_OF", above, "line 1")
    for person in range(people):
        who, account = f"person:{person}", f"account:sample/{person}"
        yield entity(who, "Person")
        yield entity(account, "Account", issuer="sample", subject=str(person))
        yield RelationshipClaim(who, "HAS_ACCOUNT", account, "line 1")
        for group in ("staff", *choose.sample(range(groups), 3)):
            yield RelationshipClaim(who, "MEMBER_OF", f"group:{group}", "line 1")


async def revocation(
    server: Neo4jServer, database: Database, people: int, rounds: int, asks: int
) -> dict[str, float]:
    store = FactStore(database, load_shapes(), load_authorization())

    async def crawl(source: SourcePolicy, scope: str, claims: list[Claim]) -> None:
        async with store.crawl(source, scope) as crawl:
            for first in range(0, len(claims), BATCH):
                await crawl.write(claims[first : first + BATCH])
            await crawl.complete()

    viewers = RelationshipClaim("group:staff", "MAY_VIEW", COMPANY, "line 1")
    await crawl(CONFIGURATION, "all", [entity(COMPANY, "Collection"), viewers])
    ada: list[Claim] = [entity("group:staff", "Group"), entity("person:ada", "Person")]
    ada += [entity(ADA, "Account", issuer="sample", subject="ada")]
    ada += [RelationshipClaim("person:ada", "HAS_ACCOUNT", ADA, "line 1")]
    await crawl(DIRECTORY, "people", [*ada, *everybody(people)])
    times, alone, stale, refused, tries = [], [], 0, 0, 0
    async with AsyncExitStack() as stack:
        await crawl(DIRECTORY, "memberships", [MEMBERSHIP])
        memberships = await stack.enter_async_context(store.crawl(DIRECTORY, "memberships"))
        for _ in range(20):  # nobody follows yet: what a commit costs
            began = time.perf_counter()
            await memberships.write([], withdrawn=[MEMBERSHIP])
            alone.append(1000 * seconds(began))
            await memberships.write([MEMBERSHIP])
        processes = [await stack.enter_async_context(reading(server)) for _ in range(3)]
        for turn in range(rounds):
            await memberships.write([MEMBERSHIP])
            if await asyncio.gather(*(ask(one, 1) for one in processes)) != [["1"]] * 3:
                raise SystemExit("a grant is not seen")
            began = time.perf_counter()
            await memberships.write([], withdrawn=[MEMBERSHIP])
            if turn >= rounds // 10:  # plans are made, pools are filled
                times.append(1000 * seconds(began))
            said = [one for each in await asyncio.gather(*(ask(p, asks) for p in processes)) for one in each]
            tries += len(said)
            stale += said.count("1")
            refused += said.count("no lease")
    times.sort()
    return {
        "people": people,
        "revocations": len(times),
        "nobody_following_p50": statistics.median(alone),
        "p50": statistics.median(times),
        "p99": times[int(0.99 * len(times))],
        "tries": tries,
        "stale": stale,
        "without_lease": refused,
    }


def shown(part: str, found: Mapping[str, float]) -> dict[str, float]:
    rounded = {name: round(value, 3) for name, value in found.items()}
    for name, value in rounded.items():
        print(f"{part:12} {name:26} {value}", flush=True)
    return rounded


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Neo4jServer, Database]]:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_neo4j(Path(folder)) as server, connect(server.uri, server.auth) as database:
            await database.ensure_schema()
            yield server, database


async def revocation_figures(quick: bool) -> dict[str, float]:
    async with served() as (server, database):
        return await revocation(server, database, *((500, 20) if quick else (10_000, 340)), asks=10)


async def worst_case_figures(quick: bool) -> dict[str, float]:
    async with served() as (_, database):
        return await worst_case(database, 2_000 if quick else 100_000)


PARTS: Mapping[str, Callable[[bool], dict[str, float]]] = {
    "index": lambda quick: index_figures(10_000 if quick else 100_000),
    "revocation": lambda quick: asyncio.run(revocation_figures(quick)),
    "worst-case": lambda quick: asyncio.run(worst_case_figures(quick)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part of it, in less than 50 s")
    parser.add_argument("--part", choices=PARTS, help="this alone")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    figures = {
        part: shown(part, measure(arguments.quick))
        for part, measure in PARTS.items()
        if arguments.part in (None, part)
    }
    print(json.dumps({"quick": arguments.quick, "load": load_before, **figures}))


if __name__ == "__main__":
    main()
