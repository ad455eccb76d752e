"""A person is erased from every place where they are, and does not come back unnoticed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from neo4j.exceptions import ServiceUnavailable

from graph import erasure as module
from graph.access_entries import AccessEntry, Kind
from graph.administration import POLICY, Administration
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy, Value, WriteReport
from graph.database import INDEXED, Database
from graph.epoch import begin_epoch
from graph.erasure import ErasureError, Erasures, Receipt
from graph.feed import advance, changes, current_revision, position
from graph.inferred import Reasoner
from graph.journal import Journal
from graph.lease import LeaseLostError
from graph.past import When
from graph.quarantine import quarantined
from graph.reads import Asker, Reader
from graph.reasoning import compile_rules
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.store import FactStore
from graph.stored_tuples import TupleWrite
from graph.system_reads import set_embeddings
from graph.tombstones import RULE, PseudonymKeyError, open_pseudonyms
from graph.tuple_stores import TupleStores
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from tests.graph.everything import everything

COMPANY, HR = "collection:company", "collection:hr"
GRANTS = frozenset(t for t, r in load().relationships.items() if r.access_bearing)
DAY = timedelta(days=1)
CONFIGURATION = SourcePolicy("configuration", GRANTS, frozenset({COMPANY, HR}), 50, DAY)
DIRECTORY = SourcePolicy("directory", GRANTS, frozenset({COMPANY, HR}), 40, DAY)
WIKI = SourcePolicy("wiki", frozenset(), frozenset({COMPANY}), 10, DAY)

#: What must be nowhere afterwards. The name and the mail stand in a document, too.
ZOE, ACCOUNT = "person:zoe.qxmarker", "account:acme/zoe.qxmarker"
PHONE, SALARY, OLD_MAIL, MAIL = "+1 555 9481726", 91827364, "zoe.old@qxmarker.example", "zoe@qxmarker.example"
MARKERS = re.compile(r"qxmarker|9481726|91827364", re.IGNORECASE)


def entity(id: str, collection: str = COMPANY, name: str = "", **values: Value) -> EntityClaim:
    class_name = load().class_of_type(id.partition(":")[0]).name
    return EntityClaim(id, class_name, collection, {"name": name or id, **values}, f"{id} line 7")


def relation(start: str, type_: str, end: str, **more: Any) -> RelationshipClaim:
    return RelationshipClaim(start, type_, end, f"{start} line 8", **more)


def account(name: str) -> list[Claim]:
    id = f"account:acme/{name}"
    return [
        entity(id, issuer="acme", subject=name),
        relation(f"person:{name}", "HAS_ACCOUNT", id),
    ]


OTHERS: list[Claim] = [
    entity(COMPANY),
    entity(HR, HR),
    entity("organization:acme"),
    *(entity(f"person:{name}") for name in ("root", "bob")),
    *account("root"),
    *account("bob"),
    entity("organizational_unit:a"),
    entity("organizational_unit:b"),
    entity("organizational_unit:c"),
    relation("organizational_unit:a", "PART_OF", "organizational_unit:b"),
    relation("organizational_unit:b", "PART_OF", "organizational_unit:c"),
    relation("person:root", "MAY_VIEW", COMPANY),
    relation("person:bob", "MAY_VIEW", COMPANY),
    relation("person:root", "MAY_VIEW", HR),
]


def zoe(mail: str = MAIL, **more: Value) -> list[Claim]:
    """As the directory lists her."""
    return [
        entity(ZOE, name="Zoe Qxmarker", email=mail, jobTitle="Analyst", **more),
        *account("zoe.qxmarker"),
        entity("contact_details:zoe.qxmarker", HR, homePhone=PHONE),
        entity("compensation:zoe.qxmarker", HR, annualSalary=SALARY, currency="USD"),
        relation(ZOE, "HAS_CONTACT_DETAILS", "contact_details:zoe.qxmarker"),
        relation(ZOE, "HAS_COMPENSATION", "compensation:zoe.qxmarker"),
        relation(ZOE, "REPORTS_TO", "person:root"),
        relation("person:bob", "REPORTS_TO", ZOE),
        relation(ZOE, "LEADS", "organizational_unit:a"),
        relation(ZOE, "MAY_VIEW", COMPANY),
    ]


@dataclass
class Acme:
    """An organization in a database, with what decides by hand beside it."""

    store: FactStore
    folder: Path
    journal: Journal

    @property
    def by_hand(self) -> Administration:
        return Administration(self.store, self.journal)

    @property
    def erasures(self) -> Erasures:
        return Erasures(self.store, self.by_hand, self.journal, open_pseudonyms(self.folder / "key"))

    async def crawl(self, claims: list[Claim], policy: SourcePolicy = DIRECTORY) -> WriteReport:
        async with self.store.crawl(policy, "all") as crawl:
            report = await crawl.write(claims)
            await crawl.complete()
        return report

    async def erase(self, person: str = ZOE) -> Receipt:
        known = await self.erasures.known(person)
        erasure = await self.erasures.begin(known, "account:acme/root")
        receipt = await self.erasures.carry_on(erasure)
        if receipt.ended is not None:
            await self.erasures.forget(erasure)
        return receipt

    def reader(self) -> Reader:
        database, policies = self.store.database, (CONFIGURATION, DIRECTORY, WIKI, POLICY)
        return Reader(
            database,
            load(),
            Authorizer(database, load(), load_authorization(), policies),
            self.erasures.pseudonyms,
        )

    async def told(self, name: str, id: str, as_of: int | None = None) -> str | None:
        """The name that an entity has for somebody; None where it is not there for them."""
        asker = Asker(f"account:acme/{name}")
        found, _ = await self.reader().run(asker, lambda view: view.entity(id), When(as_of))
        return None if found is None else found.name

    async def everything(self) -> dict[str, list[str]]:
        return await everything(self.store.database)


@pytest.fixture
async def acme(neo4j: Database, tmp_path: Path) -> Acme:
    key = open_pseudonyms(tmp_path / "key")
    store = FactStore(neo4j, load_shapes(), load_authorization(), pseudonyms=key)
    made = Acme(store, tmp_path, Journal(tmp_path / "administration.jsonl"))
    await made.crawl(OTHERS, CONFIGURATION)
    await made.by_hand.reconcile(restored=False)
    return made


def decision(id: str, kind: Kind, **more: Any) -> AccessEntry:
    subject, object_ = (ZOE, HR) if kind != "disabling" else ("organization:acme", ACCOUNT)
    now = datetime.now(UTC)
    made = AccessEntry(id, kind, subject, object_, f"about {ZOE}", "account:acme/root", now)
    return replace(made, **more)


async def everywhere(acme: Acme) -> TupleStores:
    """She is put into every place that there is."""
    await acme.crawl(zoe(OLD_MAIL))
    await acme.crawl([*zoe(), entity("document:cv", name="CV of Zoe Qxmarker")])
    wiki: list[Claim] = [
        entity(ZOE, name="Zoë", email="wiki@qxmarker.example"),
        entity("document:wiki"),
        entity("passage:wiki/1", text=f"Ask Zoe Qxmarker ({MAIL}) about it.", position=1),
        relation("document:wiki", "HAS_PASSAGE", "passage:wiki/1"),
        relation("passage:wiki/1", "MENTIONS", ZOE),
        relation(ZOE, "WORKS_IN", "organizational_unit:unheard-of"),
        entity("organizational_unit:later"),
        relation(ZOE, "LEADS", "organizational_unit:later", valid_from=datetime.now(UTC) + DAY),
        entity("organizational_unit:wrong", nonsense=MAIL),
        relation(ZOE, "HAS_ACCOUNT", "account:acme/bob"),
    ]
    await acme.crawl(wiki, WIKI)
    database = acme.store.database
    for kind in ("grant", "denial", "disabling"):
        await acme.by_hand.decide(decision(kind, kind))  # type: ignore[arg-type]
    bob = decision("bob", "denial", subject="person:bob", by=ACCOUNT)
    await acme.by_hand.decide(bob)
    await acme.by_hand.decide(decision("past", "denial", until=datetime.now(UTC) + DAY))
    await acme.by_hand.end([decision("past", "denial")], "account:acme/root", "a mistake")
    reasoner = Reasoner(database, compile_rules(load()))
    await reasoner.build()
    await set_embeddings(database, {ZOE: [0.5] * 384, "passage:wiki/1": [0.5] * 384})
    stores = TupleStores(database)
    made = await stores.create("app", ACCOUNT)
    keys = [TupleKey(ACCOUNT, "viewer", "doc:1"), TupleKey("user:bob", "viewer", f"profile:{MAIL}")]
    await stores.write(made.id, TupleWrite(keys), ACCOUNT)
    await stores.write(made.id, TupleWrite([TupleKey(f"{ACCOUNT}#friend", "editor", "doc:2")]), ACCOUNT)

    async def record(tx: Any) -> None:
        await tx.run(
            "CREATE (:_Run {source: 'directory', problems: $problems})",
            problems=[f"line 3: {ZOE}: no such unit", f"line 4: expected a date, found {PHONE}"],
        )
        await tx.run("CREATE (:_Hold {source: 'directory', why: $why})", why=f"{ZOE} would go")
        await tx.run("CREATE (:_Move {id: $id})", id=ZOE)

    await database.write_transaction(record)
    return stores


def allowed(label: str, text: str) -> bool:
    """The text of documents stays: the passage about her, and the document that is named for her."""
    content = label in {"Document", "Entity", "_Page", "_Change"} or label.startswith("_Version")
    return content and ("passage:wiki/1" in text or "document:cv" in text) and ZOE not in text


async def test_no_place_keeps_anything_of_them_but_what_documents_say(acme: Acme) -> None:
    await everywhere(acme)
    before = await acme.everything()
    filled = {label for label, texts in before.items() if any(map(MARKERS.search, texts))}
    assert filled >= {
        *(
            "_Page",
            "_Change",
            "_Version",
            "_Claimed",
            "_Aside",
            "_Bound",
            "_Quarantined",
            "_AccessEntry",
            "_Run",
            "_Hold",
        ),
        *("_Move", "_TupleStore", "_StoreTuple", "_StoreChange", "Agent", "Entity", "LEADS", "MENTIONS"),
    }
    receipt = await acme.erase()
    assert receipt.ended is not None
    assert receipt.remaining == {}
    left = [
        (label, text)
        for label, texts in (await acme.everything()).items()
        for text in texts
        if MARKERS.search(text) and not allowed(label, text)
    ]
    assert left == []
    journal = (acme.folder / "administration.jsonl").read_text(encoding="utf-8")
    assert MARKERS.search(journal) is None
    assert receipt.found.keys() >= {
        *("entities", "relationships", "claims", "history", "facts aside", "changes", "quarantine"),
        *("access by hand", "records of crawls", "held crawls", "tuples of applications"),
    }
    assert receipt.content["entities"] == 2
    assert MARKERS.search(str(receipt.to_json())) is None


async def test_what_is_about_others_is_as_it_was(acme: Acme) -> None:
    def others(everything: dict[str, list[str]]) -> list[str]:
        told = [text for label, texts in everything.items() if not label.startswith("_") for text in texts]
        return sorted(re.sub(r"since=\d+|pages=\S+", "", text) for text in told if not MARKERS.search(text))

    await everywhere(acme)
    before = others(await acme.everything())
    await acme.erase()
    assert others(await acme.everything()) == before
    assert (await acme.crawl(OTHERS, CONFIGURATION)).unchanged == len(OTHERS)


async def test_the_indexes_no_longer_find_them(acme: Acme) -> None:
    await everywhere(acme)
    words = (
        INDEXED + "CALL db.index.fulltext.queryNodes('entity_text', $text) YIELD node RETURN node.id AS id"
    )
    near = """CYPHER 25 MATCH (n:Entity)
              SEARCH n IN (VECTOR INDEX entity_embedding FOR $vector LIMIT 10) RETURN n.id AS id"""
    database = acme.store.database

    async def found() -> set[str]:
        by_words = await database.read(words, text='"Qxmarker" OR "zoe.qxmarker" OR "Zoë"')
        by_meaning = await database.read(near, vector=[0.5] * 384)
        return {record["id"] for record in (*by_words, *by_meaning)}

    await database.read("CALL db.index.fulltext.awaitEventuallyConsistentIndexRefresh()")
    assert await found() >= {ZOE, "passage:wiki/1"}
    await acme.erase()
    assert await found() == {"passage:wiki/1", "document:cv"}


async def test_who_could_have_seen_them_reads_that_they_were_erased(acme: Acme) -> None:
    await everywhere(acme)
    then = await current_revision(acme.store.database)
    assert await acme.told("bob", ZOE) == "Zoe Qxmarker"
    await acme.erase()
    now = await current_revision(acme.store.database)
    assert await acme.told("bob", ZOE, then) == "erased"
    assert await acme.told("root", "compensation:zoe.qxmarker", then) == "erased"
    assert await acme.told("bob", "compensation:zoe.qxmarker", then) is None
    assert await acme.told("bob", ZOE) is None
    assert await acme.told("bob", ZOE, now) is None
    assert await acme.told("bob", ZOE, 1) is None, "nothing was known of her yet"
    page, _ = await acme.reader().run(
        Asker("account:acme/bob"), lambda view: view.entities("Person", 50), When(then)
    )
    assert sorted(one.name for one in page.items) == ["erased", "person:bob", "person:root"]
    told = [change for revision in await changes(acme.store.database, 0) for change in revision.changes]
    assert {one.id for one in told if one.kind == "erased"} == {acme.erasures.pseudonyms.of(ZOE)}
    numbers = [revision.number for revision in await changes(acme.store.database, 0)]
    assert numbers == list(range(1, now + 1))


async def test_the_next_crawl_does_not_bring_them_back_unnoticed(acme: Acme) -> None:
    await everywhere(acme)
    await acme.erase()
    for _ in range(2):
        report = await acme.crawl([*zoe(), entity("organizational_unit:new")])
        assert {one.shape for one in report.quarantined} == {RULE}
    kept_out = await quarantined(acme.store.database, "directory")
    refused = [one for one in kept_out if one.violation.shape == RULE]
    assert len(refused) == 4, "she, her account, and the two satellites: each once, not each relationship"
    texts = await acme.everything()
    assert not [text for text in texts["_Quarantined"] if MARKERS.search(text)]
    assert await acme.told("bob", "organizational_unit:new") == "organizational_unit:new"


async def test_after_readmission_the_next_crawl_brings_them_back_and_denials_hold(acme: Acme) -> None:
    stores = await everywhere(acme)
    await acme.erase()
    await acme.crawl(zoe())
    [still_out] = await acme.erasures.readmit(ZOE)
    assert still_out == acme.erasures.pseudonyms.of(ACCOUNT), "it was disabled by hand"
    await acme.crawl(zoe())
    assert await acme.told("bob", ZOE) == "Zoe Qxmarker"
    assert await acme.told("bob", ACCOUNT) is None
    assert await acme.erasures.readmit(ACCOUNT) == []
    report = await acme.crawl(zoe())
    assert report.quarantined == ()
    found = {
        record["fact"]
        for record in await acme.store.database.read(
            """MATCH (a)-[r]->(b) WHERE type(r) IN ['GRANTED_VIEW', 'DENIED_VIEW', 'DISABLES']
               RETURN a.id + ' ' + type(r) + ' ' + b.id AS fact"""
        )
    }
    assert found == {
        f"{ZOE} DENIED_VIEW {HR}",
        f"person:bob DENIED_VIEW {HR}",
        f"organization:acme DISABLES {ACCOUNT}",
    }, "what she was granted by hand ended with her erasure"
    [made] = (await stores.list(None, "app", "", 10)).items
    assert has_tuple(await stores.index(made), ACCOUNT)
    with pytest.raises(ErasureError, match="nobody of that id was erased"):
        await acme.erasures.readmit(ZOE)


def has_tuple(index: TupleIndex, user: str) -> bool:
    """Whether the application lets the user view its first document."""
    return index.get(user, "viewer", "doc:1") is not None


async def test_memory_of_an_applications_store_follows(acme: Acme) -> None:
    stores = await everywhere(acme)
    [made] = (await stores.list(None, "app", "", 10)).items
    assert has_tuple(await stores.index(made), ACCOUNT)
    await acme.erase()
    [made] = (await stores.list(None, "app", "", 10)).items
    index = await stores.index(made)
    assert not has_tuple(index, ACCOUNT)
    assert has_tuple(index, acme.erasures.pseudonyms.of(ACCOUNT))


async def test_a_crawl_that_was_under_way_writes_no_more(acme: Acme) -> None:
    await acme.crawl(zoe())
    async with acme.store.crawl(DIRECTORY, "all") as crawl:
        await acme.erase()
        with pytest.raises(LeaseLostError, match="or somebody was erased"):
            await crawl.write(zoe(OLD_MAIL))
        with pytest.raises(LeaseLostError, match="or somebody was erased"):
            await crawl.complete()
    assert await acme.told("root", ZOE) is None


async def test_it_ends_only_when_every_follower_has_heard_of_it(acme: Acme) -> None:
    await acme.crawl(zoe())
    await advance(acme.store.database, "embeddings", 1)
    receipt = await acme.erase()
    assert (receipt.ended, receipt.waits_for) == (None, ("embeddings",))
    reached = await position(acme.store.database, "embeddings")
    gone = [c.id for r in await changes(acme.store.database, reached) for c in r.changes if c.after is None]
    assert ZOE in gone, "a follower is told what to drop"
    await advance(acme.store.database, "embeddings", await current_revision(acme.store.database))
    [pending] = await acme.erasures.pending()
    receipt = await acme.erasures.carry_on(pending)
    assert receipt.ended is not None
    await acme.erasures.forget(pending)
    assert not [
        text for texts in (await acme.everything()).values() for text in texts if MARKERS.search(text)
    ]


STEPS = ("take_facts", "_outbox", "rewrite", "_rewrite_records", "rewrite_tuples", "mentions")


@pytest.mark.parametrize("cut_off_before", STEPS)
async def test_what_was_cut_off_goes_on_at_the_next_start(
    acme: Acme, cut_off_before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acme.crawl(zoe())
    await acme.by_hand.decide(decision("1", "denial"))
    known = await acme.erasures.known(ZOE)
    erasure = await acme.erasures.begin(known, "account:acme/root")

    async def cut_off(*_arguments: Any, **_more: Any) -> None:
        raise ServiceUnavailable("killed")

    targets: dict[str, tuple[Any, str]] = {
        "take_facts": (module.steps, "take_facts"),
        "_outbox": (Erasures, "_outbox"),
        "rewrite": (Administration, "rewrite"),
        "_rewrite_records": (Erasures, "_rewrite_records"),
        "rewrite_tuples": (module.stored_tuples, "rewrite"),
        "mentions": (module, "mentions"),
    }
    with monkeypatch.context() as patched, pytest.raises(ServiceUnavailable):
        patched.setattr(*targets[cut_off_before], cut_off)
        await acme.erasures.carry_on(erasure)
    assert await acme.erasures.pending() == [erasure]
    receipt = await acme.erasures.carry_on(erasure)
    assert receipt.ended is not None
    assert receipt.found == dict(known.found.own)
    await acme.erasures.forget(erasure)
    assert await acme.erasures.pending() == []


async def test_a_database_from_before_the_erasure_is_put_right_by_the_journal(
    acme: Acme, neo4j: Database
) -> None:
    await acme.crawl(zoe())
    await acme.erase()

    async def restore(tx: Any) -> None:
        await tx.run("MATCH (n) WHERE n:_Tombstone OR n:_Version DELETE n")

    await neo4j.write_transaction(restore)
    await acme.crawl(zoe())
    await begin_epoch(neo4j, await current_revision(neo4j))
    assert await neo4j.read("MATCH (n:Person {id: $id}) RETURN n", id=ZOE)
    [pending] = await acme.erasures.pending()
    receipt = await acme.erasures.carry_on(pending)
    assert receipt.ended is not None
    assert not await neo4j.read("MATCH (n:Person {id: $id}) RETURN n", id=ZOE)
    assert (await acme.crawl(zoe())).quarantined


async def test_an_account_that_is_somebody_elses_by_now_stays(acme: Acme) -> None:
    await acme.crawl([entity(ZOE), *account("zoe.qxmarker")])
    passed = [entity("person:max"), entity(ACCOUNT, issuer="acme", subject="zoe.qxmarker")]
    await acme.crawl([entity(ZOE), *passed, relation("person:max", "HAS_ACCOUNT", ACCOUNT)])
    known = await acme.erasures.known(ZOE)
    assert known.shared == (ACCOUNT,)
    await acme.erase()
    assert await acme.store.database.read(
        "MATCH (:Person {id: 'person:max'})-->(a {id: $id}) RETURN a", id=ACCOUNT
    )


async def test_nothing_is_erased_of_whom_nothing_is_known(acme: Acme) -> None:
    with pytest.raises(ErasureError, match="nothing is known"):
        await acme.erasures.known("person:nobody")


async def test_without_the_key_nobody_is_let_in(acme: Acme) -> None:
    await acme.crawl(zoe())
    await acme.erase()
    keyless = FactStore(acme.store.database, load_shapes(), load_authorization())
    with pytest.raises(PseudonymKeyError, match="use the data folder"):
        async with keyless.crawl(DIRECTORY, "all"):
            pass
    (acme.folder / "key").write_bytes(b"short")
    with pytest.raises(PseudonymKeyError, match="restore the file"):
        open_pseudonyms(acme.folder / "key")
