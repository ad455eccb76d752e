"""The write transaction: lock, diff, gate, facts, claims, audiences, revision and changes, all or nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count

from neo4j import AsyncManagedTransaction

from graph import live
from graph.bulk import Bulk
from graph.facts import IN_COLLECTION, EntityFact, RelationshipFact, Stated, kind
from graph.feed import pack_changes
from graph.lease import LeaseLostError
from graph.live import Rows, Transition, for_each
from graph.order import Order, Orders, Outcome, Refused, Schema, State, joined
from graph.pages import ROOM, Page, Pages
from graph.past_claims import row
from graph.record import Commit, Record, take_revision
from graph.side_by_side import ApartError, Part, divided, independent
from graph.tuples import Scope, native
from graph.turns import Turn
from graph.work import Work

Transaction = AsyncManagedTransaction


async def current_revision(tx: Transaction) -> int:
    result = await tx.run("MATCH (meta:_Meta) RETURN meta.revision AS revision")
    return int((await result.single(strict=True))["revision"])


async def lock(
    tx: Transaction, now: datetime, orders: Sequence[Order] = (), pages: Pages | None = None
) -> State:
    """Take the lock that makes writers one after the other, and open the pages that the orders will change.

    Raises LeaseLostError.
    """
    of = sorted({order.by for order in orders})
    numbers = {number for order in orders for number in _pages(order)} if pages is not None else set()
    result = await tx.run(
        """
        MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked  // leaves no change
        WITH meta
        RETURN meta.revision AS revision, coalesce(meta.nextPage, 0) AS page, meta.at AS at,
               COUNT { (:_Aside) } > 0 AS aside,
               COLLECT {
                   UNWIND $scopes AS one
                   MATCH (s:_Source {name: one[0], scope: one[1]})
                   RETURN [s.name, s.scope, s.lease, s.kinds]
               } AS own,
               COLLECT {
                   MATCH (s:_Source) UNWIND s.kinds AS kind
                   WITH kind, count(*) AS scopes
                   RETURN [kind, scopes]
               } AS claimed,
               COLLECT { UNWIND $numbers AS number MATCH (p:_Page {number: number}) RETURN p {.*} } AS pages
        """,
        scopes=[list(one) for one in of],
        numbers=sorted(numbers),
    )
    record = await result.single(strict=True)
    if pages is not None:
        pages.take(record["pages"])
    leases = {(source, scope): lease for source, scope, lease, _ in record["own"]}
    for order in orders:
        if order.lease and leases.get(order.by) != order.lease:
            raise LeaseLostError(
                f"another crawl of {order.source}, scope {order.scope}, has begun, or somebody was erased; "
                "what this one wrote is kept"
            )
    at = record["at"]
    instant = now if at is None else max(now, native(at))
    kinds = {(source, scope): frozenset(kinds) for source, scope, _, kinds in record["own"]}
    own = Counter(one for of_scope in kinds.values() for one in of_scope)
    others = frozenset(one for one, number in record["claimed"] if number > own[one])
    return State(record["revision"], record["page"], instant, record["aside"], kinds, others)


async def carry_out(
    tx: Transaction, schema: Schema, orders: Sequence[Order], now: datetime
) -> Sequence[Outcome]:
    """All of the orders in this transaction, each in a revision of its own, independent ones side by side.

    Raises ApartError where it turns out that some are not; each alone they are carried out.
    """
    return await _carry_out_groups(tx, schema, orders, lambda _: independent(orders, schema.needy), now)


async def carry_out_each(
    tx: Transaction, schema: Schema, of: Sequence[Order], orders: Orders, now: datetime
) -> Sequence[Outcome]:
    """As `carry_out` of orders that follow from what became of those before; `of`: whose they are."""
    return await _carry_out_groups(tx, schema, of, lambda became: ([one] for one in orders(became)), now)


async def carry_out_turn(tx: Transaction, schema: Schema, turn: Turn, now: datetime) -> Outcome:
    """As `carry_out` of one order, which is made once the transaction holds the lock."""
    turn.begin()
    record = Record(Pages(tx))
    state = await lock(tx, now, [turn.order], record.pages)
    order = await turn.made()
    [outcome] = await _carry_out_under_lock(tx, schema, lambda _: [[order]], state, record)
    return outcome


async def _carry_out_groups(
    tx: Transaction,
    schema: Schema,
    of: Sequence[Order],
    groups: Callable[[Sequence[Outcome]], Iterable[Sequence[Order]]],
    now: datetime,
) -> Sequence[Outcome]:
    record = Record(Pages(tx))
    state = await lock(tx, now, of, record.pages)
    return await _carry_out_under_lock(tx, schema, groups, state, record)


async def _carry_out_under_lock(
    tx: Transaction,
    schema: Schema,
    groups: Callable[[Sequence[Outcome]], Iterable[Sequence[Order]]],
    state: State,
    record: Record,
) -> Sequence[Outcome]:
    outcomes: list[Outcome] = []
    facts: Rows = {}
    for group in groups(outcomes):
        await live.write(tx, facts)
        facts = {}
        if group[0].is_done():
            outcomes.append(group[0].done(state.revision))
        else:
            became, facts, state = await _carry_out(tx, schema, group, state, record)
            outcomes += became
    await record.write(tx, facts)
    return outcomes


async def _carry_out(
    tx: Transaction, schema: Schema, orders: Sequence[Order], state: State, record: Record
) -> tuple[Sequence[Outcome], Rows, State]:
    """What became of independent orders, the facts that are yet to be written, and what the next find."""
    target, next_page = _targets(orders, state)
    # What is written at once has its revision before it is known whether the others come to one.
    early = _numbered((order.by for order in sorted(orders, key=lambda order: not order.plain)), state)
    shared = schema.inferable.union(*(state.shared(order.by) for order in orders))
    plain = orders[0].plain if len(orders) == 1 else {f: p for one in orders for f, p in one.plain.items()}
    bulk = Bulk(tx, schema.shapes, schema.model, early, target, state.aside, shared, plain)
    written = await bulk.write(order.new[fact] for order in orders for fact in order.plain if fact in target)
    quick = set(written.facts())
    rest = {fact: one for order in orders for fact, one in order.new.items() if fact not in quick}
    work = Work(tx, schema, state, joined(orders), record.pages, target)
    refused = await work.settle(rest)
    transitions = await work.transitions([one.fact for one in written.entities])
    transitions = await live.place_dormant(tx, schema.shapes.ontology, schema.model, transitions)
    parts = divided(orders, written, transitions, *await work.shown(transitions), work.superseded())
    revisions = _numbered((by for by in early if parts[by].commits), state)
    if any(parts[by].is_quick and early[by] != revision for by, revision in revisions.items()):
        raise ApartError("of what was to be written at once, some stood already")
    last_revision = max(revisions.values(), default=state.revision)
    record.moved += [row(fact, last_revision, claims) for fact, claims in work.moved().items()]
    rows: list[tuple[Transition, int]] = []
    outcomes: list[Outcome] = []
    for order in orders:
        part, revision = parts[order.by], revisions.get(order.by)
        kept = {fact: one for fact, one in order.new.items() if fact in quick or work.stands(one)}
        last = await _put_claims(work, order, kept, record)
        own = [*order.refused, *(one for one in refused if one.stated.by == order.by)]
        passed = await _write_quarantined(tx, own, order)
        access = revision is not None and (part.vouched or _touches_access(schema, part))
        if revision is not None:
            packed = pack_changes(part.changes, order.source, part.appeared(plain))
            record.commits.append(Commit(revision, state.now, packed, access, order.by))
            record.superseded += [row(fact, revision, claims) for fact, claims in part.superseded.items()]
        rows += [(one, revision or state.revision + 1) for one in part.transitions]
        pages = {fact: target.get(fact, order.held.get(fact, -1)) for fact in kept}
        gone = work.gone(order.by)
        outcomes.append(
            Outcome(revision or last_revision, *part.counts(), own, pages, gone, passed, last, access)
        )
    record.commits.sort(key=lambda commit: commit.number)
    facts = live.rows_of(schema.shapes.ontology, rows, state.now)
    aside = state.aside or bool(facts and (facts["dormant"] or facts["waiting"]))
    if placed := live.placed(transitions):
        await live.write(tx, facts)
        facts = {}
        if await live.place(tx, schema.shapes.ontology, schema.model, placed):
            outcomes = [replace(one, moving=True) for one in outcomes]
    kinds = {order.by: frozenset(record.kinds.get(order.by, state.kinds_of(order.by))) for order in orders}
    return (
        outcomes,
        facts,
        replace(
            state, revision=last_revision, next_page=next_page, kinds={**state.kinds, **kinds}, aside=aside
        ),
    )


async def settle(tx: Transaction, schema: Schema, limit: int, now: datetime) -> int:
    """Give entities that changed their place their new audience, in a revision; how many were waiting."""
    state = await lock(tx, now)
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
        await take_revision(tx, commit)
    return len(ids)


def _numbered(scopes: Iterable[Scope], state: State) -> dict[Scope, int]:
    """The next revisions, one for each."""
    return dict(zip(scopes, count(state.revision + 1), strict=False))


def _targets(orders: Iterable[Order], state: State) -> tuple[dict[str, int], int]:
    """By fact: the page of each claim that has none yet, or had it under another trust. And the next page."""
    target: dict[str, int] = {}
    next_page = state.next_page
    for order in orders:
        new = [fact for fact in order.new if fact not in order.held]
        if (page := _with_room(order, len(new))) is not None:
            target |= dict.fromkeys(new, page)
        else:
            target |= {fact: next_page + number // ROOM for number, fact in enumerate(new)}
            next_page += -(-len(new) // ROOM)
    return target, next_page


def _with_room(order: Order, new: int) -> int | None:
    """The scope's last page, where so many more claims have room in it."""
    return order.last[0] if order.last is not None and order.last[1] + new <= ROOM else None


def _pages(order: Order) -> Iterator[int]:
    """Those that it will open, and that there are."""
    yield from order.held.values()
    yield from order.withdrawn
    new = len(order.new.keys() - order.held.keys())
    if new and (page := _with_room(order, new)) is not None:
        yield page


async def _put_claims(
    work: Work, order: Order, kept: Mapping[str, Stated], record: Record
) -> tuple[int, int] | None:
    """Accepted claims come into their pages, and those that are gone leave them; the scope's last page with
    its count."""
    pages, by = work.pages, order.by
    added: dict[int, dict[str, Stated]] = defaultdict(dict)
    for fact, stated in kept.items():
        if fact in work.target:
            added[work.target[fact]][fact] = stated
        else:
            await pages.open([order.held[fact]])
            pages.put(order.held[fact], stated, order.entries[fact])
    moved = [fact for fact in kept if fact in work.target and by in work.where.get(fact, {})]
    for fact in (*work.gone(by), *moved):
        pages.drop(work.where[fact][by], fact)
    last = order.last
    for number, claims in added.items():
        if order.last is not None and number == order.last[0]:
            await pages.open([number])
            for stated in claims.values():
                pages.put(number, stated, order.entries[stated.fact])
        else:
            trust = next(iter(claims.values())).trust
            entries = {fact: order.entries[fact] for fact in claims}
            pages.add(Page(number, by, trust, claims, entries, {fact: order.rows[fact] for fact in claims}))
        last = number, len(claims)
    if added and max(added) >= work.state.next_page:
        record.next_page = max(added) + 1
    kinds = {kind(fact) for fact in kept}
    if more := kinds - work.state.kinds_of(by):
        record.kinds[by] = more | work.state.kinds_of(by)
    if order.reached:
        record.reached[by] = order.reached
    return last and pages.filled(last)


async def _write_quarantined(tx: Transaction, refused: Sequence[Refused], order: Order) -> list[str]:
    """Refused claims are recorded; those that have passed or are gone are not any more: their keys."""
    rows = [one.to_row() for one in refused if order.quarantined.get(one.key) != one.digest()]
    await for_each(tx, "UNWIND $rows AS row MERGE (q:_Quarantined {key: row.key}) SET q = row", rows)
    still = {one.key for one in refused}
    passed = [key for key in order.passed if key not in still]
    await for_each(tx, "UNWIND $rows AS key MATCH (q:_Quarantined {key: key}) DELETE q", passed)
    return passed


def _touches_access(schema: Schema, part: Part) -> bool:
    """Whether what somebody may see can have changed, apart from the audiences of nodes.

    The placement of an entity that appears is told by its audience alone.
    """
    relationships = schema.shapes.ontology.relationships
    at_once = (one.claim for one in part.written.relationships)
    if any(relationships[claim.type].access_bearing for claim in at_once):  # type: ignore[union-attr]  # relationships
        return True
    changed = [one for one in part.transitions if one.was_live != one.is_live]
    appearing = {one.id for one in changed if one.was_live is None}
    for one in changed:
        fact = one.fact
        if isinstance(fact, RelationshipFact):
            placed = fact.type == IN_COLLECTION and fact.start in appearing
            if relationships[fact.type].access_bearing and not placed:
                return True
        elif isinstance(one.was_live, EntityFact) and isinstance(one.is_live, EntityFact):
            old, new = one.was_live, one.is_live
            if (old.valid_from, old.valid_to) != (new.valid_from, new.valid_to):
                return True
            if old.values.get("disabled") != new.values.get("disabled"):
                return True
    return False
