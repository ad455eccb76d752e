"""Entities that are one: told together to who sees them, apart in what they may see, and undone exactly."""

from __future__ import annotations

import pytest

from graph.claims import RelationshipClaim
from graph.database import Database
from graph.joined import (
    clusters,
    joined,
    joined_contradictions,
    joined_entity,
    joined_neighbours,
    members,
    with_members,
)
from graph.merges import POLICY, MergeError, check_merge, check_pair, decisions
from graph.past import When
from ontologies import load
from tests.graph.identity_world import ALL, CODE, HR, World, person

KNOWN_AS = RelationshipClaim("person:al", "OWNS", "group:hr", "al.toml")


@pytest.fixture
async def world(neo4j: Database) -> World:
    made = World(neo4j)
    await made.begin()
    await made.crawl(
        CODE,
        person("al", "ada-l", accountName="ada-l", pronouns="she/her", email="al@code.example"),
        KNOWN_AS,
    )
    return made


async def test_what_is_told_of_one_is_told_of_both(world: World) -> None:
    decision = await world.merge("person:ada", "person:al")
    for id in ("person:ada", "person:al"):
        found = await world.as_("ada", lambda view, id=id: joined_entity(view, id))
        assert found is not None
        assert (found.id, found.name) == (id, "Ada Lovelace")
        assert found.values["email"] == "ada@acme.example", "the kept one's stands"
        assert (found.values["pronouns"], found.values["accountName"]) == ("she/her", ("ada-l",))
        assert set(found.sources) == {"directory", "code"}
        assert found.same == tuple({"person:ada", "person:al"} - {id})
    beside = await world.as_("ada", lambda view: joined_neighbours(view, ["person:ada"], 50))
    assert [(one.type, one.entity.id) for one in beside["person:ada"]] == [
        ("HAS_ACCOUNT", "account:acme/ada"),
        ("IN_COLLECTION", ALL),
        ("MEMBER_OF", "group:everyone"),
        ("OWNS", "group:hr"),
    ]
    around = await world.as_("ada", lambda view: joined_neighbours(view, ["group:hr"], 50))
    assert [one.entity.id for one in around["group:hr"] if one.type == "OWNS"] == ["person:al"]
    told = await world.as_("ada", lambda view: joined_contradictions(view, load(), "person:al"))
    assert [(one.property, one.sayings[0].value, one.sayings[0].source) for one in told] == [
        ("email", "ada@acme.example", "directory"),
        ("name", "Ada Lovelace", "directory"),
    ]
    await world.undo(decision)
    alone = await world.as_("ada", lambda view: joined_entity(view, "person:al"))
    assert alone is not None
    assert (alone.name, alone.same, alone.sources) == ("ada-l", (), ("code",))


async def test_of_several_that_are_one_a_list_holds_the_first(world: World) -> None:
    await world.merge("person:ada", "person:al")

    async def work(view):
        found = [await view.entity(id) for id in ("person:al", "person:bob", "person:ada")]
        once = await joined(view, [one for one in found if one])
        return once, await with_members(view, [one for one in found[:2] if one])

    once, known = await world.as_("ada", work)
    assert [(one.id, one.name) for one in once] == [
        ("person:al", "Ada Lovelace"), ("person:bob", "Bob Stone")
    ]  # fmt: skip
    assert [(one.id, leading.id) for one, leading in known] == [
        ("person:al", "person:ada"),
        ("person:ada", "person:ada"),
        ("person:bob", "person:bob"),
    ]


async def test_undo_leaves_the_graph_as_it_was(world: World) -> None:
    before = await world.live()
    first = await world.merge("person:ada", "person:al")
    second = await world.merge("person:bob", "person:ada")
    assert await world.live() != before
    await world.undo(first)
    await world.undo(second)
    assert await world.live() == before
    assert [(one.id, one.merges) for one in await decisions(world.database)] == [("1", False), ("2", False)]


async def test_a_merge_lets_nobody_see_more(world: World) -> None:
    """Nor does it give the memberships of one to the account of the other."""
    before = await world.visible()
    assert "person:al" in before["ada"]
    await world.crawl(CODE, person("al", "ada-l", HR, accountName="ada-l"))
    hidden = await world.visible()
    assert "person:al" not in hidden["ada"]
    assert "person:al" in hidden["bob"]
    await world.merge("person:bob", "person:ada")
    await world.merge("person:ada", "person:al")
    assert await world.visible() == hidden


async def test_who_does_not_see_a_member_is_told_nothing_of_it(world: World) -> None:
    await world.crawl(CODE, person("al", "ada-l", HR, accountName="ada-l"))
    alone = await world.as_("ada", lambda view: joined_entity(view, "person:ada"))
    await world.merge("person:al", "person:ada")
    await world.merge("person:bob", "person:al")
    assert await world.as_("ada", lambda view: joined_entity(view, "person:ada")) == alone
    assert await world.as_("ada", lambda view: joined_entity(view, "person:al")) is None
    whole = await world.as_("bob", lambda view: members(view, ["person:ada"]))
    assert whole["person:ada"] == ("person:bob", "person:ada", "person:al")
    apart = await world.as_("ada", lambda view: members(view, ["person:ada", "person:bob"]))
    assert apart == {"person:ada": ("person:ada",), "person:bob": ("person:bob",)}


async def test_the_past_is_told_with_the_merges_of_then(world: World) -> None:
    [before] = await world.database.read("MATCH (m:_Meta) RETURN m.revision AS r")
    decision = await world.merge("person:ada", "person:al")
    [during] = await world.database.read("MATCH (m:_Meta) RETURN m.revision AS r")
    await world.undo(decision)
    for revision, same in ((before["r"], ()), (during["r"], ("person:al",))):
        found = await world.as_("ada", lambda view: joined_entity(view, "person:ada"), When(revision))
        assert found is not None
        assert found.same == same
    now = await world.as_("ada", lambda view: joined_entity(view, "person:ada"))
    assert now is not None
    assert now.same == ()


async def test_a_merge_waits_for_an_entity_that_is_gone_and_comes_back(world: World) -> None:
    await world.merge("person:ada", "person:al")
    await world.crawl(CODE)
    found = await world.as_("ada", lambda view: members(view, ["person:ada"]))
    assert found["person:ada"] == ("person:ada",)
    await world.crawl(CODE, person("al", "ada-l"))
    found = await world.as_("ada", lambda view: members(view, ["person:ada"]))
    assert found["person:ada"] == ("person:ada", "person:al")


async def test_what_was_decided_is_put_right_after_a_crash(world: World) -> None:
    """A decision that is kept and not yet a fact, and one that ended and still is one."""
    kept = await world.merge("person:ada", "person:al")
    gone = await world.merge("person:bob", "person:ada")
    standing = await world.live()
    async with world.store.crawl(POLICY, "merges") as crawl:
        await crawl.complete()
    assert await world.live() != standing
    await world.merges.reconcile()
    assert await world.live() == standing
    async with world.database.driver.session(database=world.database.name) as session:
        await (
            await session.run("MATCH (d:_Merge {id: $id}) SET d.ended_at = datetime()", id=gone.id)
        ).consume()
    await world.merges.reconcile()
    records = await world.database.read("MATCH (a)-[:SAME_AS]->(b) RETURN a.id AS other, b.id AS kept")
    assert [record.data() for record in records] == [{"other": kept.other, "kept": kept.kept}]


async def test_no_source_says_who_is_one(world: World) -> None:
    async with world.store.crawl(CODE, "more") as crawl:
        report = await crawl.write([RelationshipClaim("person:al", "SAME_AS", "person:ada", "")])
    assert [one.shape for one in report.quarantined] == ["og:identity"]


@pytest.mark.parametrize(
    ("kept", "other", "message"),
    [
        ("person:ada", "person:ada", "the same as itself"),
        ("person:ada", "group:hr", "a person and a group are never one"),
        ("account:acme/ada", "account:acme/bob", "no account is merged"),
        ("collection:hr", "collection:all", "no collection is merged"),
    ],
)
def test_some_pairs_are_never_one(kept: str, other: str, message: str) -> None:
    with pytest.raises(MergeError, match=message):
        check_pair(kept, other)


async def test_merges_never_close_a_circle(world: World) -> None:
    await world.merge("person:a", "person:b")
    await world.merge("person:b", "person:c")
    known = await decisions(world.database)
    for kept, other, message in (
        ("person:b", "person:a", "merged already"),
        ("person:a", "person:c", "one already, through"),
        ("person:c", "person:a", "one already, through"),
        ("person:d", "person:c", r"merged into person:b already \(2\)"),
    ):
        with pytest.raises(MergeError, match=message):
            check_merge(known, kept, other)
    check_merge(known, "person:c", "person:d")
    check_merge(known, "person:d", "person:a")


def test_the_leading_one_is_that_which_was_merged_into_none() -> None:
    found = clusters(["c", "x"], [("a", "b"), ("b", "c")])
    assert found["c"] == ("c", "a", "b")
    assert found["x"] == ("x",)
