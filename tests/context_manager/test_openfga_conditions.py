"""Conditions against a real OpenFGA server, request by request: what is decided, and what refused with which
code, by a relation of every kind, with contexts that are stored, asked with, missing, wrong or no context."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from context_manager import openfga_messages as messages
from context_manager.openfga_answers import StoreAnswers
from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_fields import document_of, parse
from context_manager.openfga_json import key_of, keys_of, user_json
from context_manager.openfga_questions import supposed
from graph.rebac.relation_tuples import TupleIndex
from graph.rebac.validation import validate_tuple
from ontologies.authorization_model import AuthorizationModel, parse_dsl
from tests.graph.openfga_server import OpenFga, binary, running

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, user with c, user:* with c, group#member with c]
type folder
  relations
    define viewer: [user with c, group#member, group#member with c]
type doc
  relations
    define parent: [folder, folder with c]
    define a: [user, user with c, user with d]
    define b: [user, user with c, user:*, user:* with c]
    define g: [group#member, group#member with c, group#member with d]
    define either: a or b
    define both: a and b
    define unless: a but not b
    define above: viewer from parent
    define viewer: [user with c] or above
    define group_unless: g but not a
    define group_both: g and a
condition c(x: int) {
  x < 10
}
condition d(x: int, y: string) {
  x < 10 && y == 'ok'
}
""")
#: `object relation user`, then a condition and its stored context where there is one.
STORED: list[tuple[str, ...]] = [
    ("doc:1 a user:a",), ("doc:2 a user:a", "c"), ("doc:3 a user:a", "c", '{"x": 5}'),
    ("doc:4 a user:a", "c", '{"x": 50}'), ("doc:5 a user:a", "d", '{"y": "ok"}'),
    ("doc:6 a user:a", "d", '{"y": "no"}'), ("doc:7 a user:a", "d", '{"x": 3}'),
    ("doc:1 b user:a", "c"), ("doc:2 b user:a",), ("doc:3 b user:*", "c"), ("doc:4 b user:*",),
    ("doc:5 b user:*", "c", '{"x": "7"}'), ("doc:6 b user:a", "c", '{"x": 70}'),
    ("group:1 member user:a",), ("group:2 member user:a", "c"), ("group:3 member user:a", "c", '{"x": 3}'),
    ("group:4 member group:1#member", "c"), ("group:5 member group:2#member", "c", '{"x": 1}'),
    ("group:6 member user:*", "c"), ("group:7 member group:6#member", "c", '{"x": 1}'),
    ("doc:1 g group:1#member",), ("doc:2 g group:1#member", "c"), ("doc:3 g group:2#member", "c"),
    ("doc:4 g group:4#member",), ("doc:5 g group:5#member", "d", '{"y": "ok"}'), ("doc:6 g group:7#member",),
    ("doc:7 g group:1#member", "d"), ("doc:8 g group:1#member",), ("doc:8 g group:9#member", "c"),
    ("doc:9 g group:9#member", "c"),
    ("folder:1 viewer user:a", "c"), ("folder:2 viewer group:1#member", "c"),
    ("folder:3 viewer group:1#member",), ("folder:4 viewer group:3#member", "c", '{"x": 99}'),
    ("doc:1 parent folder:1",), ("doc:2 parent folder:2", "c"), ("doc:3 parent folder:3", "c"),
    ("doc:4 parent folder:3", "c", '{"x": 1}'), ("doc:5 parent folder:4",),
    ("doc:6 parent folder:1", "c", '{"x": 99}'), ("doc:7 parent folder:9", "c"), ("doc:8 parent folder:3",),
]  # fmt: skip
#: Tuples that are refused or taken, and are not asked about.
WRITTEN: list[tuple[str, ...]] = [
    ("doc:20 a user:a", "zz"), ("doc:20 a user:a", "c", '{"x": "abc"}'), ("doc:20 a user:a", "c", '{"z": 1}'),
    ("doc:20 b user:a", "d"), ("folder:20 viewer user:b",), ("doc:21 a user:a", "c", '{"x": null}'),
    ("doc:22 a user:a", ""), ("doc:23 a user:a", "c", '{"x": 1.5}'), ("doc:24 a user:a", "c", '{"x": "1.0"}'),
    ("doc:25 a user:a", "c", "[]"), ("doc:26 a user:a", "c", '"x"'),
]  # fmt: skip
CONTEXTUAL: list[list[tuple[str, ...]]] = [
    [("doc:2 a user:a",)], [("doc:1 a user:a", "c")],
    [("doc:3 a user:a", "c", '{"x": 1}'), ("doc:3 a user:a", "c", '{"x": 20}')],
    [("doc:1 a user:a", "nope")], [("doc:1 a user:a", "c", '{"x": "abc"}')],
    [("doc:1 a user:a", "c", '{"q": 1}')], [("doc:1 b user:a", "d")], [("folder:1 viewer user:a",)],
    [("doc:1 nope user:a",)], [("doc:1 a doc:1#a",)], [("doc:1 a user:*",)],
]  # fmt: skip
CONTEXTS: list[Any] = [
    None, {}, {"x": 1}, {"x": 50}, {"x": "abc"}, {"x": None}, {"y": "ok"}, {"x": 1, "y": "ok"},
    {"x": 1, "y": 5}, {"x": 1, "unknown": [1]}, {"x": 1, "k": "a\x01"}, [], "x",
]  # fmt: skip
RELATIONS = [
    "a", "b", "g", "either", "both", "unless", "above", "viewer", "group_unless", "group_both",
]  # fmt: skip


def tuple_json(described: tuple[str, ...]) -> dict[str, Any]:
    object, relation, user = described[0].split(" ")
    key: dict[str, Any] = {"user": user, "relation": relation, "object": object}
    if described[1:]:
        key["condition"] = {"name": described[1]}
        if described[2:]:
            key["condition"]["context"] = json.loads(described[2])
    return key


def questions() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, relation in enumerate(RELATIONS):
        for user in ("user:a", "user:b", "user:*", "group:1#member"):
            contexts = CONTEXTS if relation in ("a", "unless") and user == "user:a" else CONTEXTS[:4:2]
            for context in contexts:
                yield from about(
                    relation, user, context, [], [f"doc:{(place + n) % 9 + 1}" for n in range(4)]
                )
    for given in CONTEXTUAL:
        for relation in ("a", "either", "unless"):
            keys = [tuple_json(one) for one in given]
            for context in (None, {"x": 1}):
                yield from about(relation, "user:a", context, keys, ["doc:1", "doc:3"])


def about(
    relation: str, user: str, context: Any, given: list[Any], objects: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    beside = {} if context is None else {"context": context}
    keys = {"contextual_tuples": {"tuple_keys": given}} if given else {}
    for object in objects:
        key = {"user": user, "relation": relation, "object": object}
        yield "check", {"tuple_key": key, **beside, **keys}
    yield "list-objects", {"user": user, "relation": relation, "type": "doc", **beside, **keys}
    object = {"type": "doc", "id": objects[0].partition(":")[2]}
    asked = {"object": object, "relation": relation, "user_filters": [{"type": "user"}], **beside}
    yield "list-users", {**asked, **({"contextual_tuples": given} if given else {})}


async def ours(model: AuthorizationModel, index: TupleIndex, what: str, body: dict[str, Any]) -> Any:
    answers = StoreAnswers("", model, index)
    try:
        document = document_of(json.dumps(body).encode())
        match what:
            case "write":
                [key] = keys_of(parse(messages.WRITE, document)["writes"]["tuple_keys"])
                validate_tuple(model, key)
                index.add(key)
                return {}
            case "check":
                values = parse(messages.CHECK, document)
                return await answers.check(key_of(values["tuple_key"]), supposed(values))
            case "list-objects":
                values = parse(messages.LIST_OBJECTS, document)
                named = values["user"], values["relation"], values["type"]
                return sorted(await answers.list_objects(*named, supposed(values)))
            case _:
                values = parse(messages.LIST_USERS, document)
                object = f"{values['object']['type']}:{values['object']['id']}"
                users = await answers.list_users(object, values["relation"], "user", "", supposed(values))
                return sorted(str(user_json(user)) for user in users)
    except OpenFgaError as error:
        return error.code
    except ValueError as error:
        return getattr(error, "code", str(error))


def theirs(server: OpenFga, path: str, what: str, body: dict[str, Any]) -> Any:
    found = server.post(f"{path}/{what}", body)
    if isinstance(found, str) or what == "write":
        return found
    match what:
        case "check":
            return found.get("allowed", False)
        case "list-objects":
            return sorted(found["objects"])
        case _:
            return sorted(str(user) for user in found["users"])


async def test_conditions_decide_and_refuse_as_openfgas_do() -> None:
    command = binary()
    if command is None:
        pytest.skip("needs an openfga binary: name one in OPENFGA, or put it on the PATH")
    different = []
    with running(command) as server:
        path, index = server.store(MODEL, ()), TupleIndex()
        assert path is not None
        writes = [tuple_json(one) for one in (*STORED, *WRITTEN)]
        asked: list[tuple[str, dict[str, Any]]] = [("write", {"writes": {"tuple_keys": [k]}}) for k in writes]
        asked += questions()
        for what, body in asked:
            expected, found = theirs(server, path, what, body), await ours(MODEL, index, what, body)
            if expected != found:
                different.append((what, body, expected, found))
    assert different == []
    assert len(asked) > 800
