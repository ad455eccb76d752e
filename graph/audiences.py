"""Audiences: numbers on nodes that name the place their access comes from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from graph.rebac.relation_tuples import Goal, TupleKey, type_of
from graph.rebac.rules import Value, both, either, negate
from graph.tuples import Transaction, bound, tuples_of
from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    Union,
    direct_restrictions,
    leaves,
)
from ontologies.ontology import Binding, Ontology

#: The relation that says who may see an entity.
VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Userset:
    """Everyone with the relation to the object: `object#relation`."""

    object: str
    relation: str


@dataclass(frozen=True, slots=True)
class Or:
    """Everyone in one of them."""

    of: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class And:
    """Everyone in all of them."""

    of: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Everyone else."""

    of: Expression


Expression = Userset | Or | And | Not


def to_tree(expression: Expression) -> dict[str, Any]:
    """As JSON: `{"userset": "object#relation"}`, `{"or": [...]}`, `{"and": [...]}`, `{"not": {...}}`."""
    match expression:
        case Userset(object, relation):
            return {"userset": f"{object}#{relation}"}
        case Or(of):
            return {"or": [to_tree(part) for part in of]}
        case And(of):
            return {"and": [to_tree(part) for part in of]}
        case Not(part):
            return {"not": to_tree(part)}


def from_tree(tree: object) -> Expression:
    """The inverse of `to_tree`. Raises ValueError for anything else."""
    match tree:
        case {"userset": str(userset)} if "#" in userset:
            object, _, relation = userset.rpartition("#")
            return Userset(object, relation)
        case {"or": [*parts]}:
            return Or(tuple(map(from_tree, parts)))
        case {"and": [*parts]}:
            return And(tuple(map(from_tree, parts)))
        case {"not": part}:
            return Not(from_tree(part))
    raise ValueError(f"not an audience's expression: {tree!r}; expected userset, or, and, not")


def value_of(expression: Expression, value: Callable[[Goal], Value]) -> Value:
    """Whether one belongs to the audience, from the values of its usersets; None: undetermined."""
    match expression:
        case Userset(object, relation):
            return value((object, relation))
        case Or(of):
            nobody: Value = False
            return reduce(either, (value_of(part, value) for part in of), nobody)
        case And(of):
            everybody: Value = True
            return reduce(both, (value_of(part, value) for part in of), everybody)
        case Not(part):
            return negate(value_of(part, value))


def usersets(expression: Expression) -> Iterator[Userset]:
    """The leaves of an expression."""
    match expression:
        case Userset():
            yield expression
        case Or(of) | And(of):
            for part in of:
                yield from usersets(part)
        case Not(part):
            yield from usersets(part)


def places(model: AuthorizationModel) -> frozenset[str]:
    """Types that access comes from: those that some type's viewers are taken from by a tupleset."""
    return frozenset(
        restriction.type
        for definition in model.types.values()
        for tupleset in _tuplesets(definition.relations)
        for restriction in direct_restrictions(definition.relations[tupleset])
    )


def rested_on(ontology: Ontology, model: AuthorizationModel) -> Sequence[Binding]:
    """The bindings whose tuples decide who belongs to an audience, whichever audiences there are."""
    wanted = reachable(model, _named(model))
    return [binding for binding in ontology.bindings if (binding.object_type, binding.relation) in wanted]


def _named(model: AuthorizationModel) -> Iterator[tuple[str, str]]:
    """The (type, relation) pairs that audiences' expressions may name."""
    types = places(model)
    for name, definition in model.types.items():
        if VIEWER in definition.relations:
            if name in types or _direct(definition.relations):
                yield name, VIEWER
            for rewrite in _reached(definition.relations).values():
                for leaf in leaves(rewrite):
                    if isinstance(leaf, TupleToUserset):
                        parents = direct_restrictions(definition.relations[leaf.tupleset])
                        yield from ((parent.type, leaf.relation) for parent in parents)


def reachable(model: AuthorizationModel, start: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The (type, relation) pairs on whose tuples the given ones rest, themselves included."""
    reached: set[tuple[str, str]] = set()
    todo = list(start)
    while todo:
        kind, relation = todo.pop()
        if (kind, relation) in reached or not model.has(kind, relation):
            continue
        reached.add((kind, relation))
        for leaf in leaves(model.rewrite(kind, relation)):
            match leaf:
                case Direct(restrictions):
                    todo += [(r.type, r.relation) for r in restrictions]
                case Computed(other):
                    todo.append((kind, other))
                case TupleToUserset(other, tupleset):
                    todo.append((kind, tupleset))
                    parents = direct_restrictions(model.rewrite(kind, tupleset))
                    todo += [(parent.type, other) for parent in parents]
    return frozenset(reached)


def place_of(model: AuthorizationModel, id: str, tuples: Iterable[TupleKey]) -> Expression | None:
    """Where access to an entity comes from, given the tuples whose object it is; None: nobody sees it.

    A place, and an entity with viewers of its own, are the place themselves, so that a change of
    who views them touches no node. Any other entity has what its tuplesets lead to.
    """
    return _place_of(model, places(model), id, tuples)


async def assign(
    tx: Transaction, ontology: Ontology, model: AuthorizationModel, ids: Sequence[str]
) -> Mapping[str, int | None]:
    """The audience of each entity, by the relationships that `tx` sees; new places get new numbers.

    Writes `_Audience` and `_Meta.nextAudience` only; a caller that finds that an audience changed
    must set the node's. Numbers begin at 0 and are never used again.
    """
    held: dict[str, list[TupleKey]] = defaultdict(list)
    for entry in await tuples_of(tx, decided_by(ontology, model), ids):
        held[entry.object].append(entry)
    types = places(model)
    expressions = {id: _place_of(model, types, id, held[id]) for id in ids}
    numbers = await _numbers(tx, dict.fromkeys(e for e in expressions.values() if e is not None))
    return {id: None if e is None else numbers[e] for id, e in expressions.items()}


async def assign_placed(
    tx: Transaction, ontology: Ontology, model: AuthorizationModel, placed: Mapping[str, str]
) -> Mapping[str, int | None]:
    """The audience of each entity, by the collection that it is in and nothing else."""
    expressions = _placed(ontology, model, placed)
    numbers = await _numbers(tx, dict.fromkeys(e for e in expressions.values() if e is not None))
    return {id: None if e is None else numbers[e] for id, e in expressions.items()}


def placed_at(
    ontology: Ontology, model: AuthorizationModel, placed: Mapping[str, str]
) -> Mapping[str, str | None]:
    """As `assign_placed`, the `place` of the audience's node instead of its number."""
    return {id: None if e is None else _name(e) for id, e in _placed(ontology, model, placed).items()}


def _placed(
    ontology: Ontology, model: AuthorizationModel, placed: Mapping[str, str]
) -> Mapping[str, Expression | None]:
    types, bindings = places(model), decided_by(ontology, model)
    expressions = {}
    for id, collection in placed.items():
        by_type = (bound(one, id, collection) for one in bindings)
        expressions[id] = _place_of(
            model, types, id, [one for one in by_type if one is not None and one.object == id]
        )
    return expressions


def _place_of(
    model: AuthorizationModel, types: Collection[str], id: str, tuples: Iterable[TupleKey]
) -> Expression | None:
    if not model.has(type_of(id), VIEWER):
        return None
    if type_of(id) in types:
        return Userset(id, VIEWER)
    relations = model.types[type_of(id)].relations
    held: dict[str, list[str]] = defaultdict(list)
    for entry in tuples:
        held[entry.relation].append(entry.user)
    if not _direct(relations).isdisjoint(held):
        return Userset(id, VIEWER)
    return _residual(relations, relations[VIEWER], held, frozenset({VIEWER}))


def decided_by(ontology: Ontology, model: AuthorizationModel) -> Sequence[Binding]:
    """The bindings whose tuples decide where access to their object comes from."""
    its_own = places(model)
    return [
        binding
        for binding in ontology.bindings
        if binding.object_type not in its_own
        and model.has(binding.object_type, VIEWER)
        and binding.relation in _considered(model.types[binding.object_type].relations)
    ]


async def _numbers(tx: Transaction, expressions: Iterable[Expression]) -> Mapping[Expression, int]:
    names = {_name(expression): expression for expression in expressions}
    found = await tx.run(
        "MATCH (a:_Audience) WHERE a.place IN $places RETURN a.place AS place, a.number AS number",
        places=list(names),
    )
    numbers = {record["place"]: record["number"] async for record in found}
    new = [name for name in names if name not in numbers]
    if new:
        made = await tx.run(
            """
            MATCH (meta:_Meta)
            SET meta.nextAudience = coalesce(meta.nextAudience, 0) + size($new)
            WITH meta.nextAudience - size($new) AS first
            UNWIND range(0, size($new) - 1) AS i
            CREATE (a:_Audience {number: first + i, place: $new[i].place, expression: $new[i].tree})
            RETURN a.place AS place, a.number AS number
            """,
            new=[
                {"place": name, "tree": json.dumps(to_tree(names[name]), ensure_ascii=False)} for name in new
            ],
        )
        numbers |= {record["place"]: record["number"] async for record in made}
    return {expression: numbers[name] for name, expression in names.items()}


def _name(expression: Expression) -> str:
    match expression:
        case Userset(object, relation):
            return f"{object}#{relation}"
        case Or(of):
            return f"({' or '.join(map(_name, of))})"
        case And(of):
            return f"({' and '.join(map(_name, of))})"
        case Not(part):
            return f"not {_name(part)}"


def _reached(relations: Mapping[str, Rewrite]) -> Mapping[str, Rewrite]:
    """The relations of the same object that decide who views it."""
    reached: dict[str, Rewrite] = {}
    todo = [VIEWER] if VIEWER in relations else []
    while todo:
        relation = todo.pop()
        if relation not in reached:
            reached[relation] = relations[relation]
            todo += [leaf.relation for leaf in leaves(relations[relation]) if isinstance(leaf, Computed)]
    return reached


def _tuplesets(relations: Mapping[str, Rewrite]) -> frozenset[str]:
    return frozenset(
        leaf.tupleset
        for rewrite in _reached(relations).values()
        for leaf in leaves(rewrite)
        if isinstance(leaf, TupleToUserset)
    )


def _direct(relations: Mapping[str, Rewrite]) -> frozenset[str]:
    return frozenset(
        relation for relation, rewrite in _reached(relations).items() if direct_restrictions(rewrite)
    )


def _considered(relations: Mapping[str, Rewrite]) -> frozenset[str]:
    return _tuplesets(relations) | _direct(relations)


def _residual(
    relations: Mapping[str, Rewrite],
    rewrite: Rewrite,
    held: Mapping[str, Sequence[str]],
    within: frozenset[str],
) -> Expression | None:
    """What a rewrite leaves once its tuplesets are followed; None when nobody can satisfy it."""

    def part(of: Rewrite) -> Expression | None:
        return _residual(relations, of, held, within)

    result: Expression | None = None
    match rewrite:
        case Computed(relation) if relation not in within:
            result = _residual(relations, relations[relation], held, within | {relation})
        case TupleToUserset(relation, tupleset):
            result = _some([Userset(user, relation) for user in sorted(held.get(tupleset, ()))])
        case Union(children):
            result = _some([found for child in children if (found := part(child)) is not None])
        case Intersection(children):
            parts = [found for child in children if (found := part(child)) is not None]
            result = And(tuple(parts)) if len(parts) == len(children) else None
        case Exclusion(base, subtract):
            allowed, denied = part(base), part(subtract)
            result = allowed if allowed is None or denied is None else And((allowed, Not(denied)))
    return result


def _some(parts: Sequence[Expression]) -> Expression | None:
    unique = tuple(dict.fromkeys(parts))
    return (unique[0] if len(unique) == 1 else Or(unique)) if unique else None
