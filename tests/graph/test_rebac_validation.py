"""What OpenFGA refuses is refused, with its code and in its words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graph.rebac.errors import RebacError
from graph.rebac.relation_tuples import TupleKey
from graph.rebac.validation import (
    MAX_STORED_CONTEXT,
    validate_check,
    validate_contextual,
    validate_list_objects,
    validate_list_users,
    validate_tuple,
)
from ontologies.authorization_model import parse_dsl

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, user:*, group#member]
type document
  relations
    define parent: [document]
    define viewer: [user with small, group#member] or viewer from parent
    define reader: viewer

condition small(x: int, s: string) {
  x < 3 && s == "a"
}
""")


def refused(ask: Callable[[], None]) -> tuple[str, str]:
    with pytest.raises(RebacError) as error:
        ask()
    return error.value.code, error.value.message


@pytest.mark.parametrize(
    ("user", "relation", "object", "message"),
    [
        ("user:a", "owner", "document:1", "invalid relation: relation 'document#owner' not found"),
        ("robot:a", "viewer", "document:1", "invalid relation: type 'robot' not found"),
        ("group:1#owner", "viewer", "document:1", "invalid relation: relation 'group#owner' not found"),
        ("user:a", "viewer", "planet:1", "invalid relation: type 'planet' not found"),
        ("ada", "viewer", "document:1", "invalid relation: the 'user' field must be an object"),
        ("user:a:b", "viewer", "document:1", "invalid relation: the 'user' field is malformed"),
        ("group:*#member", "viewer", "document:1", "invalid relation: the 'user' field is malformed"),
        ("user:a\x01", "viewer", "document:1", "invalid relation: the 'user' field is malformed"),
        ("user:a", "viewer", "document:*", "invalid relation: the 'object' field cannot reference"),
        ("user:a", "viewer", "document", "invalid relation: invalid 'object' field format"),
        ("user:a", "viewer", "document:1#viewer", "invalid relation: invalid 'object' field format"),
        ("user:a b", "viewer", "document:1", "invalid user: value does not match"),
        ("user:" + "a" * 512, "viewer", "document:1", "invalid user: value does not match"),
        ("user:a", "view:er", "document:1", "invalid relation: value does not match"),
        ("user:a", "viewer", "document:" + "1" * 256, "invalid object: value does not match"),
    ],
)
def test_a_question_that_the_model_gives_no_meaning_is_refused(
    user: str, relation: str, object: str, message: str
) -> None:
    code, text = refused(lambda: validate_check(MODEL, user, relation, object))
    assert code == "validation_error"
    assert text.startswith(message)


def test_a_context_with_control_characters_is_refused() -> None:
    for context in ({"s": "a\x00"}, {"s\n": "a"}, {"s": [{"t": "\x1b"}]}):
        code, text = refused(lambda c=context: validate_check(MODEL, "user:a", "viewer", "document:1", c))
        assert code == "validation_error" and "forbidden characters" in text


def test_lists_name_what_is_not_found() -> None:
    assert refused(lambda: validate_list_objects(MODEL, "user:a", "viewer", "planet")) == (
        "type_not_found",
        "type 'planet' not found",
    )
    assert refused(lambda: validate_list_objects(MODEL, "user:a", "owner", "document")) == (
        "relation_not_found",
        "relation 'document#owner' not found",
    )
    assert refused(lambda: validate_list_objects(MODEL, "robot:a", "viewer", "document")) == (
        "validation_error",
        "invalid 'user' value: type 'robot' not found",
    )
    assert refused(lambda: validate_list_users(MODEL, "document:1", "viewer", "robot"))[0] == "type_not_found"
    assert refused(lambda: validate_list_users(MODEL, "document:1", "viewer", "group", "owner"))[0] == (
        "relation_not_found"
    )
    assert (
        refused(lambda: validate_list_users(MODEL, "document:1", "owner", "user"))[0] == "relation_not_found"
    )


RESTRICTED = [
    (TupleKey("user:a", "reader", "document:1"), "type 'user' is not an allowed type restriction for"),
    (TupleKey("user:*", "viewer", "document:1"), "the typed wildcard 'user:*' is not an allowed"),
    (TupleKey("document:1#viewer", "viewer", "document:2"), "'document#viewer' is not an allowed type"),
    (TupleKey("document:*", "parent", "document:1"), "unexpected wildcard relationship with tupleset"),
    (TupleKey("document:1#viewer", "parent", "document:2"), "unexpected user 'document:1#viewer' with"),
    (TupleKey("robot:a", "viewer", "document:1"), "type 'robot' not found"),
    (TupleKey("user:a", "", "document:1"), "the 'relation' field is malformed"),
]
CONDITIONED = [
    (TupleKey("user:a", "viewer", "document:1"), "condition is missing"),
    (TupleKey("user:a", "viewer", "document:1", "large"), "undefined condition"),
    (TupleKey("group:1#member", "viewer", "document:1", "small"), "invalid condition for type restriction"),
    (TupleKey("user:a", "viewer", "document:1", "small", {"y": 1}), "found invalid context parameter: y"),
    (TupleKey("user:a", "viewer", "document:1", "small", {"x": "a"}), "failed to convert context parameter"),
    (TupleKey("user:a", "viewer", "document:1", "small", {"s": "\x00"}), "forbidden characters"),
]


@pytest.mark.parametrize(("key", "reason"), [*RESTRICTED, *CONDITIONED])
def test_a_tuple_that_the_model_does_not_permit_is_neither_written_nor_laid_over(
    key: TupleKey, reason: str
) -> None:
    code, text = refused(lambda: validate_tuple(MODEL, key))
    assert code == "validation_error"
    assert text.startswith(f"Invalid tuple '{key}") and reason in text
    assert refused(lambda: validate_contextual(MODEL, [key])) == ("invalid_tuple", text)
    of_condition = (key, reason) in CONDITIONED
    of_a_list = "validation_error" if of_condition else "invalid_tuple"
    assert refused(lambda: validate_contextual(MODEL, [key], listing=True)) == (of_a_list, text)


def test_what_holds_already_or_is_too_much_is_not_written() -> None:
    implicit = TupleKey("group:1#member", "member", "group:1")
    assert "implicit" in refused(lambda: validate_tuple(MODEL, implicit))[1]
    validate_contextual(MODEL, [implicit])
    much = TupleKey("user:a", "viewer", "document:1", "small", {"s": "a" * MAX_STORED_CONTEXT})
    assert "size limit" in refused(lambda: validate_tuple(MODEL, much))[1]


def test_what_the_model_permits_is_written() -> None:
    for key in (
        TupleKey("user:a", "viewer", "document:1", "small", {"x": 1}),
        TupleKey("user:a@example.org", "viewer", "document:a/b*c", "small"),
        TupleKey("group:1#member", "viewer", "document:1"),
        TupleKey("user:*", "member", "group:1"),
        TupleKey("document:2", "parent", "document:1"),
    ):
        validate_tuple(MODEL, key)
        validate_contextual(MODEL, [key])
