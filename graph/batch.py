"""What a batch of claims would change: the claims on every fact it touches, before and after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from graph.claims import EntityClaim, RelationshipClaim, Violation
from graph.cycles import Edge, cycles
from graph.facts import (
    EntityFact,
    Fact,
    RelationshipFact,
    Stated,
    is_relationship,
    merge_entity,
    merge_relationship,
    placement,
)
from graph.gate import class_of, violation
from graph.tuples import Scope
from ontologies.ontology import Ontology
from ontologies.shapes import EntityState, Shapes, ShapeViolation

#: Claims on one fact, which are all read to change it.
MOST_CLAIMS = 1_000

Claims = dict[Scope, Stated]
"""Claims on one fact, by source and scope."""

Status = Literal["live", "dormant", "waiting"]
"""Live: known, and holds now with its ends. Dormant: known, but does not. Waiting: an end is not known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows from the claims on a fact, and how it stands."""

    fact: Fact
    status: Status


@dataclass(slots=True)
class Batch:
    """The touched facts with all claims on them. A touched fact without claims has an empty entry."""

    ontology: Ontology
    now: datetime
    before: dict[str, Claims] = field(default_factory=dict)
    after: dict[str, Claims] = field(default_factory=dict)
    ends: dict[str, Status] = field(default_factory=dict)
    """How known entities stand, among the ends of touched relationships, that are not touched."""

    def touch(self, fact: str, claims: Mapping[Scope, Stated]) -> None:
        """A fact that the batch may change, with all claims on it."""
        self.before[fact] = dict(claims)
        self.after[fact] = dict(claims)

    def put(self, stated: Stated) -> None:
        self.after[stated.fact][stated.by] = stated

    def withdraw(self, stated: Stated) -> None:
        self.after[stated.fact].pop(stated.by, None)

    def refuse(self, stated: Stated) -> None:
        """Undo the claim. What it would have replaced stands on, unless access rests on it."""
        previous = self.before[stated.fact].get(stated.by)
        if previous is None or access_rests_on(self.ontology, previous, stated):
            self.withdraw(stated)
        else:
            self.put(previous)

    def untouched_ends(self) -> set[str]:
        """Untouched entities on which touched facts depend."""
        ends = set()
        for fact, claims in self.before.items():
            if is_relationship(fact):
                start, _, end = fact.split(" ")
                ends |= {start, end}
            for stated in (*claims.values(), *self.after[fact].values()):
                if isinstance(stated.claim, EntityClaim):
                    ends.add(stated.claim.collection)
        return ends - self.before.keys()

    def standing(self, side: Mapping[str, Claims]) -> dict[str, Standing]:
        """What stands of the touched facts, and of the placements that follow from them."""
        found: dict[str, Standing] = {}
        for id, claims in side.items():
            if claims and not is_relationship(id):
                entity = merge_entity(self.ontology, claims.values())
                found[id] = Standing(entity, "live" if entity.holds(self.now) else "dormant")
        entities = dict(found)

        def status(id: str) -> Status | None:
            if id in side:
                return entities[id].status if id in entities else None
            return self.ends.get(id)

        for id, claims in side.items():
            if is_relationship(id):
                facts = [merge_relationship(claims.values())] if claims else []
            else:
                facts = [placement(entities[id].fact)] if id in entities else []  # type: ignore[arg-type]  # an entity's
            for fact in facts:
                found[fact.id] = Standing(
                    fact, standing_of(fact, status(fact.start), status(fact.end), self.now)
                )
        return found


def standing_of(fact: RelationshipFact, start: Status | None, end: Status | None, now: datetime) -> Status:
    """How a relationship stands, from how its ends do."""
    if start is None or end is None:
        return "waiting"
    return "live" if start == end == "live" and fact.holds(now) else "dormant"


def access_rests_on(ontology: Ontology, previous: Stated, refused: Stated) -> bool:
    """Whether keeping the previous claim, when its successor is refused, could keep access."""
    old, new = previous.claim, refused.claim
    if isinstance(old, RelationshipClaim):
        return ontology.relationships[old.type].access_bearing
    moved = isinstance(new, EntityClaim) and new.collection != old.collection
    expired = (new.valid_from, new.valid_to) != (old.valid_from, old.valid_to)
    return moved or expired or old.class_name == "Account"


def crowded(batch: Batch, new: Iterable[Stated]) -> dict[str, Violation]:
    """By fact: claims on facts of which too many sources and scopes speak already."""
    return {
        one.fact: violation(
            one.source,
            one.claim,
            "og:claims",
            one.fact,
            f"expected at most {MOST_CLAIMS} sources and scopes on one fact; crawl it in fewer scopes",
        )
        for one in new
        if len(batch.after[one.fact]) > MOST_CLAIMS
    }


def closing(
    new: Iterable[Stated], standing: Mapping[str, Iterable[Edge]], ontology: Ontology
) -> dict[str, Violation]:
    """By fact: relationships that would close a cycle, of types that the ontology declares acyclic.

    `standing`: by type, what `cycles` asks for.
    """
    by_type: dict[str, dict[Edge, Stated]] = defaultdict(dict)
    for one in new:
        if isinstance(one.claim, RelationshipClaim) and ontology.relationships[one.claim.type].acyclic:
            by_type[one.claim.type][one.claim.start, one.claim.end] = one
    found = {}
    for type_, edges in by_type.items():
        others = (edge for edge in standing[type_] if edge not in edges)
        for edge, path in cycles(others, edges).items():
            one = edges[edge]
            message = (
                f"expected no cycle of {type_}; take one of these relationships back where it is claimed"
            )
            found[one.fact] = violation(one.source, one.claim, "og:acyclic", " -> ".join(path), message)
    return found


def misplaced(batch: Batch, new: Iterable[Stated]) -> dict[str, Violation]:
    """By fact: claims that place an entity elsewhere than another source's claim does."""
    found = {}
    for stated in new:
        if not isinstance(stated.claim, EntityClaim):
            continue
        others = (one for by, one in batch.after[stated.fact].items() if by != stated.by)
        for other in sorted(others, key=lambda one: one.rank):
            if isinstance(other.claim, EntityClaim) and other.claim.collection != stated.claim.collection:
                found[stated.fact] = violation(
                    stated.source,
                    stated.claim,
                    "og:placement",
                    stated.claim.collection,
                    f"source {other.source} placed it in {other.claim.collection}; describe it there, or put "
                    "what fewer may see into an entity of its own",
                )
                break
    return found


def misshapen(
    shapes: Shapes,
    batch: Batch,
    new: Mapping[str, Stated],
    outgoing: Mapping[str, Mapping[str, Sequence[str]]],
) -> dict[str, Violation]:
    """By fact: new claims to blame for what the shapes refuse in the state after the batch.

    `outgoing` holds the live relationships that the batch does not touch, of the types that shapes
    count: start -> type -> ends.
    """
    after = batch.standing(batch.after)
    before = batch.standing(batch.before)
    relationships: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for start, by_type in outgoing.items():
        for type_, ends in by_type.items():
            relationships[start][type_] += ends
    focus = set()
    for id, one in after.items():
        subject = one.fact.start if isinstance(one.fact, RelationshipFact) else id
        if isinstance(one.fact, RelationshipFact) and one.status == "live":
            relationships[one.fact.start][one.fact.type].append(one.fact.end)
        if before.get(id) != one:
            focus.add(subject)
    states = []
    for id in sorted(focus):
        ends_by_type = {type_: tuple(ends) for type_, ends in relationships[id].items()}
        entity = after[id].fact if id in after else None
        if isinstance(entity, EntityFact):
            states.append(EntityState(id, entity.class_name, entity.values, ends_by_type))
        elif class_name := class_of(batch.ontology, id):
            states.append(EntityState(id, class_name, {}, ends_by_type))
    all_ends = {end for state in states for ends in state.relationships.values() for end in ends}
    classes = {end: name for end in all_ends if (name := class_of(batch.ontology, end))}
    by_subject: dict[str, list[Stated]] = defaultdict(list)
    for stated in new.values():
        claim = stated.claim
        by_subject[claim.id if isinstance(claim, EntityClaim) else claim.start].append(stated)
    found: dict[str, Violation] = {}
    for broken in shapes.check(states, classes):
        if broken.entity not in after and broken.path not in relationships[broken.entity]:
            continue  # its values were not looked at
        for stated in _blamed(broken, by_subject[broken.entity]):
            value = f"{broken.path} = {broken.value}"
            found.setdefault(
                stated.fact, violation(stated.source, stated.claim, broken.shape, value, broken.message)
            )
    return found


def _blamed(broken: ShapeViolation, about: Iterable[Stated]) -> list[Stated]:
    """The relationships at the path that are too many or wrong, else the entity's own claim."""
    own = [one for one in about if isinstance(one.claim, EntityClaim)]
    at_path = {one: one.claim.end for one in about if _at(one, broken.path)}  # type: ignore[union-attr]  # by `_at`
    if broken.constraint == "minCount" or not at_path:
        return own
    exact = [one for one, end in at_path.items() if repr(end) == broken.value]
    return exact or list(at_path)


def _at(stated: Stated, path: str) -> bool:
    return isinstance(stated.claim, RelationshipClaim) and stated.claim.type == path
