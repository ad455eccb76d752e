"""What a crawl knows of each fact of its scope: digests in numpy arrays, so that millions fit.

A fact is told by 16 bytes of BLAKE2b, what is claimed of it by 8, its evidence by 4. An entry takes 40
bytes, and a batch is looked up as a whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.claims import Claim, EntityClaim

Numbers = npt.NDArray[Any]

#: An entry of a page's index.
INDEX = np.dtype([("high", "<u8"), ("low", "<u8"), ("content", "<u8"), ("evidence", "<u4")])
ENTRY = INDEX.itemsize
#: The page of what is not held.
NOWHERE = -1
_SMALLEST = 1024


def of_facts(facts: Iterable[str]) -> Numbers:
    """A row of two numbers for each fact."""
    digests = b"".join(
        [blake2b(fact.encode(errors="surrogatepass"), digest_size=16).digest() for fact in facts]
    )
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2)


class Contents:
    """Digests of what claims say, their evidence apart; those of a source with another trust differ."""

    def __init__(self, trust: int) -> None:
        self._salt = str(trust).encode().rjust(16)[:16]
        self._plain = self._number(b"1.0 None None")

    def of(self, claims: Iterable[Claim]) -> Numbers:
        """A number for each; 0 for none of them."""
        return np.array([self._of(claim) for claim in claims], dtype=np.uint64)

    def _of(self, claim: Claim) -> int:
        if isinstance(claim, EntityClaim):
            said: tuple[object, ...] = (claim.class_name, claim.collection, sorted(claim.values.items()))
        elif claim.confidence == 1.0 and claim.valid_from is None and claim.valid_to is None:
            return self._plain
        else:
            said = ()
        text = f"{claim.confidence!r} {claim.valid_from!r} {claim.valid_to!r}"
        if said:
            text = f"{text} {said!r}"
        return self._number(text.encode(errors="surrogatepass"))

    def _number(self, said: bytes) -> int:
        return int.from_bytes(blake2b(said, digest_size=8, salt=self._salt).digest(), "little") or 1


def of_evidence(claims: Iterable[Claim]) -> Numbers:
    """A number for each claim's evidence."""
    crc = zlib.crc32
    return np.array([crc(claim.evidence.encode(errors="surrogatepass")) for claim in claims], dtype=np.uint32)


class Table:
    """A hash table of facts. Columns: what is held of it and in which page; what this crawl said of it.

    `content` is 0 where nothing is held, `said` is 0 where this crawl said nothing yet.
    """

    def __init__(self, expected: int = 0) -> None:
        capacity = _SMALLEST
        while 5 * capacity < 8 * expected:
            capacity *= 2
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self.count = 0
        self._mask = np.uint64(capacity - 1)
        self._taken = np.zeros(capacity, dtype=bool)
        self._high = np.zeros(capacity, dtype=np.uint64)
        self._low = np.zeros(capacity, dtype=np.uint64)
        self.content = np.zeros(capacity, dtype=np.uint64)
        self.evidence = np.zeros(capacity, dtype=np.uint32)
        self.page = np.full(capacity, NOWHERE, dtype=np.int64)
        self.said = np.zeros(capacity, dtype=np.uint64)

    def find(self, facts: Numbers) -> Numbers:
        """The slot of each fact, -1 where it has none."""
        found = np.full(len(facts), -1, dtype=np.int64)
        todo = np.arange(len(facts))
        slots = facts[:, 0] & self._mask
        while len(todo):
            taken = self._taken[slots]
            todo, slots = todo[taken], slots[taken]
            same = (self._high[slots] == facts[todo, 0]) & (self._low[slots] == facts[todo, 1])
            found[todo[same]] = slots[same]
            todo, slots = todo[~same], (slots[~same] + np.uint64(1)) & self._mask
        return found

    def insert(self, facts: Numbers) -> Numbers:
        """The slot of each fact, made where there was none. Each fact only once."""
        if 8 * (self.count + len(facts)) > 5 * len(self._taken):
            self._grow(self.count + len(facts))
        found = self.find(facts)
        todo = np.flatnonzero(found < 0)
        slots = facts[todo, 0] & self._mask
        while len(todo):
            # Of several that want the same free slot the last written has it.
            free = ~self._taken[slots]
            wanting, wanted = todo[free], slots[free]
            self._high[wanted] = facts[wanting, 0]
            self._low[wanted] = facts[wanting, 1]
            self._taken[wanted] = True
            got = (self._high[slots] == facts[todo, 0]) & (self._low[slots] == facts[todo, 1]) & free
            found[todo[got]] = slots[got]
            self.count += int(got.sum())
            todo, slots = todo[~got], (slots[~got] + np.uint64(1)) & self._mask
        return found

    def held(self, page: int | None = None) -> Numbers:
        """Slots of the facts of which something is held (in that page)."""
        slots = np.flatnonzero(self.content)
        return slots if page is None else slots[self.page[slots] == page]

    def unsaid(self) -> Numbers:
        """Slots of the facts of which something is held, and this crawl said nothing."""
        return np.flatnonzero((self.content != 0) & (self.said == 0))

    def facts(self, slots: Numbers) -> Numbers:
        """The digests at the slots."""
        return np.stack([self._high[slots], self._low[slots]], axis=1)

    def load(self, page: int, index: bytes) -> int:
        """Take in a page's index; how many entries it has."""
        entries = np.frombuffer(index, dtype=INDEX)
        slots = self.insert(np.stack([entries["high"], entries["low"]], axis=1))
        self.content[slots] = entries["content"]
        self.evidence[slots] = entries["evidence"]
        self.page[slots] = page
        return len(entries)

    def _grow(self, count: int) -> None:
        columns = ("content", "evidence", "page", "said")
        slots = np.flatnonzero(self._taken)
        facts, old = self.facts(slots), [getattr(self, name)[slots] for name in columns]
        capacity = len(self._taken)
        while 8 * count > 5 * capacity:
            capacity *= 2
        self._allocate(capacity)
        # In pieces: each round of an insertion takes arrays of its own.
        for start in range(0, len(facts), 65_536):
            piece = slice(start, start + 65_536)
            placed = self.insert(facts[piece])
            for name, values in zip(columns, old, strict=True):
                getattr(self, name)[placed] = values[piece]


def packed(facts: Numbers, contents: Numbers, evidence: Numbers) -> bytes:
    """Entries of a page's index, one after the other."""
    entries = np.empty(len(facts), dtype=INDEX)
    entries["high"], entries["low"] = facts[:, 0], facts[:, 1]
    entries["content"], entries["evidence"] = contents, evidence
    return entries.tobytes()
