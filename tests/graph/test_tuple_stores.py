"""Stores of applications: a write is all or nothing, and memory is what the disk says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from graph import stored_tuples
from graph.database import Database
from graph.rebac.relation_tuples import TupleKey
from graph.stored_tuples import (
    AbsentTupleError,
    ChangeFilter,
    ConflictingTupleError,
    PresentTupleError,
    TupleFilter,
    TupleWrite,
)
from graph.tuple_store_records import StoreGoneError
from graph.tuple_stores import TupleStores
from ontologies.authorization_model import ModelError

MODEL = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "user"},
        {
            "type": "doc",
            "relations": {"viewer": {"this": {}}},
            "metadata": {"relations": {"viewer": {"directly_related_user_types": [{"type": "user"}]}}},
        },
    ],
}
ADA, EVE = (TupleKey(f"user:{name}", "viewer", "doc:1") for name in ("ada", "eve"))
BY = "account:acme/ada"


@pytest.fixture
async def stores(neo4j: Database) -> TupleStores:
    return TupleStores(neo4j)


async def new_store(stores: TupleStores) -> str:
    return (await stores.create("a store", BY)).id


async def in_memory(stores: TupleStores, id: str) -> set[str]:
    [store] = [one for one in (await stores.list(None, "", "", 100)).items if one.id == id]
    return {f"{key.object}#{key.relation}@{key.user}" for key in await stores.index(store)}


async def on_disk(stores: TupleStores, id: str) -> list[TupleKey]:
    return [one.key for one in (await stores.read(id, TupleFilter(), 0, 1000)).items]


async def test_what_is_written_is_on_disk_and_in_memory_also_after_a_restart(neo4j: Database) -> None:
    stores = TupleStores(neo4j)
    id = await new_store(stores)
    conditional = TupleKey("user:cy", "viewer", "doc:2", "office", {"hours": [9, 17], "where": "é"})
    await stores.write(id, TupleWrite([ADA, EVE, conditional]), BY)
    await stores.write(id, TupleWrite(deletes=[EVE]), BY)
    for process in (stores, TupleStores(neo4j)):
        assert await in_memory(process, id) == {"doc:1#viewer@user:ada", "doc:2#viewer@user:cy"}
        kept = (await on_disk(process, id))[1]
        assert (kept.condition, dict(kept.context)) == ("office", {"hours": [9, 17], "where": "é"})


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (TupleWrite([EVE, ADA]), PresentTupleError),
        (TupleWrite([EVE], deletes=[TupleKey("user:nobody", "viewer", "doc:1")]), AbsentTupleError),
        (
            TupleWrite([EVE, TupleKey(ADA.user, "viewer", "doc:1", "office")], ignore_present=True),
            ConflictingTupleError,
        ),
    ],
    ids=["present", "absent", "other condition"],
)
async def test_a_write_that_fails_in_one_tuple_changes_nothing(
    stores: TupleStores, write: TupleWrite, error: type[Exception]
) -> None:
    id = await new_store(stores)
    await stores.write(id, TupleWrite([ADA]), BY)
    with pytest.raises(error):
        await stores.write(id, write, BY)
    assert await on_disk(stores, id) == [ADA]
    assert await in_memory(stores, id) == {"doc:1#viewer@user:ada"}
    assert len((await stores.changes(id, ChangeFilter(), 0, 100)).items) == 1


async def test_what_is_to_be_ignored_is_passed_over(stores: TupleStores) -> None:
    id = await new_store(stores)
    await stores.write(id, TupleWrite([ADA]), BY)
    await stores.write(id, TupleWrite([ADA, EVE], ignore_present=True), BY)
    await stores.write(id, TupleWrite(deletes=[ADA], ignore_absent=True), BY)
    await stores.write(id, TupleWrite(deletes=[ADA], ignore_absent=True), BY)
    assert await on_disk(stores, id) == [EVE]
    changes = (await stores.changes(id, ChangeFilter(), 0, 100)).items
    assert [(change.key.user, change.deleted) for change in changes] == [
        ("user:ada", False),
        ("user:eve", False),
        ("user:ada", True),
    ]


async def test_a_kill_between_the_commit_and_memory_loses_nothing(
    stores: TupleStores, neo4j: Database
) -> None:
    """What is committed without this process having followed it is there at its next question."""
    id = await new_store(stores)
    await stores.write(id, TupleWrite([ADA]), BY)
    assert await in_memory(stores, id) == {"doc:1#viewer@user:ada"}
    await stored_tuples.write(neo4j, id, [TupleWrite([EVE], [ADA])], [BY], datetime.now(UTC))
    assert await in_memory(stores, id) == {"doc:1#viewer@user:eve"}


async def test_writes_that_share_a_transaction_are_as_if_each_had_its_own(stores: TupleStores) -> None:
    id = await new_store(stores)
    await stores.write(id, TupleWrite([EVE]), BY)
    under = TupleKey(EVE.user, EVE.relation, EVE.object, "c", {"x": 1})
    results = await asyncio.gather(
        stores.write(id, TupleWrite([ADA]), BY),  # takes its turn alone, the others gather meanwhile
        stores.write(id, TupleWrite([], [EVE]), "account:acme/eve"),
        stores.write(id, TupleWrite([], [ADA]), BY),
        stores.write(id, TupleWrite([under]), BY),
        stores.write(id, TupleWrite([ADA]), BY),
        stores.write(id, TupleWrite([], [ADA]), BY),
    )
    assert results == [None] * 6
    assert await on_disk(stores, id) == [under]
    assert await in_memory(stores, id) == await in_memory(TupleStores(stores.database), id)
    logged = (await stores.changes(id, ChangeFilter(), 0, 100)).items[1:]
    assert [(one.key.user, one.deleted) for one in logged] == [
        ("user:ada", False),
        ("user:eve", True),
        ("user:ada", True),
        ("user:eve", False),
        ("user:ada", False),
        ("user:ada", True),
    ]


async def test_a_write_that_is_refused_refuses_none_beside_it(stores: TupleStores) -> None:
    id = await new_store(stores)
    await stores.write(id, TupleWrite([ADA]), BY)
    others = [TupleKey(f"user:{number}", "viewer", "doc:1") for number in range(3)]
    results = await asyncio.gather(
        *(stores.write(id, TupleWrite([key]), BY) for key in (others[0], ADA, *others[1:])),
        return_exceptions=True,
    )
    assert [type(one) for one in results] == [type(None), PresentTupleError, type(None), type(None)]
    assert set(await on_disk(stores, id)) == {ADA, *others}


async def test_processes_that_write_at_once_agree(neo4j: Database) -> None:
    one, other = TupleStores(neo4j), TupleStores(neo4j)
    id = await new_store(one)
    keys = [TupleKey(f"user:{number}", "viewer", "doc:1") for number in range(20)]
    await asyncio.gather(
        *(
            process.write(id, TupleWrite([key]), BY)
            for key, process in zip(keys, [one, other] * 10, strict=True)
        )
    )
    results = await asyncio.gather(
        *(process.write(id, TupleWrite([ADA]), BY) for process in (one, other, one)), return_exceptions=True
    )
    assert sum(isinstance(result, PresentTupleError) for result in results) == 2
    assert await in_memory(one, id) == await in_memory(other, id)
    assert len(await in_memory(one, id)) == 21


async def test_reads_are_filtered_and_paged_in_the_order_of_writing(stores: TupleStores) -> None:
    id = await new_store(stores)
    keys = [TupleKey(f"user:{n % 3}", "viewer", f"doc:{n}") for n in range(9)]
    for start in range(0, 9, 3):
        await stores.write(id, TupleWrite(keys[start : start + 3]), BY)
    seen, after, more = [], 0, True
    while more:
        page = await stores.read(id, TupleFilter(), after, 2)
        seen += [one.key for one in page.items]
        after, more = page.last, page.more
    assert seen == keys

    async def found(**filter: str) -> list[str]:
        return [one.key.object for one in (await stores.read(id, TupleFilter(**filter), 0, 100)).items]

    assert await found(object="doc:4") == ["doc:4"]
    assert await found(object="doc:4", user="user:0") == []
    assert await found(object="doc:", user="user:0") == ["doc:0", "doc:3", "doc:6"]
    assert await found(object="do:", user="user:0") == []
    assert await found(object="doc:", user="user:0", relation="editor") == []


async def test_changes_are_paged_and_filtered(stores: TupleStores) -> None:
    id = await new_store(stores)
    mixed = [ADA, TupleKey("user:ada", "viewer", "folder:1"), EVE]
    await stores.write(id, TupleWrite(mixed), BY)
    await stores.write(id, TupleWrite(deletes=[EVE]), BY)
    seen, after, more = [], 0, True
    while more:
        page = await stores.changes(id, ChangeFilter("doc"), after, 1)
        seen += [(one.key.user, one.deleted) for one in page.items]
        after, more = page.last, page.more
    assert seen == [("user:ada", False), ("user:eve", False), ("user:eve", True)]
    later = ChangeFilter(since=datetime.now(UTC) + timedelta(minutes=1))
    assert (await stores.changes(id, later, 0, 10)).items == []


async def test_models_stay_as_they_were_written_and_the_newest_is_first(stores: TupleStores) -> None:
    id = await new_store(stores)
    ids = [await stores.write_model(id, MODEL, BY) for _ in range(3)]
    page = await stores.models(id, 0, 2)
    assert [one.id for one in page.items] == ids[:0:-1]
    assert [one.id for one in (await stores.models(id, page.last, 2)).items] == ids[:1]
    assert (await stores.list(BY, "", "", 10)).items[0].model == ids[-1]
    model = await stores.model(id, ids[0])
    assert model is not None
    assert set(model.types) == {"user", "doc"}
    assert await stores.model(await new_store(stores), ids[0]) is None, "it is another store's"
    with pytest.raises(ModelError):
        await stores.write_model(id, {"schema_version": "1.1", "type_definitions": [{"type": ""}]}, BY)


async def test_a_deleted_store_is_gone_with_all_that_it_held(stores: TupleStores, neo4j: Database) -> None:
    id, other = await new_store(stores), await new_store(stores)
    for one in (id, other):
        model = await stores.write_model(one, MODEL, BY)
        await stores.write(one, TupleWrite([ADA]), BY)
        await stores.write_assertions(one, model, [{"expectation": True}])
    await stores.delete(id)
    with pytest.raises(StoreGoneError):
        await stores.write(id, TupleWrite([EVE]), BY)
    left = await neo4j.read("MATCH (n) WHERE n.store = $id OR n.id = $id RETURN n", id=id)
    assert left == []
    assert await on_disk(stores, other) == [ADA]


async def test_a_deletion_that_was_cut_short_is_finished(stores: TupleStores, neo4j: Database) -> None:
    id = await new_store(stores)
    await stores.write(id, TupleWrite([ADA]), BY)

    async def mark(tx) -> None:
        await tx.run("MATCH (s:_TupleStore {id: $id}) SET s.deletedAt = datetime()", id=id)

    await neo4j.write_transaction(mark)
    assert (await stores.list(None, "", "", 10)).items == []
    await TupleStores(neo4j).finish_deletions()
    assert await neo4j.read("MATCH (n) WHERE n:_StoreTuple OR n:_TupleStore RETURN n") == []
