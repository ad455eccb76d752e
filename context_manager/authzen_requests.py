"""Requests of the OpenID AuthZEN Authorization API 1.0, and what they mean in OpenFGA's terms.

| AuthZEN | OpenFGA |
| --- | --- |
| subject `{type, id}` | user `type:id` |
| action `{name}` | relation |
| resource `{type, id}` | object `type:id` |
| `context`; `properties` of the three | context of conditions: `x`; `subject_x`, `action_x`, `resource_x` |

A key of `context` is stronger than a property of the same name. Members that the API does not know
are ignored, as it wants.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_paging import position_of, token_of
from graph.rebac.relation_tuples import TupleKey

Json = Mapping[str, Any]

MAX_EVALUATIONS = 1_000
MAX_PAGE = 1_000
SEMANTICS = ("execute_all", "deny_on_first_deny", "permit_on_first_permit")
_TYPE = re.compile(r"[^:#@\s]{1,254}")
_ID = re.compile(r"[^#\s]{1,510}")
_NAME = re.compile(r"[^:#@\s]{1,50}")


class BadRequest(Exception):  # noqa: N818  named for the status that it becomes
    """The request is not of the API's form; the message names what is wrong in it."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """May the user of the key have its relation to its object?"""

    key: TupleKey
    context: Json


@dataclass(frozen=True, slots=True)
class Evaluations:
    items: tuple[Evaluation, ...]
    semantic: str


@dataclass(frozen=True, slots=True)
class Search:
    """What is known of the three; the one that is searched for has no id (an action no name)."""

    subject: str
    """`type:id`, or the type alone."""
    action: str
    resource: str
    context: Json
    limit: int
    after: str
    """The result that the page begins after; empty for the first."""
    digest: str
    """Of all but the page: a token is good for the same search only."""

    def next_token(self, last: str) -> str:
        return token_of("search", [self.digest, self.limit, last])


def evaluation(body: Json) -> Evaluation:
    """Of a request to `/access/v1/evaluation`. BadRequest when it is not of its form."""
    key = TupleKey(_named(body, "subject"), _action(body), _named(body, "resource"))
    return Evaluation(key, _context(body))


def evaluations(body: Json) -> Evaluations | None:
    """Of a request to `/access/v1/evaluations`; None where it asks a single question by its defaults."""
    listed = body.get("evaluations")
    if listed is None or listed == []:
        return None
    if not isinstance(listed, list):
        raise BadRequest("evaluations: expected a list")
    if len(listed) > MAX_EVALUATIONS:
        raise BadRequest(f"evaluations: {len(listed):,} were sent; at most {MAX_EVALUATIONS:,} are taken")
    options = _object(body, "options") or {}
    semantic = options.get("evaluations_semantic", SEMANTICS[0])
    if semantic not in SEMANTICS:
        raise BadRequest(f"options.evaluations_semantic: expected one of {', '.join(SEMANTICS)}")
    defaults = {name: body.get(name) for name in ("subject", "action", "resource", "context")}
    items = []
    for number, item in enumerate(listed):
        if not isinstance(item, dict):
            raise BadRequest(f"evaluations[{number}]: expected an object")
        given = {name: value for name, value in item.items() if value is not None}
        try:
            items.append(evaluation(defaults | given))
        except BadRequest as error:
            raise BadRequest(f"evaluations[{number}]: {error}") from error
    return Evaluations(tuple(items), semantic)


def search(body: Json, wanted: str) -> Search:
    """Of a request to `/access/v1/search/...`; `wanted` is `subject`, `action` or `resource`."""
    subject = _typed(body, "subject") if wanted == "subject" else _named(body, "subject")
    resource = _typed(body, "resource") if wanted == "resource" else _named(body, "resource")
    action = "" if wanted == "action" else _action(body)
    context = _context(body)
    asked = json.dumps([wanted, subject, action, resource, context], sort_keys=True)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:32]
    limit, after = _page(body, digest)
    return Search(subject, action, resource, context, limit, after, digest)


def _page(body: Json, digest: str) -> tuple[int, str]:
    page = _object(body, "page") or {}
    limit, token = page.get("limit"), page.get("token") or ""
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise BadRequest("page.limit: expected an integer that is not negative")
    if not isinstance(token, str):
        raise BadRequest("page.token: expected a string")
    if not token:
        return min(MAX_PAGE if limit is None else limit, MAX_PAGE), ""
    try:
        of, first, after = position_of("search", token, ["", 0, ""])
    except (OpenFgaError, ValueError) as error:
        raise BadRequest("page.token: it is not one that this service gave") from error
    if of != digest or (limit is not None and min(limit, MAX_PAGE) != first):
        raise BadRequest("page.token: it was given for another search; send the same one, or no token")
    return int(first), str(after)


def _object(body: Json, name: str) -> Json | None:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"{name}: expected an object")
    return value


def _required(body: Json, name: str) -> Json:
    value = _object(body, name)
    if value is None:
        raise BadRequest(f"{name}: it is required")
    return value


def _text(value: Json, entity: str, name: str, pattern: re.Pattern[str]) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise BadRequest(f"{entity}.{name}: it is required, and a string")
    if not pattern.fullmatch(text):
        raise BadRequest(f"{entity}.{name}: {text[:100]!r} cannot be one")
    return text


def _typed(body: Json, entity: str) -> str:
    return _text(_required(body, entity), entity, "type", _TYPE)


def _named(body: Json, entity: str) -> str:
    return f"{_typed(body, entity)}:{_text(_required(body, entity), entity, 'id', _ID)}"


def _action(body: Json) -> str:
    return _text(_required(body, "action"), "action", "name", _NAME)


def _context(body: Json) -> Json:
    merged: dict[str, Any] = {}
    for entity in ("subject", "resource", "action"):
        properties = _object(_object(body, entity) or {}, "properties") or {}
        merged |= {f"{entity}_{name}": value for name, value in properties.items()}
    return {**merged, **(_object(body, "context") or {})}
