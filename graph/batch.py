"""What a batch of claims would change: the claims on every fact it touches, before and after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graph.claims import EntityClaim, RelationshipClaim, Violation
from graph.facts import (
    EntityFact,
    Fact,
    RelationshipFact,
    Stated,
    merge_entity,
    merge_relationship,
    placement,
)
from graph.gate import class_of, violation
from ontologies.ontology import Ontology
from ontologies.shapes import EntityState, Shapes, ShapeViolation

Claims = dict[str, Stated]
"""Claims on one fact, by key."""


@dataclass(frozen=True, slots=True)
class Change:
    """A fact that appears (no `before`), changes, or goes (no `after`)."""

    before: Fact | None
    after: Fact | None

    @property
    def fact(self) -> Fact:
        """As it is, or last was."""
        found = self.after or self.before
        assert found is not None  # noqa: S101
        return found


@dataclass(slots=True)
class Batch:
    """The touched facts with all claims on them. A touched fact without claims has an empty entry."""

    ontology: Ontology
    before: dict[str, Claims] = field(default_factory=dict)
    after: dict[str, Claims] = field(default_factory=dict)
    standing: set[str] = field(default_factory=set)
    """Entities that stand, among the ends of touched relationships, and are not touched."""

    def touch(self, facts: Iterable[str], claims: Iterable[Stated]) -> None:
        """Facts that the batch may change, with all claims on them."""
        new = {fact for fact in facts if fact not in self.before}
        self.before |= {fact: {} for fact in new}
        self.after |= {fact: {} for fact in new}
        for stated in claims:
            if stated.fact in new:
                self.before[stated.fact][stated.key] = stated
                self.after[stated.fact][stated.key] = stated

    def withdraw(self, stated: Stated) -> None:
        self.after[stated.fact].pop(stated.key, None)

    def refuse(self, stated: Stated) -> None:
        """Undo the claim. What it would have replaced stands on, unless access rests on it."""
        previous = self.before[stated.fact].get(stated.key)
        if previous is None or access_rests_on(self.ontology, previous, stated):
            self.withdraw(stated)
        else:
            self.after[stated.fact][stated.key] = previous

    def relationship_starts(self) -> set[str]:
        """Entities at which touched relationships start: their shapes are checked."""
        return {fact.split(" ")[0] for fact in self.before if _is_relationship(fact)} - self.before.keys()

    def unsettled_entities(self) -> set[str]:
        """Entities that appear or go: claims of relationships with them wait or fall."""
        return {
            fact
            for fact in self.before
            if not _is_relationship(fact) and bool(self.before[fact]) != bool(self.after[fact])
        }

    def ends(self) -> set[str]:
        """Untouched entities on which touched facts depend."""
        ends = set()
        for fact, claims in self.before.items():
            if _is_relationship(fact):
                ends |= {fact.split(" ")[0], fact.split(" ")[2]}
            for stated in (*claims.values(), *self.after[fact].values()):
                if isinstance(stated.claim, EntityClaim):
                    ends.add(stated.claim.collection)
        return ends - self.before.keys()

    def changes(self) -> list[Change]:
        """What the batch changes of what is live."""
        before, after = self.live(self.before), self.live(self.after)
        return [
            Change(before.get(id), after.get(id))
            for id in dict.fromkeys((*before, *after))
            if before.get(id) != after.get(id)
        ]

    def live(self, side: Mapping[str, Claims]) -> dict[str, Fact]:
        def lives(id: str) -> bool:
            return bool(side[id]) if id in side else id in self.standing

        facts: list[Fact] = []
        for fact, claims in side.items():
            if not claims:
                continue
            if _is_relationship(fact):
                relationship = merge_relationship(claims.values())
                if lives(relationship.start) and lives(relationship.end):
                    facts.append(relationship)
            else:
                entity = merge_entity(self.ontology, claims.values())
                facts.append(entity)
                if lives(entity.collection):
                    facts.append(placement(entity))
        return {fact.id: fact for fact in facts}


def access_rests_on(ontology: Ontology, previous: Stated, refused: Stated) -> bool:
    """Whether keeping the previous claim, when its successor is refused, could keep access."""
    old, new = previous.claim, refused.claim
    if isinstance(old, RelationshipClaim):
        return ontology.relationships[old.type].access_bearing
    moved = isinstance(new, EntityClaim) and new.collection != old.collection
    expired = (new.valid_from, new.valid_to) != (old.valid_from, old.valid_to)
    return moved or expired or old.class_name == "Account"


def misplaced(batch: Batch, new: Iterable[Stated]) -> dict[str, Violation]:
    """By key: claims that place an entity elsewhere than another source's claim does."""
    found = {}
    for stated in new:
        if not isinstance(stated.claim, EntityClaim):
            continue
        others = (one for key, one in batch.after[stated.fact].items() if key != stated.key)
        for other in sorted(others, key=lambda one: one.rank):
            if isinstance(other.claim, EntityClaim) and other.claim.collection != stated.claim.collection:
                found[stated.key] = violation(
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
    """By key: new claims to blame for what the shapes refuse in the state after the batch.

    `outgoing` holds the live relationships that the batch does not touch: start -> type -> ends.
    """
    after = batch.live(batch.after)
    relationships: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for start, by_type in outgoing.items():
        for type_, ends in by_type.items():
            relationships[start][type_] += ends
    for fact in after.values():
        if isinstance(fact, RelationshipFact):
            relationships[fact.start][fact.type].append(fact.end)
    focus = {_subject(change.after) for change in batch.changes() if change.after is not None}
    states = [
        EntityState(
            fact.id,
            fact.class_name,
            fact.values,
            {type_: tuple(ends) for type_, ends in relationships[fact.id].items()},
        )
        for fact in after.values()
        if isinstance(fact, EntityFact) and fact.id in focus
    ]
    all_ends = {end for state in states for ends in state.relationships.values() for end in ends}
    classes = {end: name for end in all_ends if (name := class_of(batch.ontology, end))}
    found: dict[str, Violation] = {}
    for broken in shapes.check(states, classes):
        for stated in _blamed(broken, new.values()):
            value = f"{broken.path} = {broken.value}"
            found.setdefault(
                stated.key, violation(stated.source, stated.claim, broken.shape, value, broken.message)
            )
    return found


def _blamed(broken: ShapeViolation, new: Iterable[Stated]) -> list[Stated]:
    """The relationships at the path that are too many or wrong, else the entity's own claim."""
    own: list[Stated] = []
    at_path: list[Stated] = []
    for stated in new:
        match stated.claim:
            case EntityClaim(id=broken.entity):
                own.append(stated)
            case RelationshipClaim(start=broken.entity, type=broken.path):
                at_path.append(stated)
    if broken.constraint == "minCount" or not at_path:
        return own
    exact = [one for one in at_path if repr(one.claim.end) == broken.value]  # type: ignore[union-attr]
    return exact or at_path


def _subject(fact: Fact) -> str:
    return fact.start if isinstance(fact, RelationshipFact) else fact.id


def _is_relationship(fact: str) -> bool:
    return " " in fact
