"""Numbers for names, and sets of names as bitmaps of them.

JSON of a set is gathered from what is kept of each name: a list of 50,000 costs no look at 50,000 strings.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from pyroaring import BitMap


@dataclass(slots=True)
class _Column:
    """JSON strings of one length, each with a comma, one after the other."""

    length: int
    numbers: BitMap = field(default_factory=BitMap)
    """Whose they are."""
    strings: bytearray = field(default_factory=bytearray)


class Names:
    """Names and their numbers, which stay theirs for as long as this lives."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        #: By length.
        self._columns: dict[int, _Column] = {}
        #: By number, the place in the column; of those that are in one.
        self._rows = array("I")
        self._in_columns = BitMap()

    def __len__(self) -> int:
        return len(self._names)

    def find(self, name: str) -> int | None:
        """Its number, where it has one."""
        return self._numbers.get(name)

    def number(self, name: str) -> int:
        """Its number, which it has from now on."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self._names)
            self._names.append(name)
        return found

    def of(self, numbers: BitMap) -> list[str]:
        """In the order of the numbers."""
        return list(map(self._names.__getitem__, numbers))

    def json(self, numbers: BitMap) -> list[memoryview]:
        """Their JSON strings in any order, a comma after each, in some pieces."""
        self._put_in_columns(numbers - self._in_columns)
        rows = np.frombuffer(self._rows, np.uint32)
        pieces = []
        for column in self._columns.values():
            own = np.frombuffer((numbers & column.numbers).to_array(), np.uint32)
            strings = np.frombuffer(column.strings, f"V{column.length}")
            if len(own):
                pieces.append(strings.take(rows.take(own), mode="clip").view(np.uint8).data)
        return pieces

    def _put_in_columns(self, numbers: BitMap) -> None:
        self._rows.frombytes(bytes(self._rows.itemsize * (len(self._names) - len(self._rows))))
        for number in numbers:
            string = orjson.dumps(self._names[number]) + b","
            column = self._columns.get(len(string))
            if column is None:
                column = self._columns[len(string)] = _Column(len(string))
            self._rows[number] = len(column.numbers)
            column.numbers.add(number)
            column.strings += string
        self._in_columns |= numbers


@dataclass(frozen=True, slots=True)
class NameSet(Collection[str]):
    """Names, each once."""

    table: Names
    numbers: BitMap
    """Of names in the table."""
    beside: Sequence[str] = ()
    """Names that the table does not have."""

    @staticmethod
    def of(names: Sequence[str]) -> NameSet:
        """Of names, each there once."""
        return NameSet(Names(), BitMap(), names)

    def __len__(self) -> int:
        return len(self.numbers) + len(self.beside)

    def __iter__(self) -> Iterator[str]:
        yield from self.table.of(self.numbers)
        yield from self.beside

    def __contains__(self, name: object) -> bool:
        return name in self.beside or (
            isinstance(name, str) and (number := self.table.find(name)) is not None and number in self.numbers
        )

    def json(self, before: bytes = b"", after: bytes = b"") -> bytes:
        """A list of strings, between what is said before and after it."""
        pieces = self.table.json(self.numbers)
        pieces += [memoryview(orjson.dumps(name) + b",") for name in self.beside]
        if pieces:
            pieces[-1] = pieces[-1][:-1]
        return b"".join([before, b"[", *pieces, b"]", after])  # a megabyte is copied once
