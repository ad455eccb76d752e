"""The claims of an order that need a look at what stands: what they touch, and what comes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neo4j import AsyncManagedTransaction

from graph import live
from graph.batch import Batch, Standing, access_rests_on, closing, crowded, misplaced, misshapen, standing_of
from graph.claims import EntityClaim, RelationshipClaim, Violation
from graph.cycles import Edge
from graph.digests import of_facts
from graph.facts import IN_COLLECTION, EntityFact, Fact, RelationshipFact, Stated, is_relationship
from graph.feed import Vouching, vouching
from graph.gate import class_of
from graph.live import Place, Transition, for_each, transition
from graph.order import Order, Refused, Schema, State, quarantine_key
from graph.pages import Pages
from graph.past_claims import differ, moved
from graph.tuples import Scope

Transaction = AsyncManagedTransaction


@dataclass(slots=True)
class Work:
    """The claims that need a look at what stands: what they touch, and what comes of it."""

    tx: Transaction
    schema: Schema
    state: State
    order: Order
    """One, or what several independent ones are to do (`graph.order.joined`)."""
    pages: Pages
    target: Mapping[str, int]
    batch: Batch = field(init=False)
    places: dict[str, Place] = field(default_factory=dict)
    """Where those are kept that are `asked` for."""
    asked: set[str] = field(default_factory=set)
    where: dict[str, dict[Scope, int]] = field(default_factory=dict)
    """By touched fact: the page of each claim that was on it."""

    def __post_init__(self) -> None:
        self.batch = Batch(self.schema.shapes.ontology, self.state.now)

    async def settle(self, rest: Mapping[str, Stated]) -> list[Refused]:
        """Put the claims on the facts and let the gate look; those that it refuses."""
        withdrawn = await self._withdrawn()
        held = [
            one.stated.fact
            for one in self.order.refused
            if one.displaces and one.stated.fact in self.order.held
        ]
        facts = {*rest, *withdrawn, *held, *self.order.recheck}
        if not facts:
            return []
        await self._look_at(facts | _beside(facts, rest.values()))
        claims = await self.pages.claims_on(
            {fact: self.places[fact].pages if fact in self.places else () for fact in facts}
        )
        for fact in facts:
            self.where[fact] = {by: page for by, (_, page) in claims[fact].items()}
            self.batch.touch(fact, {by: one for by, (one, _) in claims[fact].items()})
        by = self.order.by
        for fact in withdrawn:
            self.batch.withdraw(self.batch.before[fact][by])
        for one in self.order.refused:
            previous = self.batch.before.get(one.stated.fact, {}).get(by) if one.displaces else None
            if previous and access_rests_on(self.batch.ontology, previous, one.stated):
                self.batch.withdraw(previous)
        for stated in rest.values():
            self.batch.put(stated)
        ends = self.batch.untouched_ends()
        await self._look_at(ends)
        self.batch.ends = {id: self.places[id].status for id in ends if id in self.places}
        found = await self._violations(rest)
        return [Refused(quarantine_key(rest[fact]), rest[fact], found[fact]) for fact in found]

    async def _look_at(self, facts: Collection[str]) -> None:
        """Where the facts are kept, of which it was not asked yet."""
        new = set(facts) - self.asked
        self.asked |= new
        self.places |= await live.places(self.tx, new)

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
        starts = {id for id in starts if class_of(self.batch.ontology, id) in self.schema.counting}
        if not starts:
            return {}
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
        await self._look_at({*before, *after})
        found = [
            self._transition(id, before.get(id), after.get(id)) for id in dict.fromkeys((*before, *after))
        ]
        unsettled = [
            one.id
            for one in found
            if not is_relationship(one.id) and _status(one.before) != _status(one.after)
        ]
        beside = await live.around(self.tx, unsettled, appeared if self.state.aside else ())
        if beside:
            told = {one.id for one in found}
            found += await self._around({id: one for id, one in beside.items() if id not in told}, after)
        return found

    async def shown(self, transitions: Iterable[Transition]) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """By fact, what the feed tells of them; and those of which only who vouches for them changed."""
        live_ones = [one for one in transitions if one.was_live or one.is_live]
        claims = await self._vouching(live_ones)
        rows, vouched = {}, set()
        for one in live_ones:
            was, is_ = one.was_live, one.is_live
            before, after = was and was.to_json(), is_ and is_.to_json()
            if one.id in claims:
                old, new = claims[one.id]
                before, after = before and before | {"claimedIn": old}, after and after | {"claimedIn": new}
                if was == is_ and before != after:
                    vouched.add(one.id)
            if before != after:
                kind = "entity" if isinstance(one.fact, EntityFact) else "relationship"
                rows[one.id] = {"kind": kind, "id": one.id, "before": before, "after": after}
        return rows, vouched

    async def _vouching(self, transitions: Iterable[Transition]) -> dict[str, tuple[Vouching, Vouching]]:
        """Who vouches, before and after, for the relationships that make tuples."""
        # A placement rests on the claims on its entity.
        resting = {
            one.id: one.fact.start if one.fact.type == IN_COLLECTION else one.id
            for one in transitions
            if isinstance(one.fact, RelationshipFact) and one.fact.type in self.schema.bound
        }
        others = set(resting.values()) - self.batch.before.keys()
        await self._look_at(others)
        held = await self.pages.claims_on(
            {fact: self.places[fact].pages for fact in others if fact in self.places}
        )
        found = {}
        for id, fact in resting.items():
            if fact in self.batch.before:
                before, after = self.batch.before[fact], self.batch.after[fact]
            else:
                before = after = {by: one for by, (one, _) in held.get(fact, {}).items()}
            end = id.rpartition(" ")[2]
            found[id] = vouching(before, end), vouching(after, end)
        return found

    def _transition(self, id: str, before: Standing | None, after: Standing | None) -> Transition:
        place = self.places.get(id)
        was = (before.fact, place) if before is not None and place is not None else None
        pages: tuple[int, ...] = ()
        if after is not None and id in self.batch.after:
            pages = tuple(sorted({self._page(id, by) for by in self.batch.after[id]}))
        return transition(id, was, after, pages)

    def _page(self, fact: str, by: Scope) -> int:
        if fact in self.target and self.batch.after[fact][by] is self.order.new[fact]:
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
            found.append(transition(id, (fact, place), standing, place.pages))
        return found

    def superseded(self) -> dict[str, Collection[Stated]]:
        """By fact of which something else is claimed than before: what was."""
        return {
            fact: before.values()
            for fact, before in self.batch.before.items()
            if before and differ(before, self.batch.after[fact])
        }

    def moved(self) -> dict[str, Collection[Stated]]:
        """By fact of which only the evidence is another than before: the claims that were."""
        return {
            fact: before.values()
            for fact, before in self.batch.before.items()
            if moved(before, self.batch.after[fact])
        }

    def stands(self, stated: Stated) -> bool:
        """Whether the claim was accepted."""
        return self.batch.after.get(stated.fact, {}).get(stated.by) is stated

    def gone(self, by: Scope) -> list[str]:
        """Facts on which the scope had a claim before, and has none after."""
        return [
            fact
            for fact, claims in self.batch.before.items()
            if by in claims and by not in self.batch.after[fact]
        ]


def _beside(facts: Iterable[str], new: Iterable[Stated]) -> set[str]:
    """What has a say in how they stand: their ends, and where the new claims place entities."""
    found = {end for fact in facts if is_relationship(fact) for end in fact.split(" ")[::2]}
    for one in new:
        if isinstance(one.claim, EntityClaim):
            found |= {one.claim.collection, f"{one.fact} {IN_COLLECTION} {one.claim.collection}"}
    return found


def _status(kept: tuple[Fact, Place] | None) -> str | None:
    return kept[1].status if kept else None
