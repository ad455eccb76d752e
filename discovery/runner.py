"""Runs sources: what a connector reads in a thread, the store writes in batches, scope by scope."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from typing import TypeVar

from neo4j.exceptions import DatabaseError, ServiceUnavailable, SessionExpired

from discovery.connector import Connector, Incremental, Position, PositionLostError, Problem, SourceError
from discovery.connectors.scim_push import Resources
from discovery.connectors.table import build
from discovery.holds import Hold, allowance, hold, lapse
from discovery.pages import watched
from discovery.rate import TokenBucket
from discovery.reports import RunReport, ScopeReport
from discovery.runs import (
    entity_names,
    forget_position,
    position_of,
    reading,
    record_run,
    remember_position,
    scopes_read,
)
from discovery.scim.pushed import pushed, stale
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim
from graph.crawl import Crawl
from graph.database import Database
from graph.lease import CrawlBusyError, LeaseLostError
from graph.store import FactStore

log = logging.getLogger(__name__)

#: Claims in one transaction.
BATCH = 500
#: Batches read ahead of the one that is written.
_AHEAD = 4
#: What of a source says when it is crawled, and not what it claims.
_SCHEDULING = {
    "options", "every", "cron", "watch", "webhook", "pages_per_second", "max_age", "brake",
}  # fmt: skip
_TOO_MUCH = "more than the source's brake allows"

T = TypeVar("T")

Progress = Callable[[str, ScopeReport], None]
"""Called with the source's name and its scope so far, after each batch."""


def no_progress(source: str, scope: ScopeReport) -> None:
    """For where nobody watches."""


def held_anywhere(source: SourceConfig) -> str:
    """For where nothing is said of where the graph runs."""
    return ""


@dataclass(frozen=True)
class Runner:
    """Crawls the sources of an organization into a store, and keeps a record of each crawl."""

    organization: OrganizationConfig
    store: FactStore
    database: Database
    progress: Progress = no_progress
    refusal: Callable[[SourceConfig], str] = held_anywhere
    """Why the graph may not hold a source, which is then not read; empty when it may."""
    buckets: dict[str, TokenBucket] = field(default_factory=dict)
    """Of the sources that may not be asked for pages as quickly as they come."""

    async def run(self, source: SourceConfig) -> RunReport:
        """One crawl. Whatever goes wrong in the source is in the report, never raised."""
        started = datetime.now(UTC)
        scopes: list[ScopeReport] = []
        error = None
        try:
            if refused := self.refusal(source):
                raise SourceError(refused)
            names = await entity_names(self.database)
            kept = self._pushed(source, asyncio.get_running_loop())
            connector = await asyncio.to_thread(build, self.organization, source, names, kept)
            listed = await asyncio.to_thread(connector.scopes)
            for scope in listed:
                scopes.append(await self._scope(source, connector, scope))
            scopes += await self._left(source, listed)
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

    def _pushed(self, source: SourceConfig, loop: asyncio.AbstractEventLoop) -> Callable[[], Resources]:
        """What was pushed to the source, for the thread that reads."""

        async def read() -> Resources:
            return Resources(
                await pushed(self.database, source.name), await stale(self.database, source.name)
            )

        return lambda: asyncio.run_coroutine_threadsafe(read(), loop).result()

    async def _scope(self, source: SourceConfig, connector: Connector, scope: str) -> ScopeReport:
        reading = _ScopeReading(self, source, scope)
        try:
            position = await position_of(self.database, source.name, scope, reading.configuration)
            if position is not None and isinstance(connector, Incremental):
                try:
                    return await reading.follow(connector, position)
                except PositionLostError as lost:
                    log.info("source %s: %s is read whole: %s", source.name, scope, lost)
            report = await reading.read(connector)
            if report.outcome == "complete" and report.retracted and report.violations:
                # What was in the way of a refused claim may be gone: a unit that moves has one place only.
                reading = _ScopeReading(self, source, scope)
                report = (await reading.read(connector)).after(report)
            return report
        except Exception as failure:  # noqa: BLE001 - it must end only this scope
            return replace(reading.report, outcome="failed", why=_why(source.name, failure))

    async def _left(self, source: SourceConfig, listed: Sequence[str]) -> list[ScopeReport]:
        """Scopes that are listed no longer. A filter may have been narrowed: a person says what is gone."""
        reports = []
        for scope in sorted(await scopes_read(self.database, source.name) - set(listed)):
            reading = _ScopeReading(self, source, scope)
            async with self.store.crawl(source.policy(), scope) as crawl:
                gone, standing = await crawl.gone()
                if gone and not await reading.held(gone, standing, "the scope is no longer listed"):
                    await reading.complete(crawl)
            if gone:
                reports.append(reading.report)
        return reports


@dataclass
class _ScopeReading:
    """One crawl of one scope, and its report so far."""

    runner: Runner
    source: SourceConfig
    scope: str
    report: ScopeReport = field(init=False)

    def __post_init__(self) -> None:
        self.report = ScopeReport(self.scope)

    @cached_property
    def configuration(self) -> str:
        """A digest of all beside the source and its options that claims follow from: another, and the
        scope is read whole."""
        organization = self.runner.organization.model_dump_json(exclude={"source", "folder"})
        declared = [source.classifications() for source in self.runner.organization.source]
        source = self.source.model_dump_json(exclude=_SCHEDULING)
        text = f"{version('orgraph')} {organization} {source} {declared}"
        return hashlib.sha256(text.encode()).hexdigest()

    async def read(self, connector: Connector) -> ScopeReport:
        """Read it whole; what it no longer says is retracted unless there are problems, or it is held."""
        database, name = self.runner.database, self.source.name
        await forget_position(database, name, self.scope)
        position = None
        async with (
            self.runner.store.crawl(self.source.policy(), self.scope) as crawl,
            aclosing(self._in_thread(partial(connector.read, self.scope), BATCH)) as read,
        ):
            async for items in read:
                claims = [item for item in items if not isinstance(item, (Problem, Position))]
                self._problems(item for item in items if isinstance(item, Problem))
                position = next((item for item in items if isinstance(item, Position)), position)
                await self._write(crawl, claims)
                self.runner.progress(name, self.report)
            if self.report.problems:
                self.report = replace(self.report, outcome="partial")
                return self.report
            gone, standing = await crawl.gone()
            if self.source.brake.holds(gone, standing) and await self.held(gone, standing, _TOO_MUCH):
                return self.report
            await self.complete(crawl)
        if position is not None:
            await remember_position(database, name, self.scope, self.configuration, position.text)
        return self.report

    async def follow(self, connector: Incremental, position: str) -> ScopeReport:
        """Take the changes since a position, each in one transaction; what did not change stands."""
        database, name, seen = self.runner.database, self.source.name, position
        kept = position
        async with (
            self.runner.store.crawl(self.source.policy(), self.scope) as crawl,
            aclosing(self._in_thread(partial(connector.changes, self.scope, position), 1)) as read,
        ):
            async for [change] in read:
                gone = len(change.withdrawn)
                if self.source.brake.holds(gone, change.standing):
                    if await self.held(gone, change.standing, f"{_TOO_MUCH} at {change.position}"):
                        return self.report
                    await lapse(database, name, self.scope)
                crawl.next_change()
                await self._write(crawl, change.claims, change.withdrawn, change.position)
                self.report = replace(self.report, problems=tuple(change.problems))
                seen = change.position or seen
                if change.position and (change.claims or change.withdrawn):
                    kept = change.position
                self.runner.progress(name, self.report)
            if self.report.problems:  # of the latest change: earlier ones were mended since
                self.report = replace(self.report, outcome="partial")
                return self.report
            self.report = self.report.plus(await crawl.confirm())
        if seen != kept:
            await remember_position(database, name, self.scope, self.configuration, seen)
        await lapse(database, name, self.scope)
        return self.report

    async def held(self, gone: int, standing: int, why: str) -> bool:
        """Whether it must wait for a person; so it is recorded and reported."""
        database = self.runner.database
        if gone <= await allowance(database, self.source.name, self.scope):
            return False
        found = Hold(self.source.name, self.scope, gone, standing, why)
        await hold(database, found)
        self.report = replace(self.report, outcome="partial", why=str(found))
        return True

    async def complete(self, crawl: Crawl) -> None:
        self.report = self.report.plus(await crawl.complete())
        await lapse(self.runner.database, self.source.name, self.scope)

    async def _write(
        self,
        crawl: Crawl,
        claims: Sequence[Claim],
        withdrawn: Sequence[Claim] = (),
        position: str | None = None,
    ) -> None:
        """With the position that is reached by that, if any, in the same transaction."""
        self.report = replace(self.report, claims=self.report.claims + len(claims))
        if claims or withdrawn:
            reached = reading(self.configuration, position) if position else None
            self.report = self.report.plus(await crawl.write(claims, withdrawn, reached))

    def _in_thread(self, iterate: Callable[[], Iterator[T]], size: int) -> AsyncGenerator[Sequence[T], None]:
        if (rate := self.source.pages_per_second) is None:
            return _in_thread(iterate, size)
        bucket = self.runner.buckets.setdefault(self.source.name, TokenBucket(rate))

        def slowly() -> Iterator[T]:
            with watched(bucket.take):
                yield from iterate()

        return _in_thread(slowly, size)

    def _problems(self, problems: Iterable[Problem]) -> None:
        self.report = replace(self.report, problems=(*self.report.problems, *problems))


def _why(source: str, failure: Exception) -> str:
    """The message of an error that names what to do; for any other, its type, and its place in the log."""
    if isinstance(failure, (ConfigurationError, SourceError, CrawlBusyError, LeaseLostError)):
        return str(failure)
    if isinstance(failure, (ServiceUnavailable, SessionExpired)):
        return f"Neo4j went away: {failure}; what was committed is kept: start it and crawl again"
    log.error("source %s", source, exc_info=failure)
    if isinstance(failure, DatabaseError):
        return (
            f"Neo4j failed: {failure.message}; nothing of the batch under way is kept: make room on its disk "
            "if that is full, start it again and crawl again"
        )
    return f"{type(failure).__name__}: {failure} (unexpected; the log has the place)"


async def _in_thread(iterate: Callable[[], Iterator[T]], size: int) -> AsyncGenerator[Sequence[T], None]:
    """Batches of what a connector yields, read in one thread of its own, a few batches ahead.

    Raises what it raises. When the consumer stops, the thread does at its next item.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Sequence[T] | None] = asyncio.Queue(_AHEAD)
    stopped = threading.Event()

    def put(batch: Sequence[T] | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(batch), loop).result()

    def read() -> None:
        batch: list[T] = []
        try:
            for item in iterate():
                if stopped.is_set():
                    return
                batch.append(item)
                if len(batch) == size:
                    put(batch)
                    batch = []
            if batch:
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
