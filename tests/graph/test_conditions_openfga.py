"""Conditions against a real OpenFGA server: values at the edges of each type, stored and asked.

Left out is where ours cannot be decided, and so grants nothing, though OpenFGA decides it: instants before
the year 1 or after 9999 by way of their offset, and `has` of what is no map.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, check
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.rebac.validation import validate_check, validate_contextual
from ontologies.authorization_model import AuthorizationModel, ModelError, from_json, parse_dsl, to_json
from tests.graph.openfga_server import OpenFga, as_json

NUMBERS: list[Any] = [
    0, -0.0, 1, -1, 1.0, 1.5, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1e30, 5e-324, "0", "7",
    "-7", "+7", "1.0", "1.5", "1e3", "1E3", ".5", "5.", "0x10", "0b1", "0o7", "1_000", " 1", "1 ", "", "-", "NaN",
    "Inf", "Infinity", "-inf", "0.1", "0.5", "1e400", "1e-400", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "-9223372036854775808", "-9223372036854775809", "1/2", "007", "1p3", "0x1p-2",
    True, None, [], {}, [1],
]  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "int": NUMBERS,
    "uint": NUMBERS,
    "double": NUMBERS,
    "bool": [True, False, "true", "false", 1, 0, None, [], {}],
    "string": ["", "a", "é", "true", "1", 1, 1.5, True, None, [], {}],
    "duration": [
        "1h", "1.5h", "-1ns", "1d", "", "0", "+5m", "1h-2m", ".5s", "5.s", ".s", "1us", "1µs", "1μs", "1h1h", "1H",
        "2562047h47m16.854775807s", "2562047h47m16.854775808s", "-2562047h47m16.854775808s", "1 h", " 1h", "1", 5,
        None, True, "0.000000001s", "0.0000000001s", "-0", "1e3s", "9223372036854775807ns", "1m30",
    ],
    "timestamp": [
        "2023-05-03T21:25:20Z", "2023-05-03T21:25:20+00:00", "2023-05-03T21:25:20-00:00", "2023-05-03t21:25:20z",
        "2023-05-03T21:25:20.123456789Z", "2023-05-03T21:25:20.1234567891Z", "2023-05-03T21:25:20", "2023-05-03",
        "2023-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "2023-05-03T24:00:00Z",
        "2023-05-03T21:25:60Z", "2023-05-03 21:25:20Z", "2023-05-03T21:25:20+23:59", "2023-05-03T21:25:20+24:00",
        "2023-05-03T1:25:20Z", "2023-05-03T21:25:20,5Z", "2023-05-03T21:25:20+0000", "10000-01-01T00:00:00Z", "", 0,
        1683149120, None, True, "2023-05-03T21:25:20.Z", "2023-05-03T21:25Z", "2023-05-03T21:25:20+05:60",
    ],
    "ipaddress": [
        "10.0.0.1", "10.0.0.01", "10.0.0.256", "10.0.0", "::1", "::", "0:0:0:0:0:0:0:1", "fe80::1", "fe80::1%eth0",
        "::ffff:10.0.0.1", "::FFFF:10.0.0.1", "2001:DB8::1", "2001:db8:::1", "1::2::3", "10.0.0.1/8", "[::1]", "",
        " 10.0.0.1", "١٠.0.0.1", 1, None, True, "64:ff9b::10.0.0.1", "::10.0.0.1", "fe80::1%", "10.0.0.1%eth0",
    ],
    "list<int>": [[], [1], [1, "2", 3.0], ["a"], [1.5], [None], {}, "", "[1]", None, [[1]]],
    "list<string>": [[], ["a"], ["a", 1], [None], ["a", "a"], "a", {"a": "b"}],
    "map<string>": [{}, {"a": "b"}, {"a": 1}, {"a": None}, [], "a", {"": ""}, {"é": "é"}, {"a": {"b": "c"}}],
    "map<int>": [{"a": 1}, {"a": "1"}, {"a": "x"}, {"a": 1.5}],
    "list<list<string>>": [[["a"]], [[]], ["a"], [[1]]],
    "map<map<int>>": [{"a": {"b": 1}}, {"a": 1}, {"a": {}}],
    "list<duration>": [["1h"], ["x"], [1]],
    "map<timestamp>": [{"a": "2023-05-03T21:25:20Z"}, {"a": "x"}],
    "list<ipaddress>": [["10.0.0.1"], ["x"], []],
    "any": [
        1, 1.5, "a", True, None, [], [1, "a", None], {}, {"a": 1}, {"a": {"b": [1, {"c": "d"}]}}, 2**53 + 1, "",
    ],
    "list<any>": [[], [1, "a", None, {"a": 1}], "a"],
    "map<any>": [{}, {"a": 1}, {"a": {"b": [1, 2]}}, {"a": None}],
}  # fmt: skip
EXPRESSIONS: dict[str, list[str]] = {
    "int": ["x == x", "x > 0", "x == 9007199254740993", "x + 1 > x", "x / 2 * 2 == x", "x % 3 == 1", "-x < 0"],
    "uint": ["x == x", "x > 0u", "x == 9223372036854775807u", "x - 1u >= 0u", "uint(int(x)) == x"],
    "double": ["x == x", "x > 0.0", "x == 0.5", "1.0 / x > 0.0", "int(x) == 1", "string(x) == '1.5'"],
    "bool": ["x", "!x", "x == true", "x ? false : true"],
    "string": ["x == x", "size(x) == 1", "x < 'b'", "x + 'a' == 'aa'", "x.contains('')", "int(x) == 1", "x in ['a']"],
    "duration": ["x == x", "x > duration('0s')", "x + x == x", "x.getSeconds() > 3600", "string(x) == '3600s'"],
    "timestamp": [
        "x == x", "x > timestamp('2023-05-03T00:00:00Z')", "x.getFullYear() == 2023", "x.getMilliseconds() == 123",
        "x + duration('1h') > x", "x - timestamp('2023-05-03T21:25:20Z') == duration('0s')", "int(x) == 1683149120",
        "x.getDayOfWeek('America/New_York') == 3", "string(x) == '2023-05-03T21:25:20Z'",
    ],
    "ipaddress": [
        "x.in_cidr('10.0.0.0/8')", "x.in_cidr('::/0')", "x.in_cidr('0.0.0.0/0')", "x.in_cidr('::ffff:10.0.0.0/104')",
        "x.in_cidr('10.0.0.1/32')", "x.in_cidr('fe80::/10')", "x.in_cidr('10.0.0.0/33')", "x.in_cidr('x')",
        "x == ipaddress('10.0.0.1')", "x.in_cidr('::ffff:0:0/96')", "x.in_cidr('64:ff9b::/96')",
    ],
    "list<int>": ["x == x", "1 in x", "x.all(y, y > 0)", "x.exists(y, y == 2)", "size(x) == 0", "x[0] == 1"],
    "list<string>": ["'a' in x", "x.exists_one(y, y == 'a')", "x.map(y, y + 'b') == ['ab']", "x.filter(y, true) == x"],
    "map<string>": ["'a' in x", "x.a == 'b'", "x['a'] == 'b'", "has(x.a)", "size(x) == 0", "x.all(k, k == 'a')"],
    "map<int>": ["x.a == 1", "x.a > 0 || true"],
    "list<list<string>>": ["x[0][0] == 'a'", "x.all(y, size(y) == 1)"],
    "map<map<int>>": ["x.a.b == 1", "has(x.a)", "'b' in x.a"],
    "list<duration>": ["x[0] == duration('1h')"],
    "map<timestamp>": ["x.a.getFullYear() == 2023"],
    "list<ipaddress>": ["x.all(y, y.in_cidr('10.0.0.0/8'))"],
    "any": [
        "x == x", "x == 1", "x == 1.0", "x > 1", "x == 'a'", "x.a == 1", "x.a.b[1].c == 'd'", "x == null",
        "size(x) == 0", "x in [1, 'a']", "type(x) == double", "type(x) == int", "x[0] == 1", "x", "!x",
    ],
    "list<any>": ["size(x) == 0", "x[3].a == 1", "x[2] == null", "x.exists(y, y == 'a')", "1 in x"],
    "map<any>": ["x.a == 1", "x.a.b[0] == 1", "has(x.a)", "x.a == null"],
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_a_condition_means_what_it_means_to_openfga(openfga: OpenFga, kind: str) -> None:
    expressions = [expression for expression in EXPRESSIONS[kind] if both_take(openfga, kind, expression)]
    document = model_of(kind, expressions)
    model = from_json(document)
    path = openfga.write_model(document)
    assert path is not None
    asked = [
        (TupleKey("user:a", f"r{i}", "document:d", f"c{i}", stored), context)
        for value in VALUES[kind]
        for i in range(len(expressions))
        for stored, context in (
            ({}, {"x": value}),
            ({"x": value}, {}),
            ({"x": value}, {"x": VALUES[kind][0]}),
        )
    ]
    different = []
    for some in batched(asked, 50):
        checks = [
            {
                "tuple_key": {"user": key.user, "relation": key.relation, "object": key.object},
                "contextual_tuples": {"tuple_keys": [as_json(key)]},
                "context": context,
                "correlation_id": str(number),
            }
            for number, (key, context) in enumerate(some)
        ]
        results = openfga.post(f"{path}/batch-check", {"checks": checks})["result"]
        for number, (key, context) in enumerate(some):
            result = results[str(number)]
            theirs = result["error"]["input_error"] if "error" in result else result.get("allowed", False)
            if (found := answer(model, key, context)) != theirs:
                different.append((expressions[int(key.relation[1:])], key.context, context, found, theirs))
    assert different == []


def both_take(openfga: OpenFga, kind: str, expression: str) -> bool:
    document = model_of(kind, [expression])
    theirs = openfga.write_model(document) is not None
    try:
        from_json(document)
    except ModelError:
        ours = False
    else:
        ours = True
    assert ours == theirs, expression
    return ours


def model_of(kind: str, expressions: list[str]) -> dict[str, Any]:
    names = range(len(expressions))
    relations = "".join(f"    define r{i}: [user with c{i}]\n" for i in names)
    conditions = "".join(f"condition c{i}(x: {kind}) {{\n  true\n}}\n" for i in names)
    document: dict[str, Any] = dict(
        to_json(
            parse_dsl(f"model\n  schema 1.1\ntype user\ntype document\n  relations\n{relations}{conditions}")
        )
    )
    for i in names:
        document["conditions"][f"c{i}"]["expression"] = expressions[i]
    return document


def answer(model: AuthorizationModel, key: TupleKey, context: dict[str, Any]) -> object:
    try:
        validate_check(model, key.user, key.relation, key.object, context)
        validate_contextual(model, [key])
        return check(Request(model, TupleIndex(), [key], context), key.user, key.relation, key.object)
    except RebacError as error:
        return error.code


def batched(items: list[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while some := list(islice(remaining, size)):
        yield some
