"""Runs sources: what a connector reads in a thread, the store writes in batches, scope by scope."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from neo4j.exceptions import ServiceUnavailable, SessionExpired

from discovery.connector import Connector, Problem, SourceError
from discovery.connectors.table import build
from discovery.reports import RunReport, ScopeReport
from discovery.runs import entity_names, record_run
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim
from graph.database import Database
from graph.store import FactStore

log = logging.getLogger(__name__)

#: Claims in one transaction.
BATCH = 500
#: Batches read ahead of the one that is written.
_AHEAD = 4

Progress = Callable[[str, ScopeReport], None]
"""Called with the source's name and its scope so far, after each batch."""


def no_progress(source: str, scope: ScopeReport) -> None:
    """For where nobody watches."""


@dataclass(frozen=True)
class Runner:
    """Crawls the sources of an organization into a store, and keeps a record of each crawl."""

    organization: OrganizationConfig
    store: FactStore
    database: Database
    progress: Progress = no_progress

    async def run(self, source: SourceConfig) -> RunReport:
        """One crawl. Whatever goes wrong in the source is in the report, never raised."""
        started = datetime.now(UTC)
        scopes: list[ScopeReport] = []
        error = None
        try:
            names = await entity_names(self.database)
            connector = await asyncio.to_thread(build, self.organization, source, names)
            for scope in await asyncio.to_thread(connector.scopes):
                scopes.append(await self._scope(source, connector, scope))
        except Exception as failure:  # noqa: BLE001 - it must end only this source
            error = _why(source.name, failure)
        report = RunReport(source.name, started, datetime.now(UTC) - started, tuple(scopes), error)
        try:
            await record_run(self.database, report)
        except Exception as failure:  # noqa: BLE001 - as above
            unrecorded = f"the crawl could not be recorded: {_why(source.name, failure)}"
            return replace(report, error="; ".join(filter(None, (error, unrecorded))))
        return report

    async def run_all(self, sources: Iterable[SourceConfig]) -> tuple[RunReport, ...]:
        """One after the other, in the order given; a failure ends only its own source."""
        return tuple([await self.run(source) for source in sources])

    async def _scope(self, source: SourceConfig, connector: Connector, scope: str) -> ScopeReport:
        report = ScopeReport(scope)
        try:
            async with (
                self.store.crawl(source.policy(), scope) as crawl,
                aclosing(_read(connector, scope)) as read,
            ):
                async for items in read:
                    claims = [item for item in items if not isinstance(item, Problem)]
                    problems = tuple(item for item in items if isinstance(item, Problem))
                    report = replace(
                        report, claims=report.claims + len(claims), problems=report.problems + problems
                    )
                    if claims:
                        report = report.plus(await crawl.write(claims))
                    self.progress(source.name, report)
                if report.problems:
                    return replace(report, outcome="partial")
                return report.plus(await crawl.complete())
        except Exception as failure:  # noqa: BLE001 - it must end only this scope
            return replace(report, outcome="failed", why=_why(source.name, failure))


def _why(source: str, failure: Exception) -> str:
    """The message of an error that names what to do; for any other, its type, and its place in the log."""
    if isinstance(failure, (ConfigurationError, SourceError)):
        return str(failure)
    if isinstance(failure, (ServiceUnavailable, SessionExpired)):
        return f"Neo4j went away: {failure}; what was committed is kept: start it and crawl again"
    log.error("source %s", source, exc_info=failure)
    return f"{type(failure).__name__}: {failure} (unexpected; the log has the place)"


async def _read(connector: Connector, scope: str) -> AsyncGenerator[Sequence[Claim | Problem], None]:
    """Batches of what the connector yields, read in one thread of its own, a few batches ahead.

    Raises what `read` raises. When the consumer stops, the thread does at its next item.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Sequence[Claim | Problem] | None] = asyncio.Queue(_AHEAD)
    stopped = threading.Event()

    def put(batch: Sequence[Claim | Problem] | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(batch), loop).result()

    def read() -> None:
        batch: list[Claim | Problem] = []
        try:
            for item in connector.read(scope):
                if stopped.is_set():
                    return
                batch.append(item)
                if len(batch) == BATCH:
                    put(batch)
                    batch = []
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
