"""Conditions in CEL: OpenFGA's parameter types, whose context wins, and what cannot be decided."""

from __future__ import annotations

from typing import Any

import pytest

from context_manager.openfga_answers import StoreAnswers, Supposed
from context_manager.openfga_errors import OpenFgaError
from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Allowance, Request, check
from graph.rebac.listing import list_objects
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from ontologies.authorization_model import ModelError, parse_dsl
from ontologies.authorization_model.conditions import ConditionError, compiled

HEAD = "model\n  schema 1.1\ntype user\n"


def condition(parameters: str, expression: str) -> Any:
    text = f"{HEAD}condition asked({parameters}) {{\n  {expression}\n}}\n"
    return compiled(parse_dsl(text).conditions["asked"])


@pytest.mark.parametrize(
    ("parameters", "expression", "context", "holds"),
    [
        ("x: int", "x > 3", {"x": 4}, True),
        ("x: int", "x > 3", {"x": "4"}, True),
        ("x: int", "x == 9223372036854775807", {"x": "9223372036854775807"}, True),
        ("x: int", "x / 2 == 1 && x % 2 == 1", {"x": 3.0}, True),
        ("x: int", "x == 9007199254740992", {"x": 2**53 + 1}, True),
        ("x: int", "x == 9223372036854775807", {"x": 1e30}, True),
        ("x: int", "x == 8", {"x": "1p3"}, True),
        ("x: uint", "x == 18u", {"x": 18}, True),
        ("x: uint", "x - 1u > 3u", {"x": "5"}, True),
        ("x: double", "x > 1.5", {"x": 2}, True),
        ("x: double", "x == 0.25", {"x": "0.25"}, True),
        ("x: double", "x > 1e308", {"x": "Inf"}, True),
        ("x: double", "1.0 / x < 0.0", {"x": "-0"}, True),
        ("x: bool", "!x", {"x": False}, True),
        ("x: string", "x.startsWith('ä') && size(x) == 2", {"x": "äb"}, True),
        ("x: string", "x.matches('^[a-z]+$')", {"x": "A"}, False),
        ("x: duration", "x == duration('90m')", {"x": "1h30m"}, True),
        ("x: duration", "x > duration('1.5h') || x < duration('-1ns')", {"x": "-2ns"}, True),
        ("x: duration", "x.getMinutes() == 90", {"x": "1.5h"}, True),
        ("x: timestamp", "x < timestamp('2024-01-01T00:00:00Z')", {"x": "2023-12-31T23:59:59.9Z"}, True),
        ("x: timestamp", "x == timestamp('2023-12-31T22:00:00Z')", {"x": "2024-01-01T00:00:00+02:00"}, True),
        ("x: timestamp", "x.getHours('Europe/Berlin') == 1", {"x": "2024-01-01T00:00:00Z"}, True),
        (
            "t: timestamp, g: timestamp, d: duration",
            "t < g + d && t - g < d",
            {"t": "2024-01-01T00:59:59Z", "g": "2024-01-01T00:00:00Z", "d": "1h"},
            True,
        ),
        ("x: ipaddress", "x.in_cidr('192.168.0.0/24')", {"x": "192.168.0.7"}, True),
        ("x: ipaddress", "x.in_cidr('192.168.0.9/24')", {"x": "192.168.0.7"}, True),
        ("x: ipaddress", "x.in_cidr('192.168.0.0/24')", {"x": "192.168.1.7"}, False),
        ("x: ipaddress", "x.in_cidr('192.168.0.0/24')", {"x": "::ffff:192.168.0.7"}, True),
        ("x: ipaddress", "x.in_cidr('::ffff:192.168.0.0/120')", {"x": "192.168.0.7"}, True),
        ("x: ipaddress", "x.in_cidr('2001:db8::/32')", {"x": "2001:db8::1"}, True),
        ("x: ipaddress", "x.in_cidr('10.0.0.0/8')", {"x": "2001:db8::1"}, False),
        ("x: ipaddress", "x.in_cidr('fe80::/10')", {"x": "fe80::1%eth0"}, False),
        ("x: ipaddress", "x == ipaddress('::1') && x != ipaddress('::2')", {"x": "0:0::1"}, True),
        ("x: list<string>", "'a' in x && x.exists_one(y, y == 'a')", {"x": ["a", "b"]}, True),
        ("x: list<int>", "x.all(y, y > 0) && x.map(y, y * 2)[1] == 4", {"x": [1, "2"]}, True),
        ("x: map<string>", "x.team == 'a' && x['team'] == 'a' && !has(x.other)", {"x": {"team": "a"}}, True),
        ("x: map<any>", "x.n == 1.0 && x.l[0] == 'a'", {"x": {"n": 1, "l": ["a"]}}, True),
        ("x: any", "x == 3", {"x": 3}, True),
        ("x: any", "x.deep.er == 'a' ", {"x": {"deep": {"er": "a"}}}, True),
        ("x: list<list<int>>", "x[0][1] == 2", {"x": [[1, 2]]}, True),
        ("x: list<int>", "x.all(a, a >= 0)", {"x": list(range(19))}, True),
        (
            "x: list<string>, y: string",
            "x.exists(a, y.startsWith(a))",
            {"x": ["a"] * 9 + ["b"], "y": "bc"},
            True,
        ),
        (
            "x: list<string>, y: list<string>",
            "x.filter(a, a != 'c').map(a, a + 'd').all(a, y.exists(b, b == a))",
            {"x": ["a", "b", "c"], "y": ["ad", "bd"]},
            True,
        ),
        ("x: list<int>", "x[9999] == 9999 && size(x) == 10000", {"x": list(range(10_000))}, True),
        ("x: list<int>", f"x.all(a, !(a in {list(range(2_000))}))", {"x": [-1]}, True),
        ("x: map<any>", "x.all(k, !(k in x.l))", {"x": {"l": list(range(2_000))}}, True),
        ("x: duration", "x.getMilliseconds() == 3600001", {"x": "1h1ms"}, True),
        ("x: string", "bool(x)", {"x": "T"}, True),
        ("x: string", "int(x) == 7 && uint('7') == 7u", {"x": "+7"}, True),
        ("x: string", "duration(x) == duration('1000ns')", {"x": "1µs"}, True),
        (
            "x: string",
            "timestamp(x) > timestamp('2024-02-29T00:00:00Z')",
            {"x": "2024-02-29T00:00:00.1Z"},
            True,
        ),
    ],
)
def test_each_type_means_what_it_means_to_openfga(
    parameters: str, expression: str, context: dict[str, Any], holds: bool
) -> None:
    assert condition(parameters, expression).holds(context) is holds


@pytest.mark.parametrize(
    ("parameters", "context", "message"),
    [
        ("x: int", {}, "missing context parameters '\\[x\\]'"),
        ("x: int", {"x": 1.5}, "found numeric value '1.5'"),
        ("x: int", {"x": True}, "expected a value of type int, but found bool"),
        ("x: int", {"x": "1e9999999999"}, "invalid string value"),
        ("x: int", {"x": "1e3p2"}, "invalid string value"),
        ("x: int", {"x": 10**400}, "expected a value of type int"),
        ("x: int", {"x": "Inf"}, "invalid string value"),
        ("x: uint", {"x": -1}, "expected a uint value"),
        ("x: double", {"x": "0.1"}, "number cannot be represented as a float64"),
        ("x: double", {"x": "1e400"}, "number cannot be represented as a float64"),
        ("x: string", {"x": 1}, "expected a value of type string, but found int"),
        ("x: duration", {"x": "1d"}, "expected a valid duration string"),
        ("x: duration", {"x": "300000h" * 99}, "expected a valid duration string"),
        ("x: timestamp", {"x": "2024-01-01"}, "expected RFC 3339"),
        ("x: timestamp", {"x": "2024-13-01T00:00:00Z"}, "'x'"),
        ("x: timestamp", {"x": "2024-12-01T00:00:00+25:00"}, "expected RFC 3339"),
        ("x: ipaddress", {"x": "10.0.0.256"}, "'x'"),
        ("x: list<int>", {"x": ["a"]}, "invalid string value 'a'"),
        ("x: map<string>", {"x": {"a": 1}}, "expected a value of type string"),
    ],
)
def test_what_is_not_of_its_type_is_an_error(parameters: str, context: dict[str, Any], message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        condition(parameters, "x == x").holds(context)


@pytest.mark.parametrize(
    ("parameters", "expression", "message"),
    [
        ("x: int", "y > 3", "undeclared reference to 'y'"),
        ("x: int", "x > 3u", "found no matching overload"),
        ("x: int", "x", "expected a bool condition expression output, but got 'int'"),
        ("x: int", "x >", "Syntax error"),
        ("x: any", "x", "expected a bool condition expression output"),
        ("x: string", "x.in_cidr('10.0.0.0/8')", "found no matching overload"),
        ("x: ipaddress", "x < x", "found no matching overload"),
        ("x: ipaddress", "type(x) == IPAddress", "undeclared reference to 'IPAddress'"),
        ("x: int", "duration(x) == duration('1s')", "found no matching overload"),
        ("x: double", "x == 1e400", "invalid double literal"),
        ("x: bool", "x ? false : " * 30 + "true", "nested too deeply"),
        # What does not depend on a context is evaluated here.
        ("x: string", "x.matches('(')", "condition expression construction"),
        ("x: bool", "x || int('one') == 1", "condition expression construction"),
        ("x: bool", "x || timestamp('2024-01-01') == timestamp('2024-01-01')", "condition expression constr"),
        ("x: bool", "x || bool('yes')", "condition expression construction"),
    ],
)
def test_an_expression_is_checked_when_its_model_is_written(
    parameters: str, expression: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        condition(parameters, expression)
    assert refused.value.code == "invalid_authorization_model"
    assert refused.value.about == "asked"


BOTH = "x: list<int>, y: list<int>"
#: A list of lists of lists, each as long as x.
CUBED = "[x.map(a, x)].map(m, m.map(b, m))"


@pytest.mark.parametrize(
    ("parameters", "expression", "context"),
    [
        ("x: int", "1 / x == 1", {"x": 0}),
        ("x: list<int>", "x.all(a, x.all(b, x.all(c, a + b + c > 0)))", {"x": list(range(1, 999))}),
        ("x: string", "x.matches(x)", {"x": "("}),
        ("x: string", "int(x) == 1", {"x": " 1"}),
        ("x: string", "int(x) == 1", {"x": "9" * 9_999}),
        ("x: string", "uint(x) == 1u", {"x": "+1"}),
        ("x: string", "bool(x)", {"x": "tRUE"}),
        ("x: string", "duration(x) > duration('1s')", {"x": "9999999h"}),
        ("x: string", "timestamp(x) > timestamp('2024-01-01T00:00:00Z')", {"x": "2024-12-31t23:59:60z"}),
        ("x: map<string>", "x.absent == 'a'", {"x": {}}),
        ("x: ipaddress", "x.in_cidr('10.0.0.0')", {"x": "10.0.0.1"}),
        ("x: ipaddress", "x.in_cidr('10.0.0.0/08')", {"x": "10.0.0.1"}),
        ("x: ipaddress", "x.in_cidr('10.0.0.0/33')", {"x": "10.0.0.1"}),
        ("x: any", "x > 3", {"x": "a"}),
        (BOTH, "x.all(a, !(a in y))", {"x": list(range(9_000)), "y": list(range(9_000, 99_000))}),
        ("x: list<int>", "x.map(a, a) == x", {"x": list(range(9_000))}),
        ("x: list<int>", "x.//\nmap(a, a) == x", {"x": list(range(9_000))}),
        ("x: list<int>", " || ".join(f"{n} in x" for n in range(2_000)), {"x": [-1] * 9_000}),
        (
            f"{BOTH}, all: bool",
            "all || " * 2_000 + "x.all(a, !(a in y))",
            {"x": [1] * 999, "y": [2] * 999, "all": False},
        ),
        ("x: list<int>", f"{CUBED} == {CUBED}", {"x": list(range(200))}),
        ("x: list<int>, s: string", "x.all(a, !s.contains('ab'))", {"x": [1] * 900, "s": "a" * 900_000}),
    ],
)
def test_an_evaluation_that_fails_or_runs_too_long_is_an_error(
    parameters: str, expression: str, context: dict[str, Any]
) -> None:
    with pytest.raises(ConditionError):
        condition(parameters, expression).holds(context)


MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, user with late]
type document
  relations
    define group: [group with limited]
    define blocked: [user with limited]
    define viewer: [user with limited, user:* with late, group#member with limited]
    define editor: member from group
    define reader: viewer but not blocked
    define either: viewer or blocked
    define both: viewer and blocked

condition limited(x: int, y: int) {
  x < y
}

condition late(now: timestamp) {
  now > timestamp("2026-01-01T00:00:00Z")
}
""")


def key(text: str, condition: str = "", **context: Any) -> TupleKey:
    object, relation, user = text.split(" ")
    return TupleKey(user, relation, object, condition, context)


def asked(relation: str, *keys: TupleKey, **context: Any) -> bool | str:
    try:
        return check(Request(MODEL, TupleIndex(keys), context=context), "user:ada", relation, "document:d")
    except RebacError as error:
        return error.code


DIRECT = key("document:d viewer user:ada", "limited", y=5)


def test_the_stored_context_stands_above_the_request() -> None:
    assert asked("viewer", DIRECT, x=4) is True
    assert asked("viewer", DIRECT, x=5) is False
    assert asked("viewer", DIRECT, x=7, y=9) is False


def test_a_missing_parameter_is_an_error_unless_something_else_decides() -> None:
    assert asked("viewer", DIRECT) == "validation_error"
    public = key("document:d viewer user:*", "late")
    assert asked("viewer", DIRECT, public, now="2026-02-01T00:00:00Z") is True
    assert asked("viewer", DIRECT, public, now="2025-02-01T00:00:00Z") == "validation_error"
    assert asked("both", DIRECT) is False
    blocked = key("document:d blocked user:ada", "limited", x=1, y=2)
    assert asked("either", DIRECT, blocked) is True
    assert asked("both", DIRECT, blocked) == "validation_error"


def test_an_undecided_denial_grants_nothing() -> None:
    granted = key("document:d viewer user:ada", "limited", x=1, y=2)
    undecided = key("document:d blocked user:ada", "limited", y=2)
    assert asked("reader", granted, undecided) == "validation_error"
    assert asked("reader", granted, undecided, x=2) is True
    assert asked("reader", granted, undecided, x=1) is False
    assert asked("reader", undecided) is False


def test_conditions_hold_on_usersets_and_on_what_stands_before_from() -> None:
    member = key("group:g member user:ada")
    for relation, via in (
        ("viewer", key("document:d viewer group:g#member", "limited", y=3)),
        ("editor", key("document:d group group:g", "limited", y=3)),
    ):
        assert asked(relation, via, member, x=2) is True
        assert asked(relation, via, member, x=3) is False
        assert asked(relation, via, member) == "validation_error"


def test_a_tuple_whose_condition_the_model_does_not_have_there_grants_nothing() -> None:
    assert asked("viewer", key("document:d viewer user:ada")) is False
    assert asked("viewer", key("document:d viewer user:ada", "late"), now="2026-02-01T00:00:00Z") is False
    assert asked("viewer", key("document:d viewer user:ada", "limited", x=1, z=2), y=3) is False
    assert asked("viewer", key("document:d viewer user:ada", "limited", x="one"), y=3) is False


def test_a_tuple_may_stand_with_and_without_a_condition_where_both_are_permitted() -> None:
    via = key("document:d group group:g", "limited", x=1, y=3)
    assert asked("editor", via, key("group:g member user:ada")) is True
    assert asked("editor", via, key("group:g member user:ada", "late"), now="2025-02-01T00:00:00Z") is False


def test_what_all_conditions_of_a_request_may_take_is_bounded() -> None:
    keys = [key(f"document:{n} viewer user:ada", "limited", x=1, y=2) for n in range(3)]
    request = Request(MODEL, TupleIndex(keys), allowance=Allowance(1e-12))
    assert check(request, "user:ada", "viewer", "document:0")
    with pytest.raises(RebacError, match="cost limit exceeded") as refused:
        check(request, "user:ada", "viewer", "document:1")
    assert refused.value.code == "validation_error"
    with pytest.raises(RebacError, match="cost limit exceeded"):
        list_objects(request, "user:ada", "viewer", "document")


async def test_the_checks_of_a_request_to_a_store_share_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("context_manager.openfga_answers.CONDITIONS_S", 1e-12)
    held = TupleIndex([key("document:d viewer user:ada", "limited", x=1, y=2)])
    asked = TupleKey("user:ada", "viewer", "document:d")
    first, second = StoreAnswers("", MODEL, held), StoreAnswers("", MODEL, held)
    assert await first.check(asked, Supposed())
    with pytest.raises(OpenFgaError, match="cost limit exceeded"):
        await first.check(asked, Supposed())
    assert await second.check(asked, Supposed())
