"""A database that was restored from a backup grants nothing until it was crawled again."""

from datetime import timedelta
from pathlib import Path

import pytest
from neo4j import AsyncManagedTransaction

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.epoch import Witness, WitnessError, begin_epoch, check_epoch, read_witness, seen, write_witness
from graph.feed import changes, current_revision
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

COMPANY = "collection:company"
CONFIGURATION = SourcePolicy(
    "configuration", frozenset({"MAY_VIEW"}), frozenset({COMPANY}), 100, timedelta(1)
)
DIRECTORY = SourcePolicy(
    "directory", frozenset({"HAS_ACCOUNT", "MEMBER_OF"}), frozenset({COMPANY}), 50, timedelta(1)
)
ADA = "account:sample/ada"


def entity(id: str, class_name: str, **values: str) -> EntityClaim:
    return EntityClaim(id, class_name, COMPANY, {"name": id, **values}, "people.ldif")


CONFIGURED: list[Claim] = [
    entity(COMPANY, "Collection"),
    RelationshipClaim("group:staff", "MAY_VIEW", COMPANY, "sources.toml"),
]
PEOPLE: list[Claim] = [
    entity("group:staff", "Group"),
    entity("person:ada", "Person"),
    entity(ADA, "Account", issuer="sample", subject="ada"),
    RelationshipClaim("person:ada", "HAS_ACCOUNT", ADA, "people.ldif"),
    RelationshipClaim("person:ada", "MEMBER_OF", "group:staff", "people.ldif"),
]


async def crawl(store: FactStore, source: SourcePolicy, claims: list[Claim]) -> None:
    async with store.crawl(source, "all") as crawl:
        await crawl.write(claims)
        await crawl.complete()


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    await crawl(store, CONFIGURATION, CONFIGURED)
    await crawl(store, DIRECTORY, PEOPLE)
    return store


async def sees_somebody(store: FactStore) -> bool:
    authorizer = Authorizer(store.database, load(), load_authorization(), (CONFIGURATION, DIRECTORY))
    page, _ = await Reader(store.database, load(), authorizer).run(
        Asker(ADA), lambda view: view.entities("Person", 10)
    )
    return page.total > 0


async def restored_to(database: Database, revision: int) -> None:
    """As a backup that was taken at that revision would be."""

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (meta:_Meta) SET meta.revision = $revision", revision=revision)
        await tx.run("MATCH (r:_Revision) WHERE r.number > $revision DELETE r", revision=revision)
        await tx.run("MATCH (c:_Change) WHERE c.revision > $revision DELETE c", revision=revision)

    await database.write_transaction(work)


async def test_a_database_that_goes_on_where_it_was_left_is_believed(store, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    assert not await check_epoch(store.database, path)
    await crawl(store, DIRECTORY, [*PEOPLE, entity("person:ben", "Person")])
    assert not await check_epoch(store.database, path)
    assert read_witness(path) == await seen(store.database)
    assert await sees_somebody(store)


async def test_a_restored_database_grants_nothing_until_its_sources_were_crawled_again(
    store, tmp_path
) -> None:
    path = tmp_path / "graph.json"
    await check_epoch(store.database, path)
    left_at = await current_revision(store.database)
    await restored_to(store.database, left_at - 1)
    assert await check_epoch(store.database, path)
    assert not await sees_somebody(store)
    await crawl(store, CONFIGURATION, CONFIGURED)
    assert not await sees_somebody(store)
    await crawl(store, DIRECTORY, PEOPLE)
    assert await sees_somebody(store)
    assert not await check_epoch(store.database, path)


async def test_no_revision_number_is_used_again_after_a_restore(store, tmp_path) -> None:
    path = tmp_path / "graph.json"
    await check_epoch(store.database, path)
    left_at = await current_revision(store.database)
    await restored_to(store.database, left_at - 1)
    await check_epoch(store.database, path)
    assert await current_revision(store.database) == left_at + 1
    assert [revision.number for revision in await changes(store.database, left_at - 2)] == [
        left_at - 1,
        left_at + 1,
    ]


async def test_of_two_processes_one_begins_the_epoch_after_a_restore(store, tmp_path) -> None:
    """The other, started later, would else suspend what was crawled since."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    await check_epoch(store.database, one)
    await check_epoch(store.database, two)
    await restored_to(store.database, await current_revision(store.database) - 1)
    assert await check_epoch(store.database, one)
    await crawl(store, CONFIGURATION, CONFIGURED)
    await crawl(store, DIRECTORY, PEOPLE)
    assert not await check_epoch(store.database, two)
    assert await sees_somebody(store)


async def test_another_database_than_the_one_that_was_left_is_not_believed_either(store, tmp_path) -> None:
    write_witness(tmp_path / "graph.json", Witness("of another database", 1))
    assert await check_epoch(store.database, tmp_path / "graph.json")
    assert not await sees_somebody(store)


async def test_a_restore_can_be_declared_where_nothing_shows_it(store) -> None:
    before = await seen(store.database)
    after = await begin_epoch(store.database, 0)
    assert (after.epoch != before.epoch, after.revision) == (True, before.revision + 1)
    assert not await sees_somebody(store)


@pytest.mark.parametrize("content", ["", "{}", '{"epoch": 1, "revision": 2}', "[]", "\0"])
async def test_a_witness_that_is_broken_is_not_taken_for_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "graph.json"
    path.write_text(content)
    with pytest.raises(WitnessError, match=r"graph\.json: expected the epoch.*orgraph restored"):
        read_witness(path)
