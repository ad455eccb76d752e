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
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, cast
from uuid import uuid4

from neo4j import AsyncManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from graph.database import Database
from graph.feed import wait_for_access

SECONDS = 5
_RENEW_SECONDS = 1
#: How often a commit looks who has followed, where nobody rings back.
_WAIT_SECONDS = 0.02
_AGAIN_SECONDS = 0.05
_RUNG_AT_ONCE = 1_000


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
        self._bell = _Bell(database.latest.ring)

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
        transport, _ = await loop.create_datagram_endpoint(lambda: self._bell, (host, 0))
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
                if self._bell.acknowledged >= self._reached:
                    revision = await wait_for_access(self._database, self._reached)
                    self._reached = await self._follow(revision)
                await self._acknowledge()
            except (Neo4jError, DriverError, TimeoutError):  # commits wait for us until it runs out
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _access_revision(self) -> int:
        [record] = await self._database.read("MATCH (meta:_Meta) RETURN meta.accessRevision AS revision")
        return int(record["revision"])

    async def _acknowledge(self) -> None:
        revision = self._reached
        await self._database.write(
            "MATCH (s:_Service {id: $id}) SET s.revision = $revision", id=self.id, revision=revision
        )
        self._bell.ring_back(revision)

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
    async with AsyncExitStack() as stack:
        rung: dict[str, asyncio.Future[None]] = {}
        for bell in database.latest.bells:  # before it is known who holds a lease now
            rung[bell] = await stack.enter_async_context(_ringing(bell, revision))
        while True:
            records = await database.read(
                """
                MATCH (s:_Service) WHERE s.until > datetime() AND s.revision < $revision RETURN s.bell AS bell
                """,
                revision=revision,
            )
            if not records:
                database.latest.bells = frozenset(bell for bell, heard in rung.items() if heard.done())
                return
            bells = {record["bell"] for record in records}
            for bell in bells - rung.keys():
                rung[bell] = await stack.enter_async_context(_ringing(bell, revision))
            ringing = [rung[bell] for bell in bells if not rung[bell].done()]
            if ringing:
                await asyncio.wait(ringing, timeout=_WAIT_SECONDS)
            else:
                await asyncio.sleep(_WAIT_SECONDS)


class _Bell(asyncio.DatagramProtocol):
    """Who rings waits until a revision is acknowledged, and is rung back then. Nobody is believed: either
    side hears no more than that it is worth having a look."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self.acknowledged = 0
        self._waiting: dict[Any, int] = {}
        """By address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._ring()
        if len(self._waiting) < _RUNG_AT_ONCE and data.isdigit() and len(data) < 20:
            self._waiting[addr] = int(data)
            self.ring_back(self.acknowledged)

    def ring_back(self, acknowledged: int) -> None:
        """To those who wait for no later revision."""
        self.acknowledged = acknowledged
        for addr in [addr for addr, revision in self._waiting.items() if revision <= acknowledged]:
            del self._waiting[addr]
            self._transport.sendto(b"\n", addr)  # an empty one is not sent


class _RungBack(asyncio.DatagramProtocol):
    def __init__(self, heard: asyncio.Future[None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self._heard.done():
            self._heard.set_result(None)


@asynccontextmanager
async def _ringing(bell: str, revision: int) -> AsyncIterator[asyncio.Future[None]]:
    """Done when it rings back; never where it cannot be reached: it looks by itself."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[None] = loop.create_future()
    host, _, port = bell.rpartition(" ")
    transport = None
    with suppress(OSError):
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _RungBack(heard), remote_addr=(host, int(port))
        )
        transport.sendto(str(revision).encode())
    try:
        yield heard
    finally:
        if transport is not None:
            transport.close()


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
