"""OpenFGA's consolidated matrix and its sample stores: every assertion, in process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, check
from graph.rebac.listing import list_objects, list_users
from graph.rebac.relation_tuples import TupleIndex
from graph.rebac.validation import (
    validate_check,
    validate_contextual,
    validate_list_objects,
    validate_list_users,
)
from tests.graph.openfga_data import ERROR_NUMBERS, matrix_stages, sample_stores, tuple_keys

pytestmark = pytest.mark.shared_data


def checked(request: Request, user: str, relation: str, object: str) -> object:
    validate_check(request.model, user, relation, object, request.context)
    return check(request, user, relation, object)


def objects(request: Request, user: str, relation: str, type: str) -> object:
    validate_list_objects(request.model, user, relation, type)
    return once(list_objects(request, user, relation, type))


def users(request: Request, object: str, relation: str, filters: list[str], **_: object) -> object:
    """One request of the matrix also has its expectation, which should stand beside it: it is empty."""
    (kind,) = filters
    user_type, _, user_relation = kind.partition("#")
    validate_list_users(request.model, object, relation, user_type, user_relation)
    return once(list_users(request, object, relation, user_type, user_relation))


def once(listed: Iterable[str]) -> list[str]:
    found = list(listed)
    assert len(found) == len(set(found))
    return sorted(found)


ASKED = {
    "checkAssertions": lambda r, a: checked(r, **a["tuple"]),
    "listObjectsAssertions": lambda r, a: objects(r, **a["request"]),
    "listUsersAssertions": lambda r, a: users(r, **a["request"]),
}


def answer(request: Request, kind: str, assertion: dict[str, Any]) -> object:
    try:
        validate_contextual(request.model, tuple_keys(assertion.get("contextualTuples")))
        return ASKED[kind](request, assertion)
    except RebacError as error:
        return ERROR_NUMBERS[error.code]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "contextual"])
def test_the_consolidated_matrix_whole(shared_data: Path, stored: bool) -> None:
    ran, failed = 0, []
    for name, model, held, stage in matrix_stages(shared_data):
        for kind in ASKED:
            for assertion in stage.get(kind) or ():
                contextual = tuple_keys(assertion.get("contextualTuples"))
                index, layer = (TupleIndex(held), contextual) if stored else (TupleIndex(), held + contextual)
                request = Request(model, index, layer, assertion.get("context") or {})
                expected = assertion.get("errorCode")
                if not expected:
                    expected = assertion.get("expectation")
                    expected = expected if kind == "checkAssertions" else sorted(expected or ())
                found = answer(request, kind, assertion)
                ran += 1
                if found != expected:
                    failed.append((name, kind, assertion, found))
    assert failed == []
    assert ran == 925


def test_the_sample_stores_whole(shared_data: Path) -> None:
    ran, failed = 0, []
    for name, model, stored, document in sample_stores(shared_data):
        for test in document["tests"]:
            index = TupleIndex([*stored, *tuple_keys(test.get("tuples"))])
            for found, expected in outcomes(model, index, test):
                ran += 1
                if found != expected:
                    failed.append((name, test["name"], found, expected))
    assert failed == []
    assert ran == 363


def outcomes(model: Any, index: TupleIndex, test: dict[str, Any]) -> Iterable[tuple[object, object]]:
    for asked in test.get("check") or ():
        request = Request(model, index, context=asked.get("context") or {})
        for relation, expected in asked["assertions"].items():
            yield checked(request, asked["user"], relation, asked["object"]), expected
    for asked in test.get("list_objects") or ():
        request = Request(model, index, context=asked.get("context") or {})
        for relation, expected in asked["assertions"].items():
            yield objects(request, asked["user"], relation, asked["type"]), sorted(expected)
    for asked in test.get("list_users") or ():
        request = Request(model, index, context=asked.get("context") or {})
        for relation, expected in asked["assertions"].items():
            (kind,) = asked["user_filter"]
            user_type, user_relation = kind["type"], kind.get("relation", "")
            validate_list_users(model, asked["object"], relation, user_type, user_relation)
            found = once(list_users(request, asked["object"], relation, user_type, user_relation))
            yield found, sorted(expected["users"])
