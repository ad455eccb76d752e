"""Facts as they follow from claims: who states what, and what stands when several sources speak.

Everything here is a pure function of the claims, so the same claims always make the same facts,
whatever the order they came in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from graph.claims import Claim, EntityClaim, RelationshipClaim, Scalar, Value
from graph.tuples import native
from ontologies.ontology import Ontology

#: Derived from `EntityClaim.collection`; no source claims it as a relationship.
IN_COLLECTION = "IN_COLLECTION"


def fact_of(claim: Claim) -> str:
    """What the claim is about: the entity's id, or `start TYPE end` (ids hold no white space)."""
    if isinstance(claim, EntityClaim):
        return claim.id
    return f"{claim.start} {claim.type} {claim.end}"


def kind(fact: str) -> str:
    """The type of a relationship, in upper case, or that of an entity's id, in lower case."""
    return fact.split(" ")[1] if is_relationship(fact) else fact.partition(":")[0]


def is_relationship(fact: str) -> bool:
    """Whether it is the id of a relationship."""
    return " " in fact


class Stated(NamedTuple):
    """A claim with who states it. A source states a fact once in each of its scopes."""

    source: str
    scope: str
    trust: int
    fact: str
    """What the claim is about: `fact_of`."""
    claim: Claim

    @property
    def by(self) -> tuple[str, str]:
        """The source and scope, which state a fact once."""
        return self.source, self.scope

    @property
    def rank(self) -> tuple[int, str, str]:
        """The lowest decides contradictions: the most trusted, then the first by name."""
        return (-self.trust, self.source, self.scope)

    def to_row(self) -> list[Any]:
        """As a page holds it, for JSON: five parts and up to three more where they are not plain."""
        claim = self.claim
        if isinstance(claim, EntityClaim):
            values = {name: _encoded(value) for name, value in claim.values.items()}
            row: list[Any] = [claim.id, claim.class_name, claim.collection, claim.evidence, values]
        else:
            row = [claim.start, claim.type, claim.end, claim.evidence, None]
        if claim.confidence == 1.0 and claim.valid_from is None and claim.valid_to is None:
            return row
        return [*row, claim.confidence, _encoded(claim.valid_from), _encoded(claim.valid_to)]

    @classmethod
    def from_row(cls, source: str, scope: str, trust: int, row: Sequence[Any]) -> Stated:
        """The inverse of `to_row`."""
        first, second, third, evidence, values, *rest = row
        more = (rest[0], _decoded(rest[1]), _decoded(rest[2])) if rest else (1.0, None, None)
        claim: Claim
        if values is None:
            claim = RelationshipClaim(first, second, third, evidence, *more)
        else:
            decoded = {name: _decoded(value) for name, value in values.items()}
            claim = EntityClaim(first, second, third, decoded, evidence, *more)
        return cls(source, scope, trust, fact_of(claim), claim)


@dataclass(frozen=True, slots=True)
class EntityFact:
    """A live node. Values of properties that may have several are tuples."""

    id: str
    class_name: str
    collection: str
    values: Mapping[str, Value]
    sources: tuple[str, ...]
    confidence: float
    valid_from: datetime | None
    valid_to: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether the instant is in its interval."""
        return _within(self, at)

    def properties(self) -> dict[str, Any]:
        """Of the live node, but for `id`, `since` and what is derived."""
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in self.values.items()}
        return plain | _kept(self)

    def to_row(self) -> list[Any]:
        """For JSON, of one that always holds: as `Stated.to_row` has its claim, without evidence."""
        values = {name: _encoded(value) for name, value in self.values.items()}
        return [self.id, self.class_name, self.collection, None, values, self.confidence, None, None]

    def to_json(self) -> dict[str, Any]:
        values = {name: _encoded(value) for name, value in self.values.items()}
        placed = {"class": self.class_name, "collection": self.collection, "values": values}
        return placed | {name: _encoded(value) for name, value in _about(self).items()}


@dataclass(frozen=True, slots=True)
class RelationshipFact:
    """A live relationship."""

    start: str
    type: str
    end: str
    sources: tuple[str, ...]
    confidence: float
    valid_from: datetime | None
    valid_to: datetime | None

    @property
    def id(self) -> str:
        return f"{self.start} {self.type} {self.end}"

    @classmethod
    def of_properties(
        cls, start: str, type_: str, end: str, properties: Mapping[str, Any]
    ) -> RelationshipFact:
        """The inverse of `properties`, as Neo4j returns them."""
        bounds = [
            None if (at := properties.get(name)) is None else native(at) for name in ("validFrom", "validTo")
        ]
        return cls(start, type_, end, tuple(properties["sources"]), float(properties["confidence"]), *bounds)

    def holds(self, at: datetime) -> bool:
        """Whether the instant is in its interval; its ends' intervals are theirs."""
        return _within(self, at)

    def properties(self) -> dict[str, Any]:
        """Of the live relationship, but for `since`."""
        return _kept(self)

    def to_json(self) -> dict[str, Any]:
        ends = {"start": self.start, "type": self.type, "end": self.end}
        return ends | {name: _encoded(value) for name, value in _about(self).items()}


Fact = EntityFact | RelationshipFact


def merge_entity(ontology: Ontology, stated: Collection[Stated]) -> EntityFact:
    """What stands of an entity: of contradicting values the best ranked one, of several values all."""
    ranked = sorted(stated, key=lambda one: one.rank)
    claims = [one.claim for one in ranked if isinstance(one.claim, EntityClaim)]
    values: dict[str, Value] = {}
    lists: dict[str, dict[Scalar, None]] = {}
    for claim in claims:
        for name, value in claim.values.items():
            several = value if isinstance(value, tuple) else (value,)
            if ontology.values[name].many:
                lists.setdefault(name, {}).update(dict.fromkeys(several))
            elif several:
                values.setdefault(name, _as(ontology.values[name].datatype, several[0]))
    first = claims[0]
    return EntityFact(
        first.id,
        first.class_name,
        first.collection,
        values | {name: tuple(several) for name, several in lists.items() if several},
        _sources(ranked),
        max(claim.confidence for claim in claims),
        first.valid_from,
        first.valid_to,
    )


def merge_relationship(stated: Collection[Stated]) -> RelationshipFact:
    """What stands of a relationship; its interval is the best ranked claim's."""
    ranked = sorted(stated, key=lambda one: one.rank)
    claims = [one.claim for one in ranked if isinstance(one.claim, RelationshipClaim)]
    first = claims[0]
    return RelationshipFact(
        first.start,
        first.type,
        first.end,
        _sources(ranked),
        max(claim.confidence for claim in claims),
        first.valid_from,
        first.valid_to,
    )


def placement(entity: EntityFact) -> RelationshipFact:
    """The relationship that the entity's collection makes; the entity's interval is its own."""
    return RelationshipFact(
        entity.id, IN_COLLECTION, entity.collection, entity.sources, entity.confidence, None, None
    )


def _sources(ranked: Iterable[Stated]) -> tuple[str, ...]:
    return tuple(sorted({one.source for one in ranked}))


def _within(fact: Fact, at: datetime) -> bool:
    return (fact.valid_from is None or fact.valid_from <= at) and (
        fact.valid_to is None or at < fact.valid_to
    )


def _about(fact: Fact) -> dict[str, Any]:
    return {
        "sources": list(fact.sources),
        "confidence": fact.confidence,
        "validFrom": fact.valid_from,
        "validTo": fact.valid_to,
    }


def _kept(fact: Fact) -> dict[str, Any]:
    return _about(fact) | {"confidence": kept_confidence(fact.confidence)}


def kept_confidence(confidence: float) -> float:
    """The number as Neo4j keeps it: full confidence is an integer, which is half as long, so that the
    properties of most relationships fit one record and are written once."""
    return 1 if confidence == 1 else confidence


def _as(datatype: str, value: Scalar) -> Scalar:
    return float(value) if datatype == "decimal" and isinstance(value, int) else value


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"dateTime": value.isoformat()}
    return [_encoded(item) for item in value] if isinstance(value, tuple) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return datetime.fromisoformat(value["dateTime"])
    return tuple(_decoded(item) for item in value) if isinstance(value, list) else value
