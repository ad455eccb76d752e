"""Governed reads: every node of every pattern is visible to the asker, or it is as if it were not there.

The visible set goes along as a byte string and `$visible[n.audience] = 1` stands on every node
before anything is counted, ordered or limited. No audience, or one out of range, is invisible.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction, Record

from graph.database import INDEXED
from graph.entity_view import (
    EntityView,
    Neighbour,
    Page,
    RelationshipView,
    entity_view,
    from_cursor,
    neighbour,
    relationship_view,
    to_cursor,
)
from graph.extractions import CHOSEN, Chosen, Extraction, extraction_from
from graph.facts import Stated, is_relationship
from graph.handling import Handling
from graph.inferred import STANDING
from graph.pages import Pages
from graph.proposals import OPEN, Proposal, proposal_from
from graph.tuples import native
from ontologies.ontology import Ontology

#: A Lucene query may have 1,024 clauses, and each term becomes one for every indexed property.
_TERMS_A_QUERY = 40

# What holds now and is visible; `n`, `m` and `r` are the names that the patterns use.
_NODE: LiteralString = """$visible[n.audience] = 1
    AND coalesce(n.validFrom <= $now, true) AND coalesce($now < n.validTo, true)"""
_NEIGHBOUR: LiteralString = """$visible[m.audience] = 1
    AND coalesce(m.validFrom <= $now, true) AND coalesce($now < m.validTo, true)
    AND coalesce(r.validFrom <= $now, true) AND coalesce($now < r.validTo, true)"""
_COLLECTION_OF: LiteralString = (
    """
CALL (n) {
    OPTIONAL MATCH (n)-[r:IN_COLLECTION]->(m:Collection) WHERE """
    + _NEIGHBOUR
    + """
    RETURN m.id AS collection ORDER BY collection LIMIT 1
}
"""
)
_ENTITY: LiteralString = "n {.*, embedding: null} AS entity, collection"


@dataclass(frozen=True, slots=True)
class HandlingInput:
    """What the handling of an entity rests on."""

    sources: frozenset[str]
    classifications: frozenset[str]
    """Ids, those of what contains it among them."""


@dataclass(frozen=True, slots=True)
class HandlingRule:
    """A rule of a policy: the handling that it asks for what is classified so."""

    classifications: frozenset[str]
    handling: Handling
    id: str


class View:
    """What one asker sees within one read. Denied and absent look alike in all of it."""

    def __init__(
        self, tx: AsyncManagedTransaction, ontology: Ontology, visible: bytes, now: datetime
    ) -> None:
        self._tx = tx
        self._ontology = ontology
        self._visible = visible
        self._now = now

    @property
    def visible(self) -> bytes:
        """The visible set, one byte for each audience: what decides which askers may share a cache."""
        return self._visible

    async def visible_among(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the ids whose entities the asker may see."""
        return await self.present(ids)

    async def entity(self, id: str) -> EntityView | None:
        """The entity, or None."""
        records = await self._run(
            "MATCH (n:Entity {id: $id}) WHERE " + _NODE + _COLLECTION_OF + "RETURN " + _ENTITY, id=id
        )
        return self._entity(records[0]) if records else None

    async def present(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the ids whose entities the asker may see now, whatever point the view is of."""
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE " + _NODE + " RETURN id",
            ids=list(dict.fromkeys(ids)),
        )
        return frozenset(record["id"] for record in records)

    async def entities(self, class_name: str, first: int, after: str | None = None) -> Page:
        """At most `first` entities of a class, subclasses included, that come after a cursor.

        Raises KeyError for a class that the ontology lacks, CursorError for what is no cursor.
        """
        name, id = from_cursor(after) if after is not None else ("", "")
        label = self._ontology.classes[class_name].name  # with `Entity` beside it, all entities are scanned
        [counted] = await self._run(
            "MATCH (n:$($label)) WHERE " + _NODE + " RETURN count(n) AS total", label=label
        )
        records = await self._run(
            "MATCH (n:$($label)) WHERE "
            + _NODE
            + """ AND (n.name > $name OR n.name = $name AND n.id > $id)
            WITH n ORDER BY n.name, n.id LIMIT $limit
            """
            + _COLLECTION_OF
            + "RETURN "
            + _ENTITY
            + " ORDER BY n.name, n.id",
            label=label,
            name=name,
            id=id,
            limit=first + 1,
        )
        items = tuple(map(self._entity, records[:first]))
        more = len(records) > first and items
        return Page(items, to_cursor(items[-1]) if more else None, counted["total"])

    async def class_counts(self) -> Mapping[str, int]:
        """How many entities of each class, subclasses included; every class of the ontology is listed."""
        records = await self._run(
            "MATCH (n:Entity) WHERE " + _NODE + " RETURN labels(n) AS labels, count(n) AS count"
        )
        counts = dict.fromkeys(self._ontology.classes, 0)
        for record in records:
            for label in counts.keys() & set(record["labels"]):
                counts[label] += record["count"]
        return counts

    async def neighbours(
        self, ids: Collection[str], per_entity_limit: int
    ) -> Mapping[str, tuple[Neighbour, ...]]:
        """What is beside each of the entities, by relationship type and name; absent ones have nothing.

        What is inferred counts where one of its derivations stands and is visible, and tells these alone.
        """
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE "
            + _NODE
            + """
            CALL (n) {
                MATCH (n)-[r]-(m:Entity) WHERE type(r) IN $types AND """
            + _NEIGHBOUR
            + """
                WITH r, m, type(r) AS type, startNode(r) = n AS outgoing
                ORDER BY type, outgoing DESC, m.name, m.id
                WITH r, m, type, outgoing, CASE WHEN r.inferred THEN """
            + STANDING
            + """ END AS derivations
                WHERE r.inferred IS NULL OR size(derivations) > 0
                RETURN m, type, outgoing, r {.*, derivations: derivations} AS relationship
                LIMIT $limit
            }
            WITH id, m AS n, type, outgoing, relationship
            """
            + _COLLECTION_OF
            + "RETURN id, type, outgoing, relationship, "
            + _ENTITY
            + " ORDER BY id, type, outgoing DESC, n.name, n.id",
            ids=list(dict.fromkeys(ids)),
            types=list(self._ontology.relationships),
            limit=per_entity_limit,
        )
        found: dict[str, list[Neighbour]] = {id: [] for id in ids}
        for record in records:
            found[record["id"]].append(
                neighbour(record["type"], record["outgoing"], record["relationship"], self._entity(record))
            )
        return {id: tuple(neighbours) for id, neighbours in found.items()}

    async def outgoing(self, ids: Collection[str]) -> tuple[RelationshipView, ...]:
        """All asserted relationships that start at the entities, by start, type and end."""
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE "
            + _NODE
            + " MATCH (n)-[r]->(m:Entity) WHERE type(r) IN $types AND r.inferred IS NULL AND "
            + _NEIGHBOUR
            + """
            RETURN id, type(r) AS type, m.id AS end, properties(r) AS relationship ORDER BY id, type, end
            """,
            ids=list(dict.fromkeys(ids)),
            types=list(self._ontology.relationships),
        )
        return tuple(
            relationship_view(record["id"], record["type"], record["end"], record["relationship"])
            for record in records
        )

    async def claims(self, facts: Collection[str]) -> Mapping[str, tuple[Stated, ...]]:
        """What each source says of the facts, who is believed first; absent ones, and those that nobody
        claims (what is inferred, where an entity is placed), have none.

        All sources describe an entity where it is placed, so who sees it may see what each says.
        """
        entities = [fact for fact in facts if not is_relationship(fact)]
        relationships = [fact.split(" ") for fact in facts if is_relationship(fact)]
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE "
            + _NODE
            + " RETURN id AS fact, n.pages AS pages",
            ids=entities,
        )
        records += await self._run(
            """
            UNWIND $rows AS row
            MATCH (n:Entity {id: row[0]}) WHERE """
            + _NODE
            + """
            MATCH (n)-[r]->(m:Entity {id: row[2]}) WHERE type(r) = row[1] AND """
            + _NEIGHBOUR
            + """
            RETURN row[0] + ' ' + row[1] + ' ' + row[2] AS fact, r.pages AS pages
            """,
            rows=relationships,
        )
        places = {record["fact"]: record["pages"] or () for record in records}
        claims = await Pages(self._tx).claims_on(places)
        return {
            fact: tuple(sorted((one for one, _ in by.values()), key=lambda one: one.rank))
            for fact, by in claims.items()
        }

    async def instants(self, revisions: Collection[int]) -> Mapping[int, datetime]:
        """When the revisions were committed, those that are still on record."""
        records = await self._run(
            "UNWIND $numbers AS number MATCH (r:_Revision {number: number}) RETURN number, r.at AS at",
            numbers=list(revisions),
        )
        return {record["number"]: native(record["at"]) for record in records}

    async def merges(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """The merges around the entities, each from one to the one that was kept, at whatever distance,
        as far as one leads to the next over entities that are visible."""
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE "
            + _NODE
            + " AND EXISTS { (n)-[:SAME_AS]-() } MATCH (n) ((:Entity)-[r:SAME_AS]-(m:Entity) WHERE "
            + _NEIGHBOUR
            + """ ){0,} (k:Entity)
            WITH DISTINCT k AS n
            MATCH (n)-[r:SAME_AS]->(m:Entity) WHERE """
            + _NEIGHBOUR
            + " RETURN DISTINCT n.id AS other, m.id AS kept",
            ids=list(dict.fromkeys(ids)),
        )
        return [(record["other"], record["kept"]) for record in records]

    async def proposals(
        self, limit: int, after: Proposal | None = None, about: str | None = None
    ) -> list[Proposal]:
        """Proposals that wait for a decision and whose two entities are visible, the best first; at most so
        many after one of them, of all or of those about an entity."""
        start: LiteralString = (
            "MATCH (p:_Proposal) WHERE "
            if about is None
            else """CALL () {
                MATCH (p:_Proposal {one: $about}) RETURN p UNION MATCH (p:_Proposal {other: $about}) RETURN p
            } WITH p WHERE """
        )
        records = await self._run(
            start
            + """(p.score < $score OR p.score = $score AND p.pair > $pair)
                AND EXISTS { (n:Entity {id: p.one}) WHERE """
            + _NODE
            + "} AND EXISTS { (n:Entity {id: p.other}) WHERE "
            + _NODE
            + "} AND "
            + OPEN
            + "RETURN properties(p) AS row ORDER BY p.score DESC, p.pair LIMIT $limit",
            about=about,
            score=2.0 if after is None else after.score,
            pair="" if after is None else after.pair,
            limit=limit,
        )
        return [proposal_from(record["row"]) for record in records]

    async def extractions(self, chosen: Chosen, first: int, after: str | None) -> list[Extraction]:
        """At most so many extractions, by id, after an id. Visible is what was read from a visible entity,
        placed in a visible collection, and what was read from one that is gone."""
        records = await self._run(
            "MATCH (x:_Extraction) WHERE "
            + CHOSEN
            + " AND ($after IS NULL OR x.id > $after) AND EXISTS { (n:Entity {id: x.collection}) WHERE "
            + _NODE
            + "} AND (EXISTS { (n:Entity {id: x.about}) WHERE "
            + _NODE
            + """} OR NOT EXISTS { (:Entity {id: x.about}) })
            RETURN properties(x) AS row ORDER BY x.id LIMIT $first
            """,
            **asdict(chosen),
            after=after,
            first=first,
        )
        return [extraction_from(record["row"]) for record in records]

    async def sees_extraction(self, extraction: Extraction) -> bool:
        """Whether it is of an entity and a collection that are visible; as `extractions` tells them."""
        seen = await self.present([extraction.collection, extraction.about])
        if seen == {extraction.collection, extraction.about}:
            return True
        there = await self._run("MATCH (n:Entity {id: $id}) RETURN 1", id=extraction.about)
        return not there and extraction.collection in seen

    async def full_text(self, text: str) -> tuple[EntityView, ...]:
        """All entities that hold one of the words, by id.

        The words are data: Lucene's operators mean nothing in them. The index's scores depend on
        invisible entities, so they are neither shown nor used.
        """
        found: dict[str, EntityView] = {}
        for terms in full_text_queries(text):
            records = await self._run(
                INDEXED
                + "CALL db.index.fulltext.queryNodes('entity_text', $terms) YIELD node AS n WITH n WHERE "
                + _NODE
                + _COLLECTION_OF
                + "RETURN "
                + _ENTITY,
                terms=terms,
            )
            found |= {entity.id: entity for entity in map(self._entity, records)}
        return tuple(found[id] for id in sorted(found))

    async def by_embedding(self, vector: Sequence[float], k: int) -> tuple[tuple[EntityView, float], ...]:
        """The `k` entities whose embeddings are nearest, best first, with scores from 0 to 1.

        Approximate as to recall, exact as to visibility and scores.
        """
        audiences = [number for number, byte in enumerate(self._visible) if byte]
        if not audiences or k < 1:
            return ()
        # The index filters by audience, in the state last committed; the node is looked at again.
        records = await self._run(
            """CYPHER 25 MATCH (n:Entity)
            SEARCH n IN (
                VECTOR INDEX entity_embedding FOR $vector WHERE n.audience IN $audiences LIMIT $k
            ) SCORE AS score
            WITH n, score WHERE """
            + _NODE
            + _COLLECTION_OF
            + "RETURN score, "
            + _ENTITY
            + " ORDER BY score DESC, n.id",
            vector=list(vector),
            audiences=audiences,
            k=k,
        )
        return tuple((self._entity(record), record["score"]) for record in records)

    async def similarities(self, ids: Collection[str], vector: Sequence[float]) -> Mapping[str, float]:
        """The cosine of a vector with the embedding of each of the entities that has one."""
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE "
            + _NODE
            + """ AND n.embedding IS NOT NULL
            RETURN id, 2 * vector.similarity.cosine(n.embedding, $vector) - 1 AS cosine""",
            ids=list(dict.fromkeys(ids)),
            vector=list(vector),
        )
        return {record["id"]: record["cosine"] for record in records}

    async def handling_inputs(self, ids: Collection[str]) -> Mapping[str, HandlingInput]:
        """Sources and classifications of entities; not cut to what the asker sees.

        What contains an entity (its document, table, data set) lends it its classifications, and what a
        rule is stated in lends it the same.
        """
        records = await self._run(
            """
            UNWIND $ids AS id
            MATCH (n:Entity {id: id})
            RETURN id, n.sources AS sources, COLLECT {
                MATCH (n) (()-[:STATED_IN]->()){0,1} (()<-[:HAS_PASSAGE|HAS_COLUMN|HAS_TABLE]-()){0,2}
                      (:Entity)-[r:CLASSIFIED_AS]->(c:Classification)
                WHERE coalesce($now < r.validTo, true)
                RETURN DISTINCT c.id
            } AS classifications
            """,
            ids=list(dict.fromkeys(ids)),
        )
        return {
            record["id"]: HandlingInput(frozenset(record["sources"]), frozenset(record["classifications"]))
            for record in records
        }

    async def handling_rules(self) -> tuple[HandlingRule, ...]:
        """All handling rules, hidden ones too: a rule binds also where it may not be read."""
        records = await self._run(
            """
            MATCH (h:HandlingRule) WHERE coalesce($now < h.validTo, true)
            RETURN h {.*, embedding: null} AS rule, COLLECT {
                MATCH (h)-[r:GOVERNS]->(c:Classification) WHERE coalesce($now < r.validTo, true)
                RETURN c.id
            } AS classifications
            ORDER BY h.id
            """
        )
        return tuple(handling_rule(record["rule"], record["classifications"]) for record in records)

    async def _run(self, query: LiteralString, **parameters: Any) -> list[Record]:
        result = await self._tx.run(query, {"visible": self._visible, "now": self._now, **parameters})
        return [record async for record in result]

    def _entity(self, record: Record) -> EntityView:
        return entity_view(self._ontology, record["entity"], record["collection"])


def full_text_queries(text: str) -> list[str]:
    """For Lucene's parser: each word as a phrase, as written and by the parts that it may be indexed as."""
    words = (term for word in text.split() for term in (word, *re.findall(r"\w+", word)))
    quoted = (re.sub(r'[\\"]', " ", word) for word in words)
    terms = [f'"{word}"' for word in dict.fromkeys(quoted) if re.search(r"\w", word)]
    return [" ".join(terms[start : start + _TERMS_A_QUERY]) for start in range(0, len(terms), _TERMS_A_QUERY)]


def handling_rule(properties: Mapping[str, Any], classifications: Collection[str]) -> HandlingRule:
    """From a rule's properties, and the ids of the classifications that it governs."""

    def any_or(name: str) -> frozenset[str] | None:
        values = properties.get(name)
        return None if values is None else frozenset(values)

    return HandlingRule(
        frozenset(classifications),
        Handling(
            any_or("jurisdiction"),
            any_or("residency"),
            any_or("certification") or frozenset(),
            properties.get("clearance") or 0,
            any_or("silicon"),
            any_or("excludedSilicon") or frozenset(),
            any_or("excludedOwner") or frozenset(),
            any_or("purpose"),
            any_or("excludedJurisdiction") or frozenset(),
        ),
        properties["id"],
    )
