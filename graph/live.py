"""Writes live nodes, relationships and audiences, as the changes of a batch say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph.audiences import assign
from graph.batch import Change
from graph.facts import IN_COLLECTION, EntityFact, RelationshipFact
from ontologies.authorization_model import AuthorizationModel
from ontologies.ontology import Ontology


async def for_each(
    tx: AsyncManagedTransaction, query: LiteralString, rows: Collection[Any], **parameters: Any
) -> None:
    """Run the query over `$rows`, unless there are none."""
    if rows:
        await tx.run(query, parameters, rows=list(rows))


async def write_facts(
    tx: AsyncManagedTransaction, ontology: Ontology, changes: Sequence[Change], revision: int
) -> None:
    """What appears before what goes, so that no reader sees less than either state."""
    entities: dict[str, list[dict[str, Any]]] = defaultdict(list)
    relationships: dict[str, list[dict[str, Any]]] = defaultdict(list)
    gone_relationships: dict[str, list[dict[str, Any]]] = defaultdict(list)
    gone_entities: list[str] = []
    for change in changes:
        match change:
            case Change(before, EntityFact() as after):
                dropped = dict.fromkeys(before.properties(), None) if before else {}
                properties = dropped | after.properties() | {"since": revision}
                entities[after.class_name].append({"id": after.id, "properties": properties})
            case Change(_, RelationshipFact() as after):
                properties = after.properties() | {"since": revision}
                relationships[after.type].append(
                    {"start": after.start, "end": after.end, "properties": properties}
                )
            case Change(EntityFact() as before, None):
                gone_entities.append(before.id)
            case Change(RelationshipFact() as before, None):
                gone_relationships[before.type].append({"start": before.start, "end": before.end})
    for class_name, rows in entities.items():
        await for_each(
            tx,
            """
            UNWIND $rows AS row
            MERGE (n:Entity {id: row.id})
            SET n:$($labels), n += row.properties
            """,
            rows,
            labels=list(ontology.labels(class_name)),
        )
    for type_, rows in relationships.items():
        await for_each(
            tx,
            """
            UNWIND $rows AS row
            MATCH (a:Entity {id: row.start})
            MATCH (b:Entity {id: row.end})
            MERGE (a)-[r:$($type)]->(b)
            SET r = row.properties
            """,
            rows,
            type=type_,
        )
    for type_, rows in gone_relationships.items():
        await for_each(
            tx,
            """
            UNWIND $rows AS row
            MATCH (a:Entity {id: row.start})-[r:$($type)]->(b:Entity {id: row.end})
            DELETE r
            """,
            rows,
            type=type_,
        )
    await for_each(tx, "UNWIND $rows AS id MATCH (n:Entity {id: id}) DETACH DELETE n", gone_entities)


async def place(
    tx: AsyncManagedTransaction, ontology: Ontology, model: AuthorizationModel, changes: Sequence[Change]
) -> bool:
    """Audiences of entities that appeared or changed their place; whether some are now in between.

    A reader may see a commit half-applied, so an entity that had an audience loses it in this
    revision and gets the new one in the next (`settle_moves`).
    """
    ids = {
        change.fact.start if isinstance(change.fact, RelationshipFact) else change.fact.id
        for change in changes
        if (isinstance(change.fact, EntityFact) and change.before is None)
        or (isinstance(change.fact, RelationshipFact) and change.fact.type == IN_COLLECTION)
    }
    differing = await _differing(tx, ontology, model, ids)
    await _set_audiences(tx, {id: new for id, (held, new) in differing.items() if held is None})
    moving = [id for id, (held, _) in differing.items() if held is not None]
    await for_each(
        tx,
        "UNWIND $rows AS id MATCH (n:Entity {id: id}) REMOVE n.audience MERGE (:_Move {id: id})",
        moving,
    )
    return bool(moving)


async def settle_moves(
    tx: AsyncManagedTransaction, ontology: Ontology, model: AuthorizationModel, ids: Collection[str]
) -> dict[str, int | None]:
    """The second step for entities on the move: the audiences that were set."""
    await for_each(tx, "UNWIND $rows AS id MATCH (m:_Move {id: id}) DELETE m", ids)
    numbers = {id: new for id, (_, new) in (await _differing(tx, ontology, model, ids)).items()}
    await _set_audiences(tx, numbers)
    return numbers


async def _differing(
    tx: AsyncManagedTransaction, ontology: Ontology, model: AuthorizationModel, ids: Collection[str]
) -> dict[str, tuple[int | None, int | None]]:
    """Of the entities whose audience is not what it should be: as it is, as it should be."""
    result = await tx.run(
        "UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN id, n.audience AS audience", ids=sorted(ids)
    )
    held = {record["id"]: record["audience"] async for record in result}
    numbers = await assign(tx, ontology, model, list(held)) if held else {}
    return {id: (held[id], numbers[id]) for id in held if numbers[id] != held[id]}


async def _set_audiences(tx: AsyncManagedTransaction, numbers: Mapping[str, int | None]) -> None:
    await for_each(
        tx,
        "UNWIND $rows AS row MATCH (n:Entity {id: row.id}) SET n.audience = row.audience",
        [{"id": id, "audience": number} for id, number in numbers.items()],
    )
