"""The feed: every commit, in order, at least once, to several consumers that are slow, killed or late."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from graph.claims import EntityClaim, SourcePolicy
from graph.compaction import compact
from graph.database import Database
from graph.feed import (
    FeedGapError,
    Revision,
    advance,
    changes,
    current_revision,
    follow,
    forget,
    position,
    positions,
    wait_for,
)
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
CONFIGURATION = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 100, timedelta(days=1))
LATER = timedelta(days=2)


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    return FactStore(neo4j, load_shapes(), load_authorization())


async def write(store: FactStore, key: str) -> int:
    """One entity in one revision: its number."""
    async with store.crawl(CONFIGURATION, key) as crawl:
        report = await crawl.write(
            [
                EntityClaim(COMPANY, "Collection", COMPANY, {"name": "Company"}, "sources.toml"),
                EntityClaim(f"person:{key}", "Person", COMPANY, {"name": key}, "sources.toml"),
            ]
        )
        return report.revision


async def taken(store: FactStore, consumer: str, upto: int) -> list[int]:
    """The numbers of the revisions that a consumer is given until it has seen one."""
    found: list[int] = []
    async with asyncio.timeout(20):
        async for revisions in follow(store.database, consumer):
            found += [revision.number for revision in revisions]
            if upto in found:
                break
    return found


async def test_every_consumer_gets_every_commit_in_order_at_its_own_pace(store: FactStore) -> None:
    last = [await write(store, f"p{number}") for number in range(25)][-1]
    for consumer in ("search", "mirror"):
        assert await taken(store, consumer, last) == list(range(1, last + 1))
    assert (await positions(store.database)).keys() == {"mirror", "search"}


async def test_a_consumer_may_begin_after_any_revision(store: FactStore) -> None:
    last = [await write(store, f"p{number}") for number in range(5)][-1]
    for after in range(last + 1):
        consumer = f"since {after}"
        await advance(store.database, consumer, after)
        if after < last:
            assert await taken(store, consumer, last) == list(range(after + 1, last + 1))
        assert await position(store.database, consumer) == after


async def test_nothing_is_read_ahead_of_a_consumer_that_is_slow(
    store: FactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is read when the consumer comes for it: what it has yet to do waits in the database."""
    monkeypatch.setattr("graph.feed._REVISIONS", 2)
    read: list[int] = []

    async def watched(database: Database, after: int, limit: int) -> Sequence[Revision]:
        found = await changes(database, after, limit)
        read.extend(revision.number for revision in found)
        return found

    monkeypatch.setattr("graph.feed.changes", watched)
    last = [await write(store, f"p{number}") for number in range(5)][-1]
    done: list[int] = []
    async with asyncio.timeout(20):
        async for revisions in follow(store.database, "search"):
            done += [revision.number for revision in revisions]
            await write(store, f"during {done[-1]}")  # more comes than it has done
            assert read == done
            assert await position(store.database, "search") == max(0, done[-1] - len(revisions))
            if last in done:
                break


async def test_a_consumer_that_is_killed_at_work_gets_the_same_again(store: FactStore) -> None:
    await write(store, "ada")
    seen: list[Sequence[Revision]] = []
    for _ in range(2):
        following = follow(store.database, "search")
        seen.append(await anext(following))
        await following.aclose()  # type: ignore[attr-defined]
    assert seen[0] == seen[1]
    assert await position(store.database, "search") == 0


async def test_a_follower_that_waits_is_given_what_is_committed_then(store: FactStore) -> None:
    first = await write(store, "ada")
    following = follow(store.database, "search")
    await anext(following)
    waiting = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert await position(store.database, "search") == first
    second = await write(store, "ben")
    async with asyncio.timeout(10):
        assert [revision.number for revision in await waiting] == list(range(first + 1, second + 1))


async def test_a_read_can_wait_for_a_revision_and_not_for_ever(store: FactStore) -> None:
    now = await write(store, "ada")
    await wait_for(store.database, now, 0.1)
    with pytest.raises(TimeoutError):
        await wait_for(store.database, now + 1, 0.2)
    waiting = asyncio.create_task(wait_for(store.database, now + 1, 10))
    await write(store, "ben")
    await waiting


async def test_compaction_drops_what_is_old_and_followed_and_nothing_else(store: FactStore) -> None:
    old = await write(store, "ada")
    now = datetime.now(UTC)
    assert await compact(store.database, timedelta(days=1), now) == 0
    assert await compact(store.database, timedelta(days=1), now + LATER) == old
    assert await changes(store.database, 0) == []
    new = await write(store, "ben")
    assert [revision.number for revision in await changes(store.database, 0)] == list(range(old + 1, new + 1))
    assert await current_revision(store.database) == new


async def test_a_consumer_holds_back_compaction_until_it_is_forgotten(store: FactStore) -> None:
    old = await write(store, "ada")
    following = follow(store.database, "search")
    await anext(following)
    waiting = asyncio.ensure_future(anext(following))
    new = await write(store, "ben")
    await waiting
    assert await compact(store.database, timedelta(0), datetime.now(UTC) + LATER) == old
    await forget(store.database, "search")
    assert await compact(store.database, timedelta(0), datetime.now(UTC) + LATER) == new


async def test_a_consumer_that_comes_too_late_is_told_instead_of_missing_changes(store: FactStore) -> None:
    old = await write(store, "ada")
    await compact(store.database, timedelta(0), datetime.now(UTC) + LATER)
    await write(store, "ben")
    with pytest.raises(FeedGapError, match=f"after revision {old}.*build late anew"):
        await anext(follow(store.database, "late"))
