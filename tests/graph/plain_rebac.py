"""A plain, slow evaluator, written from OpenFGA's documentation; and random models and tuples for it.

It knows no index, no order and no cut: every goal over every object is evaluated by scanning all tuples,
again and again until nothing changes. What never gets a value rests on a cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from hypothesis import assume
from hypothesis import strategies as st

from graph.rebac.relation_tuples import TupleKey
from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    ModelError,
    ParameterType,
    Rewrite,
    TupleToUserset,
    TypeDefinition,
    TypeRestriction,
    Union,
    direct_restrictions,
    validate,
)

Value = bool | None | str
"""True, False, None where it rests on a cycle, "error" where a condition could not be decided."""
Holds = Callable[[TupleKey], Value]


@dataclass(frozen=True)
class Plain:
    """All goals of one user over a model and its tuples. `holds` decides conditions."""

    model: AuthorizationModel
    tuples: Sequence[TupleKey]
    user: str
    holds: Holds

    def values(self) -> dict[tuple[str, str], Value]:
        """Of every relation of every object that occurs."""
        names = {self.user.partition("#")[0]}
        names |= {name for key in self.tuples for name in (key.object, key.user.partition("#")[0])}
        values: dict[tuple[str, str], Value] = {
            (name, relation): None
            for name in names
            if not name.endswith(":*")
            for relation in self.model.types[name.partition(":")[0]].relations
        }
        while True:
            after = {goal: self._goal(*goal, values) for goal in values}
            if after == values:
                return values
            values = after

    def _goal(self, object: str, relation: str, values: dict[tuple[str, str], Value]) -> Value:
        if self.user == f"{object}#{relation}":
            return True
        return self._rewrite(object, relation, self._rewritten(object, relation), values)

    def _rewritten(self, object: str, relation: str) -> Rewrite:
        return self.model.types[object.partition(":")[0]].relations[relation]

    def _rewrite(
        self, object: str, relation: str, rewrite: Rewrite, values: dict[tuple[str, str], Value]
    ) -> Value:
        def part(of: Rewrite) -> Value:
            return self._rewrite(object, relation, of, values)

        match rewrite:
            case Direct():
                return any_of([self._named(object, relation), self._members(object, relation, values)])
            case Computed(other):
                return values.get((object, other), False)
            case TupleToUserset(other, tupleset):
                parents = [key for key in self._valid(object, tupleset) if "#" not in key.user]
                return self._lead([(key, values.get((key.user, other), False)) for key in parents])
            case Union(children):
                return any_of(map(part, children))
            case Intersection(children):
                return all_of(map(part, children))
            case Exclusion(base, subtract):
                return all_of([part(base), negate(part(subtract))])

    def _named(self, object: str, relation: str) -> Value:
        """The tuples that name the user, or everyone of its type."""
        everyone = self.user.partition(":")[0] + ":*"
        names = {self.user} if "#" in self.user else {self.user, everyone}
        return any_of(self.holds(key) for key in self._valid(object, relation) if key.user in names)

    def _members(self, object: str, relation: str, values: dict[tuple[str, str], Value]) -> Value:
        found = [key for key in self._valid(object, relation) if "#" in key.user]
        goals = [(key.user.partition("#")[0], key.user.partition("#")[2]) for key in found]
        by_kind: dict[tuple[str, str], list[tuple[TupleKey, Value]]] = {}
        for key, (name, member) in zip(found, goals, strict=True):
            kind = (name.partition(":")[0], member)
            by_kind.setdefault(kind, []).append((key, values.get((name, member), False)))
        return any_of(map(self._lead, by_kind.values()))

    def _lead(self, found: Sequence[tuple[TupleKey, Value]]) -> Value:
        """OpenFGA tells of a condition that it could not decide only where it met none beside it."""
        held = [(self.holds(key), value) for key, value in found]
        result = any_of(value for holds, value in held if holds is True)
        if "error" in (holds for holds, _ in held):
            met = any(holds is True for holds, _ in held)
            return any_of([result, None if met else "error"])
        return result

    def _valid(self, object: str, relation: str) -> Iterator[TupleKey]:
        """The tuples that the model's type restrictions permit."""
        restrictions = direct_restrictions(self._rewritten(object, relation))
        for key in self.tuples:
            name, _, member = key.user.partition("#")
            kind, _, id = name.partition(":")
            if (key.object, key.relation) == (object, relation) and (
                TypeRestriction(kind, member, id == "*", key.condition) in restrictions
            ):
                yield key


def any_of(values: Iterable[Value]) -> Value:
    found = set(values)
    return next((value for value in (True, "error", None) if value in found), False)


def all_of(values: Iterable[Value]) -> Value:
    found = set(values)
    return next((value for value in (False, None, "error") if value in found), True)


def negate(value: Value) -> Value:
    return not value if isinstance(value, bool) else value


#: The types of random models, each with relations r0 to r2 and, but for groups, a parent.
OBJECT_TYPES = ("group", "folder", "document")
RELATIONS = ("r0", "r1", "r2")
IDS = ("1", "2", "3")
CONDITION = Condition("below", {"x": ParameterType("int"), "y": ParameterType("int")}, "x < y")


@cache
def rewrites(kind: str, number: int) -> st.SearchStrategy[Rewrite]:
    """Of relation r`number`: over relations with lower numbers and, by tuples, over all."""
    leaf: list[st.SearchStrategy[Rewrite]] = [restrictions().map(Direct)]
    if number:
        leaf.append(st.sampled_from(RELATIONS[:number]).map(Computed))
    if kind != "group":
        leaf.append(st.builds(TupleToUserset, st.sampled_from(RELATIONS), st.just("parent")))
    return st.recursive(
        st.one_of(leaf),
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(tuple).map(Union),
            st.lists(inner, min_size=2, max_size=2).map(tuple).map(Intersection),
            st.builds(Exclusion, inner, inner),
        ),
        max_leaves=4,
    )


@cache
def restrictions() -> st.SearchStrategy[tuple[TypeRestriction, ...]]:
    plain = [TypeRestriction("user"), TypeRestriction("user", wildcard=True)]
    plain += [TypeRestriction("group", relation) for relation in RELATIONS]
    plain += [TypeRestriction("folder", "r0"), TypeRestriction("group")]
    under = [TypeRestriction(r.type, r.relation, r.wildcard, CONDITION.name) for r in plain[:4]]
    return st.lists(st.sampled_from([*plain, *under]), min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def models(draw: st.DrawFn) -> AuthorizationModel:
    types = {"user": TypeDefinition("user", {})}
    for kind in OBJECT_TYPES:
        relations = {name: draw(rewrites(kind, number)) for number, name in enumerate(RELATIONS)}
        relations = {name: one_direct(rewrite) for name, rewrite in relations.items()}
        if kind != "group":
            parents = (TypeRestriction("folder"), TypeRestriction("folder", condition=CONDITION.name))
            relations["parent"] = Direct(draw(st.sampled_from([parents, parents[:1]])))
        types[kind] = TypeDefinition(kind, relations)
    try:
        return validate(AuthorizationModel(types, {CONDITION.name: CONDITION}))
    except ModelError:
        assume(False)
        raise


def one_direct(rewrite: Rewrite) -> Rewrite:
    """A relation has one list of restrictions, wherever it is assigned directly."""
    shared = direct_restrictions(rewrite)

    def same(of: Rewrite) -> Rewrite:
        match of:
            case Direct():
                return Direct(shared)
            case Union(children):
                return Union(tuple(map(same, children)))
            case Intersection(children):
                return Intersection(tuple(map(same, children)))
            case Exclusion(base, subtract):
                return Exclusion(same(base), same(subtract))
            case _:
                return of

    return same(rewrite)


@st.composite
def tuples_of(draw: st.DrawFn, model: AuthorizationModel, most: int = 25) -> list[TupleKey]:
    """Tuples that the model permits, one for each user, relation and object."""
    places = [
        (kind, relation, restriction)
        for kind in OBJECT_TYPES
        for relation, rewrite in model.types[kind].relations.items()
        for restriction in direct_restrictions(rewrite)
    ]
    ids = st.sampled_from(IDS)
    found: dict[tuple[str, str, str], TupleKey] = {}
    for _ in range(draw(st.integers(0, most))):
        kind, relation, restriction = draw(st.sampled_from(places))
        name = f"{restriction.type}:{'*' if restriction.wildcard else draw(ids)}"
        user = f"{name}#{restriction.relation}" if restriction.relation else name
        context = (
            draw(st.sampled_from(({"y": 1}, {"y": 5}, {"x": 1, "y": 2}))) if restriction.condition else {}
        )
        key = TupleKey(user, relation, f"{kind}:{draw(ids)}", restriction.condition, context)
        found.setdefault((key.user, key.relation, key.object), key)
    return list(found.values())
