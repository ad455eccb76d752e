"""Stores, tuples and changes as OpenFGA's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from graph.rebac.explanation import Explanation, Ground, Miss
from graph.rebac.relation_tuples import TupleKey
from graph.stored_tuples import StoredChange, StoredTuple
from graph.tuple_store_records import Store


def instant(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def store_json(store: Store) -> dict[str, Any]:
    return {
        "id": store.id,
        "name": store.name,
        "created_at": instant(store.created_at),
        "updated_at": instant(store.updated_at),
        "deleted_at": None,
    }


def key_json(key: TupleKey) -> dict[str, Any]:
    condition = {"name": key.condition, "context": dict(key.context)} if key.condition else None
    return {"user": key.user, "relation": key.relation, "object": key.object, "condition": condition}


def tuple_json(stored: StoredTuple) -> dict[str, Any]:
    return {"key": key_json(stored.key), "timestamp": instant(stored.at)}


def change_json(change: StoredChange) -> dict[str, Any]:
    operation = "TUPLE_OPERATION_DELETE" if change.deleted else "TUPLE_OPERATION_WRITE"
    return {"tuple_key": key_json(change.key), "operation": operation, "timestamp": instant(change.at)}


def user_json(user: str) -> dict[str, Any]:
    """An object, a userset or a wildcard, as ListUsers shows it."""
    name, _, relation = user.partition("#")
    type_name, _, id = name.partition(":")
    if relation:
        return {"userset": {"type": type_name, "id": id, "relation": relation}}
    if id == "*":
        return {"wildcard": {"type": type_name}}
    return {"object": {"type": type_name, "id": id}}


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """The relationships that granted, in the order in which each leads to the next; or the nearest misses."""
    return {
        "allowed": explanation.allowed,
        "path": [_ground_json(one) for one in (explanation.ground.path() if explanation.ground else ())],
        "misses": [_miss_json(miss) for miss in explanation.misses],
    }


def _ground_json(ground: Ground) -> dict[str, Any]:
    """Without a name where the asker may not see it."""
    key = ground.relationship
    return {
        "object": ground.object,
        "relation": ground.relation,
        "relationship": None if key is None else key_json(key),
    }


def _miss_json(miss: Miss) -> dict[str, Any]:
    return {
        "kind": miss.kind,
        "object": miss.object,
        "relation": miss.relation,
        "distance": miss.distance,
        "relationship": None if miss.relationship is None else key_json(miss.relationship),
        "because": [_ground_json(one) for ground in miss.because for one in ground.path()],
        "detail": miss.detail,
    }


def key_of(values: Mapping[str, Any]) -> TupleKey:
    """The tuple of a parsed TupleKey."""
    condition = values.get("condition")
    if condition is None:
        return TupleKey(values["user"], values["relation"], values["object"])
    return TupleKey(
        values["user"],
        values["relation"],
        values["object"],
        condition["name"],
        condition["context"] or {},
    )


def keys_of(listed: Iterable[Mapping[str, Any]]) -> tuple[TupleKey, ...]:
    return tuple(map(key_of, listed))
