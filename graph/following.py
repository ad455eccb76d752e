"""An index in memory of what access rests on: loaded from the graph once, then kept up by the change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.epoch import Witness
from graph.feed import changes, news
from graph.visible_sets.feeding import TupleTable, follow
from ontologies.ontology import Binding

#: How often the feed is looked at for a revision that was read of.
_LOOKS = 500
_PAUSE_S = 0.01
_NOTHING_FOLLOWS = 2**63 - 1

Index = TypeVar("Index", bound=TupleTable)


@dataclass(slots=True)
class Following(Generic[Index]):
    """The index, and how it is come by; whoever asks it makes others wait."""

    database: Database
    bindings: Mapping[str, Sequence[Binding]]
    load: Callable[[AsyncManagedTransaction, Mapping[str, Sequence[Binding]]], Awaitable[Index]]
    """The index of the graph as it is."""
    saved: Callable[[Witness], Awaitable[Index | None]] | None = None
    """One that was kept of the graph, if there is one."""
    index: Index | None = None
    epoch: str = ""

    async def reach(self, revision: int) -> Index:
        """The index at the revision, or a newer one. TimeoutError where the feed does not go as far."""
        for _ in range(_LOOKS):
            index = await self._catch_up()
            if index.revision >= revision:
                return index
            await asyncio.sleep(_PAUSE_S)  # of a commit that is half shown
        raise TimeoutError(f"the change feed does not go on to revision {revision}, which was read of")

    async def _catch_up(self) -> Index:
        index = self.index
        now = await news(self.database, _NOTHING_FOLLOWS if index is None else index.revision)
        found = now.changes
        if index is None and self.saved is not None:
            index = await self.saved(Witness(now.epoch, now.revision))
        if (
            index is None
            or (self.epoch or now.epoch) != now.epoch
            or not now.compacted <= index.revision <= now.revision
        ):
            index, found = await self._loaded(), ()
        self.index, self.epoch = index, now.epoch
        while index.revision < now.revision and (
            found := found or await changes(self.database, index.revision)
        ):
            if any(change.kind == "erased" for one in found for change in one.changes):
                index = self.index = await self._loaded()  # what was erased is not told
            else:
                follow(index, found, self.bindings)
            found = ()
        return index

    async def _loaded(self) -> Index:
        async def work(tx: AsyncManagedTransaction) -> Index:
            return await self.load(tx, self.bindings)

        return await self.database.write_transaction(work)
