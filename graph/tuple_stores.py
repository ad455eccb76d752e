"""Stores of tuples that applications make: durable in Neo4j, evaluated in memory.

A store is a name, immutable models, tuples, and the log of their changes. Each write takes the
store's lock, is checked there against what is stored, and is all or nothing; only when it is
committed does memory follow the log. So memory is never ahead of the disk, also when the process
is killed in between, and a write of another process is followed in the same way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from graph import stored_tuples
from graph import tuple_store_records as records
from graph.database import Database
from graph.rebac.relation_tuples import TupleIndex
from graph.stored_tuples import ChangeFilter, StoredChange, StoredTuple, TupleFilter, TupleWrite
from graph.together import Together
from graph.tuple_store_records import Assertions, Page, Store, StoredModel
from graph.ulid import new_ulid
from ontologies.authorization_model import AuthorizationModel, from_json, to_json

#: Parsed models that are kept; OpenFGA's clients name the model in each request.
_KEPT_MODELS = 1_000
#: Writes that share a transaction.
_TOGETHER = 50


@dataclass(slots=True)
class _Loaded:
    """A store in memory, at the write that it has followed to."""

    number: int = 0
    index: TupleIndex = field(default_factory=TupleIndex)
    following: asyncio.Lock = field(default_factory=asyncio.Lock)


class TupleStores:
    """All stores of applications. Who may use which is asked elsewhere."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._loaded: dict[str, _Loaded] = {}
        self._models: OrderedDict[tuple[str, str], AuthorizationModel] = OrderedDict()
        self._writers: dict[str, Together[tuple[TupleWrite, str], int]] = {}
        self.writes = 0
        """Counts what this process may have changed of stores: what was read before is old since."""

    async def create(self, name: str, owner: str) -> Store:
        """A new, empty store. `owner` is the account that makes it."""
        now = datetime.now(UTC)
        store = Store(new_ulid(now), name, owner, now, now)
        with self._counted():
            await records.create(self.database, store)
        return store

    async def list(self, owner: str | None, name: str, after: str, size: int) -> Page[Store]:
        """Stores of the owner (of anybody, when None), by id; only those of the name, where one is given."""
        return await records.stores(self.database, owner, name, after, size)

    async def delete(self, store: str) -> None:
        """The store is gone when this returns; all that it held goes with it."""
        with self._counted():
            await records.delete(self.database, store)
        self.forget(store)

    async def finish_deletions(self) -> None:
        """Do the rest of deletions that a killed process left half-way."""
        await records.finish_deletions(self.database)

    async def write_model(self, store: str, document: Mapping[str, Any], by: str) -> str:
        """The id of a new model, which is now the newest. ModelError when it is invalid."""
        model = from_json(document)
        now = datetime.now(UTC)
        id = new_ulid(now)
        with self._counted():
            await records.write_model(self.database, store, StoredModel(id, to_json(model)), by, now)
        return id

    async def models(self, store: str, before: int, size: int) -> Page[StoredModel]:
        """The newest first."""
        return await records.models(self.database, store, before, size)

    async def model_document(self, store: str, id: str) -> Mapping[str, Any] | None:
        """OpenFGA's JSON of the model."""
        return await records.model_document(self.database, store, id)

    async def model(self, store: str, id: str) -> AuthorizationModel | None:
        key = (store, id)
        if key not in self._models:
            document = await self.model_document(store, id)
            if document is None:
                return None
            self._models[key] = from_json(document)
            if len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    async def write(self, store: str, write: TupleWrite, by: str) -> None:
        """All of the write or nothing. Raises PresentTupleError, AbsentTupleError, ConflictingTupleError."""
        together = self._writers.get(store)
        if together is None:
            together = self._writers[store] = Together(partial(self._write, store), _TOGETHER)
        # Others wait for it too: who asked may go, the write does not.
        number = await asyncio.shield(asyncio.create_task(together((write, by))))
        if store in self._loaded:
            await self._follow(store, number)

    async def _write(self, store: str, orders: Sequence[tuple[TupleWrite, str]]) -> Sequence[int]:
        writes, by = zip(*orders, strict=True)
        with self._counted():
            return await stored_tuples.write(self.database, store, writes, by, datetime.now(UTC))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.writes += 1

    async def index(self, store: Store) -> TupleIndex:
        """The tuples, at the write that `store` was read at or a later one."""
        await self._follow(store.id, store.number)
        return self._loaded[store.id].index

    def forget(self, store: str) -> None:
        """Let go of what memory holds of a store that is gone."""
        self._loaded.pop(store, None)
        self._writers.pop(store, None)

    async def read(self, store: str, filter: TupleFilter, after: int, size: int) -> Page[StoredTuple]:
        """Tuples in the order in which they were written."""
        return await stored_tuples.tuples(self.database, store, filter, after, size)

    async def changes(self, store: str, filter: ChangeFilter, after: int, size: int) -> Page[StoredChange]:
        """The log of what was written and deleted, oldest first."""
        return await stored_tuples.changes(self.database, store, filter, after, size)

    async def assertions(self, store: str, model: str) -> Assertions:
        return await records.assertions(self.database, store, model)

    async def write_assertions(self, store: str, model: str, assertions: Assertions) -> None:
        """Instead of those that the model had."""
        await records.write_assertions(self.database, store, model, assertions)

    async def _follow(self, store: str, number: int) -> None:
        """Bring memory to the write, from the log; from nothing, when the store is not in memory.

        The one place where the index changes. No request is between two of its steps: they
        evaluate without awaiting.
        """
        loaded = self._loaded.get(store)
        if loaded is None:
            loaded = self._loaded[store] = _Loaded()
        if loaded.number >= number:
            return
        async with loaded.following:
            if loaded.number >= number:
                return
            steps = await stored_tuples.log(self.database, store, loaded.number) if loaded.number else None
            if steps is None:
                loaded.index, loaded.number = await stored_tuples.load(self.database, store)
                return
            for step in steps:
                stored_tuples.apply(loaded.index, step)
                loaded.number = step.number
