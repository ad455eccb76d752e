"""The quick way in: new claims on facts that nobody claims yet, written at once and looked at afterwards.

A claim is plain when nothing but the ids in it decides whether it may stand: no interval, no shape that
counts. Plain claims are written as if they were the first on their facts; Neo4j tells which were not,
and those take the way of all others (`graph.writer`), in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neo4j import AsyncManagedTransaction

from graph import live
from graph.audiences import assign, decided_by, places
from graph.claims import Claim, EntityClaim, RelationshipClaim
from graph.facts import (
    IN_COLLECTION,
    EntityFact,
    Fact,
    RelationshipFact,
    Stated,
    merge_entity,
    merge_relationship,
    placement,
)
from graph.gate import class_of
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import EntityState, Shapes

Kind = tuple[str, str, str]
"""The classes at the ends of a relationship, and its type between them."""


class Plain:
    """Which claims are plain. Verdicts on kinds of relationships are kept."""

    def __init__(self, shapes: Shapes, model: AuthorizationModel) -> None:
        self._shapes = shapes
        self._kinds: dict[Kind, bool] = {}
        self.counted = frozenset(
            shape.path
            for of_class in shapes.by_class.values()
            for shape in of_class
            if shape.relationship and (shape.min_count or shape.max_count is not None)
        )
        """Relationship types whose number some shape limits."""
        needy = {
            name
            for name, of_class in shapes.by_class.items()
            if any(shape.relationship and shape.min_count for shape in of_class)
        }
        types = places(model) | {
            binding.object_type
            for binding in decided_by(shapes.ontology, model)
            if binding.relationship != IN_COLLECTION
        }
        self._special = needy | {shapes.ontology.class_of_type(type_).name for type_ in types}
        """Classes that need relationships, and those whose access does not come from their collection alone."""

    def is_plain(self, claim: Claim) -> bool:
        if claim.valid_from is not None or claim.valid_to is not None:
            return False
        if isinstance(claim, RelationshipClaim):
            kind = (claim.start.partition(":")[0], claim.type, claim.end.partition(":")[0])
            if kind not in self._kinds:
                self._kinds[kind] = self._is_plain_kind(claim)
            return self._kinds[kind]
        if claim.class_name in self._special:
            return False
        state = EntityState(claim.id, claim.class_name, claim.values, {})
        return not self._shapes.check([state], {})

    def _is_plain_kind(self, claim: RelationshipClaim) -> bool:
        ontology = self._shapes.ontology
        start, end = class_of(ontology, claim.start), class_of(ontology, claim.end)
        if start is None or end is None or claim.type in self.counted:
            return False
        state = EntityState(claim.start, start, {}, {claim.type: (claim.end,)})
        return all(broken.path != claim.type for broken in self._shapes.check([state], {claim.end: end}))


@dataclass(slots=True)
class Written:
    """What the quick way wrote, and what it left to the other."""

    facts: list[Fact] = field(default_factory=list)
    """Live now, and not known before."""
    entities: list[str] = field(default_factory=list)
    """Ids of the entities among them."""
    left: dict[str, Stated] = field(default_factory=dict)
    audiences: dict[tuple[str, str], int] = field(default_factory=dict)
    """Of the classes and collections of the entities; they hold once the transaction is committed."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """One transaction's quick way."""

    tx: AsyncManagedTransaction
    shapes: Shapes
    model: AuthorizationModel
    revision: int
    pages: Mapping[str, int]
    """By fact: the page that each of the claims will be in."""
    audiences: Mapping[tuple[str, str], int]
    """By class and collection, as far as they are known."""
    aside: bool
    """Whether there are facts aside."""

    async def write(self, claims: Iterable[Stated]) -> Written:
        """Write plain claims of one source; entities first."""
        written = Written()
        entities: dict[tuple[str, str], list[Stated]] = defaultdict(list)
        relationships: dict[str, list[Stated]] = defaultdict(list)
        for stated in claims:
            claim = stated.claim
            if isinstance(claim, EntityClaim):
                entities[claim.class_name, claim.collection].append(stated)
            else:
                relationships[claim.type].append(stated)
        known = await self._known([one.fact for group in entities.values() for one in group])
        for (class_name, collection), group in entities.items():
            written.left |= {one.fact: one for one in group if one.fact in known}
            new = [one for one in group if one.fact not in known]
            await self._entities(class_name, collection, new, written)
        for type_, group in relationships.items():
            await self._relationships(type_, group, written)
        return written

    async def _known(self, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        result = await self.tx.run("UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN id", ids=ids)
        return {record["id"] async for record in result} | await self._aside(ids)

    async def _aside(self, facts: Sequence[str]) -> set[str]:
        if not self.aside or not facts:
            return set()
        query = "UNWIND $facts AS fact MATCH (a:_Aside {fact: fact}) RETURN fact"
        return {record["fact"] async for record in await self.tx.run(query, facts=facts)}

    async def _entities(
        self, class_name: str, collection: str, new: Sequence[Stated], written: Written
    ) -> None:
        if not new:
            return
        facts = [merge_entity(self.shapes.ontology, [one]) for one in new]
        audience = self.audiences.get((class_name, collection))
        rows = [
            [fact.id, fact.properties() | {"pages": [self.pages[fact.id]]}, fact.confidence] for fact in facts
        ]
        result = await self.tx.run(
            """
            MATCH (c:Entity {id: $collection})
            UNWIND $rows AS row
            CREATE (n:$($labels) {id: row[0], since: $since, audience: $audience})
            SET n += row[1]
            CREATE (n)-[:IN_COLLECTION {sources: $sources, confidence: row[2], since: $since}]->(c)
            RETURN count(n) AS written
            """,
            collection=collection,
            rows=rows,
            labels=list(self.shapes.ontology.labels(class_name)),
            since=self.revision,
            audience=audience,
            sources=[new[0].source],
        )
        if (await result.single(strict=True))["written"] == 0:  # the collection does not stand
            written.left |= {one.fact: one for one in new}
            return
        if audience is None:
            audience = await self._first_audience([fact.id for fact in facts])
        if audience is not None:
            written.audiences[class_name, collection] = audience
        for fact in facts:
            written.facts += (fact, placement(fact))
            written.entities.append(fact.id)

    async def _first_audience(self, ids: Sequence[str]) -> int | None:
        """Of entities of one class in one collection: all have the one that the first has."""
        numbers = await assign(self.tx, self.shapes.ontology, self.model, ids[:1])
        audience = numbers[ids[0]]
        await live.for_each(
            self.tx, "UNWIND $rows AS id MATCH (n:Entity {id: id}) SET n.audience = $audience", ids,
            audience=audience,
        )  # fmt: skip
        return audience

    async def _relationships(self, type_: str, group: Sequence[Stated], written: Written) -> None:
        aside = await self._aside([one.fact for one in group])
        new = [one for one in group if one.fact not in aside]
        written.left |= {one.fact: one for one in group if one.fact in aside}
        if not new:
            return
        rows = [
            [claim.start, claim.end, [self.pages[one.fact]], claim.confidence, number]  # type: ignore[union-attr]
            for number, one in enumerate(new)
            for claim in (one.claim,)
        ]
        result = await self.tx.run(
            """
            UNWIND $rows AS row
            MATCH (a:Entity {id: row[0]})
            MATCH (b:Entity {id: row[1]})
            MERGE (a)-[r:$($type)]->(b)
            ON CREATE SET r.sources = $sources, r.confidence = row[3], r.since = $since, r.pages = row[2]
            WITH row, r.pages = row[2] AS created
            RETURN count(*) AS met, collect(CASE WHEN created THEN null ELSE row[4] END) AS stood
            """,
            rows=rows,
            type=type_,
            sources=[new[0].source],
            since=self.revision,
        )
        record = await result.single(strict=True)
        left = set(record["stood"])
        if record["met"] < len(new):
            ends = {end for row in rows for end in row[:2]}
            query = "UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN id"
            live_ = {found["id"] async for found in await self.tx.run(query, ids=list(ends))}
            left |= {row[4] for row in rows if not (row[0] in live_ and row[1] in live_)}
        for number, one in enumerate(new):
            if number in left:
                written.left[one.fact] = one
            else:
                written.facts.append(merge_relationship([one]))


def shown(fact: Fact) -> dict[str, Any]:
    """A fact that appeared, as the outbox tells it."""
    kind = "entity" if isinstance(fact, EntityFact) else "relationship"
    return {"kind": kind, "id": fact.id, "before": None, "after": fact.to_json()}


def is_access_bearing(shapes: Shapes, fact: Fact) -> bool:
    """Whether the appearance of the fact changes what somebody may see, but for placements."""
    return (
        isinstance(fact, RelationshipFact)
        and fact.type != IN_COLLECTION
        and shapes.ontology.relationships[fact.type].access_bearing
    )
