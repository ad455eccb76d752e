"""How tuples lead from a user up to a relation: a model's rewrites, read backwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

from graph.rebac.rules import Conditions, compile_model
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

Relation = tuple[str, str]
"""A type and one of its relations."""


@dataclass(frozen=True, slots=True)
class Way:
    """From a user, or from a relation that it has, to the relation `reached` of `type`."""

    type: str
    reached: str
    through: str
    """The relation of the tuples that lead there; "" where the object stays the same."""
    member: str
    """The relation of the usersets that those tuples name; "" where they name users, wildcards, parents."""
    conditions: Conditions
    """Under which those tuples may stand."""
    unless: tuple[str, ...] | None
    """Whoever comes this way has `reached` unless one of these relations to the same object is in the way;
    None where other operands count too."""

    @property
    def to(self) -> Relation:
        return self.type, self.reached


@dataclass(frozen=True, slots=True)
class Ways:
    """All that can lead to some relations."""

    from_user: Mapping[str, tuple[Way, ...]]
    """By the type of a user that tuples name."""
    from_wildcard: Mapping[str, tuple[Way, ...]]
    """By the type of a wildcard that tuples name."""
    from_relation: Mapping[Relation, tuple[Way, ...]]
    """By type and relation: of the userset that tuples name, of the object that they name for `relation from
    tupleset`, or of the same object."""
    order: Mapping[Relation, int]
    """All that are passed, those that are led to too: each, but for cycles, after what leads to it."""


_Key = TypeVar("_Key")
_ways: WeakKeyDictionary[AuthorizationModel, dict[frozenset[Relation], Ways]] = WeakKeyDictionary()


def ways_to(model: AuthorizationModel, relations: frozenset[Relation]) -> Ways:
    """What can lead to one of the relations; kept with the model."""
    known = _ways.setdefault(model, {})
    if relations not in known:
        known[relations] = _ways_to(model, relations)
    return known[relations]


def _ways_to(model: AuthorizationModel, relations: frozenset[Relation]) -> Ways:
    compiled = compile_model(model)
    users: dict[str, list[Way]] = defaultdict(list)
    wildcards: dict[str, list[Way]] = defaultdict(list)
    onward: dict[Relation, list[Way]] = defaultdict(list)
    todo, seen = list(relations), set[Relation]()
    order: dict[Relation, int] = {}

    def lead(below: Relation) -> Relation:
        if below not in seen:
            todo.append(below)
        return below

    while todo:
        kind, reached = here = todo[-1]
        if here in seen:
            order.setdefault(todo.pop(), len(order))
            continue
        seen.add(here)
        for leaf, unless in _operands(model.rewrite(kind, reached), ()):
            match leaf:
                case Direct():
                    facets = compiled.facets[kind][reached]
                    for user, conditions in facets.named.items():
                        users[user].append(Way(kind, reached, reached, "", conditions, unless))
                    for user, conditions in facets.wildcards.items():
                        wildcards[user].append(Way(kind, reached, reached, "", conditions, unless))
                    for userset, conditions in facets.usersets.items():
                        member_type, _, member = userset.partition("#")
                        way = Way(kind, reached, reached, member, conditions, unless)
                        onward[lead((member_type, member))].append(way)
                case Computed(other):
                    onward[lead((kind, other))].append(Way(kind, reached, "", "", frozenset(), unless))
                case TupleToUserset(other, tupleset):
                    for parent, conditions in compiled.facets[kind][tupleset].named.items():
                        if model.has(parent, other):
                            way = Way(kind, reached, tupleset, "", conditions, unless)
                            onward[lead((parent, other))].append(way)
    return Ways(_fixed(users), _fixed(wildcards), _fixed(onward), order)


def _operands(
    rewrite: Rewrite, unless: tuple[str, ...] | None
) -> Iterator[tuple[Direct | Computed | TupleToUserset, tuple[str, ...] | None]]:
    """The leaves that may give the relation, and what else has a say in it, as `Way.unless`."""
    match rewrite:
        case Union(children):
            for child in children:
                yield from _operands(child, unless)
        case Intersection(children):
            # Whoever is in all is in the first.
            yield from _operands(children[0], None)
        case Exclusion(base, Computed(other)) if unless is not None:
            yield from _operands(base, (*unless, other))
        case Exclusion(base, _):
            yield from _operands(base, None)
        case _:
            yield rewrite, unless


def _fixed(ways: Mapping[_Key, list[Way]]) -> Mapping[_Key, tuple[Way, ...]]:
    return {key: tuple(found) for key, found in ways.items()}
