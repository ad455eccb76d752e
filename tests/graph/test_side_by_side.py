"""Orders that come at once and have nothing to do with each other are carried out in one go, and the graph
tells the same of them at each revision as if each had come alone."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graph.claims import Claim, EntityClaim, RelationshipClaim
from graph.database import Database
from graph.facts import Stated, fact_of
from graph.feed import changes, current_revision
from graph.order import Order, Schema
from graph.side_by_side import independent
from graph.store import FactStore
from ontologies import load_authorization, load_shapes
from tests.graph.fact_model import (
    COMPANY,
    DAY,
    START,
    Model,
    live,
    past,
    person,
    policy,
    sayings,
    written_at_once,
)

NEEDY = Schema(load_shapes(), load_authorization()).needy
SOURCES = ("a", "b", "c", "d", "e")
KEYS = ("ada", "bob", "cleo", "dan", "eve", "flo", "gus", "hal")
_examples = count()


def order(source: str, *claims: Claim, **more: object) -> Order:
    new = {fact_of(claim): Stated(source, "all", 50, fact_of(claim), claim) for claim in claims}
    return Order(source, "all", new=new, **more)  # type: ignore[arg-type]  # its fields


def named(key: str, title: str = "Analyst") -> EntityClaim:
    return EntityClaim(f"person:{key}", "Person", COMPANY, {"name": key, "jobTitle": title}, "line 1")


def owns(start: str, end: str, type_: str = "OWNS") -> RelationshipClaim:
    return RelationshipClaim(f"person:{start}", type_, f"person:{end}", "line 1")


COLLECTION = EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "line 1")


@pytest.mark.parametrize(
    ("orders", "groups"),
    [
        ([order("a", named("ada")), order("b", named("bob")), order("c", owns("eve", "flo"))], ["abc"]),
        ([order("a", named("ada")), order("b", named("ada", "Boss"))], ["a", "b"]),
        ([order("a", named("ada")), order("b", owns("ada", "bob")), order("c", named("cleo"))], ["a", "bc"]),
        ([order("a", owns("ada", "bob")), order("b", named("bob"))], ["a", "b"]),
        ([order("a", owns("ada", "bob")), order("b", owns("bob", "ada"))], ["ab"]),
        ([order("a", named("ada")), order("a", named("bob"))], ["a", "a"]),
        ([order("a", named("ada")), order("b", COLLECTION), order("c", named("bob"))], ["a", "b", "c"]),
        ([order("a", owns("ada", "bob", "REPORTS_TO")), order("b", owns("eve", "flo"))], ["a", "b"]),
        ([order("a", named("ada")), order("b", withdrawn={1: {b"x"}}), order("c", named("bob"))], [*"abc"]),
        ([order("a", recheck=["person:ada"]), order("b", named("bob"))], ["a", "b"]),
    ],
)
def test_those_that_read_or_write_what_another_writes_come_after_it(orders, groups) -> None:
    found = list(independent(orders, NEEDY))
    assert ["".join(one.source for one in group) for group in found] == groups
    assert [one for group in found for one in group] == orders


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization(), lambda: START + DAY / 2)
    async with store.crawl(policy("configuration"), "all") as crawl:
        await crawl.write([COLLECTION])
    return store


async def at_once(
    store: FactStore, claimed: Mapping[str, Sequence[Claim]], scope: str, *, complete: bool = False
) -> Mapping[str, int]:
    """The revision of each source's write; what they write waits until all of it does."""
    async with AsyncExitStack() as stack:
        crawls = {
            source: await stack.enter_async_context(store.crawl(policy(source), scope)) for source in claimed
        }
        reports = await written_at_once(store, [(crawls[source], of) for source, of in claimed.items()])
        if complete:
            for crawl in crawls.values():
                await crawl.complete()
    return {source: report.revision for source, report in zip(claimed, reports, strict=True)}


said = st.lists(sayings(KEYS), min_size=1, max_size=4, unique_by=lambda one: (one.subject, one.object))


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.dictionaries(st.sampled_from(SOURCES), said, min_size=2), min_size=2, max_size=4))
async def test_each_revision_tells_what_the_model_tells(store, steps) -> None:
    prefix, model = f"s{next(_examples)}-", Model({source: {} for source in SOURCES})
    now = START + DAY / 2
    for step in steps:
        claimed = {source: [one.claim(prefix) for one in of] for source, of in step.items()}
        before = await current_revision(store.database)
        revisions = await at_once(store, claimed, prefix, complete=True)
        made = [number for number in sorted(revisions.values()) if number > before]
        assert set(made) == set(range(before + 1, before + 1 + len(set(made))))
        for source in sorted(claimed, key=lambda source: revisions[source]):
            more = {fact_of(claim): claim for claim in claimed[source]}
            model = model.having(source, {**model.claims[source], **more})
            if list(revisions.values()).count(revisions[source]) == 1:
                told = await past(store.database, prefix, revisions[source], now, KEYS)
                assert told == model.holding(now), (source, revisions)
        for source, of in claimed.items():
            model = model.having(source, {fact_of(claim): claim for claim in of})
        assert await live(store.database, prefix) == model.holding(now)


async def test_a_relationship_that_waited_for_two_who_come_at_once_stands_once_both_do(store) -> None:
    await at_once(store, {"a": [owns("ada", "bob")]}, "all")
    revisions = await at_once(store, {"b": [named("ada")], "c": [named("bob")]}, "all")
    assert sorted(revisions.values()) == [revisions["b"], revisions["b"] + 1]
    assert "person:ada OWNS person:bob" in await live(store.database, "")
    told = await past(store.database, "", revisions["b"], START + DAY / 2, ("ada", "bob"))
    assert told == {person("", "ada"): "Analyst"}


async def test_each_of_many_at_once_has_a_revision_that_tells_of_its_own(store) -> None:
    before = await current_revision(store.database)
    claimed = {f"s{n}": [named(f"p{n}"), owns(f"p{n}", f"p{n}")] for n in range(20)}
    revisions = await at_once(store, claimed, "all")
    titles = {f"s{n}": [named(f"p{n}", "Boss")] for n in range(20)}
    again = await at_once(store, titles, "all")
    assert sorted(revisions.values()) == list(range(before + 1, before + 21))
    assert sorted(again.values()) == list(range(before + 21, before + 41))
    told = {one.number: one.changes for one in await changes(store.database, before, limit=100)}
    for n in range(20):
        assert {one.id for one in told[revisions[f"s{n}"]]} >= {
            f"person:p{n}",
            f"person:p{n} OWNS person:p{n}",
        }
        assert [one.id for one in told[again[f"s{n}"]]] == [f"person:p{n}"]
