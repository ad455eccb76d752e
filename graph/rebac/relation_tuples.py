"""Relationship tuples and their index in memory, by object and by user."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any

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


@dataclass(slots=True)
class Users:
    """The users of one `object#relation`."""

    named: MutableMapping[str, Grant] = field(default_factory=dict)
    """By `type:id` or `type:*`."""
    usersets: dict[str, MutableMapping[str, Grant]] = field(default_factory=dict)
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
    """Tuples, one for each user, relation and object. Reading it changes nothing."""

    def __init__(self, tuples: Iterable[TupleKey] = (), suspended: Iterable[TupleKey] = ()) -> None:
        """`suspended` are tuples that nobody vouches for at present, unless `tuples` has them too."""
        self._objects: dict[str, dict[str, Users]] = {}
        self._users: dict[str, dict[str, dict[str, None]]] = {}
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
        for object, relations in self._objects.items():
            for relation, users in relations.items():
                for user, grant in _each(users):
                    yield grant if isinstance(grant, TupleKey) else TupleKey(user, relation, object)

    def add(self, key: TupleKey, *, suspended: bool = False) -> None:
        """Add it, in place of the one with its user, relation and object."""
        grant: Grant = None if suspended else (True if key.plain else key)
        object, relation = split_userset(intern(key.user))
        relations = self._objects.setdefault(intern(key.object), {})
        users = relations.get(key.relation)
        if users is None:
            users = relations[intern(key.relation)] = Users()
        named = users.named
        if relation:
            object = intern(object)
            named = users.usersets.setdefault(f"{type_of(object)}#{relation}", {})
        before = named.get(object, False)
        if before is False:
            self._count += 1
            by_relation = self._users.setdefault(intern(key.user), {})
            by_relation.setdefault(f"{type_of(key.object)}#{key.relation}", {})[intern(key.object)] = None
        named[object] = grant
        users.undecided += (grant is not True) - (before is not True and before is not False)
        self.version += 1

    def remove(self, user: str, relation: str, object: str) -> bool:
        """Whether there was such a tuple."""
        users = self._objects.get(object, {}).get(relation)
        name, userset = split_userset(user)
        kind = f"{type_of(name)}#{userset}"
        named = None if users is None else users.usersets.get(kind) if userset else users.named
        if users is None or named is None or name not in named:
            return False
        users.undecided -= named[name] is not True
        del named[name]
        if not named and userset:
            del users.usersets[kind]
        if not users.named and not users.usersets:
            del self._objects[object][relation]
            if not self._objects[object]:
                del self._objects[object]
        by_relation = self._users[user]
        place = f"{type_of(object)}#{relation}"
        del by_relation[place][object]
        if not by_relation[place]:
            del by_relation[place]
            if not by_relation:
                del self._users[user]
        self._count -= 1
        self.version += 1
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
        relations = self._objects.get(object)
        return relations.get(relation) if relations is not None else None

    def relations(self, object: str) -> Iterable[str]:
        """The relations that the object has tuples of."""
        return self._objects.get(object, ())

    def objects(self, user: str, place: str) -> Iterable[str]:
        """The objects that the user has the relation of `place`, a `type#relation`, to by tuples."""
        by_relation = self._users.get(user)
        return by_relation.get(place, ()) if by_relation is not None else ()


class LayeredIndex(TupleIndex):
    """Tuples of a request over those of an index; a tuple of the request stands for the stored one."""

    def __init__(self, stored: TupleIndex, tuples: Iterable[TupleKey]) -> None:
        self._stored = stored
        super().__init__(tuples)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[TupleKey]:
        """All tuples, those of the request first."""
        own = set()
        for key in super().__iter__():
            own.add(key)
            yield key
        for key in self._stored:
            if super().get(key.user, key.relation, key.object) is None:
                yield key

    def users(self, object: str, relation: str) -> Users | None:
        over, under = super().users(object, relation), self._stored.users(object, relation)
        if over is None or under is None:
            return over or under
        usersets = dict(under.usersets)
        for kind, named in over.usersets.items():
            usersets[kind] = ChainMap(named, usersets.get(kind, {}))
        return Users(ChainMap(over.named, under.named), usersets)

    def relations(self, object: str) -> Iterable[str]:
        return {*super().relations(object), *self._stored.relations(object)}

    def objects(self, user: str, place: str) -> Iterable[str]:
        own, stored = super().objects(user, place), self._stored.objects(user, place)
        return {**dict.fromkeys(stored), **dict.fromkeys(own)} if own else stored


def _each(users: Users) -> Iterator[tuple[str, Grant]]:
    yield from users.named.items()
    for kind, named in users.usersets.items():
        relation = kind.partition("#")[2]
        for object, grant in named.items():
            yield f"{object}#{relation}", grant
