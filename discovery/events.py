"""Something happened at a source: noted in Neo4j (`_Event`) by whoever hears of it, taken up by the process
that crawls. Files that a source watches tell by themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from neo4j import AsyncManagedTransaction
from watchfiles import awatch

from discovery.files import locate
from discovery.runs import execute
from discovery.sources import OrganizationConfig, SourceConfig
from graph.database import Database

log = logging.getLogger(__name__)

#: Seconds between two looks.
POLL_S = 1.0
_QUIET_MS = 500


async def note(database: Database, source: str) -> None:
    """Once for as many as come before it is taken up."""
    await execute(database, "MERGE (e:_Event {source: $source}) SET e.at = datetime()", source=source)


async def taken(database: Database) -> Sequence[str]:
    """The sources at which something happened; forgotten with that."""
    if not await database.read("MATCH (e:_Event) RETURN e LIMIT 1"):
        return ()

    async def work(tx: AsyncManagedTransaction) -> list[str]:
        result = await tx.run("MATCH (e:_Event) WITH e, e.source AS source DELETE e RETURN source")
        return [record["source"] async for record in result]

    return await database.write_transaction(work)


async def follow(database: Database, now: Callable[[str], None]) -> None:
    """Hand on what is noted, until cancelled."""
    while True:
        for source in await taken(database):
            now(source)
        await asyncio.sleep(POLL_S)


async def watch(organization: OrganizationConfig, source: SourceConfig, now: Callable[[str], None]) -> None:
    """Say when a file changes below what the source watches, until cancelled.

    A folder that is not there is not watched: the schedule reads the source, and reports that.
    """
    paths: list[Path] = []
    for name in source.watch:
        path = locate(organization, name)
        if path.exists():
            paths.append(path)
        else:
            log.warning("source %s: %s is not there and is not watched", source.name, path)
    if paths:
        async for _ in awatch(*paths, debounce=_QUIET_MS, step=_QUIET_MS // 5):
            now(source.name)
