"""A model made ready to be evaluated: each relation's rewrite as a function.

Values are True, False, or undetermined: None where a goal rests on nothing but a cycle or on tuples that
nobody vouches for, a RebacError where a condition could not be decided or the resolution is too deep.
Operators follow Kleene's three-valued logic, so that what is undetermined grants nothing and, below an
exclusion, denies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from graph.rebac.errors import RebacError
from graph.rebac.relation_tuples import Grant, TupleIndex, type_of
from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    TypeRestriction,
    Union,
    direct_restrictions,
    leaves,
)
from ontologies.authorization_model.conditions import CompiledCondition, compiled

Value = bool | None | RebacError
Conditions = frozenset[str]
"""The conditions that a tuple may carry; "" is none."""


class Search(Protocol):
    """What a rule asks of the search that it is part of."""

    index: TupleIndex
    user: str
    user_type: str
    wildcard: str

    def resolve(self, object: str, relation: str, depth: int) -> Value: ...

    def known_member(self, objects: Iterable[str], relation: str, depth: int) -> bool | None: ...

    def known_from(self, parents: Iterable[tuple[str, Grant]], relation: str, depth: int) -> bool | None: ...

    def holds(self, grant: Grant, allowed: Conditions) -> Value: ...


Rule = Callable[[Search, str, int], Value]
"""The value for an object at a depth of dispatches."""


@dataclass(frozen=True, slots=True)
class Facets:
    """What users a direct relation takes, and under which conditions."""

    named: Mapping[str, Conditions]
    """By type."""
    wildcards: Mapping[str, Conditions]
    """By type."""
    usersets: Mapping[str, Conditions]
    """By `type#relation`."""

    def of(self, user: str) -> Conditions:
        """The conditions under which the user may be named; empty where it may not."""
        kind = type_of(user)
        return (self.wildcards if user[len(kind) :] == ":*" else self.named).get(kind, frozenset())


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """The rules and facets of each type's relations, the conditions ready to be asked."""

    rules: Mapping[str, Mapping[str, Rule]]
    facets: Mapping[str, Mapping[str, Facets]]
    conditions: Mapping[str, CompiledCondition]
    tuplesets: frozenset[tuple[str, str]]
    """The relations that stand after `from`."""
    unions: frozenset[tuple[str, str]]
    """The relations that are unions all the way down: `memberships` may know who has them."""
    memberships: frozenset[tuple[str, str]]
    """Those of them that are usersets."""
    nesting: int
    """How many calls the rule that nests deepest makes until it resolves another goal."""


_compiled: WeakKeyDictionary[AuthorizationModel, CompiledModel] = WeakKeyDictionary()


def compile_model(model: AuthorizationModel) -> CompiledModel:
    """Compile it, or return what it was compiled to before."""
    found = _compiled.get(model)
    if found is None:
        found = _compiled[model] = _compile(model)
    return found


def _compile(model: AuthorizationModel) -> CompiledModel:
    facets = {
        name: {relation: facets_of(direct_restrictions(r)) for relation, r in definition.relations.items()}
        for name, definition in model.types.items()
    }
    unions = _unions(model)
    rules = {
        name: {
            relation: rule_of(rewrite, relation, facets[name], unions)
            for relation, rewrite in definition.relations.items()
        }
        for name, definition in model.types.items()
    }
    nesting = max((_nesting(r) for d in model.types.values() for r in d.relations.values()), default=1)
    conditions = {name: compiled(condition) for name, condition in model.conditions.items()}
    tuplesets = frozenset(
        (name, leaf.tupleset)
        for name, definition in model.types.items()
        for rewrite in definition.relations.values()
        for leaf in leaves(rewrite)
        if isinstance(leaf, TupleToUserset)
    )
    return CompiledModel(rules, facets, conditions, tuplesets, unions, unions & _usersets(model), nesting)


def _unions(model: AuthorizationModel) -> frozenset[tuple[str, str]]:
    unions = {
        (name, relation)
        for name, definition in model.types.items()
        for relation, rewrite in definition.relations.items()
        if _is_union(rewrite)
    }
    while True:
        mixed = {place for place in unions if not unions.issuperset(rests_on(model, *place))}
        if not mixed:
            return frozenset(unions)
        unions -= mixed


def _usersets(model: AuthorizationModel) -> frozenset[tuple[str, str]]:
    return frozenset(
        (restriction.type, restriction.relation)
        for definition in model.types.values()
        for rewrite in definition.relations.values()
        for restriction in direct_restrictions(rewrite)
    )


def _is_union(rewrite: Rewrite) -> bool:
    match rewrite:
        case Union(children):
            return all(map(_is_union, children))
        case Intersection() | Exclusion():
            return False
        case _:
            return True


def rests_on(model: AuthorizationModel, type: str, relation: str) -> Iterator[tuple[str, str]]:
    for leaf in leaves(model.rewrite(type, relation)):
        match leaf:
            case Direct(restrictions):
                yield from ((r.type, r.relation) for r in restrictions if r.relation)
            case Computed(other):
                yield type, other
            case TupleToUserset(other, tupleset):
                parents = direct_restrictions(model.rewrite(type, tupleset))
                yield from ((parent.type, other) for parent in parents if model.has(parent.type, other))


def places_below(model: AuthorizationModel, type: str, relation: str) -> frozenset[str]:
    """Each `type#relation` whose tuples the relation could rest on; kept with the model."""
    kept = _places.setdefault(model, {})
    if (type, relation) not in kept:
        seen = {(type, relation)}
        todo = [(type, relation)]
        while todo:
            kind, current = todo.pop()
            below = set(rests_on(model, kind, current))
            below |= {
                (kind, leaf.tupleset)
                for leaf in leaves(model.rewrite(kind, current))
                if isinstance(leaf, TupleToUserset)
            }
            todo += below - seen
            seen |= below
        kept[type, relation] = frozenset(f"{kind}#{current}" for kind, current in seen)
    return kept[type, relation]


_places: WeakKeyDictionary[AuthorizationModel, dict[tuple[str, str], frozenset[str]]] = WeakKeyDictionary()


def facets_of(restrictions: Iterable[TypeRestriction]) -> Facets:
    """The restrictions, by what kind of user each takes."""
    named: dict[str, Conditions] = {}
    wildcards: dict[str, Conditions] = {}
    usersets: dict[str, Conditions] = {}
    for restriction in restrictions:
        kind, of = restriction.type, named
        if restriction.wildcard:
            of = wildcards
        elif restriction.relation:
            kind, of = f"{restriction.type}#{restriction.relation}", usersets
        of[kind] = of.get(kind, frozenset()) | {restriction.condition}
    return Facets(named, wildcards, usersets)


def either(first: Value, second: Value) -> Value:
    """Kleene's or; an error is heard above what is merely undetermined."""
    if first is True or second is True:
        return True
    if first is False or isinstance(second, RebacError):
        return second
    return first


def both(first: Value, second: Value) -> Value:
    """Kleene's and; where one side can never grant, an error of the other is not heard: so OpenFGA."""
    if first is False or second is False:
        return False
    if first is True or second is None:
        return second
    return first


def negate(value: Value) -> Value:
    """Kleene's not."""
    return not value if isinstance(value, bool) else value


def _nesting(rewrite: Rewrite) -> int:
    match rewrite:
        case Union(children) | Intersection(children):
            return 1 + max(map(_nesting, children))
        case Exclusion(base, subtract):
            return 1 + max(_nesting(base), _nesting(subtract))
        case _:
            return 2


def rule_of(
    rewrite: Rewrite,
    relation: str,
    facets: Mapping[str, Facets],
    unions: Collection[tuple[str, str]] = (),
) -> Rule:
    """The rule of a rewrite, or of a part of one, of a relation; `facets` are those of its type."""
    match rewrite:
        case Direct():
            return _direct(relation, facets[relation], unions)
        case Computed(other):
            return lambda search, object, depth: search.resolve(object, other, depth)
        case TupleToUserset(other, tupleset):
            return _from(other, tupleset, facets[tupleset].named, unions)
        case Union(children):
            return _union([rule_of(child, relation, facets, unions) for child in children])
        case Intersection(children):
            return _intersection([rule_of(child, relation, facets, unions) for child in children])
        case Exclusion(base, subtract):
            parts = [rule_of(part, relation, facets, unions) for part in (base, subtract)]
            return _exclusion(*parts)


def _union(rules: Iterable[Rule]) -> Rule:
    parts = tuple(rules)

    def union(search: Search, object: str, depth: int) -> Value:
        result: Value = False
        for part in parts:
            value = part(search, object, depth)
            if value is True:
                return True
            if value is not False:
                result = either(result, value)
        return result

    return union


def _intersection(rules: Iterable[Rule]) -> Rule:
    parts = tuple(rules)

    def intersection(search: Search, object: str, depth: int) -> Value:
        result: Value = True
        for part in parts:
            value = part(search, object, depth)
            if value is False:
                return False
            if value is not True:
                result = both(result, value)
        return result

    return intersection


def _exclusion(base: Rule, subtract: Rule) -> Rule:
    def exclusion(search: Search, object: str, depth: int) -> Value:
        allowed = base(search, object, depth)
        return False if allowed is False else both(allowed, negate(subtract(search, object, depth)))

    return exclusion


def _direct(relation: str, facets: Facets, unions: Collection[tuple[str, str]]) -> Rule:
    nobody: Conditions = frozenset()
    usersets = []
    for kind, allowed in facets.usersets.items():
        type, _, member = kind.partition("#")
        usersets.append((kind, member, allowed, "" in allowed and (type, member) in unions))

    def direct(search: Search, object: str, depth: int) -> Value:
        users = search.index.users(object, relation)
        if users is None:
            return False
        result: Value = False
        # A name that is missing is False: there is no such grant.
        grant = users.named.get(search.user, False)
        if grant is not False:
            allowed = facets.wildcards if search.user == search.wildcard else facets.named
            result = search.holds(grant, allowed.get(search.user_type, nobody))
            if result is True:
                return True
        grant = users.named.get(search.wildcard, False)
        if grant is not False:
            result = either(result, search.holds(grant, facets.wildcards.get(search.user_type, nobody)))
            if result is True:
                return True
        if users.usersets:
            for kind, member, conditions, known in usersets:
                grants = users.usersets.get(kind)
                if not grants:
                    continue
                found: Value = None
                if known and not users.undecided:
                    found = search.known_member(grants, member, depth)
                if found is None:
                    found = _through(search, grants.items(), member, conditions, depth)
                if found is True:
                    return True
                if found is not False:
                    result = either(result, found)
        return result

    return direct


def _from(
    relation: str, tupleset: str, facets: Mapping[str, Conditions], unions: Collection[tuple[str, str]]
) -> Rule:
    kinds = [
        (kind, conditions, "" in conditions and (kind, relation) in unions)
        for kind, conditions in facets.items()
    ]

    def tuple_to_userset(search: Search, object: str, depth: int) -> Value:
        users = search.index.users(object, tupleset)
        if users is None:
            return False
        result: Value = False
        for kind, conditions, known in kinds:
            # A wildcard that another model let in is no parent.
            parents = [
                entry for entry in users.named.items() if type_of(entry[0]) == kind and entry[0][-2:] != ":*"
            ]
            if not parents:
                continue
            found: Value = None
            if known and not users.undecided:
                found = search.known_from(parents, relation, depth)
            if found is None:
                found = _through(search, parents, relation, conditions, depth)
            if found is True:
                return True
            if found is not False:
                result = either(result, found)
        return result

    return tuple_to_userset


def _through(
    search: Search, grants: Iterable[tuple[str, Grant]], relation: str, allowed: Conditions, depth: int
) -> Value:
    """Whether one of the objects that tuples lead to gives the relation.

    A condition that cannot be decided is an error only where no condition beside it is met: so OpenFGA.
    Even then it stays undetermined, that it may deny.
    """
    result: Value = False
    plain = "" in allowed
    met = False
    failed: Value = False
    for object, grant in grants:
        held = True if grant is True and plain else search.holds(grant, allowed)
        if held is False:
            continue
        if isinstance(held, RebacError):
            failed = held
            continue
        met = met or held is True
        value = search.resolve(object, relation, depth + 1)
        if held is not True:
            value = both(held, value)
        if value is True:
            return True
        if value is not False:
            result = either(result, value)
    return result if failed is False else either(result, None if met else failed)
