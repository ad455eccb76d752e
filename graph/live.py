"""How facts are kept: live in the graph, or aside while they do not hold or lack an end; and their past."""

from __future__ import annotations

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
    since: int | None
    """Revision since which it is known as it is; None for the one that is being made."""
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
        assert found is not None  # noqa: S101  one of them is there
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
) -> Transition:
    """The fact keeps the revision since which it is known while it says the same."""
    if after is None:
        return Transition(id, before, None)
    since: int | None = None
    audience = None
    if before is not None:
        audience = before[1].audience
        if before[0] == after.fact and before[1].status != "waiting":
            since = before[1].since
    return Transition(id, before, (after.fact, Place(after.status, since, pages, audience)))


# Reading.


async def places(tx: AsyncManagedTransaction, facts: Collection[str]) -> dict[str, Place]:
    """How each of the facts is kept; those that are not are left out."""
    if not facts:
        return {}
    result = await tx.run(
        _PLACES,
        facts=list(facts),
        ids=[fact for fact in facts if not is_relationship(fact)],
        relationships=[[fact, *fact.split(" ")] for fact in facts if is_relationship(fact)],
    )
    return {record["fact"]: _place(record["row"]) async for record in result}


_PLACES: LiteralString = """
    UNWIND $ids AS fact
    MATCH (n:Entity {id: fact})
    RETURN fact, {status: 'live', since: n.since, pages: n.pages, heldAudience: n.audience} AS row
    UNION ALL
    UNWIND $relationships AS one
    MATCH (:Entity {id: one[1]})-[r:$(one[2])]->(:Entity {id: one[3]}) WHERE r.inferred IS NULL
    RETURN one[0] AS fact, {status: 'live', since: r.since, pages: r.pages} AS row
    UNION ALL
    UNWIND $facts AS fact
    MATCH (a:_Aside {fact: fact})
    RETURN fact, a {.status, .since, .pages, .heldAudience} AS row
    """


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["status"], row["since"], tuple(row.get("pages") or ()), row.get("heldAudience"))


async def statuses(tx: AsyncManagedTransaction, ids: Collection[str]) -> dict[str, Status]:
    """How those of the entities stand that are known."""
    return {id: place.status for id, place in (await places(tx, ids)).items()}


async def due(tx: AsyncManagedTransaction, now: datetime, limit: int) -> list[str]:
    """Facts that may have begun or ceased to hold."""
    result = await tx.run(
        "MATCH (b:_Bound) WHERE b.at <= $now RETURN b.fact AS fact ORDER BY b.at, fact LIMIT $limit",
        now=now,
        limit=limit,
    )
    return [record["fact"] async for record in result]


Kept = dict[str, tuple[RelationshipFact, Place]]


async def around(tx: AsyncManagedTransaction, ids: Collection[str], appeared: Collection[str]) -> Kept:
    """All relationships at the entities, as they are kept; at those that appeared, what is aside."""
    found: Kept = {}
    if not (ids or appeared):
        return found
    async for record in await tx.run(_AROUND, ids=list(ids), aside=[*ids, *appeared]):
        row = record["row"]
        fact = RelationshipFact.of_properties(record["start"], record["type"], record["end"], row)
        found[fact.id] = fact, _place({"status": "live", **row})
    return found


_AROUND: LiteralString = """
    UNWIND $ids AS id
    MATCH (:Entity {id: id})-[r]-(:Entity) WHERE r.inferred IS NULL
    RETURN DISTINCT startNode(r).id AS start, type(r) AS type, endNode(r).id AS end, properties(r) AS row
    UNION ALL
    UNWIND $aside AS id
    MATCH (a:_Aside {start: id})
    RETURN a.start AS start, a.type AS type, a.end AS end, properties(a) AS row
    UNION ALL
    UNWIND $aside AS id
    MATCH (a:_Aside {end: id})
    RETURN a.start AS start, a.type AS type, a.end AS end, properties(a) AS row
    """


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


# Writing.


async def for_each(
    tx: AsyncManagedTransaction, query: LiteralString, rows: Collection[Any], **parameters: Any
) -> None:
    """Run the query over `$rows`, unless there are none."""
    if rows:
        await tx.run(query, parameters, rows=list(rows))


Rows = Mapping[str, Any]
"""`$facts` of `WRITE`; none where nothing is to be written."""


async def write(tx: AsyncManagedTransaction, rows: Rows) -> None:
    """Write the facts."""
    if rows:
        await tx.run(WRITE, facts=rows)


def rows_of(ontology: Ontology, transitions: Iterable[tuple[Transition, int]], now: datetime) -> Rows:
    """`$facts` of `WRITE` for them, each with its revision; none where nothing is to be written."""
    rows: dict[str, list[Any]] = {name: [] for name in _ROWS}
    for one, revision in transitions:
        if one.before != one.after:
            _write_live(rows, ontology, one, revision)
            _write_aside(rows, one, revision)
            if one.before is not None and one.was_known is not None and one.was_known != one.is_known:
                rows["versions"].append(_version(one.id, *one.before) | {"until": revision})
        _write_bound(rows, one, now)
    return {**rows, "open": OPEN} if any(rows.values()) else {}


_ROWS = (
    "entities", "relationships", "versions", "dormant", "waiting", "settled", "ended", "gone", "bounds",
    "unbounded",
)  # fmt: skip
#: What appears before what goes, so that no reader sees less than either state. One parameter holds all rows,
#: since Neo4j plans anew for each combination of the types of parameters, and an empty list is of its own.
WRITE: LiteralString = """
    CALL () {
        UNWIND $facts.entities AS row
        MERGE (n:Entity {id: row.id})
        SET n:$(row.labels), n += row.properties
    }
    CALL () {
        UNWIND $facts.relationships AS row
        MATCH (a:Entity {id: row.start})
        MATCH (b:Entity {id: row.end})
        MERGE (a)-[r:$(row.type)]->(b)
        SET r = row.properties
    }
    CALL () { UNWIND $facts.versions AS row CREATE (v:_Version) SET v = row }
    CALL () {
        UNWIND $facts.dormant AS row
        MERGE (a:_Aside {fact: row.fact})
        SET a = row, a:_Version, a.until = $facts.open
    }
    CALL () { UNWIND $facts.waiting AS row MERGE (a:_Aside {fact: row.fact}) SET a = row REMOVE a:_Version }
    CALL () { UNWIND $facts.settled AS fact MATCH (a:_Aside {fact: fact}) DELETE a }
    CALL () {
        UNWIND $facts.ended AS row
        MATCH (a:Entity {id: row[0]})
        MATCH (b:Entity {id: row[2]})
        OPTIONAL MATCH (a)-[r:$(row[1])]->(b)  // is planned with both ends found: one may have a great many
        DELETE r
    }
    CALL () { UNWIND $facts.gone AS id MATCH (n:Entity {id: id}) DETACH DELETE n }
    CALL () { UNWIND $facts.bounds AS row MERGE (b:_Bound {fact: row[0]}) SET b.at = row[1] }
    CALL () { UNWIND $facts.unbounded AS fact MATCH (b:_Bound {fact: fact}) DELETE b }
    """


def _write_live(rows: Mapping[str, list[Any]], ontology: Ontology, one: Transition, revision: int) -> None:
    was, is_ = one.was_live, one.is_live
    if is_ is not None and one.after is not None:
        place = one.after[1]
        properties = is_.properties() | {"since": place.since or revision, "pages": list(place.pages) or None}
        if isinstance(is_, EntityFact):
            dropped = dict.fromkeys(was.properties(), None) if was else {}
            labels = list(ontology.labels(is_.class_name))
            rows["entities"].append({"id": is_.id, "labels": labels, "properties": dropped | properties})
        else:
            row = {"start": is_.start, "type": is_.type, "end": is_.end, "properties": properties}
            rows["relationships"].append(row)
    elif isinstance(was, RelationshipFact):
        rows["ended"].append([was.start, was.type, was.end])
    elif was is not None:
        rows["gone"].append(one.id)


def _write_aside(rows: Mapping[str, list[Any]], one: Transition, revision: int) -> None:
    if one.after is not None and not one.is_live:
        fact, place = one.after
        row = _version(one.id, fact, place) | {"status": place.status, "pages": list(place.pages) or None}
        row["since"] = place.since or revision
        rows[place.status].append(row)
    elif one.before is not None and not one.was_live:
        rows["settled"].append(one.id)


def _version(id: str, fact: Fact, place: Place) -> dict[str, Any]:
    """As it was, without a name of the living: no `audience`, no label or relationship of theirs."""
    row = fact.properties() | {"fact": id, "since": place.since, "heldAudience": place.audience}
    if isinstance(fact, EntityFact):
        return row | {"id": fact.id, "class": fact.class_name, "collection": fact.collection}
    return row | {"start": fact.start, "type": fact.type, "end": fact.end}


def _write_bound(rows: Mapping[str, list[Any]], one: Transition, now: datetime) -> None:
    at = next_bound(one.after[0], now) if one.after else None
    if at is not None:
        rows["bounds"].append([one.id, at])
    elif one.before and (one.before[0].valid_from or one.before[0].valid_to):
        rows["unbounded"].append(one.id)


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


def placed(transitions: Iterable[Transition]) -> set[str]:
    """Entities that appeared or changed their place."""
    ids = set()
    for one in transitions:
        if one.was_live == one.is_live:
            continue
        if isinstance(one.fact, EntityFact) and one.was_live is None:
            ids.add(one.fact.id)
        elif isinstance(one.fact, RelationshipFact) and one.fact.type == IN_COLLECTION:
            ids.add(one.fact.start)
    return ids


async def place(
    tx: AsyncManagedTransaction, ontology: Ontology, model: AuthorizationModel, ids: Collection[str]
) -> bool:
    """Audiences of entities that appeared or changed their place; whether some are now in between.

    A reader may see a commit half-applied, so an entity that had an audience loses it in this
    revision and gets the new one in the next (`settle_moves`).
    """
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
