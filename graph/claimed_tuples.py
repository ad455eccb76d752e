"""The tuples of the live graph with who vouches for each of them, and for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from neo4j import Record

from graph.claims import EntityClaim
from graph.facts import IN_COLLECTION, Stated
from graph.intervals import Interval, within
from graph.pages import Page, opened
from graph.rebac.relation_tuples import TupleKey
from graph.tuples import ClaimedTuple, Scope, Transaction, Voucher, bound, native
from ontologies.ontology import Binding


@dataclass(frozen=True, slots=True)
class ClaimedRelationship:
    """A relationship with who vouches for it, and when its ends hold."""

    start: str
    type: str
    end: str
    vouchers: Sequence[Voucher]
    start_holds: Interval
    end_holds: Interval


# A placement rests on the claims on its entity.
_ASSERTED: LiteralString = """
    MATCH (start:Entity)-[r:$($type)]->(end:Entity)
    WHERE size(r.sources) > 0
    RETURN $type AS type, start.id AS start, end.id AS end,
           coalesce(CASE $type WHEN 'IN_COLLECTION' THEN start.pages ELSE r.pages END, []) AS pages,
           [r.validFrom, start.validFrom, end.validFrom] AS begins,
           [r.validTo, start.validTo, end.validTo] AS ends
    """


async def claimed_relationships(tx: Transaction, type_: str) -> AsyncIterator[ClaimedRelationship]:
    """All that are asserted of a type.

    A source vouches for one as long as its own claim holds, and no longer: that another one claims it
    for longer does not count once that one is suspended.
    """
    result = await tx.run("MATCH (p:_Page) RETURN p.number AS number, p.source AS source, p.scope AS scope")
    scopes: dict[int, Scope] = {r["number"]: (r["source"], r["scope"]) async for r in result}
    shared: list[Record] = []
    async for record in await tx.run(_ASSERTED, type=type_):
        numbers = record["pages"]
        if len(numbers) > 1:
            shared.append(record)
        else:
            scope = scopes.get(numbers[0], _NOBODY) if numbers else _NOBODY
            yield _claimed(record, [Voucher(*scope, *_interval(record, 0))])
    pages = await _opened(tx, {number for record in shared for number in record["pages"]})
    for record in shared:
        yield _claimed(record, _vouchers(record, pages))


async def load_tuples(tx: Transaction, bindings: Iterable[Binding]) -> Sequence[ClaimedTuple]:
    """All tuples that the bindings make; each holds while its relationship and both ends do."""
    by_relationship: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings:
        by_relationship[binding.relationship].append(binding)
    loaded = []
    for relationship, of_relationship in by_relationship.items():
        async for claimed in claimed_relationships(tx, relationship):
            for binding in of_relationship:
                entry = bound(binding, claimed.start, claimed.end)
                if entry is not None:
                    loaded += [_tuple(entry, claimed, voucher) for voucher in claimed.vouchers]
    return loaded


_NOBODY: Scope = ("", "")


def _tuple(entry: TupleKey, claimed: ClaimedRelationship, voucher: Voucher) -> ClaimedTuple:
    begins = (voucher.valid_from, claimed.start_holds[0], claimed.end_holds[0])
    ends = (voucher.valid_to, claimed.start_holds[1], claimed.end_holds[1])
    scope = voucher.source, voucher.scope
    return ClaimedTuple(
        entry,
        frozenset() if scope == _NOBODY else frozenset({scope}),
        max((at for at in begins if at is not None), default=None),
        min((at for at in ends if at is not None), default=None),
    )


def _claimed(record: Record, vouchers: Sequence[Voucher]) -> ClaimedRelationship:
    return ClaimedRelationship(
        record["start"],
        record["type"],
        record["end"],
        vouchers,
        _interval(record, 1),
        _interval(record, 2),
    )


def _interval(record: Record, at: int) -> Interval:
    """Of the relationship, its start or its end."""
    begin, end = record["begins"][at], record["ends"][at]
    return (None if begin is None else native(begin)), (None if end is None else native(end))


def _vouchers(record: Record, pages: Mapping[int, Page]) -> list[Voucher]:
    """Who claims a relationship that several do: each within what stands of its interval."""
    claims = [_claim(record, pages.get(number)) for number in record["pages"]]
    found = [
        Voucher(
            one.source, one.scope, *within(_interval(record, 0), (one.claim.valid_from, one.claim.valid_to))
        )
        for one in claims
        if one is not None
    ]
    # Nobody that could be made out: suspended, not absent.
    return found or [Voucher(*_NOBODY, *_interval(record, 0))]


def _claim(record: Record, page: Page | None) -> Stated | None:
    """What a page says of a relationship; of a placement, what it says of an entity that it places there."""
    start, type_, end = record["start"], record["type"], record["end"]
    fact = start if type_ == IN_COLLECTION else f"{start} {type_} {end}"
    stated = None if page is None else page.claims.get(fact)
    if stated is None or (isinstance(stated.claim, EntityClaim) and stated.claim.collection != end):
        return None
    return stated


async def _opened(tx: Transaction, numbers: Collection[int]) -> Mapping[int, Page]:
    result = await tx.run(
        "UNWIND $numbers AS number MATCH (p:_Page {number: number}) RETURN p {.*} AS row",
        numbers=list(numbers),
    )
    return {record["row"]["number"]: opened(record["row"]) async for record in result}
