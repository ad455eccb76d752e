"""Carries migrations of the ontology out on a database that nobody else writes to.

Facts follow from claims, so the claims are what is rewritten, page by page, and the facts with them; then
what is kept of the past, which is read under today's names. Each batch is one transaction, which notes how
far it came: what breaks off goes on from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from neo4j import AsyncManagedTransaction

from graph import digests, live
from graph.database import Database
from graph.facts import EntityFact, Stated, fact_of, is_relationship, merge_entity, merge_relationship
from graph.feed import pack_changes
from graph.live import for_each
from graph.migrated import migrated, migrated_version
from graph.pages import Pages
from graph.past_claims import packed, unpacked
from graph.record import Commit, take_revision, write_pages
from graph.writer import lock
from ontologies.migrations import Migration, Step, type_of_class, with_earlier_terms
from ontologies.ontology import ROOT, Ontology

#: Pages in one transaction, and versions.
_PAGES = 20
_VERSIONS = 1_000

Progress = Callable[[str], None]


class MigrationError(Exception):
    """The facts cannot be migrated; the message names what is in the way."""


async def migrate(
    database: Database, ontology: Ontology, chain: Sequence[Migration], progress: Progress
) -> None:
    """Carry the migrations of one module out, one after the other, from where an earlier try broke off.

    `ontology` is that of the version at the end. Raises MigrationError.
    """
    steps = [step for one in chain for step in one.steps]
    for one in chain:
        for number, step in enumerate(one.steps):
            progress(f"{one.module} {one.before} to {one.after}: {step.kind} {step.name}")
            at = _At(one.module, one.before, number)
            left = with_earlier_terms(ontology, steps[len(steps) - _rest(chain, one, number) :])
            await _carry_out(database, left, step, at)
        await database.write_transaction(partial(_finish, migration=one))
    await _label(database, ontology)


def _rest(chain: Sequence[Migration], current: Migration, number: int) -> int:
    """How many steps there are from this one on."""
    after = chain[list(chain).index(current) + 1 :]
    return len(current.steps) - number + sum(len(one.steps) for one in after)


@dataclass(frozen=True, slots=True)
class _At:
    """A step of a migration."""

    module: str
    before: str
    number: int


async def _carry_out(database: Database, ontology: Ontology, step: Step, at: _At) -> None:
    if not await database.write_transaction(partial(_take_up, at=at)):
        return
    while await database.write_transaction(partial(_pages, ontology=ontology, step=step, at=at)):
        pass
    while await database.write_transaction(partial(_versions, step=step)):
        pass
    reached: _Reached | None = ("", -1)
    while reached is not None:
        reached = await database.write_transaction(partial(_claimed, step=step, after=reached))
    if step.kind == "rename_class":
        while await database.write_transaction(partial(_rename_live, ontology=ontology, step=step)):
            pass
    await database.write_transaction(partial(_records, step=step, at=at))


# How far it came.


async def _take_up(tx: AsyncManagedTransaction, at: _At) -> bool:
    """Whether the step is still to be done; then it is the one under way."""
    result = await tx.run(
        """
        MERGE (m:_Migration {module: $module, before: $before})
        ON CREATE SET m.step = $number, m.page = -1
        WITH m WHERE m.step <= $number
        SET m.page = CASE WHEN m.step = $number THEN m.page ELSE -1 END, m.step = $number
        RETURN m.step AS step
        """,
        module=at.module,
        before=at.before,
        number=at.number,
    )
    return await result.single() is not None


async def _finish(tx: AsyncManagedTransaction, migration: Migration) -> None:
    await tx.run(
        """
        MATCH (module:_Module {iri: $module}) SET module.version = $after
        WITH module OPTIONAL MATCH (m:_Migration {module: $module, before: $before}) DELETE m
        """,
        module=migration.module,
        before=migration.before,
        after=migration.after,
    )


# Pages of claims, and the facts that follow.


@dataclass(slots=True)
class _Batch:
    """What a batch of pages changes."""

    before: dict[str, list[Stated]] = field(default_factory=lambda: defaultdict(list))
    after: dict[str, list[Stated]] = field(default_factory=lambda: defaultdict(list))
    """By fact as it was called."""


async def _pages(tx: AsyncManagedTransaction, ontology: Ontology, step: Step, at: _At) -> bool:
    """Migrate the claims of some pages, and what follows; whether there may be more.

    Entities of a renamed class keep their ids meanwhile, by which relationships are found (`_rename_live`).
    """
    state = await lock(tx, datetime.now(UTC))
    result = await tx.run("MATCH (m:_Migration {module: $module}) RETURN m.page AS page", module=at.module)
    reached = (await result.single(strict=True))["page"]
    result = await tx.run(
        "MATCH (p:_Page) WHERE p.number > $reached RETURN p.number AS number ORDER BY number LIMIT $limit",
        reached=reached,
        limit=_PAGES,
    )
    numbers = [record["number"] async for record in result]
    if not numbers:
        return False
    pages = Pages(tx)
    touched = {
        fact
        for page in await pages.open(numbers)
        for fact, one in page.claims.items()
        if migrated(step, one.claim) is not one.claim
    }
    places = await live.places(tx, touched)
    if lost := sorted(touched - places.keys()):
        raise MigrationError(f"{lost[0]} is claimed and stands nowhere: restore the database from a backup")
    batch = _Batch()
    for fact, by in (await pages.claims_on({fact: places[fact].pages for fact in touched})).items():
        for one, number in by.values():
            claim = migrated(step, one.claim)
            batch.before[fact].append(one)
            if claim is None:
                pages.drop(number, fact)
                continue
            made = one._replace(fact=fact_of(claim), claim=claim)
            batch.after[fact].append(made)
            if made.fact != fact:
                [page] = await pages.open([number])
                if made.fact in page.claims:
                    raise MigrationError(
                        f"{made.fact} is claimed already, where {fact} would become it: take one of them "
                        f"out of source {one.source} first"
                    )
                pages.drop(number, fact)
            pages.put(number, made, _entry(made))
    await write_pages(tx, pages)
    changes = await _facts(tx, ontology, batch, places)
    if changes:
        number = state.revision + 1
        await take_revision(tx, Commit(number, state.now, pack_changes(changes), access=True))
    await tx.run(
        "MATCH (m:_Migration {module: $module}) SET m.page = $page", module=at.module, page=numbers[-1]
    )
    return True


def _entry(one: Stated) -> bytes:
    """Of the claim in its page's index."""
    contents = digests.Contents(one.trust).of([one.claim])
    return digests.packed(digests.of_facts([one.fact]), contents, digests.of_evidence([one.claim]))


async def _facts(
    tx: AsyncManagedTransaction, ontology: Ontology, batch: _Batch, places: Mapping[str, live.Place]
) -> list[dict[str, Any]]:
    """Make live nodes and relationships, and what is aside, what follows from the claims; the changes."""
    entities: list[dict[str, Any]] = []
    gone: list[str] = []
    types: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    dropped: dict[str, list[list[str]]] = defaultdict(list)
    aside: list[dict[str, Any]] = []
    bounds: list[list[str | None]] = []
    changes: list[dict[str, Any]] = []
    for fact, stated in batch.before.items():
        old, new = _merged(ontology, stated), _merged(ontology, batch.after[fact])
        if new is None or new.id != fact:
            bounds.append([fact, None if new is None else new.id])
        if places[fact].status != "live":
            aside.append({"old": fact, "row": None if new is None else _row(old, new)})
            continue
        changes += _told(old, new)
        if isinstance(old, EntityFact):
            if new is None:
                gone.append(fact)
            else:
                entities.append({"id": fact, "properties": _differing(old, new)})
        elif new is None:
            dropped[old.type].append([old.start, old.end])
        elif old.type != new.type:
            types[old.type, new.type].append([old.start, old.end])
    await _relationships(tx, types, dropped)
    await for_each(tx, "UNWIND $rows AS row MATCH (n:Entity {id: row.id}) SET n += row.properties", entities)
    await for_each(tx, "UNWIND $rows AS id MATCH (n:Entity {id: id}) DETACH DELETE n", gone)
    for query, rows in (
        (
            "UNWIND $rows AS row MATCH (a:_Aside {fact: row.old}) WHERE row.row IS NOT NULL SET a += row.row",
            aside,
        ),
        ("UNWIND $rows AS row MATCH (a:_Aside {fact: row.old}) WHERE row.row IS NULL DELETE a", aside),
        ("UNWIND $rows AS row MATCH (b:_Bound {fact: row[0]}) SET b.fact = row[1]", bounds),
        ("MATCH (b:_Bound) WHERE b.fact IS NULL DELETE b", bounds),
    ):
        await for_each(tx, query, rows)
    return changes


def _merged(ontology: Ontology, stated: Sequence[Stated]) -> Any:
    """The fact that follows; None from no claims."""
    if not stated:
        return None
    fact = stated[0].fact
    if is_relationship(fact):
        return merge_relationship(stated)
    told = {name for one in stated for name in one.claim.values}  # type: ignore[union-attr]  # an entity's
    if unknown := sorted(told - ontology.values.keys()):
        raise MigrationError(f"{fact}: {unknown[0]} is not of the ontology: add a step for it")
    return merge_entity(ontology, stated)


async def _relationships(
    tx: AsyncManagedTransaction,
    types: Mapping[tuple[str, str], Collection[list[str]]],
    dropped: Mapping[str, Collection[list[str]]],
) -> None:
    for (old, new), rows in types.items():
        await for_each(
            tx,
            """
            UNWIND $rows AS row
            MATCH (a:Entity {id: row[0]})-[r:$($old)]->(b:Entity {id: row[1]})
            CREATE (a)-[x:$($new)]->(b) SET x = properties(r) DELETE r
            """,
            rows,
            old=old,
            new=new,
        )
    for type_, rows in dropped.items():
        await for_each(
            tx,
            "UNWIND $rows AS row MATCH (:Entity {id: row[0]})-[r:$($type)]->(:Entity {id: row[1]}) DELETE r",
            rows,
            type=type_,
        )


async def _relabel(tx: AsyncManagedTransaction, ids: Sequence[str], labels: Sequence[str]) -> None:
    await tx.run(
        """
        UNWIND $ids AS id
        MATCH (n:Entity {id: id})
        WITH n, [label IN labels(n) WHERE NOT label IN $labels] AS gone
        SET n:$($labels) REMOVE n:$(gone)
        """,
        ids=list(ids),
        labels=list(labels),
    )


def _told(old: Any, new: Any) -> list[dict[str, Any]]:
    """The changes, as the outbox has them."""
    kind = "entity" if isinstance(old, EntityFact) else "relationship"
    if new is not None and old.id == new.id:
        return [{"kind": kind, "id": old.id, "before": old.to_json(), "after": new.to_json()}]
    went = {"kind": kind, "id": old.id, "before": old.to_json(), "after": None}
    if new is None:
        return [went]
    return [went, {"kind": kind, "id": new.id, "before": None, "after": new.to_json()}]


def _differing(old: EntityFact, new: EntityFact) -> dict[str, Any]:
    """The properties to set, None for those that go."""
    return dict.fromkeys(old.properties(), None) | new.properties()


def _row(old: Any, new: Any) -> dict[str, Any]:
    """What is to be set of what is kept aside."""
    if isinstance(new, EntityFact):
        row = {"fact": new.id, "id": new.id, "class": new.class_name, "collection": new.collection}
        return _differing(old, new) | row
    return {**new.properties(), "fact": new.id, "start": new.start, "type": new.type, "end": new.end}


# The past.


async def _versions(tx: AsyncManagedTransaction, step: Step) -> bool:
    """Migrate some versions, and what is aside without claims of its own; whether there may be more."""
    result = await tx.run(
        """
        MATCH (v:_Version|_Aside) WHERE (NOT v:_Aside OR v.type = 'IN_COLLECTION') AND CASE $about
            WHEN 'class' THEN any(id IN [v.id, v.start, v.end, v.collection] WHERE id STARTS WITH $prefix)
            WHEN 'relationship' THEN v.type = $name
            ELSE v.id IS NOT NULL AND v[$name] IS NOT NULL AND ($name <> $to OR
                 any(one IN CASE WHEN v[$name] IS :: LIST<ANY> THEN v[$name] ELSE [v[$name]] END
                     WHERE one IN $mapped))
        END
        RETURN elementId(v) AS node, properties(v) AS row LIMIT $limit
        """,
        about=step.about,
        prefix=f"{type_of_class(step.name)}:",
        name=step.name,
        to=step.to,
        mapped=list(step.map),
        limit=_VERSIONS,
    )
    rows = [{"node": record["node"], "row": migrated_version(step, record["row"])} async for record in result]
    kept = [row for row in rows if row["row"] is not None]
    await for_each(tx, "UNWIND $rows AS row MATCH (v) WHERE elementId(v) = row.node SET v = row.row", kept)
    gone = [row["node"] for row in rows if row["row"] is None]
    await for_each(tx, "UNWIND $rows AS node MATCH (v) WHERE elementId(v) = node DELETE v", gone)
    return bool(rows)


_Reached = tuple[str, int]
"""Fact and revision of the last that was looked at."""


async def _claimed(tx: AsyncManagedTransaction, step: Step, after: _Reached) -> _Reached | None:
    """Migrate some of the claims of the past, in their order; where to go on, None at the end.

    A step leaves alone what it has done already, so that it may begin anew.
    """
    result = await tx.run(
        """
        MATCH (c:_Claimed) WHERE c.fact > $fact OR c.fact = $fact AND c.until > $until
        RETURN elementId(c) AS node, c.fact AS fact, c.until AS until, c.claims AS claims
        ORDER BY fact, until LIMIT $limit
        """,
        fact=after[0],
        until=after[1],
        limit=_VERSIONS,
    )
    records = [record async for record in result]
    kept, gone = [], []
    for record in records:
        before = unpacked(record["claims"])
        made = [(one, claim) for one in before if (claim := migrated(step, one.claim)) is not None]
        if not made:
            gone.append(record["node"])
        elif len(made) < len(before) or any(claim is not one.claim for one, claim in made):
            told = [one._replace(fact=fact_of(claim), claim=claim) for one, claim in made]
            kept.append([record["node"], told[0].fact, packed(told)])
    await for_each(
        tx,
        "UNWIND $rows AS row MATCH (c) WHERE elementId(c) = row[0] SET c.fact = row[1], c.claims = row[2]",
        kept,
    )
    await for_each(tx, "UNWIND $rows AS node MATCH (c) WHERE elementId(c) = node DELETE c", gone)
    return (records[-1]["fact"], records[-1]["until"]) if records else None


# What else names terms.


async def _rename_live(tx: AsyncManagedTransaction, ontology: Ontology, step: Step) -> bool:
    """Give some live entities of a renamed class their new ids and labels; whether there may be more."""
    old, new = f"{type_of_class(step.name)}:", f"{type_of_class(step.to)}:"
    result = await tx.run(
        """
        MATCH (n:Entity) WHERE n.id STARTS WITH $old
        WITH n LIMIT $limit
        SET n.id = $new + substring(n.id, size($old))
        RETURN n.id AS id
        """,
        old=old,
        new=new,
        limit=_VERSIONS,
    )
    ids = [record["id"] async for record in result]
    if ids:
        await _relabel(tx, ids, ontology.labels(step.to))
    return bool(ids)


async def _records(tx: AsyncManagedTransaction, step: Step, at: _At) -> None:
    """What the store notes of classes and types; with that the step is done."""
    if step.kind == "rename_class":
        old, new = f"{type_of_class(step.name)}:", f"{type_of_class(step.to)}:"
        await tx.run(
            """
            MATCH (a:_Audience) WHERE a.place STARTS WITH $old OR a.expression CONTAINS '"' + $old
            SET a.place = CASE WHEN a.place STARTS WITH $old
                          THEN $new + substring(a.place, size($old)) ELSE a.place END,
                a.expression = replace(a.expression, '"' + $old, '"' + $new)
            """,
            old=old,
            new=new,
        )
        await _rename_kind(tx, type_of_class(step.name), type_of_class(step.to))
    elif step.about == "relationship":
        await tx.run("MATCH ()-[r:$($name)]->() WHERE r.inferred DELETE r", {"name": step.name})
        await _rename_kind(tx, step.name, step.to)
    await tx.run(
        "MATCH (m:_Migration {module: $module}) SET m.step = $next, m.page = -1",
        module=at.module,
        next=at.number + 1,
    )


async def _rename_kind(tx: AsyncManagedTransaction, name: str, to: str) -> None:
    """In what scopes claim; nothing of it is left where `to` is empty."""
    await tx.run(
        """
        MATCH (s:_Source) WHERE $name IN s.kinds
        SET s.kinds = [kind IN s.kinds WHERE kind <> $name] + $to
        """,
        {"name": name, "to": [to] if to else []},
    )


async def _label(database: Database, ontology: Ontology) -> None:
    """Give live nodes the labels of their classes as they are above each other now."""

    async def work(tx: AsyncManagedTransaction, class_name: str, labels: Sequence[str]) -> None:
        result = await tx.run(
            """
            MATCH (n:$($class)) WHERE n.id STARTS WITH $prefix
              AND (size(labels(n)) <> size($labels) OR any(label IN labels(n) WHERE NOT label IN $labels))
            RETURN n.id AS id
            """,
            {"class": class_name, "prefix": f"{ontology.classes[class_name].type}:", "labels": list(labels)},
        )
        ids = [record["id"] async for record in result]
        if ids:
            await _relabel(tx, ids, labels)

    for one in ontology.classes.values():
        if not one.abstract and one.name != ROOT:
            await database.write_transaction(
                partial(work, class_name=one.name, labels=ontology.labels(one.name))
            )
