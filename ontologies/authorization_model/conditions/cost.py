"""What it costs to evaluate a condition, as cel-go counts it, which OpenFGA bounds.

A name, a selection or a call costs 1, a list 10, a map 30. What reads texts or lists costs by their sizes,
and each round of a comprehension what is evaluated in it. What is a constant beforehand costs nothing.
The source is cel-go's interpreter: `runtimecost.go`, and what `planner.go` makes of an expression.

An expression counts itself: calls of `@spend` are put into its tree where evaluation branches, and before
each call that costs by the sizes of its arguments, so that nothing dear is begun. Where an error is passed
over (`1 / 0 == 1 || true`), the whole part that it came from is counted: a few units more than by cel-go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from cel_expr_python import cel

from ontologies.authorization_model.conditions.trees import (
    BYTES,
    SCALARS,
    STRING,
    CheckedTree,
    arguments,
    bound,
    call,
    copy_of,
    kind_of,
    name,
    number,
    where,
)

MOST = 100
"""OpenFGA's default, and the least that it can be told."""
EXCEEDED = "operation cancelled: actual cost limit exceeded"
_LIST, _MAP, _STRUCT = 10, 30, 40


def _read(size: float, factor: float = 0.1) -> float:
    return ceil(size * factor) if size < inf else inf


#: What calls cost by the sizes of their arguments, by their overloads.
_BY_SIZES: Sequence[tuple[Callable[[float, float], float], frozenset[str]]] = (
    (
        lambda one, other: _read(min(one, other)),
        frozenset(
            {"equals", "not_equals"}
            | {
                f"{how}_{of}"
                for how in ("less", "less_equals", "greater", "greater_equals")
                for of in ("string", "bytes")
            }
        ),
    ),
    (lambda _item, items: items, frozenset({"in_list"})),
    (lambda _text, part: _read(part), frozenset({"starts_with_string", "ends_with_string"})),
    (lambda value, _none: _read(value), frozenset({"string_to_bytes", "bytes_to_string"})),
    (lambda one, other: _read(one + other), frozenset({"add_string", "add_bytes"})),
    (lambda text, part: _read(text) * _read(part), frozenset({"contains_string"})),
    (lambda text, pattern: _read(1 + text) * _read(pattern, 0.25), frozenset({"matches", "matches_string"})),
)
_HOW = {overload: how for how, (_cost, overloads) in enumerate(_BY_SIZES) for overload in overloads}


class _Spent(threading.local):
    cost: float = 0


_SPENT = _Spent()


def begin() -> None:
    """Count from nothing, in this thread."""
    _SPENT.cost = 0


def exceeded() -> bool:
    """Whether what was evaluated since `begin` costs too much, whatever came of it."""
    return _SPENT.cost > MOST


def _spend(cost: float) -> bool:
    _SPENT.cost += cost
    if exceeded():
        raise ValueError(EXCEEDED)
    return True


def _spend_by_sizes(how: int, one: int, other: int) -> bool:
    return _spend(_BY_SIZES[how][0](one, other))


def functions() -> list[Any]:
    """What an expression calls that counts itself, for an environment whose types have `IPAddress`. Nobody
    can write their names in one."""
    of = cel.Type
    sized = {"string": of.STRING, "bytes": of.BYTES, "list": of.List(of.DYN), "map": of.Map(of.DYN, of.DYN)}
    sizes = [cel.Overload(f"@size_{name}", of.INT, [type_], impl=len) for name, type_ in sized.items()]
    singles = (of.INT, of.UINT, of.DOUBLE, of.BOOL, of.NULL, of.TIMESTAMP, of.DURATION)
    for single in (*singles, of("IPAddress")):
        sizes.append(cel.Overload(f"@size_{single.name()}", of.INT, [single], impl=lambda _value: 1))
    spends = [
        cel.Overload("@spend_cost", of.BOOL, [of.INT], impl=_spend),
        cel.Overload("@spend_by_sizes", of.BOOL, [of.INT] * 3, impl=_spend_by_sizes),
    ]
    return [cel.FunctionDecl("@spend", spends), cel.FunctionDecl("@size", sizes)]


def count(tree: CheckedTree) -> bool:
    """Make an expression count itself; False where it never costs too much, and is left as it is."""
    counted, whole = _Counted(tree), copy_of(tree.whole)
    counted.apart(whole)
    if counted.most <= MOST:
        return False
    tree.whole.CopyFrom(whole)
    return True


@dataclass
class _Counted:
    """Of an expression whose parts are made to count themselves, where they are not always evaluated."""

    tree: CheckedTree
    most: float = 0
    """What it may cost."""

    def apart(self, part: Any, chosen: bool = False) -> None:
        """Let a part count what it costs when it is come to; `chosen`, when a condition chooses it."""
        cost = self._bare(part) if chosen else self._cost(part)
        self.most += cost
        if cost:
            part.CopyFrom(where(call("@spend", number(cost)), part))

    def _cost(self, part: Any) -> int:
        """Of what is always evaluated with it."""
        if self.tree.constant(part):
            return 0
        match kind_of(part):
            case "select":
                cost = self._selected(part.select.operand) + 1
            case "call":
                cost = self._called(part)
            case "list":
                cost = _LIST + sum(map(self._cost, part.list.elements))
            case "struct":
                made = _STRUCT if part.struct.message_name else _MAP
                cost = made + sum(map(self._entry, part.struct.entries))
            case "comprehension":
                self.most = inf
                fold = part.comprehension
                self.apart(fold.loop_condition)
                self.apart(fold.loop_step)
                cost = sum(map(self._cost, (fold.iter_range, fold.accu_init, fold.result)))
            case _:
                cost = 1
        return cost

    def _entry(self, entry: Any) -> int:
        key = self._cost(entry.map_key) if entry.HasField("map_key") else 0
        return key + self._cost(entry.value)

    def _called(self, part: Any) -> int:
        args = arguments(part)
        match part.call.function:
            case "_&&_" | "_||_":
                self.apart(args[1])
                cost = self._cost(args[0])
            case "_?_:_":
                self.apart(args[1], chosen=True)
                self.apart(args[2], chosen=True)
                cost = self._cost(args[0])
            case "_[_]":
                cost = self._selected(args[0]) + self._bare(args[1]) + 1
            case _ if self._is_in_set(part, args):
                cost = self._cost(args[0])
            case _ if (how := self._how(part)) is not None:
                cost = self._called_by_sizes(part, how, args)
            case _:
                cost = sum(map(self._cost, args)) + 1
        return cost

    def _called_by_sizes(self, part: Any, how: int, args: Sequence[Any]) -> int:
        sizes = [self._sized(arg) for arg in args]
        most = _BY_SIZES[how][0](*[*map(self._longest, args), 1][:2])
        cost = sum(map(self._cost, args))
        if not any(sizes):
            return cost + int(most)
        self.most += most
        self._count_by_sizes(part, how, sizes)
        return cost

    def _bare(self, part: Any) -> int:
        """Of what a condition chooses, or of an index: what is looked up costs 1 less there."""
        looked_up = self._looked_up(part) and _function(part) != "_?_:_"
        return self._cost(part) - looked_up

    def _selected(self, part: Any) -> int:
        """Of what something is selected of: what is not looked up costs 1 more there."""
        looked_up = self._looked_up(part)
        return self._cost(part) + (not looked_up)

    def _looked_up(self, part: Any) -> bool:
        found = kind_of(part) in {"ident", "select"} or _function(part) in {"_[_]", "_?_:_"}
        return found and not self.tree.constant(part)

    def _is_in_set(self, part: Any, args: Sequence[Any]) -> bool:
        """Whether something is looked for in a list of constants that becomes a set."""
        if self._how(part) != _HOW["in_list"] or not self.tree.constant(args[1]):
            return False
        kinds = [self.tree.type_of(item).primitive for item in args[1].list.elements]
        return all(kind in SCALARS or kind == STRING for kind in kinds)

    def _how(self, part: Any) -> int | None:
        """Which of the costs by sizes a call has, if any."""
        if part.call.function in {"_==_", "_!=_"}:
            return _HOW["equals"]
        return _HOW.get(self.tree.overload(part))

    def _sized(self, part: Any) -> str:
        """The function that tells its size; none where it is single."""
        type_ = self.tree.type_of(part)
        if type_.primitive in {STRING, BYTES} or type_.HasField("list_type") or type_.HasField("map_type"):
            return "size"
        return "@size" if type_.HasField("dyn") or type_.HasField("type_param") else ""

    def _longest(self, part: Any) -> float:
        if not self._sized(part):
            return 1
        match kind_of(part):
            case "constant":
                return len(part.constant.string or part.constant.bytes)
            case "list":
                return len(part.list.elements)
            case "struct":
                return len(part.struct.entries)
        return inf

    def _count_by_sizes(self, part: Any, how: int, sizes: Sequence[str]) -> None:
        """Let a call first spend what it costs; its arguments are evaluated once, before that."""
        args = arguments(part)
        names = [f"@{part.id}.{place}" for place in range(len(args))]
        values = [copy_of(arg) for arg in args]
        for arg, variable in zip(args, names, strict=True):
            arg.CopyFrom(name(variable))
        told = [call(size, name(n)) if size else number(1) for size, n in zip(sizes, names, strict=True)]
        spent = call("@spend", number(how), *[*told, number(1)][:2])
        whole = where(spent, copy_of(part))
        for variable, value in reversed(list(zip(names, values, strict=True))):
            whole = bound(variable, value, whole)
        part.CopyFrom(whole)


def _function(part: Any) -> str:
    return str(part.call.function) if part.HasField("call") else ""
