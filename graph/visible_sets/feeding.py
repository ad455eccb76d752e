"""How the visibility index is filled: from the graph at first, then from the change feed alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from neo4j import AsyncManagedTransaction

from graph.audiences import from_tree
from graph.claimed_tuples import claimed_relationships
from graph.feed import FactChange, Revision
from graph.intervals import Interval, within
from graph.rebac.relation_tuples import TupleKey, type_of
from graph.tuples import Transaction, Voucher, bound
from graph.visible_sets.index import VisibilityIndex
from ontologies.ontology import Binding


def by_relationship(bindings: Iterable[Binding]) -> Mapping[str, Sequence[Binding]]:
    """The bindings of each relationship type."""
    found: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings:
        found[binding.relationship].append(binding)
    return found


class TupleTable(Protocol):
    """What tuples are put into, with who vouches for them."""

    revision: int
    """All of the feed up to it is in here."""

    def put(self, key: TupleKey, relationship: str = "", vouchers: Iterable[Voucher] = ()) -> None:
        """Who vouches now for what the relationship says of a tuple; where nobody does, it goes."""

    def put_interval(self, entity: str, interval: Interval) -> None:
        """When an entity holds; one that is not known, or no more, has (None, None)."""


async def load(tx: AsyncManagedTransaction, bindings: Mapping[str, Sequence[Binding]]) -> VisibilityIndex:
    """The index of the graph as it is."""
    index = VisibilityIndex()
    await load_into(index, tx, bindings)
    await load_audiences_whole(tx, index)
    return index


async def load_into(
    index: TupleTable, tx: AsyncManagedTransaction, bindings: Mapping[str, Sequence[Binding]]
) -> None:
    """The tuples of the graph as it is."""
    await locked(tx)
    for type_ in bindings:
        async for one in claimed_relationships(tx, type_):
            for binding in bindings[type_]:
                key = bound(binding, one.start, one.end)
                if key is not None:
                    index.put(key, type_, one.vouchers)
                    index.put_interval(one.start, one.start_holds)
                    index.put_interval(one.end, one.end_holds)
    result = await tx.run("MATCH (meta:_Meta) RETURN meta.revision AS revision")
    index.revision = (await result.single(strict=True))["revision"]


async def locked(tx: AsyncManagedTransaction) -> None:
    """Wait until no commit is under way, and hold back others.

    Neo4j shows a commit piece by piece, and what is read here is kept: this takes the lock that a writer
    holds until its commit is whole. Setting and removing leaves no change.
    """
    await (await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")).consume()


async def load_audiences_whole(tx: AsyncManagedTransaction, index: VisibilityIndex) -> None:
    """The audiences that were made since, also where some numbers are missing for ever."""
    await locked(tx)
    if not await load_audiences(tx, index):
        result = await tx.run("MATCH (meta:_Meta) RETURN meta.nextAudience AS next")
        index.next_audience = (await result.single(strict=True))["next"]


async def load_audiences(tx: Transaction, index: VisibilityIndex) -> bool:
    """The audiences that were made since; False where some of them are not shown yet."""
    result = await tx.run(
        """
        MATCH (meta:_Meta)
        RETURN meta.nextAudience AS next, COLLECT {
            MATCH (a:_Audience) WHERE a.number >= $next RETURN [a.number, a.expression]
        } AS audiences
        """,
        next=index.next_audience,
    )
    record = await result.single(strict=True)
    for number, tree in record["audiences"]:
        index.define(number, from_tree(json.loads(tree)))
    if len(record["audiences"]) < record["next"] - index.next_audience:
        return False
    index.next_audience = max(index.next_audience, record["next"])
    return True


def follow(
    index: TupleTable, revisions: Iterable[Revision], bindings: Mapping[str, Sequence[Binding]]
) -> None:
    """What the revisions changed."""
    types = {type_ for found in bindings.values() for one in found for type_ in (one.object_type, *one.users)}
    for revision in revisions:
        for change in revision.changes:
            if change.kind == "entity" and type_of(change.id) in types:
                index.put_interval(change.id, _interval(change.after or {}))
            elif change.kind == "relationship":
                _follow(index, revision, change, bindings)
        index.revision = revision.number


def _follow(
    index: TupleTable,
    revision: Revision,
    change: FactChange,
    bindings: Mapping[str, Sequence[Binding]],
) -> None:
    start, type_, end = change.id.split(" ")
    for binding in bindings.get(type_, ()):
        key = bound(binding, start, end)
        if key is not None:
            index.put(key, type_, _vouchers(revision, change.after) if change.after else ())


def _vouchers(revision: Revision, after: Mapping[str, Any]) -> Sequence[Voucher]:
    stands = _interval(after)
    claimed = after.get("claimedIn")
    if claimed is None:
        return [Voucher(revision.source, revision.scope, *stands)]
    return [
        Voucher(source, scope, *within(stands, (_instant(begin), _instant(end))))
        for source, scope, begin, end in claimed
    ]


def _interval(described: Mapping[str, Any]) -> Interval:
    begin, end = described.get("validFrom"), described.get("validTo")
    return _instant(begin and begin["dateTime"]), _instant(end and end["dateTime"])


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
