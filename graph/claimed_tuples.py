"""The tuples of the live graph with who vouches for each of them, and for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import LiteralString

from neo4j import Record
from neo4j.time import DateTime

from graph.claims import EntityClaim
from graph.facts import IN_COLLECTION, Stated
from graph.pages import Page, opened
from graph.tuples import ClaimedTuple, Scope, Transaction, bound, native
from ontologies.ontology import Binding

# A placement rests on the claims on its entity.
_ASSERTED: LiteralString = """
    MATCH (start:Entity)-[r:$($type)]->(end:Entity)
    WHERE size(r.sources) > 0
    RETURN $type AS type, start.id AS start, end.id AS end,
           coalesce(CASE $type WHEN 'IN_COLLECTION' THEN start.pages ELSE r.pages END, []) AS pages,
           [r.validFrom, start.validFrom, end.validFrom] AS begins,
           [r.validTo, start.validTo, end.validTo] AS ends
    """


async def load_tuples(tx: Transaction, bindings: Iterable[Binding]) -> Sequence[ClaimedTuple]:
    """All tuples that the bindings make; each holds while its relationship and both ends do.

    A source vouches for a tuple as long as its own claim holds, and no longer: that another one claims it
    for longer does not count once that one is suspended.
    """
    by_relationship: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings:
        by_relationship[binding.relationship].append(binding)
    records = [
        record
        for relationship in by_relationship
        async for record in await tx.run(_ASSERTED, type=relationship)
    ]
    scopes = await _scopes(tx, {number for record in records for number in record["pages"]})
    pages = await _opened(tx, {n for record in records if len(record["pages"]) > 1 for n in record["pages"]})
    loaded = []
    for record in records:
        vouchers = _vouchers(record, scopes, pages)
        for binding in by_relationship[record["type"]]:
            entry = bound(binding, record["start"], record["end"])
            if entry is not None:
                loaded += [ClaimedTuple(entry, *voucher) for voucher in vouchers]
    return loaded


_Voucher = tuple[frozenset[Scope], datetime | None, datetime | None]


def _vouchers(record: Record, scopes: Mapping[int, Scope], pages: Mapping[int, Page]) -> list[_Voucher]:
    """Who claims a relationship, from when, until when."""
    begins, ends = _instants(record["begins"]), _instants(record["ends"])
    numbers = record["pages"]
    if len(numbers) <= 1:
        claimed_in = frozenset(scopes[number] for number in numbers if number in scopes)
        return [(claimed_in, max(begins, default=None), min(ends, default=None))]
    found = []
    for number in numbers:
        claim = _claim(record, pages.get(number))
        if claim is not None:
            own = (claim.source, claim.scope)
            from_, to = _instants([claim.claim.valid_from]), _instants([claim.claim.valid_to])
            found.append(
                (frozenset({own}), max([*begins, *from_], default=None), min([*ends, *to], default=None))
            )
    # Nobody that could be made out: suspended, not absent.
    return found or [(frozenset(), max(begins, default=None), min(ends, default=None))]


def _claim(record: Record, page: Page | None) -> Stated | None:
    """What a page says of a relationship; of a placement, what it says of an entity that it places there."""
    start, type_, end = record["start"], record["type"], record["end"]
    fact = start if type_ == IN_COLLECTION else f"{start} {type_} {end}"
    stated = None if page is None else page.claims.get(fact)
    if stated is None or (isinstance(stated.claim, EntityClaim) and stated.claim.collection != end):
        return None
    return stated


async def _scopes(tx: Transaction, pages: Iterable[int]) -> Mapping[int, Scope]:
    """Whose claims each of the pages holds."""
    result = await tx.run(
        """
        UNWIND $numbers AS number
        MATCH (p:_Page {number: number})
        RETURN number, p.source AS source, p.scope AS scope
        """,
        numbers=list(pages),
    )
    return {record["number"]: (record["source"], record["scope"]) async for record in result}


async def _opened(tx: Transaction, numbers: Collection[int]) -> Mapping[int, Page]:
    result = await tx.run(
        "UNWIND $numbers AS number MATCH (p:_Page {number: number}) RETURN p {.*} AS row",
        numbers=list(numbers),
    )
    return {record["row"]["number"]: opened(record["row"]) async for record in result}


def _instants(values: Iterable[DateTime | datetime | None]) -> list[datetime]:
    return [native(value) for value in values if value is not None]
