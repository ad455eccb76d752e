"""What Neo4j holds of the stores of applications: themselves, their models, assertions on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, LiteralString, TypeVar

from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.tuples import native

Assertions = Sequence[Mapping[str, Any]]
Row = TypeVar("Row")

_DELETED_AT_ONCE = 10_000


class StoreGoneError(Exception):
    """There is no such store any more."""


@dataclass(frozen=True, slots=True)
class Store:
    """A store of tuples, as it was read."""

    id: str
    name: str
    owner: str
    """The account that made it."""
    created_at: datetime
    updated_at: datetime
    number: int = 0
    """How many writes of tuples it had."""
    model: str = ""
    """Id of its newest model; empty while it has none."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    id: str
    document: Mapping[str, Any]
    """OpenFGA's JSON, without the id."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """`last` is the position of the last item; 0 or empty where there is none. `more` may follow."""

    items: Sequence[Row]
    last: int | str
    more: bool


# Stores.


async def create(database: Database, store: Store) -> None:
    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            """MERGE (s:_TupleStore {id: $id})
               SET s.name = $name, s.owner = $owner, s.createdAt = $at, s.updatedAt = $at,
                   s.number = 0, s.model = ''""",
            id=store.id,
            name=store.name,
            owner=store.owner,
            at=store.created_at,
        )

    await database.write_transaction(work)


async def stores(database: Database, owner: str | None, name: str, after: str, size: int) -> Page[Store]:
    """Stores by id, those of `owner` or of anybody, of the name where one is given."""
    found = await database.read(
        """MATCH (s:_TupleStore)
           WHERE s.deletedAt IS NULL AND s.id > $after
             AND ($owner IS NULL OR s.owner = $owner) AND ($name = '' OR s.name = $name)
           RETURN properties(s) AS store ORDER BY s.id LIMIT $limit""",
        owner=owner,
        name=name,
        after=after,
        limit=size + 1,
    )
    items = [store_of(record["store"]) for record in found[:size]]
    return Page(items, items[-1].id if items else "", len(found) > size)


def store_of(row: Mapping[str, Any]) -> Store:
    return Store(
        row["id"],
        row["name"],
        row["owner"],
        native(row["createdAt"]),
        native(row["updatedAt"]),
        row["number"],
        row["model"],
    )


async def delete(database: Database, store: str) -> None:
    """Gone with the first commit; what it held is deleted after that, in parts."""

    async def mark(tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (s:_TupleStore {id: $store}) SET s.deletedAt = datetime()", store=store)

    await database.write_transaction(mark)
    for part in _PARTS:
        while await _delete_some(database, part, store):
            pass

    async def forget(tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (s:_TupleStore {id: $store}) DELETE s", store=store)

    await database.write_transaction(forget)


async def finish_deletions(database: Database) -> None:
    """Do the rest of deletions that were cut short."""
    found = await database.read("MATCH (s:_TupleStore) WHERE s.deletedAt IS NOT NULL RETURN s.id AS id")
    for record in found:
        await delete(database, record["id"])


_PARTS: tuple[LiteralString, ...] = (
    "MATCH (n:_StoreTuple {store: $store})",
    "MATCH (n:_StoreChange {store: $store})",
    "MATCH (n:_StoreModel {store: $store})",
    "MATCH (n:_StoreAssertions {store: $store})",
)


async def _delete_some(database: Database, part: LiteralString, store: str) -> int:
    async def work(tx: AsyncManagedTransaction) -> int:
        query = part + " WITH n LIMIT $limit DELETE n RETURN count(*) AS deleted"
        result = await tx.run(query, store=store, limit=_DELETED_AT_ONCE)
        return int((await result.single(strict=True))["deleted"])

    return await database.write_transaction(work)


# Models and their assertions.


async def write_model(database: Database, store: str, model: StoredModel, by: str, at: datetime) -> None:
    async def work(tx: AsyncManagedTransaction) -> None:
        await lock(tx, store)
        await tx.run(
            """MATCH (s:_TupleStore {id: $store})
               SET s.model = $id, s.models = coalesce(s.models, 0) + 1, s.updatedAt = $at
               CREATE (:_StoreModel {id: $id, store: $store, number: s.models, at: $at, by: $by,
                                     document: $document})""",
            store=store,
            id=model.id,
            at=at,
            by=by,
            document=json.dumps(model.document, ensure_ascii=False),
        )

    await database.write_transaction(work)


async def models(database: Database, store: str, before: int, size: int) -> Page[StoredModel]:
    """The newest first; those older than position `before`, when it is not 0."""
    found = await database.read(
        """MATCH (m:_StoreModel {store: $store}) WHERE $before = 0 OR m.number < $before
           RETURN m.id AS id, m.number AS number, m.document AS document
           ORDER BY m.number DESC LIMIT $limit""",
        store=store,
        before=before,
        limit=size + 1,
    )
    items = [StoredModel(record["id"], json.loads(record["document"])) for record in found[:size]]
    return Page(items, found[len(items) - 1]["number"] if items else 0, len(found) > size)


async def model_document(database: Database, store: str, id: str) -> Mapping[str, Any] | None:
    found = await database.read(
        "MATCH (m:_StoreModel {id: $id, store: $store}) RETURN m.document AS document", store=store, id=id
    )
    return json.loads(found[0]["document"]) if found else None


async def assertions(database: Database, store: str, model: str) -> Assertions:
    found = await database.read(
        "MATCH (a:_StoreAssertions {store: $store, model: $model}) RETURN a.assertions AS assertions",
        store=store,
        model=model,
    )
    return json.loads(found[0]["assertions"]) if found else ()


async def write_assertions(database: Database, store: str, model: str, assertions: Assertions) -> None:
    async def work(tx: AsyncManagedTransaction) -> None:
        await lock(tx, store)
        await tx.run(
            """MERGE (a:_StoreAssertions {store: $store, model: $model})
               SET a.assertions = $assertions""",
            store=store,
            model=model,
            assertions=json.dumps(list(assertions), ensure_ascii=False),
        )

    await database.write_transaction(work)


async def lock(tx: AsyncManagedTransaction, store: str) -> int:
    """Take the store's lock, which makes its writers take turns and shows their commits whole."""
    result = await tx.run(
        """MATCH (s:_TupleStore {id: $store}) WHERE s.deletedAt IS NULL
           SET s.locked = true REMOVE s.locked
           RETURN s.number AS number""",
        store=store,
    )
    record = await result.single()
    if record is None:
        raise StoreGoneError(store)
    return int(record["number"])
