"""What conditions cost: what OpenFGA decides is decided, and what is too dear for it is refused with its code.

The costs are those that OpenFGA 1.22.1 told of each expression; its limit is met by what is put before it.
"""

from __future__ import annotations

from typing import Any

import pytest

from graph.rebac.relation_tuples import TupleKey
from ontologies.authorization_model import from_json, parse_dsl, to_json
from ontologies.authorization_model.conditions import ConditionError, compiled
from tests.graph.openfga_server import OpenFga, as_json
from tests.graph.test_conditions_openfga import answer, batched

MOST = 100
PARAMETERS = {
    "x": "list<int>", "s": "string", "d": "any", "i": "int", "m": "map<string>", "mm": "map<map<int>>", "b": "bool",
    "ip": "ipaddress",
    "long": "string", "many": "list<string>",
}  # fmt: skip
CONTEXT: dict[str, Any] = {
    "x": [1, 2, 3], "s": "abc", "d": {"a": {"b": 1}, "l": [1, 2]}, "i": 1, "m": {"a": "b", "k": "v"},
    "mm": {"a": {"b": 1}}, "b": True, "ip": "10.0.0.1", "long": "é" * 95, "many": ["a"] * 40,
}  # fmt: skip
COSTS: list[tuple[str, int]] = [
    ('has(m.a)', 2),
    ('has(mm.a.b)', 3),
    ('has(d.a.b)', 3),
    ('has(d.z)', 2),
    ('has(m.z)', 2),
    ("has({'a':1}.a)", 2),
    ("has([{'a':i}][0].a)", 44),
    ("m.a == 'b'", 3),
    ('mm.a.b == 1', 4),
    ("mm['a'].b == 1", 4),
    ("m[s] == 'b' || true", 2),
    ('x[i] == 2', 3),
    ('x[i-1] == 1', 5),
    ('x[x[0]] == 1', 4),
    ('(b ? i : i) == 1', 2),
    ('(b ? mm.a : mm.b).b == 1', 4),
    ('(b ? mm.a.b : i) == 1', 4),
    ('x[b ? 1 : 2] == 2', 4),
    ('x[b ? i : i] == 2', 4),
    ('x.map(y, y)[0] == 1', 44),
    ("{'a': i}.a == 1", 34),
    ("{'a': 1}.a == 1", 3),
    ('[1,2][0] == 1', 3),
    ('[i,2][0] == 1', 14),
    ('1 in [1,2]', 0),
    ('i in [1,2]', 1),
    ('i in []', 0),
    ('i in [1u,2]', 1),
    ('[1] in [[1]]', 1),
    ('x in [[1]]', 2),
    ("'a' in m", 2),
    ('type(d) == map', 3),
    ('type(i) == int', 3),
    ("duration('1h') == duration('1h')", 1),
    ("bytes(s) == b'abc'", 3),
    ("bytes('abc') == b'abc'", 1),
    ('string(bytes(s)) == s', 5),
    ('-i == 1', 3),
    ('!b', 2),
    ('b', 1),
    ('b && b && b', 3),
    ('b || b', 1),
    ("s.matches('a.*')", 2),
    ('s.matches(s)', 3),
    ("s.contains('bc')", 2),
    ("s.startsWith('a')", 2),
    ("s.endsWith('c')", 2),
    ("s < 'b'", 2),
    ("s + s == 'abcabc'", 4),
    ('size(s) == 3', 3),
    ('s.size() == 3', 3),
    ('x == x', 3),
    ('x == [1,2,3]', 2),
    ('x + x == x', 5),
    ('null == d', 2),
    ('d == 1', 2),
    ("d == 'abc'", 2),
    ('d.l == [1.0]', 3),
    ('x.all(y, y > 0)', 17),
    ('x.exists(y, y > 2)', 20),
    ('x.exists_one(y, y > 2)', 11),
    ('x.map(y, y + 1) == x', 46),
    ('x.map(y, y > 1, y) == x', 36),
    ('x.filter(y, y > 1) == x', 36),
    ('x.filter(y, false) == x', 3),
    ('x.exists_one(y, false)', 3),
    ('x.all(y, x.exists(z, z == y))', 65),
    ("m.all(k, m[k] != '')", 12),
    ('[].all(y, y == 1)', 1),
    ('[1,2].all(y, y == 1)', 11),
    ('[1,2].exists(y, y == 2)', 13),
    ('dyn(i) == 1', 3),
    ("ipaddress('10.0.0.1').in_cidr('10.0.0.0/8')", 2),
    ("timestamp('2023-01-01T00:00:00Z').getFullYear() == 2023", 2),
    ('b ? true : false', 1),
    ('b ? b : b', 1),
    ("s == ''", 1),
    ("'' == ''", 0),
    ('x.map(y, [y, y]) == [[1]]', 75),
    ('i in x', 5),
    ('true || i == 1', 0),
    ('true && b', 1),
    ('d.a.b == 1.0', 4),
    ("d['a']['b'] == 1.0", 4),
    ('d.l[0] == 1.0', 4),
    ('d.l[i] == 1.0 || true', 4),
    ('long == long', 12),
    ('long != s', 3),
    ('long < long', 12),
    ('long + long == s || b', 24),
    ('long.contains(s)', 12),
    ('long.startsWith(long)', 12),
    ('long.endsWith(s)', 3),
    ("long.matches('^[é]+$')", 21),
    ("bytes(long) == b'abc' || b", 13),
    ('string(bytes(long)) == long', 41),
    ("'z' in many || b", 42),
    ('s in many || b', 43),
    ('many == many', 6),
    ('many + many == many || b', 9),
    ('size(long) == 95', 3),
    ('[[1, 2], [3]] == [[1, 2], [3]]', 1),
    ('x in [[1, 2, 3]]', 2),
    ('dyn(long) == long', 13),
    ('d == d', 3),
    ('b && (false || b)', 2),
    ('false && long.matches(long) || b', 1),
    ('b || long.matches(long)', 1),
    ('i == 1 ? long == long : s == s', 14),
    ('i == 2 ? long == long : s == s', 5),
    ("(b ? m : m).a == 'b'", 3),
    ('x.all(y, y > 5) || b', 10),
    ("[dyn(ip)].exists(y, y == ip)", 20),
    ("[ip, 'a'][0] == ip", 15),
    ('x.exists(y, y == 1)', 11),
    ('x.all(y, x.all(z, b))', 53),
    ('x.map(y, y).size() == 3', 43),
    ("{'a': i, 'k': s}.k == s", 36),
    ('type(x) == list', 3),
    ('has(m.a) && has(mm.a.b)', 5),
    ('!(!(!(!b)))', 5),
    ('-(-(i)) == 1', 4),
    ('(i + i) * (i - 0) % 2 == 0', 8),
    ('int(3.5) == 3', 1),
    ("int('3') == 3 && uint(i) == 1u", 4),
    ('[i].map(y, [y]).map(z, z[0]) == [1]', 51),
    ('[1, 2, 3].filter(y, y > 1).size() == 2', 35),
    ("m['a'] == 'b' && m[m.a + ''] == '' || b", 9),
]  # fmt: skip


def model_of(expressions: list[str]) -> dict[str, Any]:
    parameters = ", ".join(f"{name}: {kind}" for name, kind in PARAMETERS.items())
    relations = "".join(f"    define r{n}: [user with c{n}]\n" for n in range(len(expressions)))
    conditions = "".join(f"condition c{n}({parameters}) {{\n  true\n}}\n" for n in range(len(expressions)))
    text = f"model\n  schema 1.1\ntype user\ntype document\n  relations\n{relations}{conditions}"
    document: dict[str, Any] = dict(to_json(parse_dsl(text)))
    for n, expression in enumerate(expressions):
        document["conditions"][f"c{n}"]["expression"] = expression
    return document


def costing(expression: str, cost: int, whole: int) -> str:
    """An expression that costs so much in all: a list costs 10 more than what is in it."""
    lists, names = divmod(whole - cost, 11)
    return " && ".join(["[b] != []"] * lists + ["b"] * names + [f"({expression})"])


def decided(expression: str) -> bool:
    condition = from_json(model_of([expression])).conditions["c0"]
    try:
        compiled(condition).holds(CONTEXT)
    except ConditionError as error:
        assert "cost limit exceeded" in str(error)
        return False
    return True


@pytest.mark.parametrize(("expression", "cost"), COSTS)
def test_an_expression_costs_what_it_costs_openfga(expression: str, cost: int) -> None:
    assert decided(costing(expression, cost, MOST))
    assert not decided(costing(expression, cost, MOST + 1))


@pytest.mark.parametrize(
    "expression",
    [
        "x.map(y, {'a': y}) == [{'a': 1}]",
        "long.matches(long)",
        "long.contains(long + 'x') || b",
        "x.all(y, x.all(z, x.all(w, b)))",
        "many.map(y, many).map(y, y) == []",
        "many.exists(y, y == 'b') || b",
    ],
)
def test_what_is_too_dear_is_refused_whatever_came_of_it(expression: str) -> None:
    assert not decided(expression)


def test_what_is_not_come_to_costs_nothing() -> None:
    dear = "many.all(y, long.matches(long))"
    assert decided(f"b || {dear}")
    assert decided(f"b ? i == 1 : {dear}")
    assert not decided(f"b && {dear}")


def test_nothing_dear_is_begun() -> None:
    """It would take minutes: a text is looked for in another, each of some hundred thousand characters."""
    context = {"s": "a" * 300_000, "t": "a" * 150_000 + "b"}
    text = "model\n  schema 1.1\ntype user\ncondition c(s: string, t: string) {\n  s.contains(t)\n}\n"
    with pytest.raises(ConditionError, match="cost limit exceeded"):
        compiled(parse_dsl(text).conditions["c"]).holds(context)


def test_openfga_decides_and_refuses_the_same(openfga: OpenFga) -> None:
    asked = [costing(expression, cost, whole) for expression, cost in COSTS for whole in (MOST, MOST + 1)]
    for some in batched(asked, 25):  # conditions of a model at most
        document = model_of(some)
        model, path = from_json(document), openfga.write_model(document)
        assert path is not None
        keys = [TupleKey("user:a", f"r{n}", "document:d", f"c{n}", {}) for n in range(len(some))]
        checks = [
            {
                "tuple_key": {"user": key.user, "relation": key.relation, "object": key.object},
                "contextual_tuples": {"tuple_keys": [as_json(key)]},
                "context": CONTEXT,
                "correlation_id": str(n),
            }
            for n, key in enumerate(keys)
        ]
        results = openfga.post(f"{path}/batch-check", {"checks": checks})["result"]
        for n, key in enumerate(keys):
            result = results[str(n)]
            theirs = result["error"]["input_error"] if "error" in result else result.get("allowed", False)
            assert answer(model, key, CONTEXT) == theirs, some[n]
