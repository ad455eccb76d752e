"""How facts are kept: live in the graph, or aside while they do not hold or lack an end; and their past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph.audiences import assign, assign_placed
from graph.batch import Standing, Status
from graph.cycles import Edge
from graph.facts import IN_COLLECTION, EntityFact, Fact, RelationshipFact, is_relationship, placement
from ontologies.authorization_model import AuthorizationModel
from ontologies.ontology import Ontology

#: `until` of a version that is still known.
OPEN = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where the store keeps a fact."""

    status: Status
    since: int
    """Revision since which it is known as it is."""
    pages: tuple[int, ...]
    """Those that hold the claims on it; none for a placement, which follows from its entity's."""
    audience: int | None = None
    """That an entity has, or last had."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What happens to a fact: how it is kept before and after, None for not at all."""

    id: str
    before: tuple[Fact, Place] | None
    after: tuple[Fact, Place] | None

    @property
    def fact(self) -> Fact:
        """As it is, or last was."""
        found = self.after or self.before
        assert found is not None  # noqa: S101
        return found[0]

    @property
    def was_live(self) -> Fact | None:
        return self.before[0] if self.before and self.before[1].status == "live" else None

    @property
    def is_live(self) -> Fact | None:
        return self.after[0] if self.after and self.after[1].status == "live" else None

    @property
    def was_known(self) -> Fact | None:
        return self.before[0] if self.before and self.before[1].status != "waiting" else None

    @property
    def is_known(self) -> Fact | None:
        return self.after[0] if self.after and self.after[1].status != "waiting" else None


def transition(
    id: str,
    before: tuple[Fact, Place] | None,
    after: Standing | None,
    pages: tuple[int, ...],
    revision: int,
) -> Transition:
    """The fact keeps the revision since which it is known while it says the same."""
    if after is None:
        return Transition(id, before, None)
    since, audience = revision, None
    if before is not None:
        audience = before[1].audience
        if before[0] == after.fact and before[1].status != "waiting":
            since = before[1].since
    return Transition(id, before, (after.fact, Place(after.status, since, pages, audience)))


# Reading.


async def places(tx: AsyncManagedTransaction, facts: Collection[str]) -> dict[str, Place]:
    """How each of the facts is kept; those that are not are left out."""
    found: dict[str, Place] = {}
    entities = [fact for fact in facts if not is_relationship(fact)]
    if entities:
        result = await tx.run(
            """
            UNWIND $ids AS id MATCH (n:Entity {id: id})
            RETURN id, n.since AS since, coalesce(n.pages, []) AS pages, n.audience AS audience
            """,
            ids=entities,
        )
        async for record in result:
            found[record["id"]] = Place("live", record["since"], tuple(record["pages"]), record["audience"])
    by_type: dict[str, list[list[str]]] = defaultdict(list)
    for fact in facts:
        if is_relationship(fact):
            start, type_, end = fact.split(" ")
            by_type[type_].append([start, end, fact])
    for type_, rows in by_type.items():
        result = await tx.run(
            """
            UNWIND $rows AS row
            MATCH (:Entity {id: row[0]})-[r:$($type)]->(:Entity {id: row[1]}) WHERE r.inferred IS NULL
            RETURN row[2] AS id, r.since AS since, coalesce(r.pages, []) AS pages
            """,
            rows=rows,
            type=type_,
        )
        async for record in result:
            found[record["id"]] = Place("live", record["since"], tuple(record["pages"]))
    return found | await _aside(tx, [fact for fact in facts if fact not in found])


async def _aside(tx: AsyncManagedTransaction, facts: Collection[str]) -> dict[str, Place]:
    if not facts:
        return {}
    result = await tx.run(
        "UNWIND $facts AS fact MATCH (a:_Aside {fact: fact}) RETURN fact, a {.*} AS row", facts=list(facts)
    )
    return {record["fact"]: _place(record["row"]) async for record in result}


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["status"], row["since"], tuple(row.get("pages") or ()), row.get("heldAudience"))


async def statuses(tx: AsyncManagedTransaction, ids: Collection[str]) -> dict[str, Status]:
    """How those of the entities stand that are known."""
    result = await tx.run("UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN id", ids=list(ids))
    found: dict[str, Status] = {record["id"]: "live" async for record in result}
    aside = await _aside(tx, [id for id in ids if id not in found])
    return found | {id: place.status for id, place in aside.items()}


async def due(tx: AsyncManagedTransaction, now: datetime, limit: int) -> list[str]:
    """Facts that may have begun or ceased to hold."""
    result = await tx.run(
        "MATCH (b:_Bound) WHERE b.at <= $now RETURN b.fact AS fact ORDER BY b.at, fact LIMIT $limit",
        now=now,
        limit=limit,
    )
    return [record["fact"] async for record in result]


Kept = dict[str, tuple[RelationshipFact, Place]]


async def around(tx: AsyncManagedTransaction, ids: Collection[str]) -> Kept:
    """All relationships at the entities, as they are kept."""
    if not ids:
        return {}
    return await _found(tx, _AROUND, ids) | await around_aside(tx, ids)


async def around_aside(tx: AsyncManagedTransaction, ids: Collection[str]) -> Kept:
    """Those that are aside."""
    if not ids:
        return {}
    return await _found(tx, _STARTING_ASIDE, ids) | await _found(tx, _ENDING_ASIDE, ids)


async def starting(tx: AsyncManagedTransaction, type_: str, ids: Collection[str]) -> set[Edge]:
    """The asserted relationships of a type that start at the entities, live or aside."""
    result = await tx.run(
        """
        UNWIND $ids AS id
        MATCH (:Entity {id: id})-[r:$($type)]->(m:Entity) WHERE r.inferred IS NULL
        RETURN id AS start, m.id AS end
        UNION
        UNWIND $ids AS id
        MATCH (a:_Aside {start: id}) WHERE a.type = $type
        RETURN id AS start, a.end AS end
        """,
        ids=list(ids),
        type=type_,
    )
    return {(record["start"], record["end"]) async for record in result}


async def _found(tx: AsyncManagedTransaction, query: LiteralString, ids: Collection[str]) -> Kept:
    found: Kept = {}
    async for record in await tx.run(query, ids=list(ids)):
        row = record["row"]
        fact = RelationshipFact.of_properties(record["start"], record["type"], record["end"], row)
        found[fact.id] = fact, _place({"status": "live", **row})
    return found


_AROUND: LiteralString = """
    UNWIND $ids AS id MATCH (:Entity {id: id})-[r]-(:Entity) WHERE r.inferred IS NULL
    RETURN DISTINCT startNode(r).id AS start, type(r) AS type, endNode(r).id AS end, properties(r) AS row
    """
_STARTING_ASIDE: LiteralString = """
    UNWIND $ids AS id MATCH (a:_Aside {start: id})
    RETURN a.start AS start, a.type AS type, a.end AS end, properties(a) AS row
    """
_ENDING_ASIDE: LiteralString = """
    UNWIND $ids AS id MATCH (a:_Aside {end: id})
    RETURN a.start AS start, a.type AS type, a.end AS end, properties(a) AS row
    """


# Writing.


async def for_each(
    tx: AsyncManagedTransaction, query: LiteralString, rows: Collection[Any], **parameters: Any
) -> None:
    """Run the query over `$rows`, unless there are none."""
    if rows:
        await tx.run(query, parameters, rows=list(rows))


async def write(
    tx: AsyncManagedTransaction,
    ontology: Ontology,
    transitions: Sequence[Transition],
    revision: int,
    now: datetime,
) -> None:
    """What appears before what goes, so that no reader sees less than either state."""
    changed = [one for one in transitions if one.before != one.after]
    await _write_live(tx, ontology, [one for one in changed if one.is_live])
    await _write_versions(tx, [one for one in changed if _superseded(one)], revision)
    await _write_aside(tx, changed)
    await _delete_live(tx, [one for one in changed if one.was_live and not one.is_live])
    await _write_bounds(tx, transitions, now)


def _superseded(one: Transition) -> bool:
    return one.was_known is not None and one.was_known != one.is_known


async def _write_live(
    tx: AsyncManagedTransaction, ontology: Ontology, transitions: Iterable[Transition]
) -> None:
    entities: dict[str, list[dict[str, Any]]] = defaultdict(list)
    relationships: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in transitions:
        assert one.after is not None  # noqa: S101
        fact, place = one.after
        properties = fact.properties() | {"since": place.since, "pages": list(place.pages) or None}
        if isinstance(fact, EntityFact):
            dropped = dict.fromkeys(one.was_live.properties(), None) if one.was_live else {}
            entities[fact.class_name].append({"id": fact.id, "properties": dropped | properties})
        else:
            relationships[fact.type].append({"start": fact.start, "end": fact.end, "properties": properties})
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


async def _write_versions(
    tx: AsyncManagedTransaction, transitions: Iterable[Transition], revision: int
) -> None:
    rows = []
    for one in transitions:
        assert one.before is not None  # noqa: S101
        rows.append(_version(one.id, *one.before) | {"until": revision})
    await for_each(tx, "UNWIND $rows AS row CREATE (v:_Version) SET v = row", rows)


async def _write_aside(tx: AsyncManagedTransaction, transitions: Iterable[Transition]) -> None:
    kept: dict[Status, list[dict[str, Any]]] = defaultdict(list)
    gone = []
    for one in transitions:
        if one.after is not None and not one.is_live:
            fact, place = one.after
            row = _version(one.id, fact, place) | {"status": place.status, "pages": list(place.pages) or None}
            kept[place.status].append(row)
        elif one.before is not None and not one.was_live:
            gone.append(one.id)
    await for_each(
        tx,
        "UNWIND $rows AS row MERGE (a:_Aside {fact: row.fact}) SET a = row, a:_Version, a.until = $open",
        kept["dormant"],
        open=OPEN,
    )
    await for_each(
        tx,
        "UNWIND $rows AS row MERGE (a:_Aside {fact: row.fact}) SET a = row REMOVE a:_Version",
        kept["waiting"],
    )
    await for_each(tx, "UNWIND $rows AS fact MATCH (a:_Aside {fact: fact}) DELETE a", gone)


def _version(id: str, fact: Fact, place: Place) -> dict[str, Any]:
    """As it was, without a name of the living: no `audience`, no label or relationship of theirs."""
    row = fact.properties() | {"fact": id, "since": place.since, "heldAudience": place.audience}
    if isinstance(fact, EntityFact):
        return row | {"id": fact.id, "class": fact.class_name, "collection": fact.collection}
    return row | {"start": fact.start, "type": fact.type, "end": fact.end}


async def _delete_live(tx: AsyncManagedTransaction, transitions: Iterable[Transition]) -> None:
    relationships: dict[str, list[list[str]]] = defaultdict(list)
    entities = []
    for one in transitions:
        fact = one.was_live
        if isinstance(fact, RelationshipFact):
            relationships[fact.type].append([fact.start, fact.end])
        else:
            entities.append(one.id)
    for type_, rows in relationships.items():
        await for_each(
            tx,
            "UNWIND $rows AS row MATCH (:Entity {id: row[0]})-[r:$($type)]->(:Entity {id: row[1]}) DELETE r",
            rows,
            type=type_,
        )
    await for_each(tx, "UNWIND $rows AS id MATCH (n:Entity {id: id}) DETACH DELETE n", entities)


async def _write_bounds(
    tx: AsyncManagedTransaction, transitions: Iterable[Transition], now: datetime
) -> None:
    rows, gone = [], []
    for one in transitions:
        at = next_bound(one.after[0], now) if one.after else None
        if at is not None:
            rows.append([one.id, at])
        elif one.before and (one.before[0].valid_from or one.before[0].valid_to):
            gone.append(one.id)
    await for_each(tx, "UNWIND $rows AS row MERGE (b:_Bound {fact: row[0]}) SET b.at = row[1]", rows)
    await for_each(tx, "UNWIND $rows AS fact MATCH (b:_Bound {fact: fact}) DELETE b", gone)


def next_bound(fact: Fact, now: datetime) -> datetime | None:
    """The next instant at which the fact begins or ceases to hold."""
    return min((at for at in (fact.valid_from, fact.valid_to) if at is not None and at > now), default=None)


# Audiences.


async def place_dormant(
    tx: AsyncManagedTransaction,
    ontology: Ontology,
    model: AuthorizationModel,
    transitions: Sequence[Transition],
) -> list[Transition]:
    """The same, where entities that are kept dormant have the audience of where they are placed."""
    placed = {}
    known = {one.id for one in transitions if one.is_known}
    for one in transitions:
        if one.after is None or one.after[1].status != "dormant" or not isinstance(one.after[0], EntityFact):
            continue
        was, fact = one.before[0] if one.before else None, one.after[0]
        if not isinstance(was, EntityFact) or was.collection != fact.collection:
            placed[one.id] = fact.collection if placement(fact).id in known else None
    somewhere = {id: collection for id, collection in placed.items() if collection is not None}
    numbers = await assign_placed(tx, ontology, model, somewhere) if somewhere else {}
    return [
        replace(one, after=(one.after[0], replace(one.after[1], audience=numbers.get(one.id))))
        if one.id in placed and one.after
        else one
        for one in transitions
    ]


async def place(
    tx: AsyncManagedTransaction,
    ontology: Ontology,
    model: AuthorizationModel,
    transitions: Iterable[Transition],
) -> bool:
    """Audiences of entities that appeared or changed their place; whether some are now in between.

    A reader may see a commit half-applied, so an entity that had an audience loses it in this
    revision and gets the new one in the next (`settle_moves`).
    """
    ids = set()
    for one in transitions:
        if one.was_live == one.is_live:
            continue
        if isinstance(one.fact, EntityFact) and one.was_live is None:
            ids.add(one.fact.id)
        elif isinstance(one.fact, RelationshipFact) and one.fact.type == IN_COLLECTION:
            ids.add(one.fact.start)
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
    if not ids:
        return {}
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
