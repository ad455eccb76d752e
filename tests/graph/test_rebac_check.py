"""Check means what OpenFGA means by it; what nobody vouches for grants nothing and lifts no denial."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, Search, check
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from ontologies.authorization_model import parse_dsl

GROUPS = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, user:*, group#member]
type folder
  relations
    define parent: [folder]
    define denied: [user, group#member] or denied from parent
    define reader: [user, group#member] or reader from parent
    define viewer: reader but not denied
    define both: reader and denied
""")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def tuples(*texts: str) -> list[TupleKey]:
    """`object relation user` each."""
    return [TupleKey(*reversed(text.split(" "))) for text in texts]


def groups(*texts: str, suspended: tuple[str, ...] = ()) -> Request:
    return Request(GROUPS, TupleIndex(tuples(*texts), tuples(*suspended)))


def test_a_thousand_nested_groups_are_too_deep_for_a_check_and_not_for_a_search() -> None:
    chain = [f"group:{i} member group:{i + 1}#member" for i in range(1_000)]
    request = groups(*chain, "group:1000 member user:ada")
    assert Search(request, "user:ada").value("group:0", "member") is True
    assert Search(request, "user:eve").value("group:0", "member") is False
    with pytest.raises(RebacError) as refused:
        check(request, "user:ada", "member", "group:0")
    assert refused.value.code == "authorization_model_resolution_too_complex"
    assert check(request, "user:ada", "member", "group:976")


def test_what_is_too_deep_hides_no_shorter_way() -> None:
    chain = [f"group:{i} member group:{i + 1}#member" for i in range(30)]
    request = groups(*chain, "group:0 member group:20#member", "group:30 member user:ada")
    assert check(request, "user:ada", "member", "group:0")


def test_a_cycle_is_false_and_hides_no_other_way() -> None:
    cycle = ("group:a member group:b#member", "group:b member group:a#member")
    assert not check(groups(*cycle), "user:ada", "member", "group:a")
    request = groups(*cycle, "group:a member user:ada")
    for order in itertools.permutations(["group:a", "group:b"]):
        search = Search(request, "user:ada")
        assert all(search.value(group, "member") is True for group in order)


def test_a_group_that_is_a_member_of_itself_has_its_members() -> None:
    request = groups(
        "group:a member group:a#member", "group:a member user:ada", "folder:x reader group:a#member"
    )
    assert check(request, "user:ada", "reader", "folder:x")
    assert not check(request, "user:eve", "reader", "folder:x")


def test_a_cycle_below_an_exclusion_denies() -> None:
    request = groups(
        "folder:x reader user:ada",
        "folder:x denied group:a#member",
        "group:a member group:b#member",
        "group:b member group:a#member",
    )
    assert check(request, "user:ada", "reader", "folder:x")
    assert not check(request, "user:ada", "viewer", "folder:x")


def test_a_suspended_tuple_grants_nothing_and_lifts_no_denial() -> None:
    grant = groups(suspended=("folder:x reader user:ada",))
    assert not check(grant, "user:ada", "viewer", "folder:x")
    membership = groups(
        "folder:x reader user:ada",
        "folder:x denied group:a#member",
        suspended=("group:a member user:ada",),
    )
    assert not check(membership, "user:ada", "viewer", "folder:x")
    parent = groups(
        "folder:x reader user:ada",
        "folder:top denied user:ada",
        suspended=("folder:x parent folder:top",),
    )
    assert not check(parent, "user:ada", "viewer", "folder:x")


def test_a_suspended_tuple_denies_also_where_tuples_have_conditions() -> None:
    model = parse_dsl("""
model
  schema 1.1
type user
type folder
  relations
    define reader: [user]
    define denied: [user with soon]
    define viewer: reader but not denied
condition soon(x: int) {
  x < 1
}
""")
    denied = tuples("folder:x denied user:ada")
    request = Request(model, TupleIndex(tuples("folder:x reader user:ada"), denied))
    assert Search(request, "user:ada").value("folder:x", "viewer") is None
    assert not check(request, "user:ada", "viewer", "folder:x")


def test_one_live_claim_outweighs_a_suspended_one() -> None:
    both = groups("folder:x reader user:ada", suspended=("folder:x reader user:ada",))
    assert check(both, "user:ada", "viewer", "folder:x")


def test_tuples_that_the_model_does_not_permit_grant_nothing() -> None:
    assert not check(groups("folder:x reader user:*"), "user:ada", "reader", "folder:x")
    assert not check(groups("folder:x viewer user:ada"), "user:ada", "viewer", "folder:x")
    through = groups("folder:x reader folder:y#reader", "folder:y reader user:ada")
    assert not check(through, "user:ada", "reader", "folder:x")
    wildcard = groups("folder:x parent folder:*", "folder:* reader user:ada")
    assert not check(wildcard, "user:ada", "reader", "folder:x")


def test_a_userset_has_its_own_relation_and_is_no_instance_of_a_wildcard() -> None:
    request = groups("group:a member user:*", "folder:x reader group:a#member")
    assert check(request, "group:a#member", "member", "group:a")
    assert check(request, "group:a#member", "reader", "folder:x")
    assert check(request, "user:*", "reader", "folder:x")
    assert not check(request, "group:b#member", "reader", "folder:x")


def test_a_grant_holds_from_when_it_begins_until_before_it_ends() -> None:
    grant = TupleKey("user:ada", "reader", "folder:x", valid_from=NOW, valid_to=NOW + timedelta(hours=1))
    index = TupleIndex([grant])

    def granted(minutes: int) -> bool:
        at = Request(GROUPS, index, now=NOW + timedelta(minutes=minutes))
        return check(at, "user:ada", "reader", "folder:x")

    assert [granted(minutes) for minutes in (-1, 0, 59, 60)] == [False, True, True, False]


def test_a_tuple_of_the_request_counts_for_that_request_alone() -> None:
    index = TupleIndex(tuples("folder:x reader user:ada"))
    contextual = tuples("folder:x denied group:a#member", "group:a member user:ada")
    assert not check(Request(GROUPS, index, contextual), "user:ada", "viewer", "folder:x")
    assert check(Request(GROUPS, index), "user:ada", "viewer", "folder:x")
    assert len(index) == 1


def test_a_model_may_change_while_the_tuples_stand() -> None:
    index = TupleIndex(tuples("folder:x reader group:a#member", "group:a member user:ada"))
    narrower = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user]
type folder
  relations
    define reader: [user]
""")
    assert check(Request(GROUPS, index), "user:ada", "reader", "folder:x")
    assert not check(Request(narrower, index), "user:ada", "reader", "folder:x")


def test_an_index_forgets_what_is_removed() -> None:
    held = tuples("folder:x reader group:a#member", "group:a member user:ada", "group:a member user:*")
    index = TupleIndex(held)
    assert set(index) == set(held) and len(index) == 3
    assert index.remove("group:a#member", "reader", "folder:x")
    assert not index.remove("group:a#member", "reader", "folder:x")
    assert index.get("user:ada", "member", "group:a") == held[1]
    assert index.get("group:a#member", "reader", "folder:x") is None
    assert list(index.objects("group:a#member", "folder#reader")) == []
    assert not check(Request(GROUPS, index), "user:ada", "reader", "folder:x")
    assert all(index.remove(key.user, key.relation, key.object) for key in held[1:])
    assert list(index) == [] and len(index) == 0


def test_a_long_chain_of_computed_relations_is_no_deep_resolution() -> None:
    """Only tuples count; and no chain, however long, exhausts the stack."""
    chain = "".join(f"    define r{i}: r{i + 1}\n" for i in range(1_500))
    model = parse_dsl(
        f"model\n  schema 1.1\ntype user\ntype document\n  relations\n{chain}    define r1500: [user]\n"
    )
    request = Request(model, TupleIndex(tuples("document:d r1500 user:ada")))
    assert check(request, "user:ada", "r0", "document:d")
    assert not check(request, "user:eve", "r0", "document:d")
