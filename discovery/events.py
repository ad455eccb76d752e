"""Something happened at a source: noted in Neo4j (`_Event`) by whoever hears of it, until a crawl has seen to
it. Files that a source watches tell by themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from watchfiles import awatch

from discovery.files import locate
from discovery.reports import RunReport
from discovery.runs import execute
from discovery.schedule import Crawl
from discovery.sources import OrganizationConfig, SourceConfig
from graph.database import Database

log = logging.getLogger(__name__)

#: Seconds between two looks.
POLL_S = 1.0
_QUIET_MS = 500


async def note(database: Database, source: str) -> None:
    """Once for as many as come before a crawl."""
    query = "MERGE (e:_Event {source: $source}) SET e.at = datetime(), e.mark = randomUUID()"
    await execute(database, query, source=source)


async def noted(database: Database) -> Mapping[str, str]:
    """Sources at which something happened that no crawl has seen to yet, each with a mark of the latest."""
    records = await database.read("MATCH (e:_Event) RETURN e.source AS source, e.mark AS mark")
    return {record["source"]: record["mark"] for record in records}


async def seeing_to(database: Database, crawl: Crawl, source: SourceConfig) -> RunReport:
    """A crawl, which sees to what was noted before it; unless it fails, or its process is killed."""
    before = await noted(database)
    report = await crawl(source)
    if source.name in before and report.outcome != "failed":
        query = "MATCH (e:_Event {source: $source, mark: $mark}) DELETE e"  # one since then stays
        await execute(database, query, source=source.name, mark=before[source.name])
    return report


async def follow(database: Database, now: Callable[[str], None]) -> None:
    """Hand on what is noted, each time anew, until cancelled."""
    told: Mapping[str, str] = {}
    while True:
        found = await noted(database)
        for source, mark in found.items():
            if told.get(source) != mark:
                now(source)
        told = found
        await asyncio.sleep(POLL_S)


async def watch(organization: OrganizationConfig, source: SourceConfig, now: Callable[[str], None]) -> None:
    """Say when a file changes below what the source watches, until cancelled; and at first, since one may
    have changed while nobody watched.

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
        now(source.name)
        async for _ in awatch(*paths, debounce=_QUIET_MS, step=_QUIET_MS // 5):
            now(source.name)
