"""Whether all that a database holds is of the ontology and as its shapes ask; for trials of migrations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator

from neo4j import AsyncManagedTransaction

from graph.claims import EntityClaim
from graph.database import Database
from graph.gate import class_of
from graph.pages import opened
from graph.system_reads import entities
from ontologies.ontology import Ontology
from ontologies.shapes import EntityState, Shapes

_BATCH = 500
#: Problems that are told; there may be as many as there are facts.
_TOLD = 20


async def problems(database: Database, shapes: Shapes) -> list[str]:
    """What is left of terms that the ontology does not have, and what the shapes refuse; the first of it."""
    found: list[str] = []
    async for one in _all(database, shapes):
        if one not in found:
            found.append(one)
        if len(found) == _TOLD:
            break
    return found


async def _all(database: Database, shapes: Shapes) -> AsyncIterator[str]:
    ontology = shapes.ontology
    for record in await database.read("MATCH (p:_Page) RETURN p.number AS number ORDER BY number"):
        [page] = await database.read(
            "MATCH (p:_Page {number: $number}) RETURN p {.*} AS row", number=record["number"]
        )
        for stated in opened(page["row"]).claims.values():
            for term in _unknown(ontology, stated.claim):
                yield f"{stated.fact}: {term} is not of the ontology: add a step for it"
    records = await database.read("MATCH (n:Entity) RETURN n.id AS id ORDER BY id")
    ids = [record["id"] for record in records]
    for start in range(0, len(ids), _BATCH):
        for one in await _refused(database, shapes, ids[start : start + _BATCH]):
            yield one
    for record in await database.read(
        """MATCH (v:_Version) WHERE v.id IS NOT NULL RETURN DISTINCT v.class AS term
           UNION MATCH (v:_Version) WHERE v.type IS NOT NULL RETURN DISTINCT v.type AS term"""
    ):
        if record["term"] not in ontology.classes and record["term"] not in ontology.relationships:
            yield f"the past: {record['term']} is not of the ontology: add a step for it"


def _unknown(ontology: Ontology, claim: object) -> list[str]:
    if isinstance(claim, EntityClaim):
        terms = [name for name in claim.values if name not in ontology.values]
        known = claim.class_name in ontology.classes and class_of(ontology, claim.id) == claim.class_name
        return terms if known else [claim.class_name, *terms]
    start, type_, end = claim.start, claim.type, claim.end  # type: ignore[attr-defined]  # the other kind
    unknown = [id for id in (start, end) if class_of(ontology, id) is None]
    return unknown if type_ in ontology.relationships else [type_, *unknown]


async def _refused(database: Database, shapes: Shapes, ids: list[str]) -> list[str]:
    async def work(tx: AsyncManagedTransaction) -> dict[str, dict[str, list[str]]]:
        result = await tx.run(
            """UNWIND $ids AS id MATCH (:Entity {id: id})-[r]->(m:Entity) WHERE r.inferred IS NULL
               RETURN id, type(r) AS type, m.id AS end""",
            ids=ids,
        )
        outgoing: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        async for record in result:
            outgoing[record["id"]][record["type"]].append(record["end"])
        return outgoing

    ontology = shapes.ontology
    outgoing = await database.read_transaction(work)
    strangers = [id for id in ids if class_of(ontology, id) is None]
    found = [f"{id}: its type is not of the ontology: add a step for it" for id in strangers]
    states = [
        EntityState(
            one.id,
            one.class_name,
            one.values,
            {
                type_: tuple(ends)
                for type_, ends in outgoing[one.id].items()
                if type_ in ontology.relationships
            },
        )
        for one in await entities(database, ontology, [id for id in ids if id not in strangers])
    ]
    ends = {end for state in states for ends in state.relationships.values() for end in ends}
    classes = {end: name for end in ends if (name := class_of(ontology, end))}
    for broken in shapes.check(states, classes):
        found.append(f"{broken.entity}: {broken.path} = {broken.value}: {broken.message}")
    return found
