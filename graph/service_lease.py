"""The leases of service processes, so that what a commit takes away is gone everywhere once it returned.

A process answers only while it holds its lease, and says in it how far it has followed the feed. A commit
that changes access waits until each lease that is held has reached its revision, or has run out. A process
that was stopped or cut off finds its own lease run out before others do: it counts from before it asked for
it, on a clock that also runs while it is stopped.

Neo4j is where all of them meet; a datagram is only quicker. Whoever waits for a process sends it the
revision with a nonce, and believes what comes back with the HMAC of that under the key of the process's
lease. Where none comes, the lease tells it.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, cast
from uuid import uuid4

from neo4j import AsyncManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from graph.database import Database
from graph.feed import wait_for_access
from graph.latest import Bell

SECONDS = 5
_RENEW_SECONDS = 1
#: How often a commit looks who has followed, where somebody does not ring back.
_WAIT_SECONDS = 0.02
_AGAIN_SECONDS = 0.05
_RUNG_AT_ONCE = 1_000
#: Bytes of a revision and a nonce.
_LONGEST = 100


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
        self._written = 0
        """The revision that the lease tells."""
        self._key = secrets.token_hex()
        self._bell = _Bell(database.latest.ring, self._key)

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
                if self._written >= self._reached:
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
        self._bell.ring_back(revision)
        await self._database.write(
            "MATCH (s:_Service {id: $id}) SET s.revision = $revision", id=self.id, revision=revision
        )
        self._written = revision

    async def _take(self, tx: AsyncManagedTransaction, bell: str) -> None:
        await tx.run(
            """
            MERGE (s:_Service {id: $id})
            ON CREATE SET s.revision = -1
            SET s.until = datetime() + duration({seconds: $seconds}), s.bell = $bell, s.key = $key
            WITH s
            MATCH (old:_Service) WHERE old.until < datetime() - duration({seconds: 10 * $seconds})
            DELETE old
            """,
            id=self.id,
            seconds=SECONDS,
            bell=bell,
            key=self._key,
        )

    async def _let_go(self, tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (s:_Service {id: $id}) DELETE s", id=self.id)


async def acknowledged(database: Database, revision: int) -> None:
    """Wait until every process that holds a lease has followed to the revision, or its lease has run out."""
    async with AsyncExitStack() as stack:
        rung: dict[Bell, asyncio.Future[None]] = {}

        async def ring(bells: Iterable[Bell]) -> None:
            for bell in bells:
                rung[bell] = await stack.enter_async_context(_ringing(bell, revision))

        await ring(database.latest.bells)  # before it is known who holds a lease now
        while True:
            records = await database.read(
                """
                MATCH (s:_Service) WHERE s.until > datetime() AND s.revision < $revision
                RETURN s.bell AS bell, coalesce(s.key, '') AS key
                """,
                revision=revision,
            )
            behind = {(record["bell"], record["key"]) for record in records}
            await ring(behind - rung.keys())
            waiting = {rung[bell] for bell in behind if not rung[bell].done()}
            if waiting:
                _, waiting = await asyncio.wait(waiting, timeout=_WAIT_SECONDS)
            if not waiting:
                database.latest.bells = frozenset(bell for bell, heard in rung.items() if heard.done())
                return


class _Bell(asyncio.DatagramProtocol):
    """Who rings waits until a revision is acknowledged, and is rung back then. It need not be believed: it
    hears no more than how far access was followed, and makes no more than a look."""

    def __init__(self, ring: Callable[[], None], key: str) -> None:
        self._ring = ring
        self._key = key
        self._acknowledged = 0
        self._waiting: dict[Any, tuple[int, bytes]] = {}
        """By address: the revision, and all that was sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._ring()
        revision = data.partition(b" ")[0]
        if len(self._waiting) < _RUNG_AT_ONCE and len(data) < _LONGEST and revision.isdigit():
            self._waiting[addr] = int(revision), data
            self.ring_back(self._acknowledged)

    def ring_back(self, acknowledged: int) -> None:
        """To those who wait for no later revision."""
        self._acknowledged = acknowledged
        for addr, (revision, data) in list(self._waiting.items()):
            if revision <= acknowledged:
                del self._waiting[addr]
                self._transport.sendto(_proof(self._key, data), addr)


class _RungBack(asyncio.DatagramProtocol):
    def __init__(self, heard: asyncio.Future[None], proof: bytes) -> None:
        self._heard = heard
        self._proof = proof

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if hmac.compare_digest(data, self._proof) and not self._heard.done():
            self._heard.set_result(None)


@asynccontextmanager
async def _ringing(bell: Bell, revision: int) -> AsyncIterator[asyncio.Future[None]]:
    """Done when it rings back; never where it cannot be reached: then its lease tells."""
    address, key = bell
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[None] = loop.create_future()
    host, _, port = address.rpartition(" ")
    data = f"{revision} {secrets.token_hex()}".encode()
    transport = None
    if key:  # a lease of an older version has none
        with suppress(OSError):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _RungBack(heard, _proof(key, data)), remote_addr=(host, int(port))
            )
            transport.sendto(data)
    try:
        yield heard
    finally:
        if transport is not None:
            transport.close()


def _proof(key: str, data: bytes) -> bytes:
    return hmac.digest(key.encode(), data, "sha256")


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
