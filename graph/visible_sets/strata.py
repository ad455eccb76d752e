"""The order in which a model's relations are settled, each as who certainly and who possibly has it.

What is undetermined is possible and not certain. A relation rests on the same bound of what it is made of,
and on the other bound of what it excludes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from graph.rebac.rules import CompiledModel, Conditions, compile_model
from graph.visible_sets.index import Table
from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    Union,
)

Bound = tuple[str, str, bool]
"""A type, a relation of it, and whether who certainly has it is meant; else who possibly has."""
Leaf = Direct | Computed | TupleToUserset


@dataclass(frozen=True, slots=True)
class Part:
    """What a leaf takes from another bound: over the tuples of a table, or as it is where there is none."""

    source: Bound
    table: Table | None = None
    conditions: Conditions = frozenset()
    """Under which those tuples may stand."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Bounds that rest on each other, and on nothing that is not settled before."""

    bounds: tuple[Bound, ...]
    recursive: bool
    tables: frozenset[Table]
    """Those whose tuples lead back into it."""
    above: Mapping[Bound, tuple[tuple[Bound, Bound, Leaf, Part], ...]]
    """By bound: what rests on it here, as (the bound, the leaf's own, the leaf, its part)."""


@dataclass(slots=True)
class Plan:
    """A model's strata."""

    model: AuthorizationModel
    compiled: CompiledModel
    below: dict[Bound, tuple[Stratum, ...]] = field(default_factory=dict)

    def strata(self, bound: Bound) -> tuple[Stratum, ...]:
        """All that it rests on, itself last."""
        if bound not in self.below:
            self.below[bound] = tuple(self._strata(bound))
        return self.below[bound]

    def leaves(self, bound: Bound) -> Iterator[tuple[Bound, Leaf]]:
        """The leaves of its rewrite, each with the bound in which it stands there."""
        kind, relation, certain = bound
        yield from _leaves(self.model.rewrite(kind, relation), kind, relation, certain)

    def parts(self, at: Bound, leaf: Leaf) -> Iterator[Part]:
        """What the leaf takes from other bounds."""
        kind, relation, certain = at
        match leaf:
            case Direct():
                for userset, conditions in self.compiled.facets[kind][relation].usersets.items():
                    member_type, _, member = userset.partition("#")
                    if self.model.has(member_type, member):
                        yield Part((member_type, member, certain), ((kind, relation), member), conditions)
            case Computed(other):
                yield Part((kind, other, certain))
            case TupleToUserset(other, tupleset):
                for parent, conditions in self.compiled.facets[kind][tupleset].named.items():
                    if self.model.has(parent, other):
                        yield Part((parent, other, certain), ((kind, tupleset), ""), conditions)

    def _rests_on(self, bound: Bound) -> Iterator[tuple[Bound, Leaf, Part]]:
        for at, leaf in self.leaves(bound):
            for part in self.parts(at, leaf):
                yield at, leaf, part

    def _strata(self, bound: Bound) -> Iterator[Stratum]:
        for component in _components(bound, self._sources):
            members = set(component)
            above = defaultdict(list)
            tables = set()
            for member in component:
                for at, leaf, part in self._rests_on(member):
                    if part.source in members:
                        above[part.source].append((member, at, leaf, part))
                        if part.table is not None:
                            tables.add(part.table)
            yield Stratum(
                tuple(component),
                bool(above),
                frozenset(tables),
                {source: tuple(found) for source, found in above.items()},
            )

    def _sources(self, bound: Bound) -> Iterable[Bound]:
        return dict.fromkeys(part.source for _, _, part in self._rests_on(bound))


_plans: WeakKeyDictionary[AuthorizationModel, Plan] = WeakKeyDictionary()


def plan_of(model: AuthorizationModel) -> Plan:
    """The model's plan, kept with it."""
    found = _plans.get(model)
    if found is None:
        found = _plans[model] = Plan(model, compile_model(model))
    return found


def _leaves(rewrite: Rewrite, kind: str, relation: str, certain: bool) -> Iterator[tuple[Bound, Leaf]]:
    match rewrite:
        case Union(children) | Intersection(children):
            for child in children:
                yield from _leaves(child, kind, relation, certain)
        case Exclusion(base, subtract):
            yield from _leaves(base, kind, relation, certain)
            yield from _leaves(subtract, kind, relation, not certain)
        case _:
            yield (kind, relation, certain), rewrite


def _components(root: Bound, sources: Callable[[Bound], Iterable[Bound]]) -> Iterator[list[Bound]]:
    """Tarjan's strongly connected components of what the root rests on, the lowest first."""
    number: dict[Bound, int] = {root: 0}
    low: dict[Bound, int] = {root: 0}
    path, stack = [(root, iter(sources(root)))], [root]
    settled: set[Bound] = set()
    while path:
        bound, below = path[-1]
        for source in below:
            if source not in number:
                number[source] = low[source] = len(number)
                stack.append(source)
                path.append((source, iter(sources(source))))
                break
            if source not in settled:
                low[bound] = min(low[bound], number[source])
        else:
            path.pop()
            if path:
                above = path[-1][0]
                low[above] = min(low[above], low[bound])
            if low[bound] == number[bound]:
                at = stack.index(bound)
                component = stack[at:]
                del stack[at:]
                settled.update(component)
                yield component
