"""Where a person is mentioned: the whole database is looked through, packed claims and changes unpacked.

What is theirs (facts about them, and records of the store that name them) is told apart from content:
what facts about others say, a passage of a document above all.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import orjson
from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.facts import Stated
from graph.feed import facts_in
from graph.pages import opened
from graph.past_claims import unpacked

T = TypeVar("T")

#: How the places are called where something was found; others go by their label.
PLACES: Mapping[str, str] = {
    "_Version": "history",
    "_Claimed": "history",
    "_Aside": "facts aside",
    "_Bound": "facts aside",
    "_Move": "facts aside",
    "_Quarantined": "quarantine",
    "_Extraction": "extractions",
    "_AccessEntry": "access by hand",
    "_StoreTuple": "tuples of applications",
    "_StoreChange": "changes of applications' tuples",
    "_TupleStore": "stores of applications",
    "_StoreAssertions": "assertions of applications",
    "_StoreModel": "models of applications",
    "_Run": "records of crawls",
    "_Hold": "held crawls",
}
#: What is kept of erasures says nothing of persons that is not to be kept.
_OURS = frozenset({"_Tombstone", "_Erasure"})


@dataclass(frozen=True)
class Names:
    """What tells of a person, and what comes in its place."""

    ids: Mapping[str, str]
    """Their own id first, then those of their accounts and satellites; with pseudonyms."""
    words: frozenset[str] = frozenset()
    """Values that nobody else has: names, addresses, numbers."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        ids = [rf"(?<![\w.-]){re.escape(id)}(?![\w%/~+-]|\.\w)" for id in self.ids]
        words = [rf"(?<!\w){re.escape(word)}(?!\w)" for word in self.words]
        return re.compile("|".join(sorted((*ids, *words), key=len, reverse=True)))

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        """As JSON has them: one of these is in whatever mentions the person."""
        parts = (orjson.dumps(name)[1:-1] for name in (*self.ids, *self.words))
        return re.compile(b"|".join(map(re.escape, parts)))

    @property
    def person(self) -> str:
        """The person's pseudonym."""
        return next(iter(self.ids.values()))

    def within(self, value: Any) -> bool:
        """Whether the value, of whatever kind, mentions the person."""
        if isinstance(value, str):
            return self._pattern.search(value) is not None
        if isinstance(value, bytes):
            return self.packed_within(_plain(value))
        if isinstance(value, Mapping):
            return any(self.within(one) for one in value.values())
        return isinstance(value, (list, tuple)) and any(map(self.within, value))

    def packed_within(self, packed: bytes) -> bool:
        """Whether the JSON may mention the person; quick where it doesn't."""
        return self._bytes.search(packed) is not None

    def about(self, fact: str) -> bool:
        """Whether the fact is the person's, or a relationship of theirs."""
        return not self.ids.keys().isdisjoint(fact.split(" "))

    def replaced(self, value: T) -> T:
        """The same with pseudonyms; packed values are of JSON."""
        if isinstance(value, str):
            return self._pattern.sub(self._pseudonym, value)  # type: ignore[return-value]  # as it came
        if isinstance(value, bytes) and self.within(value):
            told = self.replaced(orjson.loads(_plain(value)))
            return zlib.compress(orjson.dumps(told), 1)  # type: ignore[return-value]  # as it came
        if isinstance(value, Mapping):
            return {name: self.replaced(one) for name, one in value.items()}  # type: ignore[return-value]  # as it came
        return [self.replaced(one) for one in value] if isinstance(value, list) else value  # type: ignore[return-value]  # as it came

    def _pseudonym(self, match: re.Match[str]) -> str:
        return self.ids.get(match[0], self.person)


def _plain(packed: bytes) -> bytes:
    try:
        return zlib.decompress(packed)
    except zlib.error:
        return packed


@dataclass(slots=True)
class Found:
    """How often a person is mentioned, by place."""

    own: Counter[str] = field(default_factory=Counter)
    content: Counter[str] = field(default_factory=Counter)
    entities: set[str] = field(default_factory=set)
    """Of others, whose values mention the person now."""


@dataclass(frozen=True, slots=True)
class Known:
    """What there is of a person, before anything is done."""

    names: Names
    found: Found
    shared: tuple[str, ...] = ()
    """Accounts that are somebody else's by now, and stay."""


async def mentions(database: Database, names: Names) -> Found:
    """Look through everything; takes seconds, minutes where there are millions of facts."""

    async def work(tx: AsyncManagedTransaction) -> Found:
        found = Found()
        result = await tx.run("MATCH (n) RETURN labels(n) AS labels, n {.*, embedding: null} AS row")
        async for record in result:
            _look(names, frozenset(record["labels"]), record["row"], found)
        result = await tx.run(
            """
            MATCH (a:Entity)-[r]->(b:Entity) WHERE a.id IN $ids OR b.id IN $ids
            RETURN count(r) AS count
            """,
            ids=list(names.ids),
        )
        found.own["relationships"] += (await result.single(strict=True))["count"]
        result = await tx.run(
            "MATCH ()-[r]->() WHERE r.derivations IS NOT NULL RETURN r.derivations AS derivations"
        )
        async for record in result:
            found.own["inferred facts"] += names.within(record["derivations"])
        found.own, found.content = +found.own, +found.content
        return found

    return await database.read_transaction(work)


def _look(names: Names, labels: frozenset[str], row: Mapping[str, Any], found: Found) -> None:
    if "Entity" in labels:
        if row["id"] in names.ids:
            found.own["entities"] += 1
        elif names.within(row):
            found.content["entities"] += 1
            found.entities.add(row["id"])
    elif "_Page" in labels:
        if names.packed_within(zlib.decompress(row["claims"])):
            _count("claims", _claims(row), names, found)
    elif "_Change" in labels:
        if names.packed_within(zlib.decompress(row["changes"])):
            _count("changes", facts_in(row["changes"]), names, found)
    elif "_Claimed" in labels:
        if names.packed_within(zlib.decompress(row["claims"])) or names.about(row["fact"]):
            told = [(one.fact, one.to_row()) for one in unpacked(row["claims"])]
            _count(PLACES["_Claimed"], told, names, found)
    elif "_Version" in labels or "_Aside" in labels:
        place = PLACES["_Aside" if "_Aside" in labels else "_Version"]
        _count(place, [(row["fact"], row)], names, found)
    elif labels.isdisjoint(_OURS) and names.within(row):
        label = min(labels, default="")
        found.own[PLACES.get(label, label)] += 1


def _claims(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    stated: Iterable[Stated] = opened(row).claims.values()
    return [(one.fact, one.to_row()) for one in stated]


def _count(place: str, told: Iterable[tuple[str, Any]], names: Names, found: Found) -> None:
    for fact, said in told:
        if names.about(fact):
            found.own[place] += 1
        elif names.within(said):
            found.content[place] += 1
