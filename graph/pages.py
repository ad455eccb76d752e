"""Pages: where claims live. A page holds claims of one source and scope, packed, with an index of digests.

What stands carries the numbers of the pages that hold its claims. A page keeps its number for as long
as it holds anything; a claim that changes is written over in its page, and one that goes leaves it.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from graph.database import Database
from graph.digests import ENTRY
from graph.facts import Stated
from graph.tuples import Scope, Transaction

#: Claims in a page: what is read, and written again, to change one of them.
ROOM = 100


@dataclass(slots=True)
class Page:
    """A page, opened."""

    number: int
    scope: Scope
    trust: int
    claims: dict[str, Stated] = field(default_factory=dict)
    """By fact."""
    entries: dict[str, bytes] = field(default_factory=dict)
    """By fact: its entry in the index."""
    rows: dict[str, orjson.Fragment] = field(default_factory=dict)
    """By fact: its claim in JSON, where it was made before."""

    def row(self) -> dict[str, Any]:
        """The properties of its node."""
        return {
            "number": self.number,
            "source": self.scope[0],
            "scope": self.scope[1],
            "trust": self.trust,
            "count": len(self.claims),
            "index": b"".join([self.entries[fact] for fact in self.claims]),
            "claims": zlib.compress(
                orjson.dumps([self.rows.get(fact) or one.to_row() for fact, one in self.claims.items()]), 1
            ),
        }


def opened(row: Mapping[str, Any]) -> Page:
    """The inverse of `Page.row`."""
    source, scope, trust, index = row["source"], row["scope"], row["trust"], row["index"]
    rows = orjson.loads(zlib.decompress(row["claims"]))
    claims = [Stated.from_row(source, scope, trust, claim) for claim in rows]
    return Page(
        row["number"],
        (source, scope),
        trust,
        {one.fact: one for one in claims},
        {one.fact: index[at * ENTRY : (at + 1) * ENTRY] for at, one in enumerate(claims)},
    )


async def pages_of(database: Database, scope: Scope, after: int, limit: int) -> list[Page]:
    """So many of the pages of a scope with higher numbers, in their order."""
    records = await database.read(
        """MATCH (p:_Page {source: $source, scope: $scope}) WHERE p.number > $after
           RETURN p {.*} AS row ORDER BY p.number LIMIT $limit""",
        source=scope[0],
        scope=scope[1],
        after=after,
        limit=limit,
    )
    return [opened(record["row"]) for record in records]


class Pages:
    """The pages that one transaction has opened, and what it changes of them."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._open: dict[int, Page] = {}
        self._changed: set[int] = set()

    async def open(self, numbers: Iterable[int]) -> list[Page]:
        """The pages with these numbers."""
        wanted = set(numbers)
        missing = sorted(wanted - self._open.keys())
        if missing:
            result = await self._tx.run(
                "UNWIND $numbers AS number MATCH (p:_Page {number: number}) RETURN p {.*} AS row",
                numbers=missing,
            )
            self.take([record["row"] async for record in result])
        return [self._open[number] for number in sorted(wanted)]

    def take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Pages that were read: properties of their nodes."""
        self._open |= {row["number"]: opened(row) for row in rows}

    async def claims_on(
        self, places: Mapping[str, Collection[int]]
    ) -> dict[str, dict[Scope, tuple[Stated, int]]]:
        """All claims on facts whose pages are given, by source and scope, each with its page."""
        await self.open({number for numbers in places.values() for number in numbers})
        found: dict[str, dict[Scope, tuple[Stated, int]]] = defaultdict(dict)
        for fact, numbers in places.items():
            for number in numbers:
                page = self._open[number]
                found[fact][page.scope] = page.claims[fact], number
        return found

    def add(self, page: Page) -> None:
        """A page that is new."""
        self._open[page.number] = page
        self._changed.add(page.number)

    def put(self, number: int, stated: Stated, entry: bytes) -> None:
        """Write a claim into an open page, over what was there of its fact."""
        page = self._open[number]
        page.claims[stated.fact], page.entries[stated.fact] = stated, entry
        page.rows.pop(stated.fact, None)
        self._changed.add(number)

    def drop(self, number: int, fact: str) -> None:
        """The page no longer holds the claim."""
        page = self._open[number]
        del page.claims[fact], page.entries[fact]
        page.rows.pop(fact, None)
        self._changed.add(number)

    def filled(self, last: tuple[int, int]) -> tuple[int, int] | None:
        """A page and how many claims it now holds, from what it held; None when it is gone."""
        page = self._open.get(last[0])
        if page is None:
            return last
        return (page.number, len(page.claims)) if page.claims else None

    def changed(self) -> tuple[list[dict[str, Any]], list[int]]:
        """The rows of pages that changed, and the numbers of those that hold nothing any more."""
        pages = [self._open[number] for number in sorted(self._changed)]
        return [page.row() for page in pages if page.claims], [one.number for one in pages if not one.claims]
