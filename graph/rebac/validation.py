"""What OpenFGA refuses before it evaluates, with its codes and in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from graph.rebac.errors import RebacError
from graph.rebac.relation_tuples import TupleKey, split_userset, type_of
from graph.rebac.rules import Facets, compile_model
from ontologies.authorization_model import AuthorizationModel, Condition
from ontologies.authorization_model.conditions import ConditionError, typed_parameters

#: OpenFGA's limit of the context that is stored with a tuple, in bytes of JSON.
MAX_STORED_CONTEXT = 32 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PLAIN = re.compile(r"[^#: \x00-\x1f\x7f-\x9f]+")
_NAME = re.compile(rf"{_PLAIN.pattern}:{_PLAIN.pattern}")
_USER = re.compile(r"[^\s]{2,512}")
_OBJECT = re.compile(r"[^\s]{2,256}")
_TUPLE_USER = re.compile(r"(?s:.{0,512})")
_CONDITION = re.compile(r"[^\s]{2,256}")
_RELATION = re.compile(r"[^:#@\s]{1,50}")


def validate_check(
    model: AuthorizationModel, user: str, relation: str, object: str, context: Mapping[str, Any] | None = None
) -> None:
    """A question of Check, or of Expand with an empty user. Raises RebacError `validation_error`."""
    if user:
        _require_form("user", user, _USER)
    _require_form("relation", relation, _RELATION)
    _require_form("object", object, _OBJECT)
    problem = (_user_problem(model, user) if user else "") or _object_problem(model, relation, object)
    if problem:
        raise RebacError("validation_error", f"invalid relation: {problem}" if user else problem)
    problem = _forbidden(context) if context is not None else ""
    if problem:
        raise RebacError("validation_error", f"invalid context: {problem}")


def validate_list_objects(model: AuthorizationModel, user: str, relation: str, type: str) -> None:
    """Raises RebacError: `type_not_found`, `relation_not_found`, or `validation_error` for the user."""
    _require_form("relation", relation, _RELATION)
    _require(model, type, relation)
    problem = _user_problem(model, user)
    if problem:
        raise RebacError("validation_error", f"invalid 'user' value: {problem}")


def validate_list_users(
    model: AuthorizationModel, object: str, relation: str, user_type: str, user_relation: str = ""
) -> None:
    """Raises RebacError: `type_not_found` or `relation_not_found`, of the filter first."""
    _require_form("relation", relation, _RELATION)
    _require(model, user_type, user_relation)
    _require(model, type_of(object), relation)
    if not _is_object(object):
        raise RebacError("validation_error", "invalid 'object' field format")


def validate_tuple(model: AuthorizationModel, key: TupleKey) -> None:
    """A tuple to be written. Raises RebacError `validation_error`."""
    _validate_tuple(model, key, "validation_error", "validation_error")
    problem = ""
    if key.user == f"{key.object}#{key.relation}":
        problem = "cannot write a tuple that is implicit"
    elif len(json.dumps(key.context)) > MAX_STORED_CONTEXT:
        problem = f"condition context size limit exceeded: it has more than {MAX_STORED_CONTEXT} bytes"
    if problem:
        raise RebacError("validation_error", f"Invalid tuple '{key}'. Reason: {problem}")


def validate_contextual(
    model: AuthorizationModel, keys: Sequence[TupleKey], *, listing: bool = False
) -> None:
    """Tuples of a request: as those to be written. Raises RebacError `invalid_tuple`.

    For a list OpenFGA tells of a wrong condition as a `validation_error`.
    """
    for key in keys:
        _validate_tuple(model, key, "invalid_tuple", "validation_error" if listing else "invalid_tuple")


def _validate_tuple(model: AuthorizationModel, key: TupleKey, code: str, of_condition: str) -> None:
    _require_form("user", key.user, _TUPLE_USER)
    _require_form("object", key.object, _OBJECT)
    # An empty relation is told of with the tuple, as an empty condition is none.
    if key.relation:
        _require_form("relation", key.relation, _RELATION)
    if key.condition:
        _require_form("condition", key.condition, _CONDITION)
    problem = (
        _user_problem(model, key.user)
        or _object_problem(model, key.relation, key.object)
        or _restriction_problem(model, key)
    )
    if problem:
        raise RebacError(code, f"Invalid tuple '{key}'. Reason: {problem}")
    problem = _condition_problem(model, key)
    if problem:
        named = f"{key} (condition {key.condition})" if key.condition else str(key)
        raise RebacError(of_condition, f"Invalid tuple '{named}'. Reason: {problem}")


def _require_form(field: str, value: str, pattern: re.Pattern[str]) -> None:
    """What OpenFGA asks of a field by itself."""
    if not pattern.fullmatch(value):
        expected = f'value does not match regex pattern "^{pattern.pattern}$"'
        raise RebacError("validation_error", f"invalid {field}: {expected}")


def _require(model: AuthorizationModel, type: str, relation: str) -> None:
    if type not in model.types:
        raise RebacError("type_not_found", f"type '{type}' not found")
    if relation and not model.has(type, relation):
        raise RebacError("relation_not_found", f"relation '{type}#{relation}' not found")


def _user_problem(model: AuthorizationModel, user: str) -> str:
    if _is_object(user):
        kind = type_of(user)
        return "" if kind in model.types else f"type '{kind}' not found"
    name, relation = split_userset(user)
    if not (_is_object(name) and _plain(relation) and "*" not in f"{name}{relation}"):
        if not _plain(user):
            return "the 'user' field is malformed"
        return (
            "the 'user' field must be an object (e.g. document:1) or an 'object#relation' or a typed "
            "wildcard (e.g. group:*)"
        )
    if type_of(name) not in model.types:
        return f"type '{type_of(name)}' not found"
    if relation and not model.has(type_of(name), relation):
        return f"relation '{type_of(name)}#{relation}' not found"
    return ""


def _object_problem(model: AuthorizationModel, relation: str, object: str) -> str:
    kind = type_of(object)
    if not _is_object(object):
        return "invalid 'object' field format"
    if object == f"{kind}:*":
        return "the 'object' field cannot reference a typed wildcard"
    if kind not in model.types:
        return f"type '{kind}' not found"
    if not relation:
        return "the 'relation' field is malformed"
    return "" if model.has(kind, relation) else f"relation '{kind}#{relation}' not found"


def _restriction_problem(model: AuthorizationModel, key: TupleKey) -> str:
    kind = type_of(key.object)
    name, relation = split_userset(key.user)
    place = f"{kind}#{key.relation}"
    compiled = compile_model(model)
    if (kind, key.relation) in compiled.tuplesets:
        if name.endswith(":*"):
            return f"unexpected wildcard relationship with tupleset relation '{place}'"
        if relation:
            return f"unexpected user '{key.user}' with tupleset relation '{place}'"
    facets = compiled.facets[kind][key.relation]
    if relation:
        userset = f"{type_of(name)}#{relation}"
        if userset not in facets.usersets:
            return f"'{userset}' is not an allowed type restriction for '{place}'"
    elif name == f"{type_of(name)}:*":
        if type_of(name) not in facets.wildcards:
            return f"the typed wildcard '{name}' is not an allowed type restriction for '{place}'"
    elif type_of(name) not in facets.named:
        return f"type '{type_of(name)}' is not an allowed type restriction for '{place}'"
    return ""


def _condition_problem(model: AuthorizationModel, key: TupleKey) -> str:
    allowed = _allowed(compile_model(model).facets[type_of(key.object)][key.relation], key.user)
    if not key.condition:
        return "" if "" in allowed else "condition is missing"
    condition = model.conditions.get(key.condition)
    if condition is None or key.condition not in allowed:
        return "invalid condition for type restriction" if condition else "undefined condition"
    return _forbidden(key.context) or _context_problem(condition, key.context)


def _context_problem(condition: Condition, context: Mapping[str, Any]) -> str:
    try:
        typed = typed_parameters(condition, context)
    except ConditionError as error:
        return str(error)
    unknown = next((name for name in context if name not in typed), "")
    return f"found invalid context parameter: {unknown}" if unknown else ""


def _allowed(facets: Facets, user: str) -> frozenset[str]:
    name, relation = split_userset(user)
    return facets.usersets.get(f"{type_of(name)}#{relation}", frozenset()) if relation else facets.of(user)


def _is_object(name: str) -> bool:
    """`type:id`: one colon, neither side empty."""
    return _NAME.fullmatch(name) is not None


def _plain(name: str) -> bool:
    """Not empty, and none of what separates the parts of a tuple."""
    return _PLAIN.fullmatch(name) is not None


def _forbidden(value: Any) -> str:
    """What is wrong with a context: control characters in its keys and strings."""
    match value:
        case str():
            return f"context value {value!r} contains forbidden characters" if _CONTROL.search(value) else ""
        case list():
            return next(filter(None, map(_forbidden, value)), "")
        case Mapping():
            for key, item in value.items():
                if _CONTROL.search(key):
                    return f"context key {key!r} contains forbidden characters"
                if problem := _forbidden(item):
                    return problem
    return ""
