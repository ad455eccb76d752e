"""Which of several service processes leads: it crawls, and follows the feed for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

from neo4j import AsyncManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from graph.database import Database

_SECONDS = 10
_RENEW_SECONDS = 2.5
_POLL_SECONDS = 0.5


class Leadership:
    """A lease that one process at a time holds, and another takes over when that one is gone.

    What is done under it must bear that two do it for a moment: a process that was stopped finds out late.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = uuid4().hex
        self._ours = asyncio.Event()
        self._lost = asyncio.Event()

    @property
    def ours(self) -> bool:
        """Whether this process leads."""
        return self._ours.is_set()

    @asynccontextmanager
    async def sought(self) -> AsyncIterator[None]:
        """Take the lease, now or as soon as it can be, and keep it until the block ends.

        One that a dead process left is waited out first, some seconds.
        """
        first = held = await self._look()
        while held is not None and held == first:
            await asyncio.sleep(_POLL_SECONDS)
            held = await self._look()
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            with suppress(Neo4jError, DriverError):  # where Neo4j is gone, it runs out by itself
                await self._database.write_transaction(partial(_let_go, holder=self._holder))

    async def lead(self, work: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """For ever: `work` is entered whenever this process leads, and left when it does no more."""
        while True:
            await self._ours.wait()
            async with work():
                await self._lost.wait()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self._look()

    async def _look(self) -> str | None:
        """Who else holds the lease, and until when; None where nobody else does."""
        held, ours = None, False
        with suppress(Neo4jError, DriverError):  # while it does not answer nobody leads
            held = await self._database.write_transaction(partial(_take, holder=self._holder))
            ours = held is None
        now, before = (self._ours, self._lost) if ours else (self._lost, self._ours)
        now.set()
        before.clear()
        return held


async def _take(tx: AsyncManagedTransaction, holder: str) -> str | None:
    result = await tx.run(
        """
        MERGE (l:_Leader {one: true})
        SET l.locked = true REMOVE l.locked
        WITH l, l.holder IS NULL OR l.holder = $holder OR l.until < datetime() AS ours
        SET l.holder = CASE WHEN ours THEN $holder ELSE l.holder END,
            l.until = CASE WHEN ours THEN datetime() + duration({seconds: $seconds}) ELSE l.until END
        RETURN CASE WHEN ours THEN null ELSE l.holder + ' ' + toString(l.until) END AS held
        """,
        holder=holder,
        seconds=_SECONDS,
    )
    held: str | None = (await result.single(strict=True))["held"]
    return held


async def _let_go(tx: AsyncManagedTransaction, holder: str) -> None:
    await tx.run("MATCH (l:_Leader {one: true, holder: $holder}) REMOVE l.holder, l.until", holder=holder)
