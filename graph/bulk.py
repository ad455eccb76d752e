"""The quick way in: new claims on facts that nobody claims yet, written at once and looked at afterwards.

Plain claims (`graph.gate`) are written as if they were the first on their facts; Neo4j tells which were
not, and those take the way of all others (`graph.writer`), in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph.audiences import assign_placed, decided_by, places
from graph.claims import EntityClaim
from graph.facts import IN_COLLECTION, EntityFact, Stated, kept_confidence, merge_entity
from graph.tuples import Scope
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import Shapes


def counted(shapes: Shapes) -> frozenset[str]:
    """Relationship types whose number some shape limits."""
    return frozenset(
        shape.path
        for of_class in shapes.by_class.values()
        for shape in of_class
        if shape.relationship and (shape.min_count or shape.max_count is not None)
    )


def needy(shapes: Shapes, model: AuthorizationModel) -> frozenset[str]:
    """Relationship types that shapes count or that may close no cycle, classes that need some of the
    former, and classes whose access does not come from their collection alone."""
    classes = {
        name
        for name, of_class in shapes.by_class.items()
        if any(shape.relationship and shape.min_count for shape in of_class)
    }
    types = places(model) | {
        binding.object_type
        for binding in decided_by(shapes.ontology, model)
        if binding.relationship != IN_COLLECTION
    }
    acyclic = {name for name, one in shapes.ontology.relationships.items() if one.acyclic}
    return (
        counted(shapes) | acyclic | classes | {shapes.ontology.class_of_type(type_).name for type_ in types}
    )


@dataclass(slots=True)
class Written:
    """What the quick way wrote, and what it left to the other."""

    entities: list[EntityFact] = field(default_factory=list)
    relationships: list[Stated] = field(default_factory=list)
    """Live now like the entities, and not known before."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """One transaction's quick way."""

    tx: AsyncManagedTransaction
    shapes: Shapes
    model: AuthorizationModel
    revisions: Mapping[Scope, int]
    """By source and scope: the revision of what it claims."""
    pages: Mapping[str, int]
    """By fact: the page that each of the claims will be in."""
    aside: bool
    """Whether there are facts aside."""
    shared: Collection[str]
    """Relationship types of which some may stand that these scopes do not claim."""
    audiences: dict[tuple[str, str], int | None]
    """By class and collection, those that this transaction has found."""

    async def write(self, claims: Iterable[Stated]) -> Written:
        """Write plain claims; entities first."""
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
        new = {
            kind: kept
            for kind, group in entities.items()
            if (kept := [one for one in group if one.fact not in known])
        }
        # All entities of a class in a collection have one audience, since none of them is special.
        firsts = {group[0].fact: kind for kind, group in new.items() if kind not in self.audiences}
        if firsts:
            placed = {fact: collection for fact, (_, collection) in firsts.items()}
            found = await assign_placed(self.tx, self.shapes.ontology, self.model, placed)
            self.audiences.update({kind: found[fact] for fact, kind in firsts.items()})
        for (class_name, collection), group in new.items():
            audience = self.audiences[class_name, collection]
            written.entities += await self._entities(class_name, collection, audience, group)
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
        self, class_name: str, collection: str, audience: int | None, new: Sequence[Stated]
    ) -> Sequence[EntityFact]:
        """Those that are written: all, or none where their collection does not stand."""
        facts = [merge_entity(self.shapes.ontology, [one]) for one in new]
        rows = [
            [fact.id, _stored(fact.properties() | {"pages": [self.pages[fact.id]]}), by]
            for fact, by in zip(facts, self._by(new), strict=True)
        ]
        result = await self.tx.run(
            _CREATE_ENTITIES.replace("LABELS", "&".join(map(_name, self.shapes.ontology.labels(class_name)))),
            collection=collection,
            rows=rows,
            of=self._of(),
            audience=audience,
        )
        return facts if (await result.single(strict=True))["written"] else ()

    async def _relationships(self, type_: str, group: Sequence[Stated], written: Written) -> None:
        aside = await self._aside([one.fact for one in group])
        new = [one for one in group if one.fact not in aside]
        if not new:
            return
        rows = [
            [claim.start, claim.end, [self.pages[one.fact]], kept_confidence(claim.confidence), number, by]  # type: ignore[union-attr]  # relationships
            for number, (one, by) in enumerate(zip(new, self._by(new), strict=True))
            for claim in (one.claim,)
        ]
        result = await self.tx.run(self._relationship_query(type_), rows=rows, of=self._of())
        record = await result.single(strict=True)
        left = set(record["stood"])
        if record["met"] < len(new):
            ends = {end for row in rows for end in row[:2]}
            query = "UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN id"
            stand = {found["id"] async for found in await self.tx.run(query, ids=list(ends))}
            left |= {row[4] for row in rows if not (row[0] in stand and row[1] in stand)}
        written.relationships += (
            [one for number, one in enumerate(new) if number not in left] if left else new
        )

    def _of(self) -> list[list[Any]]:
        """Revision and sources of what each scope claims."""
        return [[revision, [source]] for (source, _), revision in self.revisions.items()]

    def _by(self, claims: Iterable[Stated]) -> Iterator[int]:
        """The place in `_of` of each claim's scope."""
        at = {by: number for number, by in enumerate(self.revisions)}
        return (at[one.by] for one in claims)

    def _relationship_query(self, type_: str) -> LiteralString:
        query = _MERGE if type_ in self.shared else _CREATE
        return query.replace("TYPE", _name(self.shapes.ontology.relationships[type_].type))


def _stored(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that a new node would lose at once."""
    return {name: value for name, value in properties.items() if value is not None}


def _name(name: str) -> str:
    """A name of the ontology, to stand in a query: that is a third quicker than one in a parameter."""
    if not name.isascii() or not name.isidentifier():
        raise ValueError(f"the ontology's name {name!r} cannot stand in a query: use letters, digits and _")
    return name


_CREATE_ENTITIES: LiteralString = """
    MATCH (c:Entity {id: $collection})
    UNWIND $rows AS row
    CREATE (n:LABELS {id: row[0], since: $of[row[2]][0], audience: $audience})
    SET n += row[1]
    CREATE (n)-[:IN_COLLECTION {sources: $of[row[2]][1], confidence: n.confidence, since: n.since}]->(c)
    RETURN count(n) AS written
    """
#: Where nobody else claims any, none can stand.
_CREATE = """
    UNWIND $rows AS row
    MATCH (a:Entity {id: row[0]})
    MATCH (b:Entity {id: row[1]})
    WITH row, a, b, $of[row[5]] AS of
    CREATE (a)-[:TYPE {sources: of[1], confidence: row[3], since: of[0], pages: row[2]}]->(b)
    RETURN count(*) AS met, collect(null) AS stood
    """
_MERGE = """
    UNWIND $rows AS row
    MATCH (a:Entity {id: row[0]})
    MATCH (b:Entity {id: row[1]})
    WITH row, a, b, $of[row[5]] AS of
    MERGE (a)-[r:TYPE]->(b)
    ON CREATE SET r.sources = of[1], r.confidence = row[3], r.since = of[0], r.pages = row[2]
    WITH row, r.pages = row[2] AS created
    RETURN count(*) AS met, collect(CASE WHEN created THEN null ELSE row[4] END) AS stood
    """
