"""Relationship tuples and their index in memory, by object and by user."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from types import MappingProxyType
from typing import Any

from pyroaring import BitMap

from graph.rebac.adjacency import Adjacency
from graph.rebac.names import Names

Goal = tuple[str, str]
"""(object, relation)."""


@dataclass(frozen=True, slots=True)
class TupleKey:
    """`object#relation@user`: the user is `type:id`, `type:*` or `type:id#relation`.

    It holds under its condition, evaluated over its stored context, and from `valid_from` until before
    `valid_to`; None is open.
    """

    user: str
    relation: str
    object: str
    condition: str = field(default="", hash=False)
    context: Mapping[str, Any] = field(default_factory=dict, hash=False)
    valid_from: datetime | None = field(default=None, hash=False)
    valid_to: datetime | None = field(default=None, hash=False)

    def __str__(self) -> str:
        return f"{self.object}#{self.relation}@{self.user}"

    @property
    def plain(self) -> bool:
        """Whether it holds whatever the request."""
        return not self.condition and self.valid_from is None and self.valid_to is None


Grant = bool | None | TupleKey
"""What a tuple is worth: True, None where nobody vouches for it, itself where the request decides."""

#: More numbers than twice the tuples, of names that are gone, are let go.
_UNUSED_NUMBERS = 10_000
#: What an object without usersets, and a user without objects, shares with all others.
_NONE: Mapping[str, MutableMapping[str, Grant]] = MappingProxyType({})
_NOTHING: Mapping[str, Grant] = MappingProxyType({})


@dataclass(slots=True)
class Users:
    """The users of one `object#relation`."""

    named: MutableMapping[str, Grant] = field(default_factory=dict)
    """By `type:id` or `type:*`."""
    usersets: Mapping[str, MutableMapping[str, Grant]] = field(default_factory=lambda: _NONE)
    """By `type#relation`, then by object."""
    undecided: int = 0
    """How many of them are worth something else than True."""


def type_of(name: str) -> str:
    """The type in `type:id`, `type:*` or `type:id#relation`."""
    return name.partition(":")[0]


def split_userset(user: str) -> tuple[str, str]:
    """Object and relation of a user; the relation is empty where the user is no userset."""
    object, _, relation = user.rpartition("#")
    return (object, relation) if object else (user, "")


class TupleIndex:
    """Tuples, one for each user, relation and object. Reading it changes nothing.

    In dictionaries of strings, which the garbage collector does not look into: a million tuples take less
    than 200 MiB.
    """

    def __init__(self, tuples: Iterable[TupleKey] = (), suspended: Iterable[TupleKey] = ()) -> None:
        """`suspended` are tuples that nobody vouches for at present, unless `tuples` has them too."""
        #: By relation, then by object.
        self._users: dict[str, dict[str, Users]] = {}
        #: By `type#relation`, then by user, then by object.
        self._objects: dict[str, dict[str, dict[str, Grant]]] = {}
        #: By `type#relation`, how many tuples are worth something else than True.
        self._undecided: dict[str, int] = {}
        self.names = Names()
        """The numbers of what tuples name, given when they are first asked for."""
        #: By the place of the objects and the relation of the users: `led_to`, while it is as it was.
        self._led_to: dict[tuple[str, str], Adjacency] = {}
        self._count = 0
        self.version = 0
        """Counts changes: what was derived from the tuples holds while it stays the same."""
        for key in suspended:
            self.add(key, suspended=True)
        for key in tuples:
            self.add(key)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TupleKey]:
        """All tuples, the suspended ones too."""
        for relation, objects in self._users.items():
            for object, users in objects.items():
                for user, grant in _each(users):
                    yield grant if isinstance(grant, TupleKey) else TupleKey(user, relation, object)

    def add(self, key: TupleKey, *, suspended: bool = False) -> None:
        """Add it, in place of the one with its user, relation and object."""
        self.put(key.user, key.relation, key.object, None if suspended else (True if key.plain else key))

    def put(self, user: str, relation: str, object: str, grant: Grant = True) -> None:
        """Add the tuple that is worth so much, in place of the one with its user, relation and object."""
        user, object = intern(user), intern(object)
        objects = self._users.get(relation)
        if objects is None:
            objects = self._users[intern(relation)] = {}
        users = objects.get(object)
        if users is None:
            users = objects[object] = Users()
        named, name = users.named, user
        if "#" in user:
            name, member = split_userset(user)
            name = intern(name)
            named = _of_kind(users, f"{type_of(name)}#{member}")
        place = f"{type_of(object)}#{relation}"
        of_place = self._objects.get(place)
        if of_place is None:
            of_place = self._objects[place] = {}
        before = named.get(name, False)
        if before is False:
            self._count += 1
            of_user = of_place.get(user)
            if of_user is None:
                of_user = of_place[user] = {}
        else:
            of_user = of_place[user]
        named[name] = of_user[object] = grant
        change = (grant is not True) - (before is not True and before is not False)
        if change:
            users.undecided += change
            self._undecided[place] = self._undecided.get(place, 0) + change
        self._changed(place, user)

    def remove(self, user: str, relation: str, object: str) -> bool:
        """Whether there was such a tuple."""
        users = self.users(object, relation)
        name, member = split_userset(user)
        kind = f"{type_of(name)}#{member}"
        named = None if users is None else users.usersets.get(kind) if member else users.named
        if users is None or named is None or name not in named:
            return False
        place = f"{type_of(object)}#{relation}"
        if named[name] is not True:
            users.undecided -= 1
            self._undecided[place] -= 1
        del named[name]
        if member and not named:
            users.usersets = {other: of for other, of in users.usersets.items() if other != kind}
        if not users.named and not users.usersets:
            del self._users[relation][object]
        of_place = self._objects[place]
        del of_place[user][object]
        if not of_place[user]:
            del of_place[user]
        self._count -= 1
        self._changed(place, user)
        if len(self.names) > 2 * self._count + _UNUSED_NUMBERS:
            self.names, self._led_to = Names(), {}
        return True

    def grant(self, user: str, relation: str, object: str) -> Grant:
        """What the tuple with this user, relation and object is worth; False where there is none."""
        users = self.users(object, relation)
        if users is None:
            return False
        name, userset = split_userset(user)
        named = users.usersets.get(f"{type_of(name)}#{userset}", {}) if userset else users.named
        return named.get(name, False)

    def get(self, user: str, relation: str, object: str) -> TupleKey | None:
        """The tuple with this user, relation and object."""
        grant = self.grant(user, relation, object)
        if grant is False:
            return None
        return grant if isinstance(grant, TupleKey) else TupleKey(user, relation, object)

    def users(self, object: str, relation: str) -> Users | None:
        """The users that the tuples of `object#relation` name."""
        objects = self._users.get(relation)
        return objects.get(object) if objects is not None else None

    def objects(self, user: str, place: str) -> Mapping[str, Grant]:
        """The objects that the user has the relation of `place`, a `type#relation`, to by tuples."""
        of_place = self._objects.get(place)
        return of_place.get(user, _NOTHING) if of_place is not None else _NOTHING

    def by_user(self, place: str) -> Mapping[str, Mapping[str, Grant]]:
        """All that `objects` has for the place, by user."""
        return self._objects.get(place, {})

    def objects_of(self, users: Iterable[str], place: str) -> Iterator[Mapping[str, Grant]]:
        """`objects` of each of the users that has any."""
        of_place = self._objects.get(place)
        if of_place:
            for user in users:
                found = of_place.get(user)
                if found:
                    yield found

    def plain(self, place: str) -> bool:
        """Whether all tuples of a `type#relation` hold whatever the request."""
        return not self._undecided.get(place)

    def number(self, name: str) -> int | None:
        """The number of what a tuple has as its object or user; None for what none has."""
        found = self.names.find(name)
        if found is None and (
            any(name in objects for objects in self._users.values())
            or any(name in users for users in self._objects.values())
        ):
            return self.names.number(name)
        return found

    def led_to(self, users: BitMap, relation: str, place: str) -> BitMap:
        """The numbers of all `objects` of the users, which are given by number.

        Where a relation is given, of the usersets with it. Not to be changed.
        """
        of_place = self._objects.get(place)
        if not of_place:
            return BitMap()
        kept = self._led_to.get((place, relation))
        if kept is None:
            kept = self._led_to[place, relation] = Adjacency()
        unknown, number = kept.unknown(users), self.names.number
        for user, name in zip(unknown, self.names.of(unknown), strict=True):
            objects = of_place.get(f"{name}#{relation}" if relation else name, ())
            kept.put(user, sorted(map(number, objects)))
        return kept.objects(users)

    def _changed(self, place: str, user: str) -> None:
        self.version += 1
        if self._led_to:
            name, relation = split_userset(user)
            kept, number = self._led_to.get((place, relation)), self.names.find(name)
            if kept is not None and number is not None:
                kept.forget(number)
                if kept.mostly_unused:
                    del self._led_to[place, relation]


class LayeredIndex(TupleIndex):
    """Tuples of a request over those of an index; a tuple of the request stands for the stored one."""

    def __init__(self, stored: TupleIndex, tuples: Iterable[TupleKey]) -> None:
        self._stored = stored
        super().__init__(tuples)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[TupleKey]:
        """All tuples, those of the request first."""
        yield from super().__iter__()
        for key in self._stored:
            if super().grant(key.user, key.relation, key.object) is False:
                yield key

    def users(self, object: str, relation: str) -> Users | None:
        over, under = super().users(object, relation), self._stored.users(object, relation)
        if over is None or under is None:
            return over or under
        usersets = dict(under.usersets)
        for kind, named in over.usersets.items():
            usersets[kind] = ChainMap(named, usersets.get(kind, {}))
        undecided = over.undecided + under.undecided
        return Users(ChainMap(over.named, under.named), usersets, undecided)

    def objects(self, user: str, place: str) -> Mapping[str, Grant]:
        own, stored = super().objects(user, place), self._stored.objects(user, place)
        return {**stored, **own} if own else stored

    def objects_of(self, users: Iterable[str], place: str) -> Iterator[Mapping[str, Grant]]:
        return filter(None, (self.objects(user, place) for user in users))

    def plain(self, place: str) -> bool:
        return super().plain(place) and self._stored.plain(place)


def _of_kind(users: Users, kind: str) -> MutableMapping[str, Grant]:
    """The users of a kind of usersets, to be added to."""
    found = users.usersets.get(kind)
    if found is None:
        found = {}
        users.usersets = {**users.usersets, kind: found}
    return found


def _each(users: Users) -> Iterator[tuple[str, Grant]]:
    yield from users.named.items()
    for kind, named in users.usersets.items():
        relation = kind.partition("#")[2]
        for object, grant in named.items():
            yield f"{object}#{relation}", grant
