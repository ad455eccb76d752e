"""The write transaction: lock, diff, gate, facts, claims, audiences, revision and changes, all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from neo4j import AsyncManagedTransaction

from graph.batch import Batch, Change, access_rests_on, misplaced, misshapen
from graph.claims import Violation
from graph.facts import IN_COLLECTION, EntityFact, RelationshipFact, Stated
from graph.live import for_each, place, settle_moves, write_facts
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import Shapes

Transaction = AsyncManagedTransaction


@dataclass(frozen=True, slots=True)
class Schema:
    """What is allowed to be written, and what access means."""

    shapes: Shapes
    model: AuthorizationModel


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim that stays out, under the key of its `_Quarantined` node."""

    key: str
    stated: Stated
    violation: Violation
    displaces: bool = True
    """Whether it comes in place of what its source claimed before of the fact."""

    def to_row(self) -> dict[str, Any]:
        evidence = self.stated.claim.evidence.encode(errors="replace").decode()
        place = {"key": self.key, "scope": self.stated.scope, "evidence": evidence}
        return place | asdict(self.violation)


@dataclass(frozen=True, slots=True)
class Order:
    """What one transaction is to do for a source and scope."""

    source: str
    scope: str
    new: Mapping[str, Stated] = field(default_factory=dict)
    """By key: claims that passed the gate alone."""
    refused: Sequence[Refused] = ()
    withdrawn: Collection[str] = ()
    """Keys of claims and quarantined claims that are no longer made."""


@dataclass(frozen=True, slots=True)
class Outcome:
    revision: int
    changes: Sequence[Change] = ()
    refused: Sequence[Refused] = ()
    new: int = 0
    """Claims that are new or say something new."""
    moving: bool = False
    """Whether entities lost an audience that the next revision replaces."""


async def stored(tx: Transaction, keys: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows of the `_Claim`s and of the `_Quarantined` with these keys, by key."""
    claims = await tx.run(
        "UNWIND $keys AS key MATCH (c:_Claim {key: key}) RETURN properties(c) AS row", keys=list(keys)
    )
    claim_rows = {record["row"]["key"]: record["row"] async for record in claims}
    quarantined = await tx.run(
        "UNWIND $keys AS key MATCH (q:_Quarantined {key: key}) RETURN properties(q) AS row", keys=list(keys)
    )
    return claim_rows, {record["row"]["key"]: record["row"] async for record in quarantined}


async def current_revision(tx: Transaction) -> int:
    result = await tx.run("MATCH (meta:_Meta) RETURN meta.revision AS revision")
    return int((await result.single(strict=True))["revision"])


async def carry_out(tx: Transaction, schema: Schema, order: Order) -> Outcome:
    """All of the order in this transaction."""
    revision = await lock(tx)
    keys = {*order.new, *(one.key for one in order.refused), *order.withdrawn}
    claims, quarantined = await stored(tx, keys)
    new = {key: one for key, one in order.new.items() if claims.get(key) != one.to_row()}
    batch = await _batch(tx, schema, order, new, claims)
    refused = list(order.refused)
    for key, violation in (await _violations(tx, schema, batch, new)).items():
        refused.append(Refused(key, order.new[key], violation))
    changes = batch.changes()
    await _write_quarantined(tx, refused, quarantined)
    await _write_claims(tx, batch)
    if not changes:
        return Outcome(revision, (), refused, len(new))
    revision += 1
    await write_facts(tx, schema.shapes.ontology, changes, revision)
    moving = await place(tx, schema.shapes.ontology, schema.model, changes)
    described = [
        {
            "kind": _kind(change),
            "id": change.fact.id,
            "before": _shown(change.before),
            "after": _shown(change.after),
        }
        for change in changes
    ]
    await take_revision(tx, revision, order, described, access=_touches_access(schema, changes))
    return Outcome(revision, changes, refused, len(new), moving)


async def settle(tx: Transaction, schema: Schema, limit: int) -> int:
    """Give entities that changed their place their new audience, in a revision; how many were waiting."""
    revision = await lock(tx)
    moves = await tx.run("MATCH (m:_Move) RETURN m.id AS id ORDER BY id LIMIT $limit", limit=limit)
    ids = [record["id"] async for record in moves]
    if not ids:
        return 0
    set_ = await settle_moves(tx, schema.shapes.ontology, schema.model, ids)
    if set_:
        described = [
            {"kind": "audience", "id": id, "before": None, "after": {"audience": number}}
            for id, number in set_.items()
        ]
        await take_revision(tx, revision + 1, Order("", ""), described, access=False)
    return len(ids)


async def lock(tx: Transaction) -> int:
    """Take the lock that makes writers one after the other; the current revision."""
    await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")  # leaves no change
    return await current_revision(tx)


async def take_revision(
    tx: Transaction, number: int, order: Order, changes: Iterable[Mapping[str, Any]], *, access: bool
) -> None:
    """Record the revision with its changes, one JSON text each."""
    await tx.run(
        """
        MATCH (meta:_Meta)
        SET meta.revision = $number,
            meta.accessRevision = CASE WHEN $access THEN $number ELSE meta.accessRevision END
        CREATE (:_Revision {number: $number, at: $at, source: $source, scope: $scope})
        CREATE (:_Change {revision: $number, changes: $changes})
        """,
        number=number,
        at=datetime.now(UTC),
        source=order.source,
        scope=order.scope,
        access=access,
        changes=[json.dumps(change, ensure_ascii=False) for change in changes],
    )


def again_key(key: str) -> str:
    """For a claim that contradicts an earlier one of the same crawl, whose key it shares."""
    return hashlib.sha256(f"{key} again".encode()).hexdigest()


# What is touched.


async def _batch(
    tx: Transaction, schema: Schema, order: Order, new: Mapping[str, Stated], claims: Mapping[str, Any]
) -> Batch:
    ontology = schema.shapes.ontology
    batch = Batch(ontology)
    withdrawn = {key: Stated.from_row(claims[key]) for key in order.withdrawn if key in claims}
    for one in order.refused:
        if one.displaces and one.key in claims:
            previous = Stated.from_row(claims[one.key])
            if access_rests_on(ontology, previous, one.stated):
                withdrawn[one.key] = previous
    may_go = {
        one.fact
        for key, one in new.items()
        if key in claims and access_rests_on(ontology, Stated.from_row(claims[key]), one)
    }
    facts = [stated.fact for stated in (*new.values(), *withdrawn.values())]
    batch.touch(facts, await _claims_on(tx, facts))
    for stated in new.values():
        batch.after[stated.fact][stated.key] = stated
    for stated in withdrawn.values():
        batch.withdraw(stated)
    around = await _claims_around(tx, batch.unsettled_entities() | may_go)
    facts = [stated.fact for stated in around]
    batch.touch(facts, await _claims_on(tx, facts))
    starts = batch.relationship_starts()
    batch.touch(starts, await _claims_on(tx, starts))
    batch.standing = await _standing(tx, batch.ends())
    return batch


async def _claims_on(tx: Transaction, facts: Collection[str]) -> list[Stated]:
    if not facts:
        return []
    query = "UNWIND $facts AS fact MATCH (c:_Claim {fact: fact}) RETURN properties(c) AS row"
    return [Stated.from_row(record["row"]) async for record in await tx.run(query, facts=list(set(facts)))]


async def _claims_around(tx: Transaction, ids: Collection[str]) -> list[Stated]:
    """Claims of relationships at the entities, and of entities placed in them."""
    found: list[Stated] = []
    if not ids:
        return found
    for query in (
        "UNWIND $ids AS id MATCH (c:_Claim {start: id}) RETURN properties(c) AS row",
        "UNWIND $ids AS id MATCH (c:_Claim {end: id}) RETURN properties(c) AS row",
    ):
        result = await tx.run(query, ids=list(ids))
        found += [Stated.from_row(record["row"]) async for record in result]
    return found


async def _standing(tx: Transaction, ids: Collection[str]) -> set[str]:
    result = await tx.run("UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN n.id AS id", ids=list(ids))
    return {record["id"] async for record in result}


# The gate, on the state after the batch.


async def _violations(
    tx: Transaction, schema: Schema, batch: Batch, new: Mapping[str, Stated]
) -> dict[str, Violation]:
    """By key: the new claims that are refused; the batch is left without them."""
    accepted = dict(new)
    outgoing = await _outgoing(tx, schema.shapes, batch)
    found = refused = misplaced(batch, accepted.values())
    while True:
        for key in refused:
            batch.refuse(accepted.pop(key))
        refused = misshapen(schema.shapes, batch, accepted, outgoing)
        if not refused:
            return found
        found |= refused


async def _outgoing(tx: Transaction, shapes: Shapes, batch: Batch) -> dict[str, dict[str, list[str]]]:
    """Live relationships that the batch does not touch, of the types that shapes count."""
    counted = {
        shape.path
        for of_class in shapes.by_class.values()
        for shape in of_class
        if shape.relationship and (shape.min_count or shape.max_count is not None)
    }
    result = await tx.run(
        """
        UNWIND $ids AS id
        MATCH (n:Entity {id: id})-[r:$any($types)]->(m:Entity) WHERE r.inferred IS NULL
        RETURN id, type(r) AS type, m.id AS end
        """,
        ids=[fact for fact in batch.before if " " not in fact],
        types=sorted(counted - {IN_COLLECTION}),
    )
    outgoing: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    async for record in result:
        if f"{record['id']} {record['type']} {record['end']}" not in batch.before:
            outgoing[record["id"]][record["type"]].append(record["end"])
    return outgoing


# Writing.


async def _write_quarantined(
    tx: Transaction, refused: Sequence[Refused], held: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refused claims are recorded; what was held under the order's other keys has passed or is gone."""
    rows = {one.key: one.to_row() for one in refused}
    new = [row for key, row in rows.items() if held.get(key) != row]
    await for_each(tx, "UNWIND $rows AS row MERGE (q:_Quarantined {key: row.key}) SET q = row", new)
    passed = [key for key in held if key not in rows]
    await for_each(tx, "UNWIND $rows AS key MATCH (q:_Quarantined {key: key}) DELETE q", passed)


async def _write_claims(tx: Transaction, batch: Batch) -> None:
    before = {key: one for claims in batch.before.values() for key, one in claims.items()}
    after = {key: one for claims in batch.after.values() for key, one in claims.items()}
    rows = [one.to_row() for key, one in after.items() if before.get(key) != one]
    await for_each(tx, "UNWIND $rows AS row MERGE (c:_Claim {key: row.key}) SET c = row", rows)
    gone = [key for key in before if key not in after]
    await for_each(tx, "UNWIND $rows AS key MATCH (c:_Claim {key: key}) DELETE c", gone)


def _touches_access(schema: Schema, changes: Sequence[Change]) -> bool:
    """Whether what somebody may see can have changed, apart from the audiences of nodes.

    The placement of an entity that appears is told by its audience alone.
    """
    appearing = {change.fact.id for change in changes if change.before is None}
    for change in changes:
        fact = change.fact
        if isinstance(fact, RelationshipFact):
            placed = fact.type == IN_COLLECTION and fact.start in appearing
            if schema.shapes.ontology.relationships[fact.type].access_bearing and not placed:
                return True
        elif isinstance(change.before, EntityFact) and isinstance(change.after, EntityFact):
            old, new = change.before, change.after
            if (old.valid_from, old.valid_to) != (new.valid_from, new.valid_to):
                return True
            if old.values.get("disabled") != new.values.get("disabled"):
                return True
    return False


def _kind(change: Change) -> str:
    return "entity" if isinstance(change.fact, EntityFact) else "relationship"


def _shown(fact: EntityFact | RelationshipFact | None) -> dict[str, Any] | None:
    return None if fact is None else fact.to_json()
