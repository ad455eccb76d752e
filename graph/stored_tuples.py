"""The tuples of a store in Neo4j, and the log of their changes.

Positions order both: the number of the write, and the place in it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import orjson
from neo4j import AsyncManagedTransaction, Record

from graph.database import Database
from graph.long_lived import long_lived
from graph.rebac.relation_tuples import TupleIndex, TupleKey, type_of
from graph.tuple_store_records import Page, StoreGoneError, lock
from graph.tuples import native

Key = tuple[str, str, str]
"""(object, relation, user)."""

#: Writes of the log that are read at a time.
_STEPS = 500
#: A log of more is worth freezing.
_MANY_STEPS = 1_000
#: Writes have fewer tuples than this, so that number and place make one integer.
_PLACES = 1_000


class PresentTupleError(Exception):
    """A tuple to be written stands already; `key` names it."""

    def __init__(self, key: TupleKey) -> None:
        super().__init__(f"{key} stands already")
        self.key = key


class ConflictingTupleError(PresentTupleError):
    """It stands with another condition, so that it cannot be passed over."""


class AbsentTupleError(Exception):
    """A tuple to be deleted does not stand; `key` names it."""

    def __init__(self, key: TupleKey) -> None:
        super().__init__(f"{key} does not stand")
        self.key = key


@dataclass(frozen=True, slots=True)
class TupleWrite:
    """What is to be deleted and then written, fewer than 1,000 together, no tuple twice."""

    writes: Sequence[TupleKey] = ()
    deletes: Sequence[TupleKey] = ()
    ignore_present: bool = False
    """Pass over what stands already with the same condition."""
    ignore_absent: bool = False


@dataclass(frozen=True, slots=True)
class TupleFilter:
    """Empty fields let everything through; an object that ends in `:` means all of its type."""

    object: str = ""
    relation: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Changes of tuples whose object is of a type, and not before an instant, where they are given."""

    type: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A write, as the log has it."""

    number: int
    deletes: Sequence[TupleKey]
    writes: Sequence[TupleKey]


@dataclass(frozen=True, slots=True)
class StoredTuple:
    key: TupleKey
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredChange:
    key: TupleKey
    deleted: bool
    at: datetime


async def write(
    database: Database, store: str, writes: Sequence[TupleWrite], by: Sequence[str], at: datetime
) -> Sequence[int]:
    """Writes one after the other, in one transaction; the number of the store's last write after each.

    All of all of them or nothing.
    """

    async def work(tx: AsyncManagedTransaction) -> Sequence[int]:
        number = await lock(tx, store)
        named = {_named(key) for write in writes for key in (*write.deletes, *write.writes)}
        before = await _standing(tx, store, named)
        standing, steps, numbers = dict(before), [], []
        rows: dict[Key, Mapping[str, Any]] = {}
        for write, account in zip(writes, by, strict=True):
            step = _step_of(write, standing, number + 1)
            if step.deletes or step.writes:
                number += 1
                steps.append((step, account))
                for key in step.deletes:
                    del standing[_named(key)]
                    rows.pop(_named(key), None)
                for place, key in enumerate(step.writes):
                    standing[_named(key)] = key
                    rows[_named(key)] = _row(key, step.number * _PLACES + place)
            numbers.append(number)
        if steps:
            gone = [key for key in before if key in rows or key not in standing]
            await _change(tx, store, gone, rows.values(), steps, at)
        return numbers

    return await database.write_transaction(work)


def _step_of(write: TupleWrite, standing: Mapping[Key, TupleKey], number: int) -> Step:
    deletes = [key for key in write.deletes if _must_go(key, standing, write.ignore_absent)]
    return Step(
        number, deletes, [key for key in write.writes if _must_come(key, standing, write.ignore_present)]
    )


async def load(database: Database, store: str) -> tuple[TupleIndex, int]:
    """All tuples, and the number of the write that they are of: what its log comes to.

    The log lies on disk as it was written, and is read in a fraction of the time that the tuples take.
    """

    async def work(tx: AsyncManagedTransaction) -> tuple[TupleIndex, int]:
        number, index = await lock(tx, store), TupleIndex()
        with long_lived() if number > _MANY_STEPS else nullcontext():
            async for step in _steps(tx, store, 0, number):
                apply(index, step)
        return index, number

    return await database.write_transaction(work)


def apply(index: TupleIndex, step: Step) -> None:
    """Do to the index what the write did."""
    for key in step.deletes:
        index.remove(key.user, key.relation, key.object)
    for key in step.writes:
        index.add(key)


async def _steps(tx: AsyncManagedTransaction, store: str, after: int, last: int) -> AsyncIterator[Step]:
    """The writes that follow one number, up to another, in order."""
    for first in range(after, last, _STEPS):
        result = await tx.run(
            """MATCH (c:_StoreChange {store: $store}) WHERE c.number > $first AND c.number <= $end
               RETURN c.number AS number, c.changes AS changes ORDER BY number""",
            store=store,
            first=first,
            end=min(first + _STEPS, last),
        )
        async for record in result:
            yield _step(record)


async def rewrite(database: Database, replaced: Callable[[Any], Any]) -> None:
    """Put other names into the tuples, logs and assertions of all stores, and into who owns them.

    A store that changed counts as written, and its log can be followed only from there.
    """
    for record in await database.read(
        "MATCH (s:_TupleStore) WHERE s.deletedAt IS NULL RETURN s.id AS id ORDER BY id"
    ):
        with suppress(StoreGoneError):
            await database.write_transaction(partial(_rewrite, store=record["id"], replaced=replaced))


async def _rewrite(tx: AsyncManagedTransaction, store: str, replaced: Callable[[Any], Any]) -> None:
    number = await lock(tx, store)
    result = await tx.run(
        """MATCH (n:_StoreTuple|_StoreChange|_StoreModel|_StoreAssertions {store: $store})
           RETURN elementId(n) AS node, properties(n) AS row
           UNION ALL
           MATCH (n:_TupleStore {id: $store}) RETURN elementId(n) AS node, properties(n) AS row""",
        store=store,
    )
    rows = [
        {"node": record["node"], "row": after}
        async for record in result
        if (after := replaced(record["row"])) != record["row"]
    ]
    if rows:
        await tx.run(
            "UNWIND $rows AS row MATCH (n) WHERE elementId(n) = row.node SET n += row.row", rows=rows
        )
        await tx.run(
            "MATCH (s:_TupleStore {id: $store}) SET s.number = $number, s.rewritten = $number",
            store=store,
            number=number + 1,
        )


async def log(database: Database, store: str, after: int) -> Sequence[Step] | None:
    """The writes that follow the number, whole and in order; None where it was rewritten since."""

    async def work(tx: AsyncManagedTransaction) -> Sequence[Step] | None:
        number = await lock(tx, store)
        rewritten = await tx.run("MATCH (s:_TupleStore {id: $store}) RETURN s.rewritten AS at", store=store)
        if after < ((await rewritten.single(strict=True))["at"] or 0):
            return None
        return [step async for step in _steps(tx, store, after, number)]

    return await database.write_transaction(work)


_MATCH_ALL: LiteralString = "MATCH (t:_StoreTuple) WHERE t.store = $store AND t.position > $after"
_MATCH_OBJECT: LiteralString = """MATCH (t:_StoreTuple)
    WHERE t.store = $store AND t.object = $object AND t.position > $after
      AND ($relation = '' OR t.relation = $relation) AND ($user = '' OR t.user = $user)"""
_MATCH_USER: LiteralString = """MATCH (t:_StoreTuple)
    WHERE t.store = $store AND t.user = $user AND t.object STARTS WITH $object AND t.position > $after
      AND ($relation = '' OR t.relation = $relation)"""


async def tuples(
    database: Database, store: str, filter: TupleFilter, after: int, size: int
) -> Page[StoredTuple]:
    """By position, those after one. A filter by type needs a user too."""
    if filter == TupleFilter():
        match = _MATCH_ALL
    else:
        match = _MATCH_USER if filter.object.endswith(":") else _MATCH_OBJECT
    found = await database.read(
        match
        + """
        RETURN t.user AS user, t.relation AS relation, t.object AS object, t.condition AS condition,
               t.context AS context, t.at AS at, t.position AS position
        ORDER BY position LIMIT $limit""",
        store=store,
        object=filter.object,
        relation=filter.relation,
        user=filter.user,
        after=after,
        limit=size + 1,
    )
    items = [StoredTuple(_key(record), native(record["at"])) for record in found[:size]]
    return Page(items, found[len(items) - 1]["position"] if items else 0, len(found) > size)


async def changes(
    database: Database, store: str, filter: ChangeFilter, after: int, size: int
) -> Page[StoredChange]:
    """By position, those after one."""
    found = await database.read(
        """
        MATCH (c:_StoreChange)
        WHERE c.store = $store AND c.number >= $after / $places AND ($since IS NULL OR c.at >= $since)
        WITH c ORDER BY c.number
        UNWIND range(0, size(c.changes) - 1) AS place
        WITH c, place, c.number * $places + place AS position
        WHERE position > $after AND ($type = '' OR c.types[place] = $type)
        RETURN position, c.at AS at, c.changes[place] AS change ORDER BY position LIMIT $limit
        """,
        store=store,
        type=filter.type,
        after=after,
        since=filter.since,
        places=_PLACES,
        limit=size + 1,
    )
    items = []
    for record in found[:size]:
        change = json.loads(record["change"])
        items.append(StoredChange(_from_json(change), change["deleted"], native(record["at"])))
    return Page(items, found[len(items) - 1]["position"] if items else 0, len(found) > size)


async def _standing(tx: AsyncManagedTransaction, store: str, keys: Iterable[Key]) -> dict[Key, TupleKey]:
    result = await tx.run(
        """UNWIND $keys AS key
           MATCH (t:_StoreTuple {store: $store, object: key[0], relation: key[1], user: key[2]})
           RETURN t.user AS user, t.relation AS relation, t.object AS object,
                  t.condition AS condition, t.context AS context""",
        store=store,
        keys=list(map(list, keys)),
    )
    return {_named(key): key async for key in (_key(record) async for record in result)}


def _must_go(key: TupleKey, standing: Mapping[Key, TupleKey], ignore: bool) -> bool:
    if _named(key) in standing:
        return True
    if not ignore:
        raise AbsentTupleError(key)
    return False


def _must_come(key: TupleKey, standing: Mapping[Key, TupleKey], ignore: bool) -> bool:
    present = standing.get(_named(key))
    if present is None:
        return True
    if not ignore:
        raise PresentTupleError(key)
    if (present.condition, dict(present.context)) != (key.condition, dict(key.context)):
        raise ConflictingTupleError(key)
    return False


async def _change(  # noqa: PLR0913, PLR0917  what one commit does
    tx: AsyncManagedTransaction,
    store: str,
    gone: Sequence[Key],
    rows: Iterable[Mapping[str, Any]],
    steps: Iterable[tuple[Step, str]],
    at: datetime,
) -> None:
    if gone:
        await tx.run(
            """UNWIND $keys AS key
               MATCH (t:_StoreTuple {store: $store, object: key[0], relation: key[1], user: key[2]})
               DELETE t""",
            store=store,
            keys=list(map(list, gone)),
        )
    await tx.run(
        """UNWIND $rows AS row
           CREATE (t:_StoreTuple {store: $store, at: $at}) SET t += row""",
        store=store,
        at=at,
        rows=list(rows),
    )
    changes = [_described(step, by) for step, by in steps]
    await tx.run(
        """MATCH (s:_TupleStore {id: $store}) SET s.number = $number, s.updatedAt = $at
           WITH s UNWIND $changes AS change
           CREATE (c:_StoreChange {store: $store, at: $at}) SET c += change""",
        store=store,
        number=changes[-1]["number"],
        at=at,
        changes=changes,
    )


def _described(step: Step, by: str) -> dict[str, Any]:
    changes = [_to_json(key, deleted=True) for key in step.deletes]
    changes += [_to_json(key, deleted=False) for key in step.writes]
    return {
        "number": step.number,
        "by": by,
        "changes": [json.dumps(change, ensure_ascii=False) for change in changes],
        "types": [type_of(change["object"]) for change in changes],
    }


def _named(key: TupleKey) -> Key:
    return key.object, key.relation, key.user


def _row(key: TupleKey, position: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "user": key.user,
        "relation": key.relation,
        "object": key.object,
        "position": position,
    }
    if key.condition:
        row |= {"condition": key.condition, "context": json.dumps(dict(key.context), ensure_ascii=False)}
    return row


def _key(record: Record) -> TupleKey:
    user, relation, object, condition, context = record.values(
        "user", "relation", "object", "condition", "context"
    )
    if condition is None:
        return TupleKey(user, relation, object)
    return TupleKey(user, relation, object, condition, json.loads(context))


def _to_json(key: TupleKey, *, deleted: bool) -> dict[str, Any]:
    change = {"user": key.user, "relation": key.relation, "object": key.object, "deleted": deleted}
    if key.condition and not deleted:
        change |= {"condition": key.condition, "context": dict(key.context)}
    return change


def _from_json(change: Mapping[str, Any]) -> TupleKey:
    return TupleKey(
        change["user"],
        change["relation"],
        change["object"],
        change.get("condition", ""),
        change.get("context", {}),
    )


def _step(record: Record) -> Step:
    listed = orjson.loads(f"[{','.join(record['changes'])}]")
    deletes = [_from_json(change) for change in listed if change["deleted"]]
    return Step(record["number"], deletes, [_from_json(c) for c in listed if not c["deleted"]])
