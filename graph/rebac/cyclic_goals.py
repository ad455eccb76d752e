"""Goals that rest on a cycle of tuples, which their users have only if something else gives it to them.

Looked for only among relations that rest on themselves: no others can be in a cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from weakref import WeakKeyDictionary

from graph.rebac.evaluator import Request
from graph.rebac.relation_tuples import Goal, TupleIndex, split_userset, type_of
from graph.rebac.rules import rests_on
from graph.rebac.ways_up import Relation
from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    TupleToUserset,
    leaves,
)

Goals = Mapping[Relation, Collection[str]]
"""Objects, by type and relation."""

_Kept = dict[frozenset[Relation], tuple[int, Goals]]
_kept: WeakKeyDictionary[TupleIndex, WeakKeyDictionary[AuthorizationModel, _Kept]] = WeakKeyDictionary()


def cyclic_goals(request: Request, relations: Collection[Relation]) -> Goals:
    """Goals of these relations, all that rest on a cycle among them, whatever its tuples are worth.

    Each goal that a tuple of the request gives counts as one of them.
    """
    recursive = frozenset(relation for relation in relations if _recursive(request.model, relation))
    if not recursive:
        return {}
    kept = _kept.setdefault(request.index, WeakKeyDictionary()).setdefault(request.model, {})
    version, found = kept.get(recursive, (-1, {}))
    if version != request.index.version:
        found = _cyclic(request.model, request.index, recursive)
        kept[recursive] = request.index.version, found
    if not request.contextual:
        return found
    both = {place: set(objects) for place, objects in found.items()}
    for key in request.contextual:
        for place in recursive:
            if place[0] == type_of(key.object):
                both.setdefault(place, set()).add(key.object)
    return both


def _recursive(model: AuthorizationModel, relation: Relation) -> bool:
    seen: set[Relation] = set()
    todo = [relation]
    while todo:
        for below in rests_on(model, *todo.pop()):
            if below == relation:
                return True
            if below not in seen:
                seen.add(below)
                todo.append(below)
    return False


def _cyclic(model: AuthorizationModel, index: TupleIndex, relations: Collection[Relation]) -> Goals:
    """What is left when all goals that rest on none, or only on ones taken away, are taken away."""
    below: dict[Goal, int] = defaultdict(int)
    above: dict[Goal, list[Goal]] = defaultdict(list)
    objects: dict[str, set[str]] = defaultdict(set)
    for over, under in _by_tuples(model, index, relations):
        below[over] += 1
        above[under].append(over)
        for goal in (over, under):
            objects[type_of(goal[0])].add(goal[0])
    for (kind, relation), other in _computed(model, relations):
        for object in objects[kind]:
            below[object, relation] += 1
            above[object, other].append((object, relation))
    todo = [goal for goal in above if goal not in below]
    while todo:
        for over in above[todo.pop()]:
            below[over] -= 1
            if not below[over]:
                del below[over]
                todo.append(over)
    found: dict[Relation, set[str]] = defaultdict(set)
    for object, relation in below:
        found[type_of(object), relation].add(object)
    return found


def _by_tuples(
    model: AuthorizationModel, index: TupleIndex, relations: Collection[Relation]
) -> Iterator[tuple[Goal, Goal]]:
    """Goals of these relations, each with one of them that it rests on by a tuple."""
    for kind, relation in relations:
        for leaf in leaves(model.rewrite(kind, relation)):
            match leaf:
                case Direct():
                    for user, objects in index.by_user(f"{kind}#{relation}").items():
                        name, member = split_userset(user)
                        if member and (type_of(name), member) in relations:
                            yield from (((object, relation), (name, member)) for object in objects)
                case TupleToUserset(other, tupleset):
                    for parent, objects in index.by_user(f"{kind}#{tupleset}").items():
                        if (type_of(parent), other) in relations:
                            yield from (((object, relation), (parent, other)) for object in objects)


def _computed(model: AuthorizationModel, relations: Collection[Relation]) -> Iterator[tuple[Relation, str]]:
    for kind, relation in relations:
        for leaf in leaves(model.rewrite(kind, relation)):
            if isinstance(leaf, Computed) and (kind, leaf.relation) in relations:
                yield (kind, relation), leaf.relation
