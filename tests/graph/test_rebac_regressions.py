"""What other engines of this kind got wrong, by the advisory that says so; most by keys that omit context."""

from __future__ import annotations

from typing import Any

import pytest

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, check
from graph.rebac.listing import list_objects, list_users
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from ontologies.authorization_model import parse_dsl

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define viewer: [user, group#member]
    define banned: [user]
    define reader: viewer but not banned
type document
  relations
    define parent: [folder]
    define group: [group, group with equals]
    define shared: [user:* with office]
    define public: [user, user:*, group#member]
    define every_group: [group:*, group#member]
    define limited: [user with office, user with equals, user]
    define viewer: public or viewer from parent or member from group
    define inherited: reader from parent
    define denied: [user]
    define written: [user]
    define both: (limited and written) but not denied
    define allowed: [user, user:*]
    define hidden: allowed but not shown
    define shown: allowed but not denied
    define visible: allowed but not hidden

condition office(where: string) {
  where == "office"
}
condition equals(actual: list<any>, required: list<any>) {
  actual == required
}
""")


def key(text: str, condition: str = "", **context: Any) -> TupleKey:
    object, relation, user = text.split(" ")
    return TupleKey(user, relation, object, condition, context)


def asked(index: TupleIndex, text: str, *contextual: TupleKey, **context: Any) -> bool:
    object, relation, user = text.split(" ")
    return check(Request(MODEL, index, contextual, context), user, relation, object)


def listed(index: TupleIndex, relation: str, *contextual: TupleKey, **context: Any) -> list[str]:
    return sorted(list_objects(Request(MODEL, index, contextual, context), "user:ada", relation, "document"))


@pytest.mark.parametrize("first", ["office", "home"])
def test_an_answer_is_of_its_own_context(first: str) -> None:
    """CVE-2024-56323 and CVE-2026-33729: two requests that differ in their context had one cache key."""
    index = TupleIndex([key("document:d limited user:ada", "office")])
    for where in (first, "office", "home", "office"):
        assert asked(index, "document:d limited user:ada", where=where) is (where == "office")
        assert listed(index, "limited", where=where) == ["document:d"] * (where == "office")


def test_the_context_of_a_contextual_tuple_is_its_own() -> None:
    """CVE-2024-56323: likewise where a tuple of the request has the condition."""
    index = TupleIndex()
    for where in ("office", "home", "office"):
        given = key("document:d limited user:ada", "office", where=where)
        assert asked(index, "document:d limited user:ada", given) is (where == "office")
        assert listed(index, "limited", given) == ["document:d"] * (where == "office")


def test_the_same_tuple_under_two_contexts_is_two_questions() -> None:
    """CVE-2026-34972: checks of a batch that asked about one tuple were answered as one."""
    index = TupleIndex([key("document:d limited user:ada", "office")])
    answers = [asked(index, "document:d limited user:ada", where=where) for where in ("home", "office")]
    assert answers == [False, True]
    without, with_ = Request(MODEL, index), Request(MODEL, index, [key("document:d limited user:eve")])
    assert check(with_, "user:eve", "limited", "document:d")
    assert not check(without, "user:eve", "limited", "document:d")


def test_what_a_list_found_beforehand_answers_no_check() -> None:
    """GHSA-4vrg-r928-h5vv, CVE-2026-55866: what was found for a list with a context was taken for a check
    without one, where one side of an intersection has a condition and the other has none."""
    index = TupleIndex([key("document:d limited user:ada", "office"), key("document:d written user:ada")])
    for _ in range(2):
        assert listed(index, "both", where="office") == ["document:d"]
        with pytest.raises(RebacError, match="missing context parameters"):
            asked(index, "document:d both user:ada")
        assert not asked(index, "document:d both user:ada", where="home")
        assert listed(index, "both", where="home") == []
        assert asked(index, "document:d both user:ada", where="office")
    index.add(key("document:d denied user:ada"))
    assert listed(index, "both", where="office") == []


def test_nested_lists_in_a_context_are_told_apart() -> None:
    """CVE-2026-46668: a cache key ran the elements of nested lists together."""
    index = TupleIndex([key("document:d limited user:ada", "equals", required=[["a"], "b"])])
    for actual, expected in (([["a"], "b"], True), (["a", "b"], False), ([["a", "b"]], False)):
        assert asked(index, "document:d limited user:ada", actual=actual) is expected
        assert listed(index, "limited", actual=actual) == ["document:d"] * expected


def test_public_access_is_not_what_another_object_has() -> None:
    """CVE-2026-24851: public and named tuples of one relation, and a named one of a larger object id."""
    index = TupleIndex(
        [
            key("document:1 public user:*"),
            key("document:1 public user:ada"),
            key("document:2 public user:ada"),
        ]
    )
    assert listed(index, "public") == ["document:1", "document:2"]
    assert asked(index, "document:1 public user:eve")
    assert not asked(index, "document:2 public user:eve")


def test_public_access_without_a_condition_is_none_where_the_model_asks_for_one() -> None:
    """CVE-2025-64751: a tuple without a condition counted for `[user:* with office]`."""
    index = TupleIndex([key("document:d shared user:*")])
    assert not asked(index, "document:d shared user:ada", where="office")
    assert listed(index, "shared", where="office") == []
    request = Request(MODEL, index, context={"where": "office"})
    assert list(list_users(request, "document:d", "shared", "user")) == []


def test_a_userset_is_not_everyone() -> None:
    """CVE-2025-46331 and -25196: a relation that takes everyone of a type and usersets of it, asked for one."""
    index = TupleIndex([key("document:d public user:*"), key("document:d every_group group:*")])
    for relation in ("public", "every_group"):
        assert not asked(index, f"document:d {relation} group:g#member")
        assert not list_objects(Request(MODEL, index), "group:g#member", relation, "document")
    assert asked(index, "document:d every_group group:g")
    for relation in ("public", "every_group"):
        index.add(key(f"document:e {relation} group:g#member"))
        assert asked(index, f"document:e {relation} group:g#member")
        assert not asked(index, f"document:e {relation} user:ada")
        found = list_objects(Request(MODEL, index), "group:g#member", relation, "document")
        assert list(found) == ["document:e"]


def test_contextual_tuples_count_for_their_request_alone_wherever_they_stand() -> None:
    """CVE-2025-48371: cached parents and members were used with and without a request's tuples."""
    index = TupleIndex([key("folder:f viewer group:g#member")])
    parent, member = key("document:d parent folder:f"), key("group:g member user:ada")
    for given, expected in (((), False), ((parent, member), True), ((parent,), False), ((member,), False)):
        for _ in range(2):
            assert asked(index, "document:d viewer user:ada", *given) is expected
            assert listed(index, "viewer", *given) == ["document:d"] * expected


def test_an_exclusion_below_one_of_several_parents_takes_only_that_away() -> None:
    """CVE-2024-38361: an exclusion under an arrow over several objects denied for all of them."""
    index = TupleIndex(
        [
            *(key(f"document:d parent folder:{f}") for f in "ab"),
            *(key(f"folder:{f} viewer user:ada") for f in "ab"),
            key("folder:a banned user:ada"),
        ]
    )
    assert asked(index, "document:d inherited user:ada")
    assert listed(index, "inherited") == ["document:d"]
    index.add(key("folder:b banned user:ada"))
    assert not asked(index, "document:d inherited user:ada")
    assert listed(index, "inherited") == []


def test_each_of_several_conditions_on_one_relation_counts() -> None:
    """CVE-2024-46989: several conditioned subjects of one type, of which the last one decided alone."""
    index = TupleIndex(
        [
            key("document:d group group:a", "equals", required=["a"]),
            key("document:d group group:b", "equals", required=["b"]),
            *(key(f"group:{g} member user:ada") for g in "ab"),
        ]
    )
    for actual, expected in ((["a"], True), (["b"], True), (["c"], False)):
        assert asked(index, "document:d viewer user:ada", actual=actual) is expected
        assert listed(index, "viewer", actual=actual) == ["document:d"] * expected


def test_a_nested_exclusion_on_everyone_names_nobody_who_is_excluded() -> None:
    """GHSA-h7w8-xr72-cv4r: ListUsers named who a nested exclusion leaves out of `user:*`."""
    index = TupleIndex(
        [
            key("document:d allowed user:*"),
            key("document:d allowed user:ada"),
            key("document:d denied user:ada"),
        ]
    )
    for user, expected in (("user:ada", False), ("user:eve", True)):
        assert check(Request(MODEL, index), user, "visible", "document:d") is expected
    assert list(list_users(Request(MODEL, index), "document:d", "visible", "user")) == ["user:*"]


def test_a_list_is_kept_only_while_no_request_and_no_write_could_change_it() -> None:
    index = TupleIndex([key("document:1 public user:ada")])
    assert listed(index, "viewer") == listed(index, "viewer") == ["document:1"]
    assert listed(index, "viewer", key("document:2 public user:ada")) == ["document:1", "document:2"]
    assert listed(index, "viewer") == ["document:1"]
    index.add(key("document:3 public user:*"))
    assert listed(index, "viewer") == ["document:1", "document:3"]
    index.add(TupleKey("user:ada", "public", "document:1"), suspended=True)
    assert listed(index, "viewer") == listed(index, "viewer") == ["document:3"]
    index.remove("user:*", "public", "document:3")
    assert listed(index, "viewer") == []
