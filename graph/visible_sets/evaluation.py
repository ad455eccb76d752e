"""The visible set of one account: bitmap by bitmap, from the account up to the places that it may view.

The values are those of `rebac.evaluator`: the least fixed point in Kleene's logic, here for all objects of a
relation at once, as who certainly and who possibly has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from pyroaring import BitMap

from graph.audiences import value_of
from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request
from graph.rebac.relation_tuples import Goal, TupleIndex, type_of
from graph.rebac.rules import Conditions, Value
from graph.tuples import Scope
from graph.visible_sets.index import Objects, Table, VisibilityIndex
from graph.visible_sets.strata import Bound, Leaf, Stratum, plan_of
from ontologies.authorization_model import (
    AuthorizationModel,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    Union,
)


class Evaluation:
    """What one user has at one instant and in one context."""

    def __init__(  # noqa: PLR0913, PLR0917  all that an answer depends on
        self,
        index: VisibilityIndex,
        model: AuthorizationModel,
        user: str,
        live: frozenset[Scope],
        now: datetime,
        context: Mapping[str, Any],
    ) -> None:
        """`live`: the scopes that vouch for what they claim; `context`: parameters of conditions."""
        self._index = index
        self._model = model
        self._plan = plan_of(model)
        self._user = user
        self._live = index.live_layers(live)
        self._request = Request(model, TupleIndex(), context=context, now=now)
        self._outside = index.outside(now)
        self._sets: dict[Bound, BitMap] = {}

    def visible(self) -> bytes:
        """1 at the numbers of the audiences that the user certainly belongs to."""
        visible = np.zeros(self._index.next_audience, dtype=np.uint8)
        for (kind, relation), placed in self._index.placed.items():
            # An audience of a relation that the model no longer has is undetermined: nobody sees it.
            if self._model.has(kind, relation):
                visible[placed.audiences(self.objects((kind, relation, True)))] = 1
        for number, expression in self._index.composed.items():
            visible[number] = value_of(expression, self.value) is True
        return visible.tobytes()

    def value(self, goal: Goal) -> Value:
        """Whether the user has the relation to the object; None: undetermined."""
        object, relation = goal
        kind = type_of(object)
        if not self._model.has(kind, relation):
            return None
        number = self._index.numbers.get(object)
        if number is None:
            return False
        if number in self.objects((kind, relation, True)):
            return True
        return None if number in self.objects((kind, relation, False)) else False

    def objects(self, bound: Bound) -> BitMap:
        """The numbers of the objects that the user certainly, or possibly, has the relation to."""
        if bound not in self._sets:
            for stratum in self._plan.strata(bound):
                if stratum.bounds[0] not in self._sets:
                    self._settle(stratum)
        return self._sets[bound]

    def _settle(self, stratum: Stratum) -> None:
        certain = {bound[2] for bound in stratum.bounds}
        if not stratum.recursive:
            [bound] = stratum.bounds
            self._sets[bound] = self._rewritten(bound, self._taken)
        elif certain == {True} or (certain == {False} and not self._index.cyclic(stratum.tables)):
            self._grow(stratum)
        else:
            # What may rest on itself, or on what it excludes, is undetermined: possible, not certain.
            self._approach(stratum)

    def _approach(self, stratum: Stratum) -> None:
        """From nothing certain and everything possible to what follows, until nothing more does."""
        for bound in stratum.bounds:
            self._sets[bound] = BitMap() if bound[2] else self._index.of_type[bound[0]].copy()
        changed = True
        while changed:
            changed = False
            for bound in stratum.bounds:
                found = self._rewritten(bound, self._taken)
                changed = changed or found != self._sets[bound]
                self._sets[bound] = found

    def _grow(self, stratum: Stratum) -> None:
        """The least sets, each object followed once."""
        members = set(stratum.bounds)
        gathered: dict[tuple[Bound, Leaf], BitMap] = {}
        for bound in stratum.bounds:
            self._sets[bound] = BitMap()
            for at, leaf in self._plan.leaves(bound):
                gathered[at, leaf] = self._taken(at, leaf, without=members)

        def taken(at: Bound, leaf: Leaf) -> BitMap:
            return gathered[at, leaf]

        dirty = set(stratum.bounds)
        while dirty:
            bound = dirty.pop()
            found = self._rewritten(bound, taken)
            new = found - self._sets[bound]
            self._sets[bound] = found
            if new:
                for above, at, leaf, part in stratum.above.get(bound, ()):
                    more = new
                    if part.table is not None:
                        more = self._across(part.table, new, part.conditions, at[2])
                    gathered[at, leaf] = gathered[at, leaf] | more
                    dirty.add(above)

    def _rewritten(self, bound: Bound, taken: Callable[[Bound, Leaf], BitMap]) -> BitMap:
        def of(rewrite: Rewrite, at: Bound) -> BitMap:
            match rewrite:
                case Union(children):
                    return BitMap.union(*(of(child, at) for child in children))
                case Intersection(children):
                    return BitMap.intersection(*(of(child, at) for child in children))
                case Exclusion(base, subtract):
                    kind, relation, certain = at
                    return of(base, at) - of(subtract, (kind, relation, not certain))
                case _:
                    return taken(at, rewrite)

        return of(self._model.rewrite(bound[0], bound[1]), bound)

    def _taken(self, at: Bound, leaf: Leaf, without: frozenset[Bound] | set[Bound] = frozenset()) -> BitMap:
        """What a leaf gives of what is settled, `without` some."""
        found = self._named(at) if isinstance(leaf, Direct) else BitMap()
        for part in self._plan.parts(at, leaf):
            if part.table is not None and not at[2] and self._model.conditions:
                found |= self._undecided(part.table, part.source[0], part.conditions)
            if part.source not in without:
                source = self._sets[part.source]
                found |= (
                    source if part.table is None else self._across(part.table, source, part.conditions, at[2])
                )
        return found

    def _named(self, at: Bound) -> BitMap:
        """The objects whose tuples name the user, or everyone of its type."""
        kind, relation, certain = at
        facets = self._plan.compiled.facets[kind][relation]
        table = self._index.tables.get(((kind, relation), ""), {})
        of_type = type_of(self._user)
        found: list[BitMap] = []
        for name, allowed in ((self._user, facets.named), (f"{of_type}:*", facets.wildcards)):
            number = self._index.numbers.get(name)
            if number is None or number in self._outside:
                continue
            objects = table.get(number)
            if objects is not None:
                self._stand(objects, allowed.get(of_type, frozenset()), certain, found)
        return BitMap.union(*found) - self._outside if found else BitMap()

    def _across(self, table: Table, users: BitMap, allowed: Conditions, certain: bool) -> BitMap:
        """The objects whose tuples of the table name one of the users."""
        edges = self._index.tables.get(table)
        if not edges:
            return BitMap()
        users = users - self._outside if self._outside else users
        found: list[BitMap] = []
        if len(users) < len(edges):
            for user in users:
                objects = edges.get(user)
                if objects is not None:
                    self._stand(objects, allowed, certain, found)
        else:
            for user, objects in edges.items():
                if user in users:
                    self._stand(objects, allowed, certain, found)
        return BitMap.union(*found) - self._outside if found else BitMap()

    def _undecided(self, table: Table, kind: str, allowed: Conditions) -> BitMap:
        """The objects whose tuples name users of a type under conditions that cannot be decided.

        As for OpenFGA these leave open who has the relation, whoever has that to the user.
        """
        return (
            BitMap(
                object
                for user, objects in self._index.tables.get(table, {}).items()
                if objects.special and user in self._index.of_type[kind] and user not in self._outside
                for object, specials in objects.special.items()
                if any(isinstance(self._request.holds(one.key, allowed), RebacError) for one in specials)
            )
            - self._outside
        )

    def _stand(self, objects: Objects, allowed: Conditions, certain: bool, found: list[BitMap]) -> None:
        """Add those of a user's objects whose tuples certainly, or possibly, count."""
        if "" in allowed:
            if certain:
                found += [plain for layer, plain in objects.plain.items() if layer in self._live]
            else:
                found += objects.plain.values()
        if objects.special:
            values = {
                object: [self._worth(one.layer, self._request.holds(one.key, allowed)) for one in specials]
                for object, specials in objects.special.items()
            }
            found.append(
                BitMap(
                    object
                    for object, worth in values.items()
                    if (True in worth if certain else any(value is not False for value in worth))
                )
            )

    def _worth(self, layer: int, value: Value) -> Value:
        return None if value is True and layer not in self._live else value
