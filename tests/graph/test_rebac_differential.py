"""The evaluator against a plain one, on random models, tuples and requests."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, Search, check
from graph.rebac.explanation import explain
from graph.rebac.listing import list_objects, list_users
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from ontologies.authorization_model import from_json, to_json
from tests.graph.plain_rebac import IDS, OBJECT_TYPES, RELATIONS, Plain, Value, models, tuples_of

USERS = ["user:1", "user:2", "user:*", "group:1", "group:1#r0", "group:2#r1", "folder:1#r0"]


def deciding(context: dict[str, int]) -> object:
    def holds(key: TupleKey) -> Value:
        merged = {**context, **key.context}
        if not key.condition:
            return True
        return "error" if {"x", "y"} - merged.keys() else merged["x"] < merged["y"]

    return holds


@st.composite
def requests(draw: st.DrawFn, decided: bool = False) -> tuple[Request, list[TupleKey]]:
    """Some tuples stored, some contextual, and all of them; `decided`: no parameter is missing."""
    model = draw(models())
    held = draw(tuples_of(model))
    layered = draw(tuples_of(model, most=4)) if draw(st.booleans()) else []
    context = draw(st.sampled_from([{"x": 3}, {"x": 3}] if decided else [{"x": 3}, {}]))
    over = {(key.user, key.relation, key.object) for key in layered}
    visible = [key for key in held if (key.user, key.relation, key.object) not in over]
    return Request(model, TupleIndex(held), layered, context), [*visible, *layered]


def plainly(request: Request, held: list[TupleKey], user: str) -> dict[tuple[str, str], Value]:
    return Plain(request.model, held, user, deciding(dict(request.context))).values()


@settings(max_examples=40, deadline=None)
@given(requests(), st.sampled_from(USERS))
def test_every_goal_has_its_plain_value_in_whatever_order(asked, user: str) -> None:
    request, held = asked
    shared = Search(request, user)
    for (object, relation), expected in plainly(request, held, user).items():
        for found in (shared.value(object, relation), Search(request, user).value(object, relation)):
            assert ("error" if isinstance(found, RebacError) else found) == expected, (object, relation)
        try:
            answer: object = check(request, user, relation, object)
        except RebacError as error:
            answer = error.code
        assert answer == ("validation_error" if expected == "error" else expected is True)
        assert explain(request, user, relation, object).allowed == (expected is True)


@settings(max_examples=30, deadline=None)
@given(requests(decided=True), st.sampled_from(USERS))
def test_listed_objects_are_all_that_have_the_value_true(asked, user: str) -> None:
    request, held = asked
    values = plainly(request, held, user)
    for kind in OBJECT_TYPES:
        for relation in RELATIONS:
            found = list(list_objects(request, user, relation, kind))
            expected = {
                o for (o, r), v in values.items() if v is True and r == relation and o.startswith(kind)
            }
            assert len(found) == len(set(found)) and set(found) == expected


@settings(max_examples=12, deadline=None)
@given(requests(decided=True), st.sampled_from(RELATIONS))
def test_listed_users_have_the_relation_and_who_is_not_listed_is_one_of_everyone(
    asked, relation: str
) -> None:
    request, held = asked
    concrete = {user: plainly(request, held, user) for user in ("user:1", "user:2", "user:3", "user:*")}
    usersets = {f"group:{id}#r0": plainly(request, held, f"group:{id}#r0") for id in IDS}
    for object in (f"{kind}:{id}" for kind in OBJECT_TYPES for id in IDS):
        found = set(list_users(request, object, relation, "user"))
        having = {user for user, values in concrete.items() if values.get((object, relation)) is True}
        assert found <= having
        assert having - found <= (having if "user:*" in found else set()) - {"user:*"}
        members = set(list_users(request, object, relation, "group", "r0"))
        expected = {user for user, values in usersets.items() if values.get((object, relation)) is True}
        # Without a tuple that leads there a userset is only itself.
        assert members == expected | (
            {f"{object}#r0"} if (object[:5], relation) == ("group", "r0") else set()
        )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_change_is_seen_by_the_next_question(data: st.DataObject) -> None:
    """An index that is asked between its changes answers as one that was just made."""
    model = data.draw(models())
    index = TupleIndex()
    held: dict[tuple[str, str, str], TupleKey] = {}
    for _ in range(3):
        for key in data.draw(tuples_of(model, most=12)):
            index.add(key)
            held[key.user, key.relation, key.object] = key
        for gone in data.draw(st.lists(st.sampled_from(list(held)), unique=True)) if held else ():
            assert index.remove(*gone)
            del held[gone]
        assert set(index) == set(held.values()) and len(index) == len(held)
        fresh = TupleIndex(held.values())
        for user in USERS[:5]:
            now, then = (Request(model, of, context={"x": 3}) for of in (index, fresh))
            for kind in OBJECT_TYPES:
                for relation in RELATIONS:
                    goals = [(f"{kind}:{id}", relation) for id in IDS]
                    assert [Search(now, user, 25).value(*goal) for goal in goals] == [
                        Search(then, user).value(*goal) for goal in goals
                    ]


@settings(max_examples=40, deadline=None)
@given(models())
def test_a_model_survives_as_json(model) -> None:
    assert to_json(from_json(to_json(model))) == to_json(model)
