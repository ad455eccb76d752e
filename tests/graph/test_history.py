"""What was known, and what held: every point of both times can be read, under today's permissions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy, Value
from graph.compaction import compact
from graph.contradictions import contradictions
from graph.database import Database
from graph.entity_view import EntityView
from graph.feed import changes, current_revision
from graph.past import PastReadError, PastView, When, point
from graph.store import FactStore
from graph.view import View
from ontologies import load, load_authorization, load_shapes

COMPANY, HR = "collection:company", "collection:hr"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONFIGURATION = SourcePolicy("configuration", frozenset(), frozenset({COMPANY, HR}), 50, DAY)
DIRECTORY = SourcePolicy("directory", frozenset({"MEMBER_OF"}), frozenset({COMPANY, HR}), 50, DAY)


class Clock:
    """Time as the store sees it."""

    now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(neo4j: Database, clock: Clock) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization(), clock)
    collections = [EntityClaim(id, "Collection", id, {"name": id}, "sources.toml") for id in (COMPANY, HR)]
    await crawled(store, collections, CONFIGURATION)
    return store


async def crawled(store: FactStore, claims: Sequence[Claim], source: SourcePolicy = DIRECTORY) -> int:
    async with store.crawl(source, "all") as crawl:
        report = await crawl.write(claims)
        assert report.quarantined == ()
        return (await crawl.complete()).revision


def person(
    key: str,
    collection: str = COMPANY,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    **values: Value,
) -> EntityClaim:
    named = {"name": key.title(), **values}
    return EntityClaim(
        f"person:{key}", "Person", collection, named, "line 1", valid_from=since, valid_to=until
    )


def group(key: str) -> EntityClaim:
    return EntityClaim(f"group:{key}", "Group", COMPANY, {"name": key}, "line 1")


def member(key: str, of: str) -> RelationshipClaim:
    return RelationshipClaim(f"person:{key}", "MEMBER_OF", f"group:{of}", "line 1")


async def audience_of(store: FactStore, id: str) -> int:
    [record] = await store.database.read("MATCH (n:Entity {id: $id}) RETURN n.audience AS a", id=id)
    return int(record["a"])


class Seen:
    """Reads at a point, with some audiences visible; all where none are named."""

    def __init__(
        self,
        store: FactStore,
        as_of: int | datetime | None = None,
        valid_at: datetime | None = None,
        audiences: Sequence[int] = range(100),
    ) -> None:
        self.store, self.as_of, self.valid_at = store, as_of, valid_at
        self.visible = bytes(number in audiences for number in range(100))

    async def read(self, work):
        async def attempt(tx):
            at = await point(tx, When(self.as_of, self.valid_at))
            return await work(PastView(tx, load(), self.visible, START, at))

        return await self.store.database.read_transaction(attempt)

    async def entity(self, id: str) -> EntityView | None:
        return await self.read(lambda view: view.entity(id))

    async def title(self, id: str) -> Value | None:
        found = await self.entity(id)
        return None if found is None else found.values.get("jobTitle")

    async def beside(self, id: str) -> list[str]:
        found = (await self.read(lambda view: view.neighbours([id], 50)))[id]
        return [one.entity.id for one in found if one.type != "IN_COLLECTION"]


async def test_each_revision_tells_what_was_known_then(store: FactStore) -> None:
    analyst = await crawled(store, [person("ada", jobTitle="Analyst"), group("a"), member("ada", "a")])
    boss = await crawled(store, [person("ada", jobTitle="Boss"), group("a")])
    gone = await crawled(store, [group("a")])
    back = await crawled(store, [person("ada", jobTitle="Chief"), group("a"), member("ada", "a")])
    assert [await Seen(store, revision).title("person:ada") for revision in (analyst, boss, gone, back)] == [
        "Analyst",
        "Boss",
        None,
        "Chief",
    ]
    assert [await Seen(store, revision).beside("group:a") for revision in (analyst, boss, gone, back)] == [
        ["person:ada"],
        [],
        [],
        ["person:ada"],
    ]
    assert await Seen(store, analyst - 1).entity("person:ada") is None
    found = await Seen(store, boss).entity("person:ada")
    assert found is not None
    assert (found.class_name, found.collection, found.sources) == ("Person", COMPANY, ("directory",))
    page = await Seen(store, analyst).read(lambda view: view.entities("Agent", 10))
    assert ([one.id for one in page.items], page.total) == (["person:ada", "group:a"], 2)
    page = await Seen(store, gone).read(lambda view: view.entities("Agent", 10))
    assert ([one.id for one in page.items], page.total) == (["group:a"], 1)
    counts = await Seen(store, analyst).read(lambda view: view.class_counts())
    assert (counts["Person"], counts["Group"], counts["Agent"]) == (1, 1, 2)


async def test_an_instant_of_record_is_the_revision_that_was_the_last_then(
    store: FactStore, clock: Clock
) -> None:
    await crawled(store, [person("ada", jobTitle="Analyst")])
    clock.now = START + DAY
    await crawled(store, [person("ada", jobTitle="Boss")])
    assert await Seen(store, START + DAY / 2).title("person:ada") == "Analyst"
    assert await Seen(store, START + DAY).title("person:ada") == "Boss"
    with pytest.raises(PastReadError, match="nothing was known then"):
        await Seen(store, START - DAY).entity("person:ada")
    with pytest.raises(PastReadError, match="not committed yet"):
        await Seen(store, 1000).entity("person:ada")


async def test_what_held_in_the_world_is_another_matter_than_what_was_known(
    store: FactStore, clock: Clock
) -> None:
    first = await crawled(
        store, [person("ada", since=START + DAY, until=START + 3 * DAY), group("a"), member("ada", "a")]
    )
    during = START + 2 * DAY
    assert await Seen(store, first).entity("person:ada") is None  # known, and did not hold yet
    assert await Seen(store, first, during).entity("person:ada") is not None
    assert await Seen(store, first, during).beside("group:a") == ["person:ada"]
    assert await Seen(store, first, START + 3 * DAY).entity("person:ada") is None
    second = await crawled(store, [person("ada", since=START + 5 * DAY), group("a"), member("ada", "a")])
    assert await Seen(store, first, during).entity("person:ada") is not None  # as was believed
    assert await Seen(store, second, during).entity("person:ada") is None
    assert await Seen(store, None, START + 6 * DAY).beside("group:a") == ["person:ada"]


async def test_time_that_passes_is_committed_in_revisions_of_its_own(store: FactStore, clock: Clock) -> None:
    revision = await crawled(
        store, [person("ada", since=START + DAY, until=START + 2 * DAY), group("a"), member("ada", "a")]
    )

    async def live() -> tuple[int, int]:
        [record] = await store.database.read(
            "RETURN COUNT { (:Person) } AS people, COUNT { ()-[:MEMBER_OF]->() } AS members"
        )
        return record["people"], record["members"]

    assert await live() == (0, 0)
    assert await store.tick() == revision
    clock.now = START + DAY
    assert await store.tick() == revision + 1
    assert await live() == (1, 1)
    assert await audience_of(store, "person:ada") == await audience_of(store, "group:a")
    [begun] = await changes(store.database, revision)
    assert {one.id for one in begun.changes if one.before is None} == {
        "person:ada",
        f"person:ada IN_COLLECTION {COMPANY}",
        "person:ada MEMBER_OF group:a",
    }
    clock.now = START + 2 * DAY
    assert await store.tick() == revision + 2
    assert await live() == (0, 0)
    assert await store.tick() == revision + 2
    assert await Seen(store, revision + 2, START + DAY).beside("group:a") == ["person:ada"]
    assert await crawled(store, [group("a")]) == revision + 3
    assert await Seen(store, revision + 3, START + DAY).entity("person:ada") is None
    assert await Seen(store, revision + 2, START + DAY).entity("person:ada") is not None


async def test_what_is_no_longer_kept_is_gone_with_its_versions_and_no_read_asks_for_it(
    store: FactStore, clock: Clock
) -> None:
    old = await crawled(store, [person("ada", jobTitle="Analyst")])
    clock.now = START + 10 * DAY
    await crawled(store, [person("ada", jobTitle="Boss")])
    clock.now = START + 20 * DAY
    last = await crawled(store, [person("ada", jobTitle="Chief")])

    async def versions() -> list[str]:
        records = await store.database.read(
            "MATCH (v:_Version) WHERE v.id IS NOT NULL RETURN v.jobTitle AS t"
        )
        return sorted(record["t"] for record in records)

    async def claimed() -> list[int]:
        records = await store.database.read("MATCH (c:_Claimed) RETURN c.until AS until ORDER BY until")
        return [record["until"] for record in records]

    assert await claimed() == [old + 1, last]
    assert await compact(store.database, 15 * DAY, clock.now) == old
    assert await versions() == ["Analyst", "Boss"]  # Analyst was known until the next revision
    assert await claimed() == [old + 1, last]
    with pytest.raises(PastReadError, match="begins later"):
        await Seen(store, old).entity("person:ada")
    assert await Seen(store, old + 1).title("person:ada") == "Boss"
    assert await compact(store.database, DAY, clock.now + 5 * DAY) == last
    assert (await versions(), await claimed()) == ([], [])
    assert await Seen(store, last).title("person:ada") == "Chief"
    assert await Seen(store, clock.now).title("person:ada") == "Chief"


async def test_a_superseded_version_shows_to_those_who_see_both_its_audiences(store: FactStore) -> None:
    public = await crawled(store, [person("ada", jobTitle="Analyst"), person("eve")])
    company, hr = await audience_of(store, COMPANY), await audience_of(store, HR)
    restricted = await crawled(store, [person("ada", HR, jobTitle="Suspect"), person("eve")])
    gone = await crawled(store, [person("eve")])
    for audiences, seen in (([company, hr], True), ([company], False), ([hr], False)):
        found = await Seen(store, public, audiences=audiences).title("person:ada")
        assert (found == "Analyst") is seen
        page = await Seen(store, public, audiences=audiences).read(lambda view: view.entities("Person", 9))
        assert ("person:ada" in [one.id for one in page.items]) is seen
        assert page.total == len(page.items)
    assert await Seen(store, restricted, audiences=[hr]).title("person:ada") == "Suspect"
    assert await Seen(store, gone, audiences=[company, hr]).entity("person:ada") is None


async def test_a_planned_entity_is_seen_by_those_who_see_where_it_is_placed(store: FactStore) -> None:
    known = await crawled(store, [person("ada", since=START + DAY)])
    company, hr = await audience_of(store, COMPANY), await audience_of(store, HR)
    moved = await crawled(store, [person("ada", HR, since=START + DAY)])
    later = START + 2 * DAY
    assert await Seen(store, known, later, [company]).entity("person:ada") is None
    assert await Seen(store, known, later, [company, hr]).entity("person:ada") is not None
    assert await Seen(store, moved, later, [hr]).entity("person:ada") is not None


async def test_a_clock_that_goes_back_yields_no_earlier_instant_of_record(
    store: FactStore, clock: Clock
) -> None:
    clock.now = START + DAY
    before = await crawled(store, [person("ada")])
    clock.now = START
    await crawled(store, [person("ada"), person("eve")])
    [later] = await changes(store.database, before)
    assert later.at == START + DAY
    assert await current_revision(store.database) == before + 1


async def test_what_sources_contradict_is_listed_with_who_is_believed_and_never_flips(
    store: FactStore,
) -> None:
    trusted = SourcePolicy("registry", frozenset(), frozenset({COMPANY}), 90, DAY)
    claims = [person("ada", jobTitle="Analyst", accountName=("ada",))]
    others = [person("ada", jobTitle="Boss", accountName=("al",))]
    revisions = []
    for _ in range(3):
        revisions += [await crawled(store, others, trusted), await crawled(store, claims)]

        async def work(tx):
            views = [View(tx, load(), bytes([seen]) * 100, START) for seen in (1, 0)]
            stated = [await view.claims(["person:ada"]) for view in views]
            return [contradictions(load(), one.get("person:ada", ())) for one in stated]

        [found], hidden = await store.database.read_transaction(work)
        assert found.property == "jobTitle"
        assert [(one.value, one.source) for one in found.sayings] == [
            ("Boss", "registry"),
            ("Analyst", "directory"),
        ]
        assert hidden == ()
        [record] = await store.database.read("MATCH (n:Entity {id: 'person:ada'}) RETURN n.jobTitle AS title")
        assert record["title"] == "Boss"
    assert revisions == [revisions[0], *[revisions[1]] * 5]  # what is believed is nothing new


async def test_who_is_not_believed_may_say_something_else_in_a_revision_that_changes_no_fact(
    store: FactStore,
) -> None:
    """What each source said is told of each revision, to who may see the fact then and now."""
    trusted = SourcePolicy("registry", frozenset(), frozenset({COMPANY, HR}), 90, DAY)
    await crawled(store, [person("ada", jobTitle="Boss"), group("a"), member("ada", "a")], DIRECTORY)
    both = await crawled(store, [person("ada", jobTitle="Chief")], trusted)
    other = await crawled(store, [person("ada", jobTitle="Analyst"), group("a"), member("ada", "a")])
    assert other == both + 1
    [told] = await changes(store.database, both)
    assert (told.source, list(told.changes)) == ("directory", [])
    left = await crawled(store, [group("a")], DIRECTORY)
    alone = await crawled(store, [], trusted)
    facts = ["person:ada", "person:ada MEMBER_OF group:a"]

    async def said(as_of: int, audiences: Sequence[int] = range(100)) -> list[list[tuple[str, Value | None]]]:
        found = await Seen(store, as_of, audiences=audiences).read(lambda view: view.claims(facts))
        return [
            [(one.source, getattr(one.claim, "values", {}).get("jobTitle")) for one in found.get(fact, ())]
            for fact in facts
        ]

    assert await said(both) == [[("registry", "Chief"), ("directory", "Boss")], [("directory", None)]]
    assert await said(other) == [[("registry", "Chief"), ("directory", "Analyst")], [("directory", None)]]
    assert await said(left) == [[("registry", "Chief")], []]
    assert await said(alone) == [[], []]
    assert await said(both, [await audience_of(store, HR)]) == [[], []]
    back = await crawled(store, [person("ada", HR, jobTitle="Boss")], trusted)
    assert await said(back) == [[("registry", "Boss")], []]
    assert await said(both, [await audience_of(store, COMPANY)]) == [[], []], "she is not theirs to see now"
    assert (await said(both))[0] == [("registry", "Chief"), ("directory", "Boss")]
