"""Whoever vouches for a grant does so until their own claim ends, and not for what others say."""

from datetime import UTC, datetime, timedelta

import pytest
from neo4j import AsyncManagedTransaction

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.feed import changes, current_revision
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

COMPANY = "collection:company"
GRANTS = frozenset({"HAS_ACCOUNT", "MEMBER_OF"})
CONFIGURATION = SourcePolicy(
    "configuration", frozenset({"MAY_VIEW"}), frozenset({COMPANY}), 100, timedelta(1)
)
DIRECTORY = SourcePolicy("directory", GRANTS, frozenset({COMPANY}), 90, timedelta(days=1))
BADGES = SourcePolicy("badges", GRANTS, frozenset({COMPANY}), 50, timedelta(days=1))
ADA = "account:sample/ada"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def entity(id: str, class_name: str, **values: str) -> EntityClaim:
    return EntityClaim(id, class_name, COMPANY, {"name": id, **values}, "people.ldif")


def membership(until: datetime | None = None) -> RelationshipClaim:
    return RelationshipClaim("person:ada", "MEMBER_OF", "group:staff", "people.ldif", valid_to=until)


PEOPLE: list[Claim] = [
    entity("group:staff", "Group"),
    entity("person:ada", "Person"),
    entity(ADA, "Account", issuer="sample", subject="ada"),
    RelationshipClaim("person:ada", "HAS_ACCOUNT", ADA, "people.ldif"),
]


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    await crawl(
        store,
        CONFIGURATION,
        [
            entity(COMPANY, "Collection"),
            RelationshipClaim("group:staff", "MAY_VIEW", COMPANY, "sources.toml"),
        ],
    )
    return store


async def crawl(store: FactStore, source: SourcePolicy, claims: list[Claim], scope: str = "all") -> None:
    async with store.crawl(source, scope) as crawl:
        await crawl.write(claims)
        await crawl.complete()


async def aged(store: FactStore, source: str, scope: str, by: timedelta) -> None:
    """The source completed its last crawl of the scope that long ago."""

    async def work(tx: AsyncManagedTransaction) -> None:
        query = "MATCH (s:_Source {name: $name, scope: $scope}) SET s.completedAt = $at"
        await tx.run(query, name=source, scope=scope, at=NOW - by)

    await store.database.write_transaction(work)


async def sees_somebody(store: FactStore) -> bool:
    authorizer = Authorizer(store.database, load(), load_authorization(), (CONFIGURATION, DIRECTORY, BADGES))
    page, _ = await Reader(store.database, load(), authorizer).run(
        Asker(ADA), lambda view: view.entities("Person", 10)
    )
    return page.total > 0


async def test_a_live_source_vouches_for_what_it_says_itself(store: FactStore) -> None:
    await crawl(store, DIRECTORY, PEOPLE)
    await crawl(store, DIRECTORY, [membership()], "memberships")
    await crawl(store, BADGES, [membership(NOW + HOUR)])
    await aged(store, "directory", "memberships", timedelta(days=2))
    assert await sees_somebody(store)


async def test_a_claim_that_ended_does_not_vouch_for_a_longer_one_that_is_suspended(store: FactStore) -> None:
    await crawl(store, DIRECTORY, PEOPLE)
    await crawl(store, DIRECTORY, [membership()], "memberships")
    await crawl(store, BADGES, [membership(NOW - HOUR)])
    assert await sees_somebody(store)
    await aged(store, "directory", "memberships", timedelta(days=2))
    assert not await sees_somebody(store)


async def test_the_feed_tells_who_vouches_for_a_grant_also_where_the_fact_stays_the_same(
    store: FactStore,
) -> None:
    """Else a source that no longer does would keep it alive for those who follow the feed."""
    await crawl(store, DIRECTORY, PEOPLE)
    await crawl(store, DIRECTORY, [membership()], "memberships")
    before = await current_revision(store.database)
    await crawl(store, BADGES, [membership(NOW + HOUR)])
    await crawl(store, BADGES, [membership(NOW + 2 * HOUR)])
    await crawl(store, BADGES, [])
    told = [one for revision in await changes(store.database, before) for one in revision.changes]
    assert {one.id for one in told} == {"person:ada MEMBER_OF group:staff"}
    always = ["directory", "memberships", None, None]
    assert [one.after and one.after["claimedIn"] for one in told] == [
        [["badges", "all", None, (NOW + HOUR).isoformat()], always],
        [["badges", "all", None, (NOW + 2 * HOUR).isoformat()], always],
        [always],
    ]
    assert told[1].before == told[0].after
