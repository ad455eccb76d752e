"""Runs sources: what a connector reads in a thread, the store writes in batches, scope by scope."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from discovery.connector import Connector, Problem, SourceError
from discovery.connectors.table import build
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from discovery.text import KnownNames, no_names
from graph.claims import Claim, Violation, WriteReport
from graph.store import FactStore

log = logging.getLogger(__name__)

#: Claims in one transaction.
BATCH = 500
#: Batches read ahead of the one that is written.
_AHEAD = 4

Outcome = Literal["complete", "partial", "failed"]
_WORST: Sequence[Outcome] = ("complete", "partial", "failed")


@dataclass(frozen=True, slots=True)
class ScopeReport:
    """How one scope went. Only a complete one had what it no longer says retracted."""

    scope: str
    outcome: Outcome = "complete"
    why: str | None = None
    """Why it failed."""
    claims: int = 0
    added: int = 0
    changed: int = 0
    retracted: int = 0
    unchanged: int = 0
    problems: tuple[Problem, ...] = ()
    violations: tuple[Violation, ...] = ()

    def plus(self, written: WriteReport) -> ScopeReport:
        return replace(
            self,
            added=self.added + written.added,
            changed=self.changed + written.changed,
            retracted=self.retracted + written.retracted,
            unchanged=self.unchanged + written.unchanged,
            violations=self.violations + written.quarantined,
        )


@dataclass(frozen=True, slots=True)
class RunReport:
    """How one crawl of a source went."""

    source: str
    started: datetime
    duration: timedelta
    scopes: tuple[ScopeReport, ...]
    error: str | None = None
    """Why the source could not be read at all, or its crawl not be recorded."""

    @property
    def outcome(self) -> Outcome:
        """The worst of its scopes'."""
        if self.error is not None:
            return "failed"
        return max((scope.outcome for scope in self.scopes), key=_WORST.index, default="complete")

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for scope in self.scopes for problem in scope.problems)

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(violation for scope in self.scopes for violation in scope.violations)


Progress = Callable[[str, ScopeReport], None]
"""Called with the source's name and its scope so far, after each batch."""


def no_progress(source: str, scope: ScopeReport) -> None:
    """For where nobody watches."""


@dataclass(frozen=True)
class Runner:
    """Crawls the sources of an organization into a store."""

    organization: OrganizationConfig
    store: FactStore
    known_names: KnownNames = no_names
    progress: Progress = no_progress

    async def run(self, source: SourceConfig) -> RunReport:
        """One crawl. Whatever goes wrong in the source is in the report, never raised."""
        started = datetime.now(UTC)
        scopes: list[ScopeReport] = []
        error = None
        try:
            connector = await asyncio.to_thread(build, self.organization, source, self.known_names)
            for scope in await asyncio.to_thread(connector.scopes):
                scopes.append(await self._scope(source, connector, scope))
        except (ConfigurationError, SourceError) as expected:
            error = str(expected)
        except Exception as unexpected:
            log.exception("source %s", source.name)
            error = _unexpected(unexpected)
        return RunReport(source.name, started, datetime.now(UTC) - started, tuple(scopes), error)

    async def run_all(self, sources: Iterable[SourceConfig]) -> tuple[RunReport, ...]:
        """One after the other, in the order given; a failure ends only its own source."""
        return tuple([await self.run(source) for source in sources])

    async def _scope(self, source: SourceConfig, connector: Connector, scope: str) -> ScopeReport:
        report = ScopeReport(scope)
        try:
            async with self.store.crawl(source.policy(), scope) as crawl:
                async for items in _read(connector, scope):
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
        except SourceError as error:
            return replace(report, outcome="failed", why=str(error))
        except Exception as error:
            log.exception("source %s, scope %s", source.name, scope)
            return replace(report, outcome="failed", why=_unexpected(error))


def _unexpected(error: Exception) -> str:
    return f"{type(error).__name__}: {error} (unexpected; the log has the place)"


async def _read(connector: Connector, scope: str) -> AsyncIterator[Sequence[Claim | Problem]]:
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
