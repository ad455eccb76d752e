"""The leases of service processes, so that what a commit takes away is gone everywhere once it returned.

A process answers only while it holds its lease, and says in it how far it has followed the feed. A commit
that changes access waits until each lease that is held has reached its revision, or has run out. A process
that was stopped or cut off finds its own lease run out before others do: it counts from before it asked for
it, on a clock that also runs while it is stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

from neo4j import AsyncManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from graph.database import Database
from graph.feed import wait_for_access

SECONDS = 5
_RENEW_SECONDS = 1
_WAIT_SECONDS = 0.004
_AGAIN_SECONDS = 0.05


class NoLeaseError(Exception):
    """The process may not answer: what it knows of access may be old. It is worth trying again."""


class ServiceLease:
    """Of this process; `holding` keeps it."""

    def __init__(self, database: Database, follow: Callable[[int], Awaitable[int]]) -> None:
        """`follow` takes everything in up to a revision at least, and says which it has reached."""
        self.id = uuid4().hex
        self._database = database
        self._follow = follow
        self._until = 0.0
        self._count = 0
        self._reached = 0

    def held(self) -> int:
        """A number that stays the same while the lease is held without a break. Raises NoLeaseError."""
        if _now() >= self._until:
            raise NoLeaseError(
                "this process has no lease at present: it was stopped, or Neo4j does not answer it in time; "
                "try again in a moment, or ask another process"
            )
        return self._count

    def followed(self) -> int:
        """The access revision that was followed to: while the lease is held, no commit that changed access
        has returned that is newer."""
        return self._reached

    @asynccontextmanager
    async def holding(self, host: str) -> AsyncIterator[None]:
        """Hold the lease until the block ends; other processes ring at a free port of the host."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Bell(self._database.latest.ring), (host, 0)
        )
        bell = "{} {}".format(*transport.get_extra_info("sockname")[:2])
        tasks = []
        try:
            await self._renew(bell)
            tasks = [asyncio.create_task(self._keep(bell)), asyncio.create_task(self._keep_up())]
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._until = 0.0
            transport.close()
            with suppress(Neo4jError, DriverError):  # where Neo4j is gone, it runs out by itself
                await self._database.write_transaction(self._let_go)

    async def _keep(self, bell: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(Neo4jError, DriverError, TimeoutError):  # until it runs out
                await self._renew(bell)

    async def _renew(self, bell: str) -> None:
        asked = _now()
        await self._database.write_transaction(partial(self._take, bell=bell))
        if _now() >= self._until:
            # From here on commits wait for us; what went before is followed first.
            self._reached = await self._follow(await self._access_revision())
            await self._acknowledge()
            self._count += 1
        self._until = asked + SECONDS

    async def _keep_up(self) -> None:
        while True:
            try:
                revision = await wait_for_access(self._database, self._reached)
                self._reached = await self._follow(revision)
                await self._acknowledge()
            except (Neo4jError, DriverError, TimeoutError):  # commits wait for us until it runs out
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _access_revision(self) -> int:
        [record] = await self._database.read("MATCH (meta:_Meta) RETURN meta.accessRevision AS revision")
        return int(record["revision"])

    async def _acknowledge(self) -> None:
        async def work(tx: AsyncManagedTransaction) -> None:
            query = "MATCH (s:_Service {id: $id}) SET s.revision = $revision"
            await tx.run(query, id=self.id, revision=self._reached)

        await self._database.write_transaction(work)

    async def _take(self, tx: AsyncManagedTransaction, bell: str) -> None:
        await tx.run(
            """
            MERGE (s:_Service {id: $id})
            ON CREATE SET s.revision = -1
            SET s.until = datetime() + duration({seconds: $seconds}), s.bell = $bell
            WITH s
            MATCH (old:_Service) WHERE old.until < datetime() - duration({seconds: 10 * $seconds})
            DELETE old
            """,
            id=self.id,
            seconds=SECONDS,
            bell=bell,
        )

    async def _let_go(self, tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (s:_Service {id: $id}) DELETE s", id=self.id)


async def acknowledged(database: Database, revision: int) -> None:
    """Wait until every process that holds a lease has followed to the revision, or its lease has run out."""
    rung: set[str] = set()
    while True:
        records = await database.read(
            "MATCH (s:_Service) WHERE s.until > datetime() AND s.revision < $revision RETURN s.bell AS bell",
            revision=revision,
        )
        if not records:
            return
        bells = {record["bell"] for record in records}
        for bell in bells - rung:
            await _ring(bell)
        rung |= bells
        await asyncio.sleep(_WAIT_SECONDS)


class _Bell(asyncio.DatagramProtocol):
    """Whoever rings says nothing but that it is worth having a look."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._ring()


async def _ring(bell: str) -> None:
    host, _, port = bell.rpartition(" ")
    with suppress(OSError):  # it looks by itself
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, int(port))
        )
        transport.sendto(b"\n")
        transport.close()


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
