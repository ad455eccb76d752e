"""Batches of a crawl of which the next waits for the lock while the one before is committed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from neo4j.exceptions import TransientError

from graph import store as fact_store
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy, WriteReport
from graph.crawl import Crawl
from graph.database import Database
from graph.order import Outcome
from graph.pages import ROOM
from graph.store import FactStore
from graph.turns import Turn
from graph.writer import carry_out_turn
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
CONFIGURATION = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))
DIRECTORY = SourcePolicy("directory", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))
#: More than may share a transaction, and no whole number of pages.
MANY = 130


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    async with store.crawl(CONFIGURATION, "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "sources.toml")])
    return store


def people(batch: int, count: int = MANY) -> list[Claim]:
    keys = [f"{batch}-{number}" for number in range(count)]
    return [EntityClaim(f"person:{key}", "Person", COMPANY, {"name": key}, f"line {key}") for key in keys]


async def each(of: Sequence[Sequence[Claim]]) -> AsyncIterator[Sequence[Claim]]:
    for batch in of:
        yield batch


async def written(crawl: Crawl, of: Sequence[Sequence[Claim]]) -> list[WriteReport]:
    return [report async for report in crawl.write_each(each(of))]


async def stands(store: FactStore) -> tuple[int, int, int]:
    """People, claims on them in pages, and the fullest page."""
    [found] = await store.database.read(
        """MATCH (p:_Page {source: 'directory'})
           RETURN COUNT { (:Person) } AS people, sum(p.count) AS claims, max(p.count) AS most"""
    )
    return found["people"], found["claims"], found["most"]


async def test_each_follows_from_what_became_of_the_one_before(store: FactStore) -> None:
    # Small ones, which may share a transaction and fill the last page, between large ones.
    batches = [people(0), people(1), people(2, 7), people(3), people(4, 0), people(5, 20), people(6)]
    count = sum(map(len, batches))
    async with store.crawl(DIRECTORY, "people") as crawl:
        reports = await written(crawl, batches)
        assert [report.added for report in reports] == list(map(len, batches))
        revisions = [report.revision for report in reports]
        assert revisions == sorted(revisions)
        assert len(set(revisions)) == len(batches) - 1  # nothing takes none
        assert (await crawl.complete()).retracted == 0
    people_, claims, most = await stands(store)
    assert (people_, claims) == (count, count)
    assert most <= ROOM
    async with store.crawl(DIRECTORY, "people") as crawl:
        assert sum(one.unchanged for one in await written(crawl, batches)) == count


async def test_none_is_written_after_one_that_failed(
    store: FactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = asyncio.Event()

    async def fails(tx, schema, turn: Turn, now) -> Outcome:
        if turn.order.new.keys() == {claim.id for claim in people(1)}:  # type: ignore[union-attr]  # entities
            await carry_out_turn(tx, schema, turn, now)
            await asyncio.wait_for(waits.wait(), 30)  # the next is there, and waits for the lock
            raise OSError("cut off")
        if turn.order.new.keys() == {claim.id for claim in people(2)}:  # type: ignore[union-attr]  # entities
            waits.set()
        return await carry_out_turn(tx, schema, turn, now)

    async with store.crawl(DIRECTORY, "people") as crawl:
        with monkeypatch.context() as patch:
            patch.setattr(fact_store, "carry_out_turn", fails)
            with pytest.raises(OSError, match="cut off"):
                await written(crawl, [people(0), people(1), people(2), people(3)])
        assert (await stands(store))[0] == MANY
        # What was not written may be said again in the same crawl.
        reports = await written(crawl, [people(1), people(2)])
        assert [report.added for report in reports] == [MANY, MANY]
        assert (await crawl.complete()).retracted == 0


async def test_one_that_is_begun_anew_gets_the_lock_from_the_one_behind_it(
    store: FactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = asyncio.Event()
    tries = 0

    async def once(tx, schema, turn: Turn, now) -> Outcome:
        nonlocal tries
        if turn.order.new.keys() == {claim.id for claim in people(0)}:  # type: ignore[union-attr]  # entities
            tries += 1
            outcome = await carry_out_turn(tx, schema, turn, now)
            if tries == 1:
                await asyncio.wait_for(behind.wait(), 30)
                raise TransientError("Neo.TransientError.Transaction.Terminated", "try again")
            return outcome
        behind.set()
        return await carry_out_turn(tx, schema, turn, now)

    monkeypatch.setattr(fact_store, "carry_out_turn", once)
    async with store.crawl(DIRECTORY, "people") as crawl:
        reports = await asyncio.wait_for(written(crawl, [people(0), people(1)]), 60)
    assert tries == 2
    assert [report.added for report in reports] == [MANY, MANY]
    assert reports[0].revision < reports[1].revision
    assert (await stands(store))[:2] == (2 * MANY, 2 * MANY)


@pytest.mark.parametrize("count", [7, MANY])
async def test_what_was_committed_though_its_answer_was_lost_is_not_written_twice(
    store: FactStore, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    company = people(0, count)
    knows: list[Claim] = [
        RelationshipClaim(company[0].id, "OWNS", one.id, "line 1")  # type: ignore[union-attr]  # entities
        for one in company[1:]
    ]

    def lost(*_: object) -> None:
        raise OSError("connection lost")

    async with store.crawl(DIRECTORY, "people") as crawl:
        for said in (company, knows):
            with monkeypatch.context() as patch:
                patch.setattr(FactStore, "_told", lost)
                with pytest.raises(OSError, match="connection lost"):
                    await written(crawl, [said])
            await written(crawl, [said])
        assert (await crawl.complete()).retracted == 0
    [found] = await store.database.read("MATCH (:Person)-[r]->(:Person) RETURN count(r) AS count")
    assert (found["count"], (await stands(store))[:2]) == (count - 1, (count, 2 * count - 1))


async def test_whoever_stops_listening_leaves_nothing_under_way(store: FactStore) -> None:
    async with store.crawl(DIRECTORY, "people") as crawl:
        reports = crawl.write_each(each([people(number) for number in range(6)]))
        assert (await anext(reports)).added == MANY
        await reports.aclose()
        before = await stands(store)
        reports = crawl.write_each(each([people(number) for number in range(6)]))
        assert sum([report.added async for report in reports]) == 6 * MANY - before[0]
        assert (await stands(store))[:2] == (6 * MANY, 6 * MANY)
        assert (await crawl.complete()).retracted == 0
