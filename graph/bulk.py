"""The quick way in: new claims on facts that nobody claims yet, written at once and looked at afterwards.

Plain claims (`graph.gate`) are written as if they were the first on their facts; Neo4j tells which were
not, and those take the way of all others (`graph.writer`), in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString, NamedTuple

import orjson
from neo4j import AsyncManagedTransaction

from graph.audiences import assign_placed, decided_by, placed_at, places
from graph.claims import EntityClaim
from graph.facts import IN_COLLECTION, Stated, kept_confidence, kind, merge_entity
from graph.tuples import Scope
from ontologies.authorization_model import AuthorizationModel
from ontologies.ontology import Ontology
from ontologies.shapes import Shapes


class Plain(NamedTuple):
    """What a plain claim comes to where it is the first on its fact: made before the transaction begins, for
    which all other writers wait."""

    told: orjson.Fragment
    """What the feed tells of it (`graph.feed.pack_changes`)."""
    confidence: float
    """As Neo4j keeps it."""
    properties: Mapping[str, Any]
    """Of the node of an entity, but for those that Neo4j is told for all of them."""


def plainly(ontology: Ontology, stated: Stated, row: orjson.Fragment) -> Plain:
    """`row`: `Stated.to_row` in JSON."""
    confidence = kept_confidence(stated.claim.confidence)
    if not isinstance(stated.claim, EntityClaim):
        return Plain(row, confidence, {})
    fact = merge_entity(ontology, [stated])
    properties = {name: value for name, value in fact.properties().items() if value is not None}
    return Plain(orjson.Fragment(orjson.dumps(fact.to_row())), confidence, properties)


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

    entities: list[Stated] = field(default_factory=list)
    relationships: list[Stated] = field(default_factory=list)
    """Live now like the entities, and not known before."""

    def facts(self) -> Iterator[str]:
        """Of both."""
        return (one.fact for of in (self.entities, self.relationships) for one in of)


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
    """Kinds (`graph.facts.kind`) of which some may stand that these scopes do not claim."""
    plain: Mapping[str, Plain]
    """By fact: what each claim comes to."""

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
        for (class_name, collection), group in new.items():
            written.entities += await self._entities(class_name, collection, group)
        for type_, group in relationships.items():
            await self._relationships(type_, group, written)
        return written

    async def _known(self, ids: Sequence[str]) -> set[str]:
        others = [id for id in ids if kind(id) in self.shared]
        return await self._standing(others) | await self._aside(ids)

    async def _standing(self, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        result = await self.tx.run("UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN id", ids=list(ids))
        return {record["id"] async for record in result}

    async def _aside(self, facts: Sequence[str]) -> set[str]:
        if not self.aside or not facts:
            return set()
        query = "UNWIND $facts AS fact MATCH (a:_Aside {fact: fact}) RETURN fact"
        return {record["fact"] async for record in await self.tx.run(query, facts=facts)}

    async def _entities(self, class_name: str, collection: str, new: Sequence[Stated]) -> Sequence[Stated]:
        """Those that are written: all, or none where their collection does not stand."""
        # All entities of a class in a collection have one audience, since none of them is special.
        first = {new[0].fact: collection}
        [place] = placed_at(self.shapes.ontology, self.model, first).values()
        rows = [
            [one.fact, self.plain[one.fact].properties, by, [self.pages[one.fact]]]
            for one, by in zip(new, self._by(new), strict=True)
        ]
        labels = "&".join(map(_name, self.shapes.ontology.labels(class_name)))
        query = _CREATE_ENTITIES.replace("LABELS", labels)
        parameters = {"collection": collection, "rows": rows, "of": self._of(), "place": place}
        for _ in range(2):
            result = await self.tx.run(query, parameters)
            if (await result.single(strict=True))["written"]:
                return new
            await assign_placed(self.tx, self.shapes.ontology, self.model, first)  # it may be a new place
        return ()

    async def _relationships(self, type_: str, group: Sequence[Stated], written: Written) -> None:
        aside = await self._aside([one.fact for one in group])
        new = [one for one in group if one.fact not in aside]
        if not new:
            return
        rows: list[list[Any]] = [
            [claim.start, claim.end, [self.pages[one.fact]], self.plain[one.fact].confidence, number, by]  # type: ignore[union-attr]  # relationships
            for number, (one, by) in enumerate(zip(new, self._by(new), strict=True))
            for claim in (one.claim,)
        ]
        result = await self.tx.run(self._relationship_query(type_), rows=rows, of=self._of())
        record = await result.single(strict=True)
        left = set(record["stood"])
        if record["met"] < len(new):
            stand = await self._standing({end for row in rows for end in row[:2]})
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
        if len(at) == 1:
            return (0 for _ in claims)
        return (at[one.by] for one in claims)

    def _relationship_query(self, type_: str) -> LiteralString:
        query = _MERGE if type_ in self.shared else _CREATE
        return query.replace("TYPE", _name(self.shapes.ontology.relationships[type_].type))


def _name(name: str) -> str:
    """A name of the ontology, to stand in a query: that is a third quicker than one in a parameter."""
    if not name.isascii() or not name.isidentifier():
        raise ValueError(f"the ontology's name {name!r} cannot stand in a query: use letters, digits and _")
    return name


_CREATE_ENTITIES: LiteralString = """
    MATCH (c:Entity {id: $collection})
    OPTIONAL MATCH (a:_Audience {place: $place})
    WITH c, a.number AS audience WHERE audience IS NOT NULL OR $place IS NULL
    UNWIND $rows AS row
    CREATE (n:LABELS {id: row[0], since: $of[row[2]][0], audience: audience, pages: row[3]})
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
