"""Erasing is the administrator's; it is on record before it takes effect, and so is its receipt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from context_manager.access_desk import AccessRefused
from context_manager.audit import verify
from context_manager.erasing import ErasureDesk, erase, finish, preview, readmit, receipts
from graph.database import Database
from graph.erasure import ErasureError, Erasures
from graph.feed import advance, current_revision
from graph.reads import Asker
from graph.store import FactStore
from graph.tombstones import open_pseudonyms
from ontologies import load_authorization, load_shapes
from tests.context_manager.test_administration import ADA, HANA, ROOT, Acme

TOM = "person:tom"


@pytest.fixture
async def acme(neo4j: Database, tmp_path: Path) -> Acme:
    made = Acme(neo4j, tmp_path)
    pseudonyms = open_pseudonyms(tmp_path / "key")
    made.store = FactStore(neo4j, load_shapes(), load_authorization(), pseudonyms=pseudonyms)
    await made.crawl()
    return made


def desk_of(acme: Acme) -> ErasureDesk:
    administration = acme.desk.administration
    pseudonyms = open_pseudonyms(acme.folder / "key")
    return ErasureDesk(acme.desk, Erasures(acme.store, administration, administration._journal, pseudonyms))


def recorded(acme: Acme) -> list[dict[str, Any]]:
    path = acme.folder / "audit.jsonl"
    verify(path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_dry_run_tells_what_would_go_and_does_nothing(acme: Acme) -> None:
    before = await current_revision(acme.store.database)
    told = await preview(desk_of(acme), ROOT, TOM)
    assert told.receipt["found"]["entities"] == 2
    assert told.receipt["found"]["claims"] == 6, (
        "he, his account, that it is his, his group, what he reads and owns"
    )
    assert await current_revision(acme.store.database) == before
    assert await acme.store.database.read("MATCH (n:_Tombstone|_Erasure) RETURN n") == []


async def test_the_intent_is_on_record_before_and_the_receipt_after(acme: Acme) -> None:
    desk = desk_of(acme)
    told = await erase(desk, ROOT, TOM, f"{TOM} asked for it")
    assert told.receipt["ended"] is not None
    intent, receipt, closing = recorded(acme)[-3:]
    subject = desk.erasures.pseudonyms.of(TOM)
    assert (intent["kind"], intent["action"]) == ("administration", "erase")
    assert intent["details"] == {"subject": subject, "reason": f"{subject} asked for it"}
    assert (receipt["kind"], receipt["found"]) == ("erasure", told.receipt["found"])
    assert closing["outcome"] == "done"
    assert [one["erasure"] for one in await receipts(desk, ROOT)] == [told.receipt["erasure"]]
    assert "audit log" in " ".join(told.notes)


async def test_a_failing_log_lets_nothing_be_erased(acme: Acme) -> None:
    desk = desk_of(acme)
    acme.desk.audit.close()
    with pytest.raises(Exception, match="audit log cannot be written"):
        await erase(desk, ROOT, TOM, "asked for it")
    assert await acme.store.database.read("MATCH (n:Person {id: $id}) RETURN n", id=TOM)


async def test_what_waits_for_a_follower_ends_later_and_its_receipt_is_on_record_then(acme: Acme) -> None:
    await advance(acme.store.database, "embeddings", 1)
    desk = desk_of(acme)
    told = await erase(desk, ROOT, TOM, "asked for it")
    assert told.receipt["ended"] is None
    assert "embeddings" in told.notes[-1]
    await finish(desk.erasures, acme.desk.audit)
    assert [one["ended"] for one in await receipts(desk, ROOT)] == [None], "not a word until it has ended"
    await advance(acme.store.database, "embeddings", await current_revision(acme.store.database))
    await finish(desk.erasures, acme.desk.audit)
    first, last = await receipts(desk, ROOT)
    assert first["erasure"] == last["erasure"]
    assert last["ended"] is not None


@pytest.mark.parametrize(
    "asker", [HANA, ADA, Asker(ROOT.account, "agent:helper")], ids=["hana", "ada", "an agent"]
)
async def test_nobody_else_can_and_it_looks_as_if_nobody_were_there(acme: Acme, asker: Asker) -> None:
    desk = desk_of(acme)
    for person in (TOM, "person:nobody"):
        with pytest.raises(AccessRefused, match="there is nothing of that name here"):
            await erase(desk, asker, person, "why not")
        with pytest.raises(AccessRefused, match="there is nothing of that name here"):
            await preview(desk, asker, person)
        with pytest.raises(AccessRefused, match="there is nothing of that name here"):
            await readmit(desk, asker, person, "why not")
    with pytest.raises(AccessRefused, match="there is nothing of that name here"):
        await receipts(desk, asker)
    assert {one["kind"] for one in recorded(acme)[-7:]} == {"administration_refused"}


async def test_what_makes_no_sense_is_refused(acme: Acme) -> None:
    desk = desk_of(acme)
    with pytest.raises(AccessRefused, match="the administrator cannot be erased"):
        await erase(desk, ROOT, "person:root", "leaving")
    with pytest.raises(AccessRefused, match="expected the id of a person"):
        await erase(desk, ROOT, "group:hr", "gone")
    with pytest.raises(AccessRefused, match="reason"):
        await erase(desk, ROOT, TOM, " ")
    with pytest.raises(ErasureError, match="nothing is known of that person"):
        await erase(desk, ROOT, "person:nobody", "asked for it")


async def test_who_was_erased_stays_out_until_they_are_readmitted(acme: Acme) -> None:
    desk = desk_of(acme)
    await erase(desk, ROOT, TOM, "asked for it")
    with pytest.raises(AssertionError):  # the crawl reports them as quarantined
        await acme.crawl()
    assert await readmit(desk, ROOT, TOM, "a mistake") == []
    await acme.crawl()
    assert await acme.store.database.read("MATCH (n:Person {id: $id}) RETURN n", id=TOM)
