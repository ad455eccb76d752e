"""What is listed is complete, comes once, and is what check says."""

from __future__ import annotations

import random

import orjson
import pytest

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, check
from graph.rebac.expansion import expand
from graph.rebac.explanation import explain
from graph.rebac.listing import list_objects, list_users
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from ontologies.authorization_model import parse_dsl

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, user:*, group#member]
type folder
  relations
    define parent: [folder]
    define owner: [user, group#member]
    define denied: [user, user:*, group#member]
    define viewer: ([user, user:*, group#member] or owner or viewer from parent) but not denied
type document
  relations
    define folder: [folder]
    define limited: [user with small, group#member with small]
    define viewer: viewer from folder or limited
    define audited: viewer and owner from folder

condition small(x: int) {
  x < 10
}
""")


def tuples(*texts: str) -> list[TupleKey]:
    """`object relation user` each."""
    return [TupleKey(*reversed(text.split(" "))) for text in texts]


def over(*texts: str, suspended: tuple[str, ...] = (), **context: object) -> Request:
    return Request(MODEL, TupleIndex(tuples(*texts), tuples(*suspended)), context=context)


def listed(request: Request, user: str, relation: str, type: str) -> list[str]:
    found = list(list_objects(request, user, relation, type))
    assert len(found) == len(set(found))
    return sorted(found)


def test_what_a_user_sees_is_complete_however_deep_and_however_many() -> None:
    deep = [f"folder:{i + 1} parent folder:{i}" for i in range(100)]
    wide = [f"document:{i} folder folder:100" for i in range(3_000)]
    request = over(*deep, *wide, "folder:0 viewer group:g#member", "group:g member user:ada")
    assert len(listed(request, "user:ada", "viewer", "document")) == 3_000
    assert len(listed(request, "user:ada", "viewer", "folder")) == 101
    assert listed(request, "user:eve", "viewer", "document") == []


def test_an_exclusion_on_the_way_takes_away_all_that_hangs_below() -> None:
    request = over(
        "folder:a viewer user:*",
        "folder:b parent folder:a",
        "folder:b denied user:ada",
        "folder:c parent folder:b",
        "document:1 folder folder:c",
        "document:2 folder folder:a",
    )
    assert listed(request, "user:ada", "viewer", "document") == ["document:2"]
    assert listed(request, "user:bob", "viewer", "document") == ["document:1", "document:2"]
    assert listed(request, "user:*", "viewer", "folder") == ["folder:a", "folder:b", "folder:c"]


def test_an_intersection_lists_who_has_every_operand() -> None:
    request = over(
        "folder:a owner user:ada",
        "folder:b viewer user:ada",
        "document:1 folder folder:a",
        "document:2 folder folder:b",
    )
    assert listed(request, "user:ada", "audited", "document") == ["document:1"]


def test_json_of_what_is_listed_is_the_same_names() -> None:
    names = ["document:a", "document:b", 'document:"],\\"', "document:é", "document:" + "z" * 240]
    index = TupleIndex(tuples(*(f"{name} folder folder:f" for name in names), "folder:f viewer user:ada"))

    def sent(request: Request, relation: str = "viewer", type: str = "document") -> list[str]:
        found = list_objects(request, "user:ada", relation, type)
        assert orjson.loads(found.json()) == list(found)
        assert len(found) == len(list(found)) and all(name in found for name in found)
        return sorted(found)

    assert sent(Request(MODEL, index)) == sorted(names)
    beside = tuples("document:new folder folder:n", "folder:n viewer user:ada")
    assert sent(Request(MODEL, index, beside)) == sorted([*names, "document:new"])
    index.add(TupleKey("folder:f", "folder", "document:later"))
    index.remove("folder:f", "folder", "document:a")
    assert sent(Request(MODEL, index)) == sorted([*names[1:], "document:later"])
    assert sent(Request(MODEL, index), type="folder") == ["folder:f"]
    assert sent(Request(MODEL, index), relation="owner", type="folder") == []


def test_what_is_kept_for_lists_follows_every_change_of_tuples() -> None:
    """Also where so many names go that all numbers are given anew."""
    choose, held = random.Random(5), TupleIndex()  # noqa: S311  no secret
    users = ["user:ada", "user:*", "group:0#member", "group:1#member", "group:2#member"]
    listed_to = ["user:ada", "user:bob", "group:1#member"]
    for number in range(1, 40):
        held.add(TupleKey(f"folder:{number // 2}", "parent", f"folder:{number}"))
    for step in range(300):
        user, object = choose.choice(users), f"folder:{choose.randrange(40)}"
        relation = choose.choice(["viewer", "owner", "denied"])
        match choose.randrange(4):
            case 0:
                relation, user = "parent", f"folder:{choose.randrange(40)}"
            case 1:
                relation, object = "member", f"group:{choose.randrange(3)}"
        if choose.random() < 0.4 or not held.remove(user, relation, object):
            held.add(TupleKey(user, relation, object))
        if step % 100 == 50:
            for number in range(20_000):
                held.add(TupleKey("user:many", "owner", f"folder:many-{number}"))
            assert len(listed(Request(MODEL, held), "user:many", "owner", "folder")) >= 20_000
            for number in range(20_000):
                held.remove("user:many", "owner", f"folder:many-{number}")
        for who in listed_to:
            anew = listed(Request(MODEL, TupleIndex(held)), who, "viewer", "folder")
            assert listed(Request(MODEL, held), who, "viewer", "folder") == anew


def test_a_userset_sees_what_its_members_are_given() -> None:
    request = over("folder:a viewer group:g#member", "group:g member group:h#member")
    assert listed(request, "group:h#member", "viewer", "folder") == ["folder:a"]
    assert listed(request, "group:h#member", "member", "group") == ["group:g", "group:h"]


def test_a_condition_that_cannot_be_decided_is_told() -> None:
    keys = [
        TupleKey("user:ada", "limited", "document:1", "small", {"x": 1}),
        TupleKey("user:ada", "limited", "document:2", "small"),
        TupleKey("user:ada", "limited", "document:3", "small", {"x": 11}),
    ]
    with pytest.raises(RebacError) as refused:
        list_objects(Request(MODEL, TupleIndex(keys)), "user:ada", "viewer", "document")
    assert refused.value.code == "validation_error"
    request = Request(MODEL, TupleIndex(keys), context={"x": 2})
    assert listed(request, "user:ada", "viewer", "document") == ["document:1", "document:2"]


def test_a_condition_beyond_what_does_not_hold_is_told_too() -> None:
    """OpenFGA goes on from whatever a tuple leads to, and checks what it found at the end."""
    model = parse_dsl("""
model
  schema 1.1
type user
type doc
  relations
    define a: [user]
    define b: [user]
    define both: a and b
type folder
  relations
    define viewer: [doc#both with small]
condition small(x: int) {
  x < 10
}
""")
    held = TupleIndex(
        [
            TupleKey("user:ada", "a", "doc:1"),
            TupleKey("doc:1#both", "viewer", "folder:1", "small"),
        ]
    )
    with pytest.raises(RebacError, match="missing context parameters"):
        list_objects(Request(model, held), "user:ada", "viewer", "folder")
    assert list(list_objects(Request(model, held, context={"x": 1}), "user:ada", "viewer", "folder")) == []


def test_users_are_the_named_the_wildcard_and_not_the_excluded() -> None:
    request = over(
        "folder:a viewer user:*",
        "folder:a viewer user:ada",
        "folder:a viewer group:g#member",
        "group:g member user:bob",
        "group:g member user:eve",
        "folder:a denied user:eve",
        "folder:b parent folder:a",
        "folder:b denied user:*",
    )
    assert list(list_users(request, "folder:a", "viewer", "user")) == ["user:*", "user:ada", "user:bob"]
    assert list(list_users(request, "folder:b", "viewer", "user")) == []
    assert list(list_users(request, "folder:a", "viewer", "group", "member")) == ["group:g#member"]
    assert list(list_users(request, "folder:a", "viewer", "folder", "viewer")) == ["folder:a#viewer"]


def test_nobody_is_listed_where_a_cycle_is_subtracted() -> None:
    request = over(
        "folder:a viewer user:ada",
        "folder:a denied group:g#member",
        "group:g member group:h#member",
        "group:h member group:g#member",
    )
    assert list(list_users(request, "folder:a", "viewer", "user")) == []
    assert list(list_users(request, "group:g", "member", "group", "member")) == [
        "group:g#member",
        "group:h#member",
    ]


def test_who_is_possibly_denied_is_not_listed() -> None:
    request = over(
        "folder:a viewer user:ada",
        "folder:a viewer user:bob",
        "folder:a denied group:g#member",
        suspended=("group:g member user:bob", "folder:a owner user:eve"),
    )
    assert list(list_users(request, "folder:a", "viewer", "user")) == ["user:ada"]


def test_expand_tells_one_level_with_the_users_that_the_model_permits() -> None:
    request = over(
        "document:1 folder folder:b",
        "document:1 folder folder:a",
        "document:1 folder user:ada",
        suspended=("document:1 folder folder:c",),
    )
    assert expand(request, "document:1", "viewer") == {
        "root": {
            "name": "document:1#viewer",
            "union": {
                "nodes": [
                    {
                        "name": "document:1#viewer",
                        "leaf": {
                            "tupleToUserset": {
                                "tupleset": "document:1#folder",
                                "computed": [{"userset": "folder:a#viewer"}, {"userset": "folder:b#viewer"}],
                            }
                        },
                    },
                    {
                        "name": "document:1#viewer",
                        "leaf": {"computed": {"userset": "document:1#limited"}},
                    },
                ]
            },
        }
    }
    denied = expand(over("folder:a denied group:g#member", "folder:a viewer user:*"), "folder:a", "viewer")
    difference = denied["root"]["difference"]
    assert difference["base"]["union"]["nodes"][0]["leaf"] == {"users": {"users": ["user:*"]}}
    assert difference["subtract"]["leaf"] == {"computed": {"userset": "folder:a#denied"}}


CHAIN = (
    "document:1 folder folder:b",
    "folder:b parent folder:a",
    "folder:a viewer group:g#member",
    "group:g member group:h#member",
    "group:h member group:g#member",
    "group:h member user:ada",
    "folder:b denied group:i#member",
    "group:i member user:eve",
    "group:h member user:eve",
)


def test_a_grant_is_explained_by_the_relationships_it_rests_on() -> None:
    found = explain(over(*CHAIN), "user:ada", "viewer", "document:1")
    assert found.allowed and found.ground is not None
    path = [str(ground.relationship) for ground in found.ground.path() if ground.relationship]
    assert path == [
        "document:1#folder@folder:b",
        "folder:b#parent@folder:a",
        "folder:a#viewer@group:g#member",
        "group:g#member@group:h#member",
        "group:h#member@user:ada",
    ]


def test_a_denial_is_explained_by_what_takes_the_grant_away() -> None:
    found = explain(over(*CHAIN), "user:eve", "viewer", "document:1")
    assert not found.allowed
    nearest = found.misses[0]
    assert (nearest.kind, nearest.object, nearest.relation) == ("excluded", "folder:b", "viewer")
    because = [str(g.relationship) for ground in nearest.because for g in ground.path() if g.relationship]
    assert because == ["folder:b#denied@group:i#member", "group:i#member@user:eve"]


def test_a_denial_names_the_relationships_that_do_not_count_or_are_not_there() -> None:
    key = TupleKey("group:g#member", "limited", "document:1", "small", {"x": 11})
    index = TupleIndex([key, *tuples("group:g member user:ada")])
    misses = explain(Request(MODEL, index), "user:ada", "viewer", "document:1").misses
    assert [(miss.kind, str(miss.relationship)) for miss in misses] == [
        ("condition", "document:1#limited@group:g#member"),
        ("no_tuple", "document:1#limited@user:ada"),
    ]
    suspended = explain(
        over("document:1 folder folder:a", suspended=("folder:a viewer user:ada",)),
        "user:ada",
        "viewer",
        "document:1",
    ).misses
    assert (suspended[0].kind, str(suspended[0].relationship)) == ("suspended", "folder:a#viewer@user:ada")


@pytest.mark.parametrize("user", ["user:ada", "user:eve", "user:bob", "group:h#member", "user:*"])
def test_an_explanation_agrees_with_check(user: str) -> None:
    request = over(*CHAIN, "folder:b viewer user:*")
    for object, relation in (("document:1", "viewer"), ("folder:b", "viewer"), ("document:1", "audited")):
        assert explain(request, user, relation, object).allowed == check(request, user, relation, object)
