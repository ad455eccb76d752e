"""Tuples from their users to sets of objects, as roaring bitmaps, and what audiences mean.

A set is kept for each user of a relation and for each source and scope that vouches, so that nothing here
changes as time passes and sources age: what counts is decided when a set is asked for (`evaluation`).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
from pyroaring import BitMap

from graph.audiences import Expression, Userset, usersets
from graph.intervals import ALWAYS, Interval, Intervals, holds
from graph.rebac.relation_tuples import TupleKey, split_userset, type_of
from graph.tuples import Scope, Voucher, vouches

Place = tuple[str, str]
"""A type and one of its relations."""
Table = tuple[Place, str]
"""A place, and the relation of the usersets that its tuples name; "" for users that are none."""
_NOWHERE = -1


class Layer(NamedTuple):
    """Where a tuple comes from."""

    relationship: str
    source: str
    scope: str


@dataclass(frozen=True, slots=True)
class Special:
    """A tuple that does not hold whatever the request: it has an interval or a condition."""

    layer: int
    key: TupleKey


@dataclass(slots=True)
class Objects:
    """The objects that one user has a relation to by tuples."""

    plain: dict[int, BitMap] = field(default_factory=dict)
    """By layer."""
    special: dict[int, list[Special]] = field(default_factory=dict)
    """By object."""


@dataclass(slots=True)
class Placed:
    """The objects of a place that have an audience, with its number."""

    objects: BitMap = field(default_factory=BitMap)
    numbers: array[int] = field(default_factory=lambda: array("q"))
    """By the object's number."""

    def put(self, object: int, audience: int) -> None:
        self.objects.add(object)
        self.numbers.extend([_NOWHERE] * (object + 1 - len(self.numbers)))
        self.numbers[object] = audience

    def audiences(self, objects: BitMap) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Those of the objects that have one."""
        here = np.frombuffer(self.numbers, dtype=np.int64)
        return here[np.frombuffer((objects & self.objects).to_array(), dtype=np.uint32)]


class VisibilityIndex:
    """The tuples and audiences at one revision."""

    def __init__(self) -> None:
        self.revision = 0
        """All of the feed up to it is in here."""
        self.version = 0
        """Counts changes: what was derived holds while it stays the same."""
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self.of_type: dict[str, BitMap] = defaultdict(BitMap)
        self.layers: dict[Layer, int] = {}
        self.relationships: list[str] = []
        """By layer."""
        self.tables: dict[Table, dict[int, Objects]] = defaultdict(dict)
        self.changed: dict[Table, int] = defaultdict(int)
        """By table: its last version."""
        self._cyclic: dict[frozenset[Table], tuple[int, bool]] = {}
        self.intervals: Intervals[int] = Intervals()
        """Of entities: tuples that name one which does not hold do not either."""
        self._outside: tuple[int, datetime | None, BitMap] = (-1, None, BitMap())
        self.placed: dict[Place, Placed] = defaultdict(Placed)
        self.composed: dict[int, Expression] = {}
        """By number: audiences that are not one userset."""
        self.next_audience = 0
        """All audiences with smaller numbers are in here."""

    def number(self, name: str) -> int:
        """The number of an object, a user or a wildcard."""
        found = self.numbers.get(name)
        if found is None:
            found = self.numbers[name] = len(self.names)
            self.names.append(name)
            if name[-2:] != ":*":
                self.of_type[type_of(name)].add(found)
        return found

    def put(self, key: TupleKey, relationship: str = "", vouchers: Iterable[Voucher] = ()) -> None:
        """Who vouches now for what the relationship says of a tuple; where nobody does, it goes."""
        name, member = split_userset(key.user)
        table = (type_of(key.object), key.relation), member
        object, users = self.number(key.object), self.tables[table]
        user = self.number(name)
        objects = users.get(user)
        if objects is None:
            objects = users[user] = Objects()
        else:
            self._clear(objects, object, relationship)
        for voucher in vouchers:
            layer = self.layer(Layer(relationship, voucher.source, voucher.scope))
            if key.condition or voucher.valid_from is not None or voucher.valid_to is not None:
                within = TupleKey(
                    key.user, key.relation, key.object, key.condition, key.context,
                    voucher.valid_from, voucher.valid_to,
                )  # fmt: skip
                objects.special.setdefault(object, []).append(Special(layer, within))
                self.intervals.bound((voucher.valid_from, voucher.valid_to))
            else:
                plain = objects.plain.get(layer)
                if plain is None:
                    plain = objects.plain[layer] = BitMap()
                plain.add(object)
        if not objects.plain and not objects.special:
            del users[user]
        self.version += 1
        self.changed[table] = self.version

    def _clear(self, objects: Objects, object: int, relationship: str) -> None:
        for layer, plain in list(objects.plain.items()):
            if self.relationships[layer] == relationship:
                plain.discard(object)
                if not plain:
                    del objects.plain[layer]
        if object in objects.special:
            kept = [one for one in objects.special[object] if self.relationships[one.layer] != relationship]
            if kept:
                objects.special[object] = kept
            else:
                del objects.special[object]

    def put_interval(self, entity: str, interval: Interval) -> None:
        """When an entity holds; one that is not known, or no more, has (None, None)."""
        if (interval != ALWAYS or entity in self.numbers) and self.intervals.put(
            self.number(entity), interval
        ):
            self.version += 1

    def outside(self, now: datetime) -> BitMap:
        """The entities whose interval `now` is not in."""
        version, until, found = self._outside
        if version != self.version or until is None or now >= until:
            found = BitMap(
                number for number, interval in self.intervals.of.items() if not holds(interval, now)
            )
            self._outside = self.version, self.until(now), found
        return found

    def define(self, audience: int, expression: Expression) -> None:
        """What the number of an audience means."""
        if isinstance(expression, Userset):
            place = type_of(expression.object), expression.relation
            self.placed[place].put(self.number(expression.object), audience)
        else:
            for userset in usersets(expression):
                self.number(userset.object)
            self.composed[audience] = expression
        self.version += 1

    def cyclic(self, tables: frozenset[Table]) -> bool:
        """Whether the tuples of the tables, whatever they are worth, lead back to where they began."""
        version = max((self.changed[table] for table in tables), default=0)
        known = self._cyclic.get(tables)
        if known is None or known[0] != version:
            known = self._cyclic[tables] = version, self._is_cyclic(tables)
        return known[1]

    def _is_cyclic(self, tables: frozenset[Table]) -> bool:
        leading: dict[int, list[int]] = defaultdict(list)
        into: dict[int, int] = defaultdict(int)
        for table in tables:
            for user, objects in self.tables.get(table, {}).items():
                for found in (*objects.plain.values(), BitMap(objects.special)):
                    leading[user] += found
                    for object in found:
                        into[object] += 1
        free = [user for user in leading if user not in into]
        while free:
            for object in leading.pop(free.pop(), ()):
                into[object] -= 1
                if not into[object]:
                    free.append(object)
        return bool(leading)

    def live_layers(self, live: frozenset[Scope]) -> frozenset[int]:
        """The layers of the configuration, and of scopes that are within their age."""
        return frozenset(
            number for layer, number in self.layers.items() if vouches((layer.source, layer.scope), live)
        )

    def until(self, now: datetime) -> datetime | None:
        """The next instant at which something may begin or cease to hold; the past is asked for no more."""
        return self.intervals.until(now)

    def expressions(self) -> Iterator[tuple[int, Expression]]:
        """Each audience with its number."""
        yield from self.composed.items()
        for (_, relation), placed in self.placed.items():
            for object in placed.objects:
                yield placed.numbers[object], Userset(self.names[object], relation)

    def layer(self, layer: Layer) -> int:
        """The number of a layer."""
        found = self.layers.get(layer)
        if found is None:
            found = self.layers[layer] = len(self.relationships)
            self.relationships.append(layer.relationship)
        return found
