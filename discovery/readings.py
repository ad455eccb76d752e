"""Where sources are read: in threads of this process, or on other machines (`on_ray`). Whoever reads never
writes: what a reading yields comes to the runner, batch by batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from discovery.connector import Change, Connector, Incremental, Item, Keyed, Places
from discovery.connectors.scim_push import Resources
from discovery.connectors.table import build
from discovery.pages import watched
from discovery.rate import TokenBucket
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import Claim

#: Claims in one transaction.
BATCH = 500
#: Changes of a source in one transaction.
CHANGES = 50
#: Batches read ahead of the one that is written.
AHEAD = 4

T = TypeVar("T")


class WorkerLostError(Exception):
    """Whoever read the scope is gone; it can be read again."""


class Reading(Protocol):
    """One source, where it is read. Raises what its connector raises, and WorkerLostError."""

    @property
    def at_once(self) -> int:
        """Scopes that may be read at the same time."""
        ...

    async def scopes(self) -> Sequence[str]: ...

    def read(self, scope: str) -> AsyncGenerator[Sequence[Item], None]:
        """Batches of what the scope holds."""
        ...

    def changes(self, scope: str, position: str) -> AsyncGenerator[Sequence[Change], None] | None:
        """The changes since a position, in batches; None where the connector can't tell any."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What is to be read, and what the connector is built of."""

    organization: OrganizationConfig
    source: SourceConfig
    known_names: Mapping[str, str]
    """Ids by full names, for connectors that look into text."""
    pushed: Callable[[], Resources]
    """What is kept of pushes, for the thread that reads."""
    held: Callable[[str], Iterator[Claim]]
    """What the source claims in a scope, for the thread that tells its changes. Raises PositionLostError
    where the scope is to be read whole."""
    bucket: TokenBucket | None
    """Of a source that may not be asked for pages as quickly as they come."""
    places: Mapping[str, Places] = field(default_factory=dict)
    """By which keys its files are known, by scope."""


def knowing(connector: Connector, places: Mapping[str, Places]) -> Connector:
    """The connector, which is told of them if its keys are paths."""
    return connector.knowing(places) if isinstance(connector, Keyed) else connector


Reader = Callable[[Wanted], Awaitable[Reading]]
"""Gets ready to read a source. Raises ConfigurationError."""


async def in_threads(wanted: Wanted) -> Reading:
    """Read in this process: a thread for each scope, one after the other."""
    connector = await asyncio.to_thread(
        build, wanted.organization, wanted.source, wanted.known_names, wanted.pushed, wanted.held
    )
    return _InThreads(knowing(connector, wanted.places), wanted.bucket)


@dataclass(frozen=True)
class _InThreads:
    connector: Connector
    bucket: TokenBucket | None
    at_once: int = 1

    async def scopes(self) -> Sequence[str]:
        return await asyncio.to_thread(self.connector.scopes)

    def read(self, scope: str) -> AsyncGenerator[Sequence[Item], None]:
        return _in_thread(self._slowly(partial(self.connector.read, scope)), BATCH)

    def changes(self, scope: str, position: str) -> AsyncGenerator[Sequence[Change], None] | None:
        if not isinstance(self.connector, Incremental):
            return None
        return _in_thread(self._slowly(partial(self.connector.changes, scope, position)), CHANGES)

    def _slowly(self, iterate: Callable[[], Iterator[T]]) -> Callable[[], Iterator[T]]:
        bucket = self.bucket
        if bucket is None:
            return iterate

        def slowly() -> Iterator[T]:
            with watched(bucket.take):
                yield from iterate()

        return slowly


def batches(items: Iterator[T], size: int) -> Iterator[Sequence[T]]:
    """Lists of as many items, the last of what is left."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def _in_thread(iterate: Callable[[], Iterator[T]], size: int) -> AsyncGenerator[Sequence[T], None]:
    """Batches of what a connector yields, read in one thread of its own, a few batches ahead.

    Raises what it raises. When the consumer stops, the thread does at its next item.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Sequence[T] | None] = asyncio.Queue(AHEAD)
    stopped = threading.Event()

    def put(batch: Sequence[T] | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(batch), loop).result()

    def until_stopped() -> Iterator[T]:
        for item in iterate():
            if stopped.is_set():
                return
            yield item

    def read() -> None:
        try:
            for batch in batches(until_stopped(), size):
                put(batch)
        finally:
            put(None)

    reading = asyncio.create_task(asyncio.to_thread(read))
    try:
        while (batch := await queue.get()) is not None:
            yield batch
        await reading
    finally:
        stopped.set()
        while not reading.done():  # a thread that waits for room in the queue must get on to end
            with suppress(TimeoutError):
                await asyncio.wait_for(queue.get(), 0.1)
