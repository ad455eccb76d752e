"""The servers' HTTP APIs: how each is loaded and asked."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.authorization.data import MODEL, SCHEMA, Question
from benchmarks.authorization.load import Load
from benchmarks.authorization.peers import KEY
from graph.rebac.relation_tuples import TupleKey, split_userset
from ontologies.authorization_model import parse_dsl, to_json

RELATION, TYPE = "can_view", "document"


class Api(Protocol):
    """Loads that a server understands."""

    def write(self, keys: Sequence[TupleKey]) -> Load: ...

    def check(self, questions: Sequence[Question]) -> Load: ...

    def list_objects(self, *users: str) -> Load: ...


@dataclass(frozen=True)
class OpenFgaApi:
    """OpenFGA's, which Orgraph has too. A store of the name `benchmark` is made once."""

    port: int
    prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[int, ...] = ()
    """Ports of other processes that serve the same stores."""

    def write(self, keys: Sequence[TupleKey]) -> Load:
        bodies = [
            {
                "writes": {
                    "tuple_keys": [
                        {"user": key.user, "relation": key.relation, "object": key.object} for key in some
                    ]
                }
            }
            for some in _batches(keys, 100)
        ]
        return self._load("write", bodies)

    def check(self, questions: Sequence[Question]) -> Load:
        bodies = [
            {"tuple_key": {"user": q.user, "relation": RELATION, "object": q.object}} for q in questions
        ]
        return self._load("check", bodies, '"allowed":true')

    def list_objects(self, *users: str) -> Load:
        bodies = [{"type": TYPE, "relation": RELATION, "user": user} for user in users]
        return self._load("list-objects", bodies, '"document:')

    def _load(self, what: str, bodies: Sequence[Mapping[str, Any]], marks: str = "") -> Load:
        store, model = self._store()
        texts = [json.dumps({**body, "authorization_model_id": model}) for body in bodies]
        path = f"{self.prefix}/stores/{store}/{what}"
        return Load((self.port, *self.beside), path, texts, headers=self.headers, marks=marks)

    def _store(self) -> tuple[str, str]:
        found = [one for one in self._call("/stores")["stores"] if one["name"] == "benchmark"]
        if not found:
            found = [self._call("/stores", {"name": "benchmark"})]
            self._call(f"/stores/{found[0]['id']}/authorization-models", to_json(parse_dsl(MODEL)))
        models = self._call(f"/stores/{found[0]['id']}/authorization-models")["authorization_models"]
        return found[0]["id"], models[0]["id"]

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return call(self.port, self.prefix + path, body, self.headers)


@dataclass(frozen=True)
class SpiceDbApi:
    """SpiceDB's gateway."""

    port: int

    def write(self, keys: Sequence[TupleKey]) -> Load:
        call(self.port, "/v1/schema/write", {"schema": SCHEMA}, _SPICEDB)
        bodies = [{"updates": list(map(_update, some))} for some in _batches(keys, 1000)]
        return self._load("/v1/relationships/write", bodies)

    def check(self, questions: Sequence[Question]) -> Load:
        bodies = [
            {"resource": _object(q.object), "permission": RELATION, "subject": {"object": _object(q.user)}}
            for q in questions
        ]
        return self._load("/v1/permissions/check", bodies, "PERMISSIONSHIP_HAS_PERMISSION")

    def list_objects(self, *users: str) -> Load:
        bodies = [
            {
                "resourceObjectType": TYPE,
                "permission": RELATION,
                "subject": {"object": _object(user)},
            }
            for user in users
        ]
        return self._load("/v1/permissions/resources", bodies, '"resourceObjectId"')

    def _load(self, path: str, bodies: Sequence[Mapping[str, Any]], marks: str = "") -> Load:
        # What was written is read: its default lets a reader be some seconds behind.
        fresh = {} if "write" in path else {"consistency": {"minimizeLatency": True}}
        texts = [json.dumps({**body, **fresh}) for body in bodies]
        return Load((self.port,), path, texts, headers=_SPICEDB, marks=marks)


_SPICEDB = {"Authorization": f"Bearer {KEY}"}


def call(port: int, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310  on this machine
        return json.load(response)


def _batches(keys: Sequence[TupleKey], size: int) -> Iterator[Sequence[TupleKey]]:
    for first in range(0, len(keys), size):
        yield keys[first : first + size]


def _update(key: TupleKey) -> Mapping[str, Any]:
    name, member = split_userset(key.user)
    subject: dict[str, Any] = {"object": _object(name)}
    if member:
        subject["optionalRelation"] = member
    # A permission takes no tuples in SpiceDB's language.
    relation = "granted" if key.relation == "viewer" else key.relation
    return {
        "operation": "OPERATION_TOUCH",
        "relationship": {"resource": _object(key.object), "relation": relation, "subject": subject},
    }


def _object(name: str) -> Mapping[str, str]:
    kind, _, id = name.partition(":")
    return {"objectType": kind, "objectId": id}
