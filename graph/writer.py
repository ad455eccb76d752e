"""The write transaction: lock, diff, gate, facts, claims, audiences, revision and changes, all or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph import live
from graph.bulk import Bulk
from graph.claims import EntityClaim
from graph.facts import IN_COLLECTION, EntityFact, Fact, RelationshipFact, Stated
from graph.feed import pack_changes
from graph.lease import LeaseLostError
from graph.live import Transition, for_each
from graph.order import Order, Outcome, Refused, Schema, State
from graph.pages import ROOM, Page, Pages
from graph.tuples import native
from graph.work import Work

Transaction = AsyncManagedTransaction


async def current_revision(tx: Transaction) -> int:
    result = await tx.run("MATCH (meta:_Meta) RETURN meta.revision AS revision")
    return int((await result.single(strict=True))["revision"])


async def lock(tx: Transaction, order: Order, now: datetime) -> State:
    """Take the lock that makes writers one after the other. Raises LeaseLostError."""
    result = await tx.run(
        """
        MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked  // leaves no change
        WITH meta
        RETURN meta.revision AS revision, coalesce(meta.nextPage, 0) AS page, meta.at AS at,
               COUNT { (:_Aside) } > 0 AS aside,
               COLLECT {
                   MATCH (s:_Source {name: $source, scope: $scope})
                   RETURN [s.lease, coalesce(s.types, [])]
               } AS own,
               COLLECT {
                   MATCH (s:_Source) WHERE NOT (s.name = $source AND s.scope = $scope)
                   UNWIND s.types AS type RETURN DISTINCT type
               } AS shared
        """,
        source=order.source,
        scope=order.scope,
    )
    record = await result.single(strict=True)
    own = record["own"]
    if order.lease and [lease for lease, _ in own] != [order.lease]:
        raise LeaseLostError(
            f"another crawl of {order.source}, scope {order.scope}, has begun, or somebody was erased; "
            "what this one wrote is kept"
        )
    at = record["at"]
    instant = now if at is None else max(now, native(at))
    types = frozenset(type_ for _, types in own for type_ in types)
    shared = frozenset(record["shared"])
    return State(record["revision"], record["page"], instant, record["aside"], types, shared)


async def carry_out(
    tx: Transaction,
    schema: Schema,
    order: Order,
    now: datetime,
) -> Outcome:
    """All of the order in this transaction."""
    state = await lock(tx, order, now)
    pages = Pages(tx)
    revision = state.revision + 1
    target = _assign(order, state)
    bulk = Bulk(
        tx,
        schema.shapes,
        schema.model,
        revision,
        target,
        state.aside,
        state.shared | schema.inferable,
    )
    written = await bulk.write(
        one for fact, one in order.new.items() if fact in order.plain and fact in target
    )
    quick = {fact.id for fact in written.entities} | {one.fact for one in written.relationships}
    rest = {fact: one for fact, one in order.new.items() if fact not in quick}
    work = Work(tx, schema, state, order, pages, target)
    refused = [*order.refused, *await work.settle(rest)]
    transitions = await work.transitions([fact.id for fact in written.entities])
    transitions = await live.place_dormant(tx, schema.shapes.ontology, schema.model, transitions)
    changes, vouched = await work.shown(transitions)
    kept = {fact: one for fact, one in order.new.items() if fact in quick or work.stands(one)}
    record, last = await _put_claims(work, kept)
    passed = await _write_quarantined(tx, refused, order)
    known = [one for one in transitions if one.was_known != one.is_known]
    access = False
    if quick or changes or known:
        access = (
            vouched
            or _touches_access(schema, transitions)
            or any(
                schema.shapes.ontology.relationships[one.claim.type].access_bearing  # type: ignore[union-attr]
                for one in written.relationships
            )
        )
        appeared = [fact.to_row() for fact in written.entities]
        appeared += [one.to_row() for one in written.relationships]
        packed = pack_changes(changes, order.source, appeared)
        record = replace(record, commit=Commit(revision, state.now, packed, access))
    await _write(tx, order, record, live.rows_of(schema.shapes.ontology, transitions, revision, state.now))
    moving = await live.place(tx, schema.shapes.ontology, schema.model, transitions)
    told = [one for one in known if not _is_placement(one.fact)]
    added = sum(one.was_known is None for one in told)
    retracted = sum(one.is_known is None for one in told)
    return Outcome(
        revision if quick or changes or known else state.revision,
        added + len(quick),
        len(told) - added - retracted,
        retracted,
        refused,
        {fact: target.get(fact, order.held.get(fact, -1)) for fact in kept},
        work.gone(),
        passed,
        last,
        access,
        moving,
    )


async def settle(tx: Transaction, schema: Schema, limit: int, now: datetime) -> int:
    """Give entities that changed their place their new audience, in a revision; how many were waiting."""
    state = await lock(tx, Order("", ""), now)
    moves = await tx.run("MATCH (m:_Move) RETURN m.id AS id ORDER BY id LIMIT $limit", limit=limit)
    ids = [record["id"] async for record in moves]
    if not ids:
        return 0
    set_ = await live.settle_moves(tx, schema.shapes.ontology, schema.model, ids)
    if set_:
        described = [
            {"kind": "audience", "id": id, "before": None, "after": {"audience": number}}
            for id, number in set_.items()
        ]
        commit = Commit(state.revision + 1, state.now, pack_changes(described), access=False)
        await take_revision(tx, Order("", ""), commit)
    return len(ids)


@dataclass(frozen=True, slots=True)
class Commit:
    """A revision."""

    number: int
    at: datetime
    changes: bytes
    access: bool
    """Whether what somebody may see can have changed."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a transaction keeps beside the facts."""

    commit: Commit | None = None
    pages: Sequence[Mapping[str, Any]] = ()
    """Rows of those that changed."""
    emptied: Sequence[int] = ()
    """Numbers of pages that hold nothing any more."""
    next_page: int | None = None
    types: Sequence[str] | None = None
    """Relationship types that the scope claims, where there are more than before."""
    reached: Mapping[str, str] = field(default_factory=dict)


async def take_revision(tx: Transaction, order: Order, commit: Commit) -> None:
    """Record the revision with its changes."""
    await _write(tx, order, Record(commit), {})


async def write_pages(tx: Transaction, pages: Pages) -> None:
    """What changed of pages, outside of a crawl."""
    rows, emptied = pages.changed()
    await _write(tx, Order("", ""), Record(None, rows, emptied), {})


async def _write(tx: Transaction, order: Order, record: Record, facts: dict[str, list[Any]]) -> None:
    """The facts, as `live.rows_of` has them, pages, and the revision with its changes: in one query."""
    if record == Record() and not facts:
        return
    commit, meta = record.commit, {}
    if commit is not None:
        meta = {"revision": commit.number, "at": commit.at}
        if commit.access:
            meta["accessRevision"] = commit.number
    if record.next_page is not None:
        meta["nextPage"] = record.next_page
    await tx.run(
        _RECORD + (live.WRITE if facts else ""),
        facts,
        open=live.OPEN,
        meta=meta,
        pages=record.pages,
        emptied=record.emptied,
        types=[] if record.types is None else [record.types],
        reached=[record.reached] if record.reached else [],
        changes=[] if commit is None else [commit.changes],
        source=order.source,
        scope=order.scope,
    )


def _assign(order: Order, state: State) -> dict[str, int]:
    """By fact: the page of each claim that has none yet, or had it under another trust."""
    new = [fact for fact in order.new if fact not in order.held]
    if order.last is not None and order.last[1] + len(new) <= ROOM:
        return dict.fromkeys(new, order.last[0])
    return {fact: state.next_page + number // ROOM for number, fact in enumerate(new)}


def _is_placement(fact: Fact) -> bool:
    return isinstance(fact, RelationshipFact) and fact.type == IN_COLLECTION


async def _put_claims(work: Work, kept: Mapping[str, Stated]) -> tuple[Record, tuple[int, int] | None]:
    """Accepted claims come into their pages, and those that are gone leave them: what is to be written of
    that, and the last page with its count."""
    pages, order, by = work.pages, work.order, (work.order.source, work.order.scope)
    added: dict[int, dict[str, Stated]] = defaultdict(dict)
    for fact, stated in kept.items():
        if fact in work.target:
            added[work.target[fact]][fact] = stated
        else:
            await pages.open([order.held[fact]])
            pages.put(order.held[fact], stated, order.entries[fact])
    moved = [fact for fact in kept if fact in work.target and by in work.where.get(fact, {})]
    for fact in (*work.gone(), *moved):
        pages.drop(work.where[fact][by], fact)
    last = order.last
    for number, claims in added.items():
        if order.last is not None and number == order.last[0]:
            await pages.open([number])
            for stated in claims.values():
                pages.put(number, stated, order.entries[stated.fact])
        else:
            trust = next(iter(claims.values())).trust
            pages.add(Page(number, by, trust, claims, {fact: order.entries[fact] for fact in claims}))
        last = number, len(claims)
    rows, emptied = pages.changed()
    next_page = max(added) + 1 if added and max(added) >= work.state.next_page else None
    types = {one.claim.type for one in kept.values() if not isinstance(one.claim, EntityClaim)}
    more = sorted(types | work.state.types) if types - work.state.types else None
    return Record(None, rows, emptied, next_page, more, order.reached), last and pages.filled(last)


async def _write_quarantined(tx: Transaction, refused: Sequence[Refused], order: Order) -> list[str]:
    """Refused claims are recorded; those that have passed or are gone are not any more: their keys."""
    rows = [one.to_row() for one in refused if order.quarantined.get(one.key) != one.digest()]
    await for_each(tx, "UNWIND $rows AS row MERGE (q:_Quarantined {key: row.key}) SET q = row", rows)
    still = {one.key for one in refused}
    passed = [key for key in order.passed if key not in still]
    await for_each(tx, "UNWIND $rows AS key MATCH (q:_Quarantined {key: key}) DELETE q", passed)
    return passed


def _touches_access(schema: Schema, transitions: Iterable[Transition]) -> bool:
    """Whether what somebody may see can have changed, apart from the audiences of nodes.

    The placement of an entity that appears is told by its audience alone.
    """
    changed = [one for one in transitions if one.was_live != one.is_live]
    appearing = {one.id for one in changed if one.was_live is None}
    for one in changed:
        fact = one.fact
        if isinstance(fact, RelationshipFact):
            placed = fact.type == IN_COLLECTION and fact.start in appearing
            if schema.shapes.ontology.relationships[fact.type].access_bearing and not placed:
                return True
        elif isinstance(one.was_live, EntityFact) and isinstance(one.is_live, EntityFact):
            old, new = one.was_live, one.is_live
            if (old.valid_from, old.valid_to) != (new.valid_from, new.valid_to):
                return True
            if old.values.get("disabled") != new.values.get("disabled"):
                return True
    return False


_RECORD: LiteralString = """
        MATCH (meta:_Meta)
        SET meta += $meta
        WITH meta
        CALL () { UNWIND $pages AS row MERGE (p:_Page {number: row.number}) SET p = row }
        CALL () { UNWIND $emptied AS number MATCH (p:_Page {number: number}) DELETE p }
        CALL () {
            UNWIND $types AS types
            MATCH (s:_Source {name: $source, scope: $scope})
            SET s.types = types
        }
        CALL () {
            UNWIND $reached AS reached
            MERGE (r:_Reading {source: $source, scope: $scope})
            SET r += reached
        }
        CALL (meta) {
            UNWIND $changes AS changes
            CREATE (:_Revision {number: meta.revision, at: meta.at, source: $source, scope: $scope})
            CREATE (:_Change {revision: meta.revision, changes: changes})
        }
        """
