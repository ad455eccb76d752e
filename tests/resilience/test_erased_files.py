"""After an erasure and the step that the documentation names, no file of the database knows the person."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from graph.administration import Administration
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database, connect
from graph.database_copy import finish_rebuild, rebuild
from graph.erasure import Erasures
from graph.journal import Journal
from graph.neo4j_server import HOME, embedded_neo4j
from graph.store import FactStore
from graph.system_reads import set_embeddings
from graph.tombstones import open_pseudonyms
from ontologies import load_authorization, load_shapes

COMPANY, ZOE = "collection:company", "person:zoe.qxmarker"
EVERYTHING = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))
MARKERS = (b"qxmarker", b"9481726", "qxmarker".encode("utf-16-le"))


def claims() -> list[Claim]:
    phone = {"name": "Contact", "homePhone": "+1 555 9481726"}
    return [
        EntityClaim(COMPANY, "Collection", COMPANY, {"name": "Company"}, ""),
        EntityClaim("person:ann", "Person", COMPANY, {"name": "Ann"}, ""),
        EntityClaim(ZOE, "Person", COMPANY, {"name": "Zoe Qxmarker", "email": "zoe@qxmarker.example"}, ""),
        EntityClaim("contact_details:zoe.qxmarker", "ContactDetails", COMPANY, phone, "qxmarker.ldif:1"),
        RelationshipClaim(ZOE, "HAS_CONTACT_DETAILS", "contact_details:zoe.qxmarker", ""),
        RelationshipClaim(ZOE, "REPORTS_TO", "person:ann", ""),
    ]


def files_with_markers(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(marker in path.read_bytes().lower() for marker in MARKERS)
    }


async def everything(database: Database) -> list[str]:
    records = await database.read(
        """MATCH (n) RETURN labels(n) AS labels, n {.*, embedding: size(n.embedding)} AS row
           UNION ALL MATCH (a)-[r]->(b) RETURN [a.id, type(r), b.id] AS labels, properties(r) AS row"""
    )
    return sorted(f"{record['labels']} {sorted(record['row'].items())}" for record in records)


async def test_no_byte_of_them_is_left_in_the_data_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with embedded_neo4j(data) as server, connect(server.uri, server.auth) as database:
        await database.ensure_schema()
        pseudonyms = open_pseudonyms(data / "keys" / "pseudonyms")
        store = FactStore(database, load_shapes(), load_authorization(), pseudonyms=pseudonyms)
        async with store.crawl(EVERYTHING, "all") as crawl:
            assert (await crawl.write(claims())).quarantined == ()
            await crawl.complete()
        await set_embeddings(database, {ZOE: [0.5] * 384, "person:ann": [0.25] * 384})
        journal = Journal(data / "administration.jsonl")
        erasures = Erasures(store, Administration(store, journal), journal, pseudonyms)
        erasure = await erasures.begin(await erasures.known(ZOE), "account:acme/root")
        assert (await erasures.carry_on(erasure)).ended is not None
        await erasures.forget(erasure)
        before = await everything(database)
    held = files_with_markers(data)
    assert held, "Neo4j's files keep what was deleted"
    assert all(file.startswith("neo4j/data/") for file in held), held
    assert await rebuild(data, lambda _: None) > 0
    assert files_with_markers(data) == set()
    assert sorted(path.name for path in data.iterdir()) == ["administration.jsonl", "keys", "neo4j"]
    async with embedded_neo4j(data) as server, connect(server.uri, server.auth) as database:
        assert await everything(database) == before
        [record] = await database.read("SHOW INDEXES YIELD state RETURN collect(DISTINCT state) AS states")
        assert record["states"] == ["ONLINE"]


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        (["neo4j/old"], "old"),
        (["neo4j/old", "rebuilt/neo4j/new"], "old"),
        (["neo4j/old", "rebuilt/neo4j/new", "rebuilt/complete"], "new"),
        (["replaced/old", "rebuilt/neo4j/new", "rebuilt/complete"], "new"),
        (["replaced/old", "neo4j/new", "rebuilt/complete"], "new"),
        (["replaced/old", "neo4j/new"], "new"),
    ],
)
def test_wherever_it_is_cut_off_one_whole_database_is_left(
    tmp_path: Path, there: list[str], kept: str
) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    finish_rebuild(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [HOME]
    assert [path.name for path in (tmp_path / HOME).iterdir()] == [kept]
