"""From users to objects, all as numbers, in one array: what thousands of users lead to is found at once."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
from pyroaring import BitMap

#: Users whose objects are put together one by one.
_FEW = 16
#: Sets of more users whose objects are kept: people of one group have the same above them.
_KEPT = 32


class Adjacency:
    """The objects of those users that are known."""

    def __init__(self) -> None:
        self._known = BitMap()
        self._objects = array("I")
        #: By user: where its objects begin, and how many there are.
        self._starts, self._counts = array("I"), array("I")
        self._unused = 0
        #: By set of users, serialized.
        self._gathered: OrderedDict[bytes, BitMap] = OrderedDict()

    def unknown(self, users: BitMap) -> BitMap:
        """Those that have to be put first."""
        return users - self._known

    def put(self, user: int, objects: Iterable[int]) -> None:
        """The objects of a user that is not known."""
        missing = bytes(self._starts.itemsize * max(user + 1 - len(self._starts), 0))
        self._starts.frombytes(missing)
        self._counts.frombytes(missing)
        self._starts[user] = len(self._objects)
        self._objects.extend(objects)
        self._counts[user] = len(self._objects) - self._starts[user]
        self._known.add(user)

    def forget(self, user: int) -> None:
        """Its objects change: it is not known any more."""
        if user in self._known:
            self._known.discard(user)
            self._unused += self._counts[user]
            self._gathered.clear()

    @property
    def mostly_unused(self) -> bool:
        """Whether most of it is of users that were forgotten."""
        return 2 * self._unused > len(self._objects)

    def objects(self, users: BitMap) -> BitMap:
        """All objects of the users, which are known. Not to be changed."""
        if len(users) <= _FEW:
            found = BitMap()
            for user in users:
                start = self._starts[user]
                found.update(self._objects[start : start + self._counts[user]])
            return found
        key = users.serialize()
        if key not in self._gathered:
            self._gathered[key] = self._gather(users)
            if len(self._gathered) > _KEPT:
                self._gathered.popitem(last=False)
        self._gathered.move_to_end(key)
        return self._gathered[key]

    def _gather(self, users: BitMap) -> BitMap:
        chosen = np.frombuffer(users.to_array(), np.uint32)
        counts = np.frombuffer(self._counts, np.uint32).take(chosen).astype(np.int64)
        starts = np.frombuffer(self._starts, np.uint32).take(chosen).astype(np.int64)
        ends = counts.cumsum()
        places = np.repeat(starts - ends + counts, counts) + np.arange(ends[-1])
        objects = np.frombuffer(self._objects, np.uint32).take(places)
        objects.sort()
        return BitMap(array("I", objects.tobytes()))
