"""The write transaction: lock, diff, gate, facts, claims, audiences, revision and changes, all or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Any

import orjson
from neo4j import AsyncManagedTransaction

from graph import live
from graph.audiences import rested_on
from graph.batch import Batch, Standing, access_rests_on, closing, crowded, misplaced, misshapen, standing_of
from graph.bulk import Bulk, counted, needy
from graph.claims import EntityClaim, RelationshipClaim, Violation
from graph.cycles import Edge
from graph.digests import of_facts
from graph.facts import (
    IN_COLLECTION,
    EntityFact,
    Fact,
    RelationshipFact,
    Stated,
    is_relationship,
    placement,
)
from graph.feed import Vouching, pack_changes, vouching
from graph.lease import LeaseLostError
from graph.live import Place, Transition, for_each, transition
from graph.pages import ROOM, Page, Pages
from graph.reasoning import compile_rules
from graph.tuples import Scope, native
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import Shapes

Transaction = AsyncManagedTransaction


class Schema:
    """What is allowed to be written, and what access means."""

    def __init__(self, shapes: Shapes, model: AuthorizationModel) -> None:
        self.shapes = shapes
        self.model = model
        self.counted = counted(shapes) - {IN_COLLECTION}
        self.needy = needy(shapes, model)
        self.rested_on = frozenset(one.relationship for one in rested_on(shapes.ontology, model))
        """Relationship types that decide who belongs to an audience."""
        self.inferable = compile_rules(shapes.ontology).relevant
        """Relationship types of which some may stand that nobody claims."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim that stays out, under the key of its `_Quarantined` node."""

    key: str
    stated: Stated
    violation: Violation
    displaces: bool = True
    """Whether it comes in place of what its source claimed before of the fact."""

    def to_row(self) -> dict[str, Any]:
        evidence = self.stated.claim.evidence.encode(errors="replace").decode()
        place = {"key": self.key, "scope": self.stated.scope, "evidence": evidence, "digest": self.digest()}
        return place | asdict(self.violation)

    def digest(self) -> bytes:
        """Of what is recorded of it."""
        said = orjson.dumps(
            [self.stated.claim.evidence.encode(errors="replace").decode(), asdict(self.violation)]
        )
        return blake2b(said, digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Order:
    """What one transaction is to do for a source and scope."""

    source: str
    scope: str
    lease: str = ""
    """Of the crawl that orders it; none for the store itself."""
    new: Mapping[str, Stated] = field(default_factory=dict)
    """By fact: claims that passed the gate alone, and are not held as they are."""
    plain: Collection[str] = ()
    """Those of them on which the state around has no say."""
    entries: Mapping[str, bytes] = field(default_factory=dict)
    """By fact of `new`: its entry in the index of its page."""
    refused: Sequence[Refused] = ()
    withdrawn: Mapping[int, Collection[bytes]] = field(default_factory=dict)
    """By page: digests of the facts whose claims are no longer made."""
    held: Mapping[str, int] = field(default_factory=dict)
    """The pages where the scope holds claims on facts of `new` and `refused`."""
    last: tuple[int, int] | None = None
    """The scope's last page, and how many claims are in it."""
    passed: Collection[str] = ()
    """Keys of quarantined claims that have passed, or are no longer made."""
    recheck: Collection[str] = ()
    """Facts that may begin or cease to hold, as time has passed."""
    quarantined: Mapping[str, bytes] = field(default_factory=dict)
    """By key: digests of what is quarantined already."""

    def is_done(self) -> bool:
        """Whether all is as ordered."""
        return not (self.new or self.withdrawn or self.passed or self.recheck) and all(
            self.quarantined.get(one.key) == one.digest() for one in self.refused
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    revision: int
    added: int = 0
    changed: int = 0
    retracted: int = 0
    refused: Sequence[Refused] = ()
    pages: Mapping[str, int] = field(default_factory=dict)
    """By fact of the order's `new`: where its claim is now; those that were refused are left out."""
    gone: Collection[str] = ()
    """Facts on which the scope holds no claim any more."""
    passed: Collection[str] = ()
    """Keys of what is no longer quarantined."""
    last: tuple[int, int] | None = None
    moving: bool = False
    """Whether entities lost an audience that the next revision replaces."""


@dataclass(frozen=True, slots=True)
class State:
    """What a transaction finds once it has the lock."""

    revision: int
    next_page: int
    now: datetime
    """Never before the instant of the last revision, whatever the clock says."""
    aside: bool
    types: frozenset[str]
    """Relationship types of which the scope has claimed some."""
    shared: frozenset[str]
    """Relationship types of which other scopes have claimed some."""


async def current_revision(tx: Transaction) -> int:
    result = await tx.run("MATCH (meta:_Meta) RETURN meta.revision AS revision")
    return int((await result.single(strict=True))["revision"])


async def lock(tx: Transaction, order: Order, now: datetime) -> State:
    """Take the lock that makes writers one after the other. Raises LeaseLostError."""
    await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")  # leaves no change
    result = await tx.run(
        """
        MATCH (meta:_Meta)
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
            f"another crawl of {order.source}, scope {order.scope}, has begun; what this one wrote is kept"
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
    work = _Work(tx, schema, state, order, pages, target)
    refused = [*order.refused, *await work.settle(rest)]
    transitions = await work.transitions([fact.id for fact in written.entities])
    transitions = await live.place_dormant(tx, schema.shapes.ontology, schema.model, transitions)
    changes, vouched = await work.shown(transitions)
    kept = {fact: one for fact, one in order.new.items() if fact in quick or work.stands(one)}
    last = await _write_claims(work, kept)
    passed = await _write_quarantined(tx, refused, order)
    await live.write(tx, schema.shapes.ontology, transitions, revision, state.now)
    moving = await live.place(tx, schema.shapes.ontology, schema.model, transitions)
    known = [one for one in transitions if one.was_known != one.is_known]
    if quick or changes or known:
        access = (
            vouched
            or _touches_access(schema, transitions)
            or any(
                schema.shapes.ontology.relationships[one.claim.type].access_bearing  # type: ignore[union-attr]
                for one in written.relationships
            )
        )
        appeared = [_appeared(each) for fact in written.entities for each in (fact, placement(fact))]
        packed = pack_changes(
            [*appeared, *changes], order.source, [one.to_row() for one in written.relationships]
        )
        await take_revision(tx, order, Commit(revision, state.now, packed, access))
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
        packed = pack_changes(described)
        commit = Commit(state.revision + 1, state.now, packed, access=False)
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


async def take_revision(tx: Transaction, order: Order, commit: Commit) -> None:
    """Record the revision with its changes."""
    await tx.run(
        """
        MATCH (meta:_Meta)
        SET meta.revision = $number, meta.at = $at,
            meta.accessRevision = CASE WHEN $access THEN $number ELSE meta.accessRevision END
        CREATE (:_Revision {number: $number, at: $at, source: $source, scope: $scope})
        CREATE (:_Change {revision: $number, changes: $changes})
        """,
        number=commit.number,
        at=commit.at,
        source=order.source,
        scope=order.scope,
        access=commit.access,
        changes=commit.changes,
    )


def quarantine_key(stated: Stated, *, again: bool = False) -> str:
    """Of the claim's `_Quarantined` node; `again` where it contradicts an earlier one of its crawl."""
    parts = [stated.source, stated.scope, stated.fact, *(["again"] if again else [])]
    return sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _assign(order: Order, state: State) -> dict[str, int]:
    """By fact: the page of each claim that has none yet, or had it under another trust."""
    new = [fact for fact in order.new if fact not in order.held]
    if order.last is not None and order.last[1] + len(new) <= ROOM:
        return dict.fromkeys(new, order.last[0])
    return {fact: state.next_page + number // ROOM for number, fact in enumerate(new)}


@dataclass(slots=True)
class _Work:
    """The claims that need a look at what stands: what they touch, and what comes of it."""

    tx: Transaction
    schema: Schema
    state: State
    order: Order
    pages: Pages
    target: Mapping[str, int]
    batch: Batch = field(init=False)
    places: dict[str, Place] = field(init=False)
    where: dict[str, dict[Scope, int]] = field(default_factory=dict)
    """By touched fact: the page of each claim that was on it."""

    def __post_init__(self) -> None:
        self.batch = Batch(self.schema.shapes.ontology, self.state.now)

    async def settle(self, rest: Mapping[str, Stated]) -> list[Refused]:
        """Put the claims on the facts and let the gate look; those that it refuses."""
        self.places = {}
        withdrawn = await self._withdrawn()
        held = [
            one.stated.fact
            for one in self.order.refused
            if one.displaces and one.stated.fact in self.order.held
        ]
        facts = {*rest, *withdrawn, *held, *self.order.recheck}
        if not facts:
            return []
        self.places = await live.places(self.tx, facts)
        claims = await self.pages.claims_on(
            {fact: self.places[fact].pages if fact in self.places else () for fact in facts}
        )
        for fact in facts:
            self.where[fact] = {by: page for by, (_, page) in claims[fact].items()}
            self.batch.touch(fact, {by: one for by, (one, _) in claims[fact].items()})
        by = self.order.source, self.order.scope
        for fact in withdrawn:
            self.batch.withdraw(self.batch.before[fact][by])
        for one in self.order.refused:
            previous = self.batch.before.get(one.stated.fact, {}).get(by) if one.displaces else None
            if previous and access_rests_on(self.batch.ontology, previous, one.stated):
                self.batch.withdraw(previous)
        for stated in rest.values():
            self.batch.put(stated)
        self.batch.ends = await live.statuses(self.tx, self.batch.untouched_ends())
        found = await self._violations(rest)
        return [Refused(quarantine_key(rest[fact]), rest[fact], found[fact]) for fact in found]

    async def _withdrawn(self) -> list[str]:
        found = []
        for page in await self.pages.open(self.order.withdrawn):
            wanted = self.order.withdrawn[page.number]
            digests = of_facts(page.claims)
            found += [
                fact for fact, digest in zip(page.claims, digests, strict=True) if digest.tobytes() in wanted
            ]
        return found

    async def _violations(self, new: Mapping[str, Stated]) -> dict[str, Violation]:
        """By fact: the new claims that are refused; the batch is left without them."""
        if not new:
            return {}
        accepted = dict(new)
        outgoing = await self._outgoing()
        standing = await self._following(new.values())
        found = refused = (
            misplaced(self.batch, new.values())
            | crowded(self.batch, new.values())
            | closing(new.values(), standing, self.batch.ontology)
        )
        while True:
            for fact in refused:
                self.batch.refuse(accepted.pop(fact))
            refused = misshapen(self.schema.shapes, self.batch, accepted, outgoing)
            if not refused:
                return found
            found |= refused

    async def _following(self, new: Iterable[Stated]) -> dict[str, set[Edge]]:
        """By acyclic type: what is claimed of it along the ways from where the new ones end."""
        frontiers: dict[str, set[str]] = defaultdict(set)
        for one in new:
            claim = one.claim
            if isinstance(claim, RelationshipClaim) and self.batch.ontology.relationships[claim.type].acyclic:
                frontiers[claim.type].add(claim.end)
        found: dict[str, set[Edge]] = {type_: set() for type_ in frontiers}
        for type_, ends in frontiers.items():
            reached: set[str] = set()
            todo = ends
            while todo:
                reached |= todo
                edges = await live.starting(self.tx, type_, todo)
                found[type_] |= edges
                todo = {end for _, end in edges} - reached
        return found

    async def _outgoing(self) -> dict[str, dict[str, list[str]]]:
        """Live relationships that the batch does not touch, of the types that shapes count."""
        starts = {fact.split(" ")[0] for fact in self.batch.before}
        result = await self.tx.run(
            """
            UNWIND $ids AS id
            MATCH (n:Entity {id: id})-[r:$any($types)]->(m:Entity) WHERE r.inferred IS NULL
            RETURN id, type(r) AS type, m.id AS end
            """,
            ids=list(starts),
            types=sorted(self.schema.counted),
        )
        outgoing: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        async for record in result:
            if f"{record['id']} {record['type']} {record['end']}" not in self.batch.before:
                outgoing[record["id"]][record["type"]].append(record["end"])
        return outgoing

    async def transitions(self, appeared: Sequence[str]) -> list[Transition]:
        """What happens to the touched facts, and to relationships whose ends appeared or went."""
        await for_each(
            self.tx, "UNWIND $rows AS fact MATCH (b:_Bound {fact: fact}) DELETE b", self.order.recheck
        )
        before, after = self.batch.standing(self.batch.before), self.batch.standing(self.batch.after)
        derived = [id for id in (*before, *after) if id not in self.batch.before]
        self.places |= await live.places(self.tx, set(derived)) if derived else {}
        revision = self.state.revision + 1
        found = [
            self._transition(id, before.get(id), after.get(id), revision)
            for id in dict.fromkeys((*before, *after))
        ]
        unsettled = [
            one.id
            for one in found
            if not is_relationship(one.id) and _status(one.before) != _status(one.after)
        ]
        beside = await live.around(self.tx, unsettled)
        if self.state.aside:
            beside |= await live.around_aside(self.tx, appeared)
        if beside:
            told = {one.id for one in found}
            found += await self._around({id: one for id, one in beside.items() if id not in told}, after)
        return found

    async def shown(self, transitions: Iterable[Transition]) -> tuple[list[dict[str, Any]], bool]:
        """What the feed tells of them; whether for some only those who vouch for them changed."""
        live_ones = [one for one in transitions if one.was_live or one.is_live]
        claims = await self._vouching(live_ones)
        rows, vouched = [], False
        for one in live_ones:
            was, is_ = one.was_live, one.is_live
            before, after = was and was.to_json(), is_ and is_.to_json()
            if one.id in claims:
                old, new = claims[one.id]
                before, after = before and before | {"claimedIn": old}, after and after | {"claimedIn": new}
                vouched = vouched or (was == is_ and before != after)
            if before != after:
                kind = "entity" if isinstance(one.fact, EntityFact) else "relationship"
                rows.append({"kind": kind, "id": one.id, "before": before, "after": after})
        return rows, vouched

    async def _vouching(self, transitions: Iterable[Transition]) -> dict[str, tuple[Vouching, Vouching]]:
        """Who vouches, before and after, for the relationships that decide who belongs to an audience."""
        # A placement rests on the claims on its entity.
        resting = {
            one.id: one.fact.start if one.fact.type == IN_COLLECTION else one.id
            for one in transitions
            if isinstance(one.fact, RelationshipFact) and one.fact.type in self.schema.rested_on
        }
        others = set(resting.values()) - self.batch.before.keys()
        kept = await live.places(self.tx, others) if others else {}
        held = await self.pages.claims_on({fact: place.pages for fact, place in kept.items()})
        found = {}
        for id, fact in resting.items():
            if fact in self.batch.before:
                before, after = self.batch.before[fact], self.batch.after[fact]
            else:
                before = after = {by: one for by, (one, _) in held.get(fact, {}).items()}
            end = id.rpartition(" ")[2]
            found[id] = vouching(before, end), vouching(after, end)
        return found

    def _transition(
        self, id: str, before: Standing | None, after: Standing | None, revision: int
    ) -> Transition:
        place = self.places.get(id)
        was = (before.fact, place) if before is not None and place is not None else None
        pages: tuple[int, ...] = ()
        if after is not None and id in self.batch.after:
            pages = tuple(sorted({self._page(id, by) for by in self.batch.after[id]}))
        return transition(id, was, after, pages, revision)

    def _page(self, fact: str, by: Scope) -> int:
        ours = by == (self.order.source, self.order.scope)
        if ours and fact in self.target and self.batch.after[fact][by] is self.order.new[fact]:
            return self.target[fact]
        return self.where[fact][by]

    async def _around(
        self, beside: Mapping[str, tuple[RelationshipFact, Place]], after: Mapping[str, Standing]
    ) -> list[Transition]:
        ends = {end for fact, _ in beside.values() for end in (fact.start, fact.end)}
        statuses = await live.statuses(self.tx, ends - self.batch.before.keys())
        statuses |= {id: after[id].status for id in ends if id in self.batch.before and id in after}
        found = []
        for id, (fact, place) in beside.items():
            status = standing_of(fact, statuses.get(fact.start), statuses.get(fact.end), self.state.now)
            gone = fact.type == IN_COLLECTION and fact.start not in statuses  # it follows from its entity
            standing = None if gone else Standing(fact, status)
            found.append(transition(id, (fact, place), standing, place.pages, self.state.revision + 1))
        return found

    def stands(self, stated: Stated) -> bool:
        """Whether the claim was accepted."""
        return self.batch.after.get(stated.fact, {}).get(stated.by) is stated

    def gone(self) -> list[str]:
        """Facts on which the scope had a claim before, and has none after."""
        by = self.order.source, self.order.scope
        return [
            fact
            for fact, claims in self.batch.before.items()
            if by in claims and by not in self.batch.after[fact]
        ]


def _status(kept: tuple[Fact, Place] | None) -> str | None:
    return kept[1].status if kept else None


def _is_placement(fact: Fact) -> bool:
    return isinstance(fact, RelationshipFact) and fact.type == IN_COLLECTION


# Writing.


async def _write_claims(work: _Work, kept: Mapping[str, Stated]) -> tuple[int, int] | None:
    """Put accepted claims into their pages, and take those out that are gone; the last page and its count."""
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
    await pages.write()
    if last is not None:
        last = pages.filled(last)
    if added and max(added) >= work.state.next_page:
        await work.tx.run("MATCH (meta:_Meta) SET meta.nextPage = $number", number=max(added) + 1)
    types = {one.claim.type for one in kept.values() if not isinstance(one.claim, EntityClaim)}
    if types - work.state.types:
        await work.tx.run(
            "MATCH (s:_Source {name: $source, scope: $scope}) SET s.types = $types",
            source=by[0],
            scope=by[1],
            types=sorted(types | work.state.types),
        )
    return last


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


def _appeared(fact: Fact) -> dict[str, Any]:
    kind = "entity" if isinstance(fact, EntityFact) else "relationship"
    return {"kind": kind, "id": fact.id, "before": None, "after": fact.to_json()}
