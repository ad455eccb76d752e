"""The law of merges: whatever crawls of two sources, merges and undoings come in whatever order, the graph and
what each asker is told are those of a small model, now and as of every step; and no merge changes what anybody
may see."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graph.database import Database
from graph.feed import current_revision
from graph.joined import members
from graph.merges import Decision, MergeError, check_merge, decisions, standing_around
from graph.past import PRESENT, When
from graph.reads import View
from tests.graph.identity_world import ALL, CODE, CONFIGURATION, HR, World, person

IDS = ("a", "b", "c", "d")
#: Who says each of them, and where it is: Ada does not see what is in HR.
SOURCES = {"a": "directory", "b": "directory", "c": "code", "d": "code"}
PLACES = {"a": ALL, "b": ALL, "c": HR, "d": ALL}
_examples = count()

steps = st.lists(
    st.one_of(
        st.tuples(st.just("crawl"), st.sampled_from(("directory", "code")), st.sets(st.sampled_from(IDS))),
        st.tuples(st.just("merge"), st.sampled_from(IDS), st.sampled_from(IDS)),
        st.tuples(st.just("undo"), st.integers(0, 3), st.none()),
    ),
    min_size=4,
    max_size=9,
)


class Model:
    """Who is there, and which merges stand, as pairs of the merged and the kept."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.merges: list[tuple[str, str]] = []

    def one(self, id: str, among: set[str]) -> set[str]:
        """All that are one with it, over those that are among these alone."""
        found = {id}
        while True:
            more = {
                end for merge in self.merges if found & set(merge) and set(merge) <= among for end in merge
            }
            if more <= found:
                return found
            found |= more

    def refuses(self, kept: str, other: str) -> bool:
        everything = set(IDS)
        return other in self.one(kept, everything) or any(merged == other for merged, _ in self.merges)

    def told(self, seen: set[str]) -> dict[str, set[str]]:
        return {id: self.one(id, seen) for id in seen}


@pytest.fixture
async def world(neo4j: Database) -> World:
    made = World(neo4j)
    await made.begin()
    return made


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps)
async def test_every_interleaving_tells_what_the_model_tells(world: World, steps) -> None:
    prefix = f"{next(_examples)}-"
    model, made = Model(), []
    told: dict[int, dict[str, dict[str, set[str]]]] = {}
    """By revision, what each asker was told of who is one."""

    async def told_to(name: str, when: When = PRESENT) -> dict[str, set[str]]:
        """All that the asker sees, each with those that are one with it."""

        async def work(view: View) -> dict[str, set[str]]:
            seen = await view.visible_among([id_of(key) for key in IDS])
            return {id: set(cluster) for id, cluster in (await members(view, seen)).items()}

        return await world.as_(name, work, when)

    def id_of(key: str) -> str:
        return f"person:{prefix}{key}"

    for kind, first, second in steps:
        if kind == "crawl":
            said = {key for key in second if SOURCES[key] == first}
            policy = CODE if first == "code" else CONFIGURATION
            async with world.store.crawl(policy, f"{prefix}{first}") as crawl:
                await crawl.write(
                    [person(f"{prefix}{key}", f"Name {key}", PLACES[key], pronouns=key) for key in said]
                )
                await crawl.complete()
            model.there = {key for key in model.there if SOURCES[key] != first} | said
        else:
            visible, before = await world.visible(), await world.live()
            if kind == "merge" and first != second:
                await _merge(world, model, made, (first, second), prefix)
            elif kind == "undo" and first < len(made):
                decision, merge = made.pop(first)
                await world.undo(decision)
                model.merges.remove(merge)
            assert await world.visible() == visible, "no merge lets anybody see more, or less"
            assert _apart(await world.live()) == _apart(before), "nor is anything else of the graph changed"
        links = (await world.live())[1]
        standing = {(s, e) for s, t, e in links if t == "SAME_AS" and s.startswith(f"person:{prefix}")}
        assert standing == {
            (id_of(other), id_of(kept)) for other, kept in model.merges if {other, kept} <= model.there
        }
        seen = {"bob": model.there, "ada": {key for key in model.there if PLACES[key] == ALL}}
        expected = {
            name: {id_of(key): set(map(id_of, cluster)) for key, cluster in model.told(keys).items()}
            for name, keys in seen.items()
        }
        assert {name: await told_to(name) for name in seen} == expected
        told[await current_revision(world.database)] = expected
    for revision, expected in told.items():
        assert {name: await told_to(name, When(revision)) for name in expected} == expected, revision
    while made:
        await world.undo(made.pop()[0])
    assert not any(t == "SAME_AS" for _, t, _ in (await world.live())[1])


async def _merge(
    world: World,
    model: Model,
    made: list[tuple[Decision, tuple[str, str]]],
    pair: tuple[str, str],
    prefix: str,
) -> None:
    """As a person does who sees all of it."""
    kept, other = (f"person:{prefix}{key}" for key in pair)
    try:
        check_merge(await standing_around(world.database, [kept, other]), kept, other)
    except MergeError:
        assert model.refuses(*pair)
        return
    assert not model.refuses(*pair)
    made.append((await world.merge(kept, other), (pair[1], pair[0])))
    model.merges.append((pair[1], pair[0]))
    assert len(await decisions(world.database, [kept], standing=True)) > 0


def _apart(live):
    """The graph without what says who is one."""
    nodes, links = live
    return nodes, {key: value for key, value in links.items() if key[1] != "SAME_AS"}
