"""How long it takes to erase one person from a large graph, with their claims, changes and past.

    python -m benchmarks.erasure [--quick]

Starts an embedded Neo4j of its own in a temporary folder and loads the graph of `benchmarks.fact_store`. An
erasure looks through everything twice, so that its time is that of the graph and not of the person.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from benchmarks.fact_store import (
    COMPANY,
    CONFIGURATION,
    DIRECTORY,
    entities,
    relationships,
    resident,
    whole,
)
from graph.administration import Administration
from graph.claims import Claim, EntityClaim
from graph.database import Database, connect
from graph.erasure import Erasures
from graph.journal import Journal
from graph.neo4j_server import embedded_neo4j
from graph.store import FactStore
from graph.tombstones import open_pseudonyms
from ontologies import load_authorization, load_shapes

PERSON = "person:000000"


async def load(store: FactStore, nodes: int, edges: int) -> None:
    async with store.crawl(CONFIGURATION, "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "line 1")])
        await crawl.complete()
    of = entities(nodes)
    claims: list[Claim] = [*of, *relationships(of, edges)]
    async with store.crawl(DIRECTORY, "all") as crawl:
        await whole(crawl, claims)
        await crawl.complete()


async def measure(store: FactStore, folder: Path) -> dict[str, float]:
    journal = Journal(folder / "journal.jsonl")
    erasures = Erasures(store, Administration(store, journal), journal, open_pseudonyms(folder / "key"))
    loaded, started = resident(), time.perf_counter()
    known = await erasures.known(PERSON)
    looked = time.perf_counter()
    receipt = await erasures.carry_on(await erasures.begin(known, "account:acme/root"))
    ended = time.perf_counter()
    if receipt.ended is None:
        raise SystemExit(f"it has not ended: {receipt.to_json()}")
    return {
        "found": sum(receipt.found.values()),
        "remaining": sum(receipt.remaining.values()),
        "seconds_of_dry_run": round(looked - started, 1),
        "seconds": round(ended - looked, 1),
        "mebibytes_above_load": (resident() - loaded) >> 20,
    }


async def main(nodes: int, edges: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with embedded_neo4j(folder) as server, connect(server.uri, server.auth) as database:
            results = await _erase(database, folder, nodes, edges)
    print(json.dumps({"benchmark": "erasure", "results": results}))


async def _erase(database: Database, folder: Path, nodes: int, edges: int) -> dict[str, float]:
    await database.ensure_schema()
    store = FactStore(
        database, load_shapes(), load_authorization(), pseudonyms=open_pseudonyms(folder / "key")
    )
    await load(store, nodes, edges)
    return {"nodes": nodes, "relationships": edges, **await measure(store, folder)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Erases a person from a large graph.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the facts, in under 50 seconds")
    quick = parser.parse_args().quick
    asyncio.run(main(*((10_000, 50_000) if quick else (200_000, 1_000_000))))
