"""The steps of an erasure in the database, each a part of one transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph import live
from graph.feed import pack_changes
from graph.live import for_each
from graph.mentions import Known, Names
from graph.pages import Pages
from graph.past_claims import unpacked
from graph.rebac.relation_tuples import type_of
from graph.record import Commit, take_revision, write_pages
from graph.tombstones import bury
from graph.writer import lock
from ontologies.ontology import Ontology

PERSON, SATELLITE, ACCOUNT = "Person", "RestrictedValue", "Account"
#: Values by which a person is told from others.
_TELLING = ("name", "email", "accountName", "employeeNumber", "subject")
_SHORTEST = 4


# What belongs to a person.


def _belonging(ontology: Ontology) -> list[str]:
    """Types of relationships to what is one person's alone: accounts, and what fewer may know of them."""
    return sorted(
        one.type
        for one in ontology.relationships.values()
        if not one.domain.isdisjoint(ontology.labels(PERSON))
        and all(ontology.is_a(end, SATELLITE) or ontology.is_a(end, ACCOUNT) for end in one.range)
    )


async def belongings(
    tx: AsyncManagedTransaction, ontology: Ontology, person: str
) -> tuple[list[str], tuple[str, ...]]:
    """The person, under all ids that were merged, with what is theirs, or ever was and is nobody else's; and
    what is somebody else's now."""
    result = await tx.run(
        "MATCH (:Person {id: $person}) (()-[:SAME_AS]-()){1,20} (m:Person) RETURN DISTINCT m.id AS id",
        person=person,
    )
    persons = [person, *sorted({record["id"] async for record in result} - {person})]
    result = await tx.run(
        """
        UNWIND $persons AS person
        MATCH (:Entity {id: person})-[r:$any($types)]->(m:Entity) WHERE r.inferred IS NULL
        RETURN m.id AS id
        UNION
        MATCH (v:_Version|_Aside) WHERE v.start IN $persons AND v.type IN $types RETURN v.end AS id
        """,
        persons=persons,
        types=_belonging(ontology),
    )
    ids = [record["id"] async for record in result]
    result = await tx.run(
        """
        UNWIND $ids AS id
        MATCH (o:Entity)-[r:$any($types)]->(:Entity {id: id})
        WHERE NOT o.id IN $persons AND r.inferred IS NULL
        RETURN DISTINCT id
        """,
        ids=ids,
        persons=persons,
        types=_belonging(ontology),
    )
    shared = {record["id"] async for record in result}
    return [*persons, *sorted(set(ids) - shared)], tuple(sorted(shared))


async def words_of(tx: AsyncManagedTransaction, ontology: Ontology, ids: Sequence[str]) -> frozenset[str]:
    """Values by which the person is told from others, as any source gives or ever gave them."""
    places = await live.places(tx, ids)
    claims = await Pages(tx).claims_on({id: place.pages for id, place in places.items()})
    told: list[tuple[str, Mapping[str, Any]]] = [
        (id, one.claim.values)  # type: ignore[union-attr]  # on ids of entities
        for id, by in claims.items()
        for one, _ in by.values()
    ]
    result = await tx.run(
        "UNWIND $ids AS id MATCH (v:_Version {fact: id}) RETURN id, properties(v) AS row", ids=list(ids)
    )
    told += [(record["id"], record["row"]) async for record in result]
    result = await tx.run(
        "UNWIND $ids AS id MATCH (c:_Claimed {fact: id}) RETURN id, c.claims AS claims", ids=list(ids)
    )
    told += [
        (record["id"], one.claim.values)  # type: ignore[union-attr]  # on ids of entities
        async for record in result
        for one in unpacked(record["claims"])
    ]
    pairs = set()
    for id, values in told:
        satellite = ontology.is_a(_class_of(ontology, id), SATELLITE)
        for name in values.keys() & ontology.values.keys() if satellite else _TELLING:
            several = values.get(name, ())
            for value in several if isinstance(several, (list, tuple)) else (several,):
                if isinstance(value, str) and len(value) >= _SHORTEST:
                    pairs.add((name, value))
    result = await tx.run(
        """
        MATCH (n:Person|RestrictedValue|Account) WHERE NOT n.id IN $ids
        UNWIND $pairs AS pair
        WITH pair, n[pair[0]] AS held
        WHERE pair[1] IN CASE WHEN held IS :: LIST<ANY> THEN held ELSE [held] END
        RETURN DISTINCT pair[1] AS value
        """,
        ids=list(ids),
        pairs=[list(pair) for pair in sorted(pairs)],
    )
    others = {record["value"] async for record in result}
    return frozenset(value for _, value in pairs) - others


# Steps.


async def begin(tx: AsyncManagedTransaction, erasure: str, known: Known, by: str, now: datetime) -> None:
    """The tombstones, and what is to be done. Crawls under way have read what is no longer so."""
    names = known.names
    await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")
    await bury(tx, names.ids.values(), erasure)
    await tx.run(
        """MERGE (e:_Erasure {id: $id})
           SET e.ids = $ids, e.pseudonyms = $pseudonyms, e.words = $words, e.by = $by, e.began = $now,
               e.found = $found""",
        id=erasure,
        ids=list(names.ids),
        pseudonyms=list(names.ids.values()),
        words=sorted(names.words),
        by=by,
        now=now,
        found=json.dumps(known.found.own),
    )
    await tx.run("MATCH (s:_Source) WHERE s.lease IS NOT NULL REMOVE s.lease, s.leaseUntil")


async def take_facts(tx: AsyncManagedTransaction, ontology: Ontology, erasure: str, names: Names) -> int:
    """Claims, facts and history, in one revision: its number, the same one when it is done already."""
    state = await lock(tx, datetime.now(UTC))
    result = await tx.run("MATCH (e:_Erasure {id: $id}) RETURN e.revision AS revision", id=erasure)
    if (done := (await result.single(strict=True))["revision"]) is not None:
        return int(done)
    ids = list(names.ids)
    around = await live.around(tx, ids, ())
    places = await live.places(tx, {*ids, *around})
    pages = Pages(tx)
    for fact, by in (await pages.claims_on({fact: p.pages for fact, p in places.items()})).items():
        for _, page in by.values():
            pages.drop(page, fact)
    await write_pages(tx, pages)
    told: list[dict[str, Any]] = [
        {"kind": "relationship", "id": fact, "before": one.to_json(), "after": None}
        for fact, (one, place) in around.items()
        if place.status == "live"
    ]
    told += [
        {"kind": "entity", "id": id, "before": _bare(ontology, id), "after": None}
        for id in ids
        if id in places and places[id].status == "live"
    ]
    revision = state.revision + 1
    await _shells(tx, ontology, names, revision)
    for query in _GONE:
        await tx.run(query, ids=ids, facts=list(places))
    result = await tx.run("MATCH (q:_Quarantined) RETURN q.key AS key, properties(q) AS row")
    keys = [record["key"] async for record in result if names.within(record["row"])]
    await for_each(tx, "UNWIND $rows AS key MATCH (q:_Quarantined {key: key}) DELETE q", keys)
    await take_revision(tx, Commit(revision, state.now, pack_changes(told), access=True))
    await tx.run("MATCH (e:_Erasure {id: $id}) SET e.revision = $revision", id=erasure, revision=revision)
    return revision


#: `IN_COLLECTION` of what does not stand, and versions of relationships, go with the rest.
_GONE: tuple[LiteralString, ...] = (
    "MATCH (n:Entity) WHERE n.id IN $ids DETACH DELETE n",
    "MATCH (a:_Aside) WHERE a.fact IN $facts OR a.start IN $ids OR a.end IN $ids DELETE a",
    "MATCH (v:_Version) WHERE v.start IN $ids OR v.end IN $ids DELETE v",
    "MATCH (c:_Claimed) WHERE any(id IN split(c.fact, ' ') WHERE id IN $ids) DELETE c",
    "MATCH (b:_Bound) WHERE b.fact IN $facts DELETE b",
    "MATCH (m:_Move) WHERE m.id IN $ids DELETE m",
)
ALL_IDS: LiteralString = """
    MATCH (n:Entity) RETURN n.id AS id
    UNION
    MATCH (v:_Version|_Aside) WHERE v.id IS NOT NULL RETURN v.id AS id
    """


async def _shells(tx: AsyncManagedTransaction, ontology: Ontology, names: Names, revision: int) -> None:
    """Put shells in place of all versions of the erased entities, the current ones included."""
    result = await tx.run(
        """
        UNWIND $ids AS id
        MATCH (v:_Version {fact: id})
        RETURN elementId(v) AS node, id, v.collection AS collection, v.since AS since,
               CASE WHEN v:_Aside THEN $revision ELSE v.until END AS until, v.heldAudience AS audience
        UNION ALL
        UNWIND $ids AS id
        MATCH (n:Entity {id: id})
        RETURN null AS node, id, COLLECT { MATCH (n)-[:IN_COLLECTION]->(c) RETURN c.id }[0] AS collection,
               n.since AS since, $revision AS until, n.audience AS audience
        """,
        ids=list(names.ids),
        revision=revision,
    )
    records = [record async for record in result]
    rows = [
        {
            "fact": names.ids[record["id"]],
            "id": names.ids[record["id"]],
            "class": _class_of(ontology, record["id"]),
            "collection": record["collection"],
            "since": record["since"],
            "until": record["until"],
            "heldAudience": record["audience"],
            "name": "erased",
            "sources": [],
            "confidence": 1.0,
        }
        for record in records
    ]
    nodes = [record["node"] for record in records if record["node"] is not None]
    await for_each(tx, "UNWIND $rows AS id MATCH (v) WHERE elementId(v) = id DELETE v", nodes)
    await for_each(tx, "UNWIND $rows AS row CREATE (v:_Version) SET v = row", rows)


def _bare(ontology: Ontology, id: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "class": _class_of(ontology, id),
        "collection": None,
        "values": {},
        "sources": [],
        "confidence": 1.0,
    }
    return told | {"validFrom": None, "validTo": None}


def _class_of(ontology: Ontology, id: str) -> str:
    return ontology.class_of_type(type_of(id)).name


async def readmit(tx: AsyncManagedTransaction, pseudonyms: Collection[str]) -> None:
    """Without tombstones; scopes that still list them are read whole again."""
    ids: Iterable[str] = sorted(pseudonyms)
    await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")
    await tx.run("MATCH (t:_Tombstone) WHERE t.id IN $ids DELETE t", ids=ids)
    await tx.run(
        """MATCH (q:_Quarantined) WHERE q.entity IN $ids
           MATCH (r:_Reading {source: q.source, scope: q.scope}) REMOVE r.configuration, r.position""",
        ids=ids,
    )
    await tx.run("MATCH (s:_Source) WHERE s.lease IS NOT NULL REMOVE s.lease, s.leaseUntil")
