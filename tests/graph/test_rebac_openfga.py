"""The evaluator against a real OpenFGA server, on random models, tuples and requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, Search, check
from graph.rebac.expansion import expand
from graph.rebac.listing import list_objects, list_users
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from tests.graph.openfga_server import OpenFga, as_json
from tests.graph.plain_rebac import IDS, OBJECT_TYPES, RELATIONS, models, tuples_of

USERS = ["user:1", "user:2", "user:*", "group:1", "group:1#r0", "group:2#r1", "folder:1#r0"]
OBJECTS = [f"{kind}:{id}" for kind in OBJECT_TYPES for id in IDS]
GOALS = [(object, relation) for object in OBJECTS for relation in RELATIONS]


@st.composite
def requests(draw: st.DrawFn) -> tuple[Request, list[TupleKey]]:
    model = draw(models())
    # OpenFGA writes no tuple that holds already.
    held = [key for key in draw(tuples_of(model)) if key.user != f"{key.object}#{key.relation}"]
    contextual = held[: draw(st.integers(0, len(held)))] if draw(st.booleans()) else []
    # A tuple of the request stands for the stored one.
    stored = [*held[len(contextual) :], *(draw(st.lists(st.sampled_from(contextual))) if contextual else ())]
    stored = list(dict.fromkeys(stored))
    context = draw(st.sampled_from([{"x": 3}, {}]))
    return Request(model, TupleIndex(stored), contextual, context), stored


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(requests(), st.sampled_from(USERS))
def test_openfga_answers_the_same(openfga: OpenFga, asked: Any, user: str) -> None:
    """But for what rests on nothing but a cycle, where OpenFGA's answer depends on its own planner."""
    request, held = asked
    store = openfga.store(request.model, held)
    if store is None:
        return  # OpenFGA takes some rather involved relations for ones that nobody can have
    given = [as_json(key) for key in request.contextual]
    supposed = {"contextual_tuples": {"tuple_keys": given}}
    context = {"context": dict(request.context)}
    asking = [
        {"tuple_key": {"user": user, "relation": r, "object": o}, **context, **supposed} for o, r in GOALS
    ]
    checks = [{**item, "correlation_id": str(number)} for number, item in enumerate(asking)]
    results = openfga.post(f"{store}/batch-check", {"checks": checks})["result"]
    search = Search(request, user)
    for number, (object, relation) in enumerate(GOALS):
        if search.value(object, relation) is not None:
            result = results[str(number)]
            theirs = result["error"]["input_error"] if "error" in result else result.get("allowed", False)
            assert answer(lambda o=object, r=relation: check(request, user, r, o)) == theirs, (
                object,
                relation,
            )
    for kind in OBJECT_TYPES:
        for relation in RELATIONS:
            body = {"user": user, "relation": relation, "type": kind, **context, **supposed}
            found = openfga.post(f"{store}/list-objects", body)
            theirs = found if isinstance(found, str) else sorted(found["objects"])
            ours = answer(lambda r=relation, k=kind: listed(list_objects(request, user, r, k)))
            assert ours == theirs, (kind, relation)
    for object, relation in GOALS[::3]:
        kind, _, id = object.partition(":")
        body = {
            "object": {"type": kind, "id": id},
            "relation": relation,
            "user_filters": [{"type": "user"}],
            "contextual_tuples": given,
            **context,
        }
        found = openfga.post(f"{store}/list-users", body)
        ours = answer(lambda o=object, r=relation: listed(list_users(request, o, r, "user")))
        # Where a cycle is subtracted OpenFGA does not tell of a condition that it could not decide.
        if ours != "validation_error":
            assert ours == sorted(map(name, found["users"])), (object, relation)
        expanded = {"tuple_key": {"object": object, "relation": relation}, **supposed}
        tree = openfga.post(f"{store}/expand", expanded)["tree"]
        assert unordered(expand(request, object, relation)) == unordered(tree)


def answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except RebacError as error:
        return error.code


def listed(found: Iterable[str]) -> list[str]:
    return sorted(found)


def name(user: dict[str, Any]) -> str:
    return f"{user['wildcard']['type']}:*" if "wildcard" in user else ":".join(user["object"].values())


def unordered(tree: Any) -> Any:
    """OpenFGA lists what stands before `from` in the order of its storage."""
    if isinstance(tree, dict):
        return {
            key: sorted(map(str, value))
            if key == "computed" and isinstance(value, list)
            else unordered(value)
            for key, value in tree.items()
        }
    return [unordered(item) for item in tree] if isinstance(tree, list) else tree
