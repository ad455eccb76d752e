"""The bitmaps of the visibility index say what the evaluator says, after every change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.audiences import And, Expression, Not, Or, Userset, value_of
from graph.rebac.evaluator import Request, Search
from graph.rebac.relation_tuples import Goal, TupleIndex, TupleKey, split_userset
from graph.rebac.rules import Value
from graph.tuples import Voucher
from graph.visible_sets.evaluation import Evaluation
from graph.visible_sets.index import VisibilityIndex
from graph.visible_sets.saved import load_saved, save
from ontologies.authorization_model import parse_dsl

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, user:*, group#member, user with in_office, group#member with in_office]
type folder
  relations
    define parent: [folder, folder with in_office]
    define owner: [user, group#member, user with in_office]
    define denied: [user, group#member with in_office, folder#odd]
    define viewer: (owner or viewer from parent) but not denied
    define even: [user] or odd from parent
    define odd: owner but not even
    define alias: [user]
    define other: alias and owner
type document
  relations
    define folder: [folder]
    define guest: [user, user:*, user with in_office]
    define barred: [group#member] or denied from folder
    define viewer: (guest or viewer from folder) but not barred
condition in_office(place: string, wanted: string) {
  place == wanted
}
""")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
IDS = {kind: [f"{kind}:{i}" for i in range(3)] for kind in ("user", "group", "folder", "document")}
MEMBERS = [*IDS["user"], *(f"{group}#member" for group in IDS["group"])]
SHAPES = [
    ("group", "member", [*MEMBERS, "user:*"]),
    ("folder", "owner", MEMBERS),
    ("folder", "denied", [*MEMBERS, *(f"{folder}#odd" for folder in IDS["folder"])]),
    ("folder", "parent", IDS["folder"]),
    ("folder", "alias", IDS["user"]),
    ("document", "folder", IDS["folder"]),
    ("document", "guest", [*IDS["user"], "user:*"]),
    ("document", "barred", MEMBERS[3:]),
]
VIEWERS = [Userset(id, "viewer") for kind in ("folder", "document") for id in IDS[kind]]
OTHERS = [Userset(id, relation) for id in IDS["folder"] for relation in ("odd", "denied", "other")]
AUDIENCES: list[Expression] = [
    *VIEWERS,
    *OTHERS,
    And((VIEWERS[0], Not(OTHERS[0]))),
    Or((OTHERS[2], And((VIEWERS[3], Not(Userset("folder:none", "other")))))),
    Userset("folder:0", "gone"),
    Userset("planet:mars", "viewer"),
]
LIVE, AGED = Voucher("directory", "all"), Voucher("badges", "all")


def keys() -> st.SearchStrategy[TupleKey]:
    return st.one_of(
        st.builds(TupleKey, st.sampled_from(users), st.just(relation), st.sampled_from(IDS[kind]))
        for kind, relation, users in SHAPES
    )


@st.composite
def changes(draw: st.DrawFn) -> tuple[TupleKey, Sequence[Voucher]]:
    """A tuple, and who vouches for it from now on."""
    key = draw(keys())
    by = [LIVE, LIVE, AGED]
    if draw(st.integers(0, 3)) == 0:
        # The evaluator forgets the condition of a tuple that nobody vouches for.
        key, by = replace(key, condition="in_office", context={"wanted": draw(st.sampled_from("ab"))}), [LIVE]
    bound = st.sampled_from([None, None, NOW - timedelta(1), NOW, NOW + timedelta(1)])
    vouchers = st.builds(
        lambda by, begin, end: by._replace(valid_from=begin, valid_to=end), st.sampled_from(by), bound, bound
    )
    return key, draw(st.lists(vouchers, max_size=2, unique_by=lambda one: one.source))


def expected(
    held: dict[tuple[str, str, str], tuple[TupleKey, Sequence[Voucher]]],
    outside: set[str],
    user: str,
    context: dict[str, str],
) -> list[bool]:
    """By the evaluator, over the tuples that hold now."""
    certain: list[TupleKey] = []
    suspended: list[TupleKey] = []
    for key, vouchers in held.values():
        now = [
            one
            for one in vouchers
            if (one.valid_from is None or one.valid_from <= NOW)
            and (one.valid_to is None or one.valid_to > NOW)
        ]
        if now and key.object not in outside and split_userset(key.user)[0] not in outside:
            (certain if any(one.source == LIVE.source for one in now) else suspended).append(key)
    search = Search(Request(MODEL, TupleIndex(certain, suspended), context=context, now=NOW), user)

    def value(goal: Goal) -> Value:
        return search.value(*goal) if MODEL.has(goal[0].partition(":")[0], goal[1]) else None

    return [value_of(expression, value) is True for expression in AUDIENCES]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(changes(), min_size=1, max_size=8), min_size=1, max_size=6),
    st.sets(st.sampled_from([*IDS["user"], *IDS["group"], *IDS["folder"]]), max_size=2),
)
def test_after_every_change_each_audience_has_whom_the_evaluator_says(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[tuple[TupleKey, Sequence[Voucher]]]],
    outside: set[str],
) -> None:
    """Nested groups, folders moved, exclusions, cycles, conditions, intervals, sources that aged; and what
    is saved says the same."""
    index = VisibilityIndex()
    for number, expression in enumerate(AUDIENCES):
        index.define(number, expression)
    index.next_audience = len(AUDIENCES)
    for entity in outside:
        index.put_interval(entity, (None, NOW))
    live = frozenset({(LIVE.source, LIVE.scope)})
    held = {}
    for step in history:
        for key, vouchers in step:
            held[key.user, key.relation, key.object] = key, vouchers
            index.put(key, "", vouchers)
        for user in IDS["user"]:
            for context in ({}, {"place": "a"}):
                found = Evaluation(index, MODEL, user, live, NOW, context).visible()
                told = user, context
                assert [byte == 1 for byte in found] == expected(held, outside, user, context), told
    path = tmp_path_factory.getbasetemp() / "visibility.index"
    save(index, path, "epoch", "meaning")
    again = load_saved(path, "epoch", "meaning")
    assert again is not None
    assert dict(again.expressions()) == dict(index.expressions())
    for user in IDS["user"]:
        of_both = [Evaluation(one, MODEL, user, live, NOW, {}).visible() for one in (index, again)]
        assert of_both[0] == of_both[1]


def test_what_two_relationships_say_goes_when_both_say_it_no_more() -> None:
    index = VisibilityIndex()
    index.define(0, VIEWERS[0])
    index.next_audience = 1
    key = TupleKey("user:0", "owner", "folder:0")

    def sees() -> bool:
        live = frozenset({(LIVE.source, LIVE.scope)})
        return Evaluation(index, MODEL, "user:0", live, NOW, {}).visible() == b"\1"

    index.put(key, "MAY_VIEW", [LIVE])
    index.put(key, "GRANTED_VIEW", [LIVE])
    index.put(key, "MAY_VIEW")
    assert sees()
    index.put(key, "GRANTED_VIEW")
    assert not sees()
    assert not any(index.tables.values())


@pytest.mark.parametrize("gone", [False, True])
def test_a_cycle_below_an_exclusion_denies_until_it_is_broken(gone: bool) -> None:
    index = VisibilityIndex()
    index.define(0, VIEWERS[3])
    index.next_audience = 1
    for user, relation, object in [
        ("user:0", "guest", "document:0"),
        ("group:0#member", "member", "group:1"),
        ("group:1#member", "member", "group:0"),
        ("group:0#member", "barred", "document:0"),
    ]:
        index.put(TupleKey(user, relation, object), "", [LIVE])
    if gone:
        index.put(TupleKey("group:1#member", "member", "group:0"))
    live = frozenset({(LIVE.source, LIVE.scope)})
    assert Evaluation(index, MODEL, "user:0", live, NOW, {}).visible() == bytes([gone])
