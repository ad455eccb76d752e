"""Governed reads of the past: what was known at a revision, of what held in the world at an instant.

A superseded version shows only where both the audience that it had and that of its entity now (or last)
are visible to the asker under today's memberships. What is current pays nothing for it: versions stand
apart from the live graph (`graph.live`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction, Record

from graph.database import INDEXED
from graph.entity_view import (
    EntityView,
    Neighbour,
    Page,
    RelationshipView,
    from_cursor,
    neighbour,
    relationship_view,
    to_cursor,
)
from graph.epoch import LOST
from graph.facts import Stated, is_relationship
from graph.inferred_then import inferred_then, link_of
from graph.past_claims import claims_then
from graph.past_handling import handling_inputs_since, handling_rules_of_then
from graph.tombstones import Pseudonyms
from graph.tuples import native
from graph.view import HandlingInput, HandlingRule, View, full_text_queries
from ontologies.ontology import SAME_AS, Ontology


class PastReadError(Exception):
    """The read cannot be made of the past; the message says why, and what can be."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place in both times."""

    revision: int
    """What was known when it was committed."""
    instant: datetime
    """What held then in the world."""


@dataclass(frozen=True, slots=True)
class When:
    """What a read is asked of: what was known at a revision or an instant of record, of what held at an
    instant of the world. By itself the present."""

    as_of: int | datetime | None = None
    valid_at: datetime | None = None

    def record(self) -> dict[str, Any]:
        """In JSON, for the audit log; nothing for the present."""
        asked = {"as_of": self.as_of, "valid_at": self.valid_at}
        return {
            name: at.isoformat() if isinstance(at, datetime) else at
            for name, at in asked.items()
            if at is not None
        }


PRESENT = When()

#: How many times as many are looked at by their meaning, since some say something else by now.
_WIDER = 5

# `found` is a live node or a version, `held` the audience that it had, `n` the live node, if any.
_KNOWN: LiteralString = """
    since <= $revision
    AND coalesce(found.validFrom <= $instant, true) AND coalesce($instant < found.validTo, true)
"""
_VISIBLE: LiteralString = """
    $visible[held] = 1 AND $visible[
        CASE WHEN n IS NOT NULL THEN n.audience
             ELSE COLLECT {
                 MATCH (l:_Version {fact: id}) RETURN l.heldAudience ORDER BY l.until DESC LIMIT 1
             }[0]
        END] = 1
"""
# Of the entity `id`.
_FOUND: LiteralString = (
    """
    OPTIONAL MATCH (n:Entity {id: id})
    CALL (id, n) {
        WITH n WHERE n.since <= $revision
        RETURN n AS found, n.since AS since, n.audience AS held,
               COLLECT { MATCH (n)-[:IN_COLLECTION]->(c) RETURN c.id }[0] AS collection
        UNION ALL
        MATCH (v:_Version {fact: id}) WHERE v.until > $revision
        RETURN v AS found, v.since AS since, v.heldAudience AS held, v.collection AS collection
    }
    WITH id, n, found, since, held, collection WHERE """
    + _KNOWN
    + "AND"
    + _VISIBLE
)
_ENTITY: LiteralString = """
    found {.*, embedding: null} AS entity, CASE
        WHEN EXISTS { MATCH (c:Entity {id: collection}) WHERE $visible[c.audience] = 1 } THEN collection
    END AS collection"""
_AT: LiteralString = "UNWIND $ids AS id" + _FOUND + "RETURN id," + _ENTITY
_OF_CLASS: LiteralString = (
    """
    CALL () {
        MATCH (n:$($label)) WHERE n.since <= $revision
        RETURN n.id AS id, n, n AS found, n.since AS since, n.audience AS held
        UNION ALL
        MATCH (v:_Version) WHERE v.class IN $classes AND v.until > $revision
        OPTIONAL MATCH (n:Entity {id: v.id})
        RETURN v.id AS id, n, v AS found, v.since AS since, v.heldAudience AS held
    }
    WITH id, n, found, since, held WHERE """
    + _KNOWN
    + "AND"
    + _VISIBLE
)
_WORDED: LiteralString = (
    INDEXED
    + """
    CALL () {
        CALL db.index.fulltext.queryNodes('entity_text', $terms) YIELD node AS n
        WITH n WHERE n.since <= $revision
        RETURN n.id AS id, n, n AS found, n.since AS since, n.audience AS held
        UNION ALL
        CALL db.index.fulltext.queryNodes('version_text', $terms) YIELD node AS v
        WITH v WHERE v.until > $revision
        OPTIONAL MATCH (n:Entity {id: v.id})
        RETURN v.id AS id, n, v AS found, v.since AS since, v.heldAudience AS held
    }
    WITH id, n, found, since, held WHERE """
    + _KNOWN
    + "AND"
    + _VISIBLE
)
_EVER_MERGED: LiteralString = """
    UNWIND $ids AS id
    WITH id WHERE EXISTS { (:Entity {id: id})-[:SAME_AS]-() }
       OR EXISTS { (v:_Version {start: id}) WHERE v.type = $same }
       OR EXISTS { (v:_Version {end: id}) WHERE v.type = $same }
    RETURN id
"""
_BESIDE: LiteralString = (
    """
    UNWIND $ids AS id
    CALL (id) {"""
    + _FOUND
    + """
        RETURN true AS seen LIMIT 1
    }
    CALL (id) {
        MATCH (n:Entity {id: id})-[found]-(m:Entity)
        WITH found, found.since AS since, m, startNode(found) = n AS outgoing
        WHERE type(found) IN $types AND found.inferred IS NULL AND """
    + _KNOWN
    + """
        RETURN type(found) AS type, outgoing, m.id AS other, properties(found) AS row
        UNION ALL
        MATCH (found:_Version {start: id}) WHERE found.until > $revision AND found.type IN $types
        WITH found, found.since AS since WHERE """
    + _KNOWN
    + """
        RETURN found.type AS type, true AS outgoing, found.end AS other, properties(found) AS row
        UNION ALL
        MATCH (found:_Version {end: id}) WHERE found.until > $revision AND found.type IN $types
        WITH found, found.since AS since WHERE """
    + _KNOWN
    + """
        RETURN found.type AS type, false AS outgoing, found.start AS other, properties(found) AS row
    }
    CALL (other) {
        WITH other AS id"""
    + _FOUND
    + "RETURN"
    + _ENTITY
    + """
    }
    RETURN id, type, outgoing, other, row, entity, collection"""
)


async def point(tx: AsyncManagedTransaction, when: When) -> Point:
    """The revision that was the last one then, and the instant: by itself, that of the revision.

    Raises PastReadError where there was none yet, none that is still on record, or where it was lost.
    """
    as_of, valid_at = when.as_of, when.valid_at
    result = await tx.run(
        """
        MATCH (meta:_Meta)
        RETURN meta.revision AS revision, meta.at AS at, meta.compactedTo AS compacted,
               COLLECT {
                   MATCH (r:_Revision) WHERE r.number <= $number
                   RETURN r {.number, .at} ORDER BY r.number DESC LIMIT 1
               }[0] AS by_number,
               COLLECT {
                   MATCH (r:_Revision) WHERE r.at <= $at
                   RETURN r {.number, .at} ORDER BY r.at DESC, r.number DESC LIMIT 1
               }[0] AS by_instant
        """,
        number=as_of if isinstance(as_of, int) else None,
        at=as_of if isinstance(as_of, datetime) else None,
    )
    meta = await result.single(strict=True)
    last = None if meta["at"] is None else native(meta["at"])
    if as_of is None and valid_at is not None:
        return Point(meta["revision"], valid_at)
    if last is not None and (as_of == meta["revision"] or (isinstance(as_of, datetime) and as_of >= last)):
        return Point(meta["revision"], valid_at or last)
    if isinstance(as_of, int) and as_of > meta["revision"]:
        raise PastReadError("that revision is not committed yet: wait for it, or leave `as_of` out")
    found = meta["by_number"] if isinstance(as_of, int) else meta["by_instant"]
    if found is None:
        kept = "the record of revisions begins later" if meta["compacted"] else "nothing was known then"
        raise PastReadError(f"there is no revision as of {as_of}: {kept}; ask for a later one")
    if isinstance(as_of, int) and as_of != found["number"]:
        raise PastReadError(f"{LOST}; ask of another one, or of an instant")
    return Point(found["number"], valid_at or native(found["at"]))


class PastView(View):
    """What one asker sees at a point of the past.

    Superseded texts are indexed by their words. Embeddings of them are not kept: by its meaning is found
    what still says the same, and whoever ranks what was found by words embeds it then.
    """

    def __init__(  # noqa: PLR0913, PLR0917  a view, and where it is
        self,
        tx: AsyncManagedTransaction,
        ontology: Ontology,
        visible: bytes,
        now: datetime,
        at: Point,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """Of who was erased since, their shells are told, under their `pseudonyms`."""
        super().__init__(tx, ontology, visible, now)
        self._at = at
        self._pseudonyms = pseudonyms

    async def visible_among(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the ids whose entities the asker may see."""
        return frozenset(await self._entities(ids))

    async def entity(self, id: str) -> EntityView | None:
        """The entity as it then was, or None."""
        return (await self._entities([id])).get(id)

    async def entities(self, class_name: str, first: int, after: str | None = None) -> Page:
        """At most `first` entities of a class, subclasses included, that come after a cursor.

        Raises KeyError for a class that the ontology lacks, CursorError for what is no cursor.
        """
        name, id = from_cursor(after) if after is not None else ("", "")
        parameters = {
            "label": self._ontology.classes[class_name].name,
            "classes": [one for one in self._ontology.classes if self._ontology.is_a(one, class_name)],
        }
        [counted] = await self._run(_OF_CLASS + "RETURN count(*) AS total", **parameters)
        records = await self._run(
            _OF_CLASS
            + """AND (found.name > $name OR found.name = $name AND id > $id)
            RETURN id, found.name AS name ORDER BY name, id LIMIT $limit""",
            name=name,
            id=id,
            limit=first + 1,
            **parameters,
        )
        found = await self._entities([record["id"] for record in records[:first]])
        items = tuple(found.values())
        more = len(records) > first and items
        return Page(items, to_cursor(items[-1]) if more else None, counted["total"])

    async def class_counts(self) -> Mapping[str, int]:
        """How many entities of each class, subclasses included; every class of the ontology is listed."""
        counts = dict.fromkeys(self._ontology.classes, 0)
        for record in await self._run(
            _OF_CLASS + "RETURN split(id, ':')[0] AS type, count(*) AS count",
            label="Entity",
            classes=list(self._ontology.classes),
        ):
            for label in self._ontology.labels(self._ontology.class_of_type(record["type"]).name):
                counts[label] += record["count"]
        return counts

    async def neighbours(
        self, ids: Collection[str], per_entity_limit: int
    ) -> Mapping[str, tuple[Neighbour, ...]]:
        """What was beside each of the entities, by relationship type and name; absent ones had nothing.

        What is inferred follows from what the asker sees there, at the same point.
        """
        records, others = await self._beside(ids, self._ontology.relationships)
        found: dict[str, list[Neighbour]] = {id: [] for id in ids}
        for record in records:
            found[record["id"]].append(
                neighbour(record["type"], record["outgoing"], record["row"], others[record["other"]])
            )
        for id, one in await inferred_then(self._ontology, ids, records, others, self._beside):
            found[id].append(one)
        return {id: tuple(sorted(beside, key=_order)[:per_entity_limit]) for id, beside in found.items()}

    async def outgoing(self, ids: Collection[str]) -> tuple[RelationshipView, ...]:
        """All asserted relationships that started at the entities, by start, type and end."""
        records, _ = await self._beside(ids, self._ontology.relationships)
        found = [
            relationship_view(record["id"], record["type"], record["other"], record["row"])
            for record in records
            if record["outgoing"]
        ]
        return tuple(sorted(found, key=lambda one: (one.start, one.type, one.end)))

    async def claims(self, facts: Collection[str]) -> Mapping[str, tuple[Stated, ...]]:
        """What each source said of the facts; as `View.claims`."""
        seen = set(await self._entities([fact for fact in facts if not is_relationship(fact)]))
        ends = [fact.split(" ") for fact in facts if is_relationship(fact)]
        records, _ = await self._beside({start for start, _, _ in ends}, {type_ for _, type_, _ in ends})
        seen |= {str(link) for link in map(link_of, records)}
        return await claims_then(self._tx, [fact for fact in facts if fact in seen], self._at.revision)

    async def merges(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """The merges that stood around the entities, as `View.merges`."""
        found: set[tuple[str, str]] = set()
        reached: set[str] = set()
        todo = set(ids)
        while todo:
            reached |= todo
            some = await self._run(_EVER_MERGED, ids=list(todo), same=SAME_AS)
            records, _ = await self._beside([record["id"] for record in some], [SAME_AS])
            found |= {(link.start, link.end) for link in map(link_of, records)}
            todo = {id for merge in found for id in merge} - reached
        return sorted(found)

    async def full_text(self, text: str) -> tuple[EntityView, ...]:
        """All entities that then held one of the words, by id; scores of the indexes are not used."""
        found: set[str] = set()
        for terms in full_text_queries(text):
            found |= {record["id"] for record in await self._run(_WORDED + "RETURN id", terms=terms)}
        return tuple((await self._entities(sorted(found))).values())

    async def by_embedding(self, vector: Sequence[float], k: int) -> tuple[tuple[EntityView, float], ...]:
        """The `k` nearest of the entities that are as they then were, best first, with scores from 0 to 1.

        Approximate as to recall, exact as to visibility and scores.
        """
        near = await super().by_embedding(vector, k * _WIDER)
        unchanged = {entity.id: score for entity, score in near if entity.since <= self._at.revision}
        found = await self._entities(unchanged)
        return tuple((entity, unchanged[id]) for id, entity in found.items())[:k]

    async def similarities(self, ids: Collection[str], vector: Sequence[float]) -> Mapping[str, float]:
        """The cosine of a vector with the embedding of each that is as it then was, and has one."""
        return await super().similarities(await self._unchanged(await self._entities(ids)), vector)

    async def handling_inputs(self, ids: Collection[str]) -> Mapping[str, HandlingInput]:
        """Sources and classifications of then and of now: handling is the stricter of both.

        Of what is gone, those that it had at any time since.
        """
        return await handling_inputs_since(self._run, await super().handling_inputs(ids), ids)

    async def handling_rules(self) -> tuple[HandlingRule, ...]:
        """The rules of then, beside those of now."""
        return await super().handling_rules() + await handling_rules_of_then(self._run)

    async def _beside(
        self, ids: Collection[str], types: Collection[str]
    ) -> tuple[list[Record], dict[str, EntityView]]:
        """The relationships of the types, of those that are visible, whose other ends are, and these."""
        records = await self._run(_BESIDE, ids=list(dict.fromkeys(ids)), types=list(types))
        return records, {record["other"]: self._entity(record) for record in records}

    async def _entities(self, ids: Collection[str]) -> dict[str, EntityView]:
        """Those that are visible, in the order of the ids."""
        wanted = list(dict.fromkeys(ids))
        erased = {} if self._pseudonyms is None else {id: self._pseudonyms.of(id) for id in wanted}
        records = {record["id"]: record for record in await self._run(_AT, ids=[*wanted, *erased.values()])}
        found = {id: records.get(id) or records.get(erased.get(id, "")) for id in wanted}
        return {id: self._entity(record) for id, record in found.items() if record is not None}

    async def _unchanged(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the ids whose live entities are as they were at the point."""
        records = await self._run(
            "UNWIND $ids AS id MATCH (n:Entity {id: id}) WHERE n.since <= $revision RETURN id", ids=list(ids)
        )
        return frozenset(record["id"] for record in records)

    async def _run(self, query: LiteralString, **parameters: Any) -> list[Record]:
        at = {"revision": self._at.revision, "instant": self._at.instant}
        return await super()._run(query, **at, **parameters)


def _order(one: Neighbour) -> tuple[str, bool, str, str]:
    return one.type, not one.outgoing, one.entity.name, one.entity.id
