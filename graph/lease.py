"""Leases: one crawl of a source and scope at a time, which a dead process does not keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from uuid import uuid4

from neo4j import AsyncManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from graph.database import Database
from graph.tuples import native

_SECONDS = 10
_RENEW_SECONDS = 2.5
_POLL_SECONDS = 0.5

#: Leases begin with the process that they are of.
_PROCESS = uuid4().hex
_active: set[str] = set()


class CrawlBusyError(Exception):
    """Another crawl of the source and scope is under way; the message names them."""


class LeaseLostError(Exception):
    """Another crawl of the same source and scope has begun; the message names them."""


@asynccontextmanager
async def lease(database: Database, source: str, scope: str) -> AsyncIterator[str]:
    """The lease on a source's scope, renewed until the block ends.

    One that a dead process left is waited out, some seconds; raises CrawlBusyError where one is renewed.
    """
    token = f"{_PROCESS} {uuid4().hex}"
    _active.add(token)
    try:
        await _acquire(database, source, scope, token)
        renewing = asyncio.create_task(_renew(database, source, scope, token))
        try:
            yield token
        finally:
            renewing.cancel()
            with suppress(Neo4jError, DriverError):  # where Neo4j is gone, it lapses by itself
                await database.write_transaction(
                    partial(_set, source=source, scope=scope, token=token, seconds=None)
                )
    finally:
        _active.discard(token)


async def _acquire(database: Database, source: str, scope: str, token: str) -> None:
    first: tuple[str, datetime] | None = None
    while True:
        held = await database.write_transaction(partial(_take, source=source, scope=scope, token=token))
        if held is None:
            return
        if held[0] in _active or (first is not None and held != first):
            raise CrawlBusyError(
                f"source {source}, scope {scope}, is being crawled already: wait until that crawl has ended"
            )
        first = held
        await asyncio.sleep(_POLL_SECONDS)


async def _take(
    tx: AsyncManagedTransaction, source: str, scope: str, token: str
) -> tuple[str, datetime] | None:
    """Who holds the lease and until when; None when it is ours now."""
    # Writers hold this lock until they have committed: none of another crawl is under way then.
    await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")
    result = await tx.run(
        """
        MERGE (s:_Source {name: $source, scope: $scope}) ON CREATE SET s.kinds = []
        WITH s, s.lease IS NULL OR s.leaseUntil < datetime()
                OR s.lease STARTS WITH $process AND NOT s.lease IN $active AS free
        SET s.lease = CASE WHEN free THEN $token ELSE s.lease END,
            s.leaseUntil = CASE WHEN free THEN datetime() + duration({seconds: $seconds})
                           ELSE s.leaseUntil END
        RETURN free, s.lease AS lease, s.leaseUntil AS until
        """,
        source=source,
        scope=scope,
        token=token,
        process=_PROCESS,
        active=list(_active),
        seconds=_SECONDS,
    )
    record = await result.single(strict=True)
    return None if record["free"] else (record["lease"], native(record["until"]))


async def _renew(database: Database, source: str, scope: str, token: str) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        with suppress(Neo4jError, DriverError):  # the next write of the crawl will tell
            await database.write_transaction(
                partial(_set, source=source, scope=scope, token=token, seconds=_SECONDS)
            )


async def _set(tx: AsyncManagedTransaction, source: str, scope: str, token: str, seconds: int | None) -> None:
    """Renew our lease, or let it go."""
    await tx.run(
        """
        MATCH (s:_Source {name: $source, scope: $scope, lease: $token})
        SET s.leaseUntil = datetime() + duration({seconds: $seconds}),
            s.lease = CASE WHEN $seconds IS NULL THEN null ELSE s.lease END
        """,
        source=source,
        scope=scope,
        token=token,
        seconds=seconds,
    )
