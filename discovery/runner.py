"""Runs sources: what is read of them, in whatever place, the store writes in batches, scope by scope."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, TypeVar

from neo4j.exceptions import DatabaseError, ServiceUnavailable, SessionExpired

from discovery.connector import Change, Item, Places, Position, PositionLostError, Problem, SourceError
from discovery.connectors.scim_push import Resources
from discovery.extraction import ReadPassage
from discovery.holds import Hold, allowance, hold, lapse
from discovery.names import entity_names
from discovery.proposed import Proposed, propose_classifications, proposed_before
from discovery.proposing import read_policies
from discovery.rate import TokenBucket
from discovery.readings import Reader, Reading, Wanted, WorkerLostError, in_threads
from discovery.reports import RunReport, ScopeReport
from discovery.runs import (
    UnderWay,
    forget_position,
    places_of,
    position_of,
    reached,
    record_run,
    remember,
    remember_places,
    scopes_read,
)
from discovery.scim.pushed import pushed, stale
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim
from graph.crawl import Crawl, Step
from graph.database import Database
from graph.lease import CrawlBusyError, LeaseLostError
from graph.pages import pages_of
from graph.quarantine import is_quarantined
from graph.store import FactStore

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Of one scope, that are told one by one.
MOST_PROBLEMS = 1_000
#: How often a scope is begun again whose reader went away.
_READERS = 3
#: Of claims, that are looked at at once.
_PAGES = 50
#: What of a source says when it is crawled, and not what it claims.
_SCHEDULING = {
    "options", "every", "cron", "watch", "webhook", "pages_per_second", "max_age", "brake",
}  # fmt: skip
_TOO_MUCH = "more than the source's brake allows"
_NO_LONGER = (
    "it is listed no longer, as under another filter; what the scopes that are listed say of it too stays"
)

Progress = Callable[[str, ScopeReport], None]
"""Called with the source's name and its scope so far, after each batch."""


def no_progress(source: str, scope: ScopeReport) -> None:
    """For where nobody watches."""


def held_anywhere(source: SourceConfig) -> str:
    """For where nothing is said of where the graph runs."""
    return ""


async def nothing_ruled_out(source: SourceConfig) -> Sequence[str]:
    """Likewise."""
    return ()


@dataclass(frozen=True)
class Runner:
    """Crawls the sources of an organization into a store, and keeps a record of each crawl."""

    organization: OrganizationConfig
    store: FactStore
    database: Database
    progress: Progress = no_progress
    refusal: Callable[[SourceConfig], str] = held_anywhere
    """Why the graph may not hold a source, which is then not read; empty when it may."""
    ruled_out: Callable[[SourceConfig], Awaitable[Sequence[str]]] = nothing_ruled_out
    """What is to be said of rules that were found, by which the graph may not hold what the source says."""
    read_passage: ReadPassage | None = None
    """Asks a model for the rules of a passage; None where there is none to ask."""
    buckets: dict[str, TokenBucket] = field(default_factory=dict)
    """Of the sources that may not be asked for pages as quickly as they come."""
    reader: Reader = in_threads
    """Where sources are read."""

    async def run(self, source: SourceConfig) -> RunReport:
        """One crawl. Whatever goes wrong in the source is in the report, never raised."""
        started = datetime.now(UTC)
        scopes: list[ScopeReport] = []
        error: str | None = None
        notes: tuple[str, ...] = ()
        try:
            if refused := self.refusal(source):
                raise SourceError(refused)
            proposed = await proposed_before(self.database, source)
            reading = await self.reader(await self._wanted(source))
            listed = await reading.scopes()
            places = asyncio.Semaphore(reading.at_once)
            record = UnderWay(self.database, source.name, started)
            tell = partial(self._tell, source.name, record)
            scopes += await asyncio.gather(
                *(
                    self._scope(_ScopeCrawl(self, source, scope, tell, proposed), reading, places)
                    for scope in listed
                )
            )
            scopes += await self._left(source, listed)
            notes = (*await self._proposals(source, proposed), *await self.ruled_out(source))
        except Exception as failure:  # noqa: BLE001 - it must end only this source
            error = _why(source.name, failure)
        report = RunReport(source.name, started, datetime.now(UTC) - started, tuple(scopes), error, notes)
        try:
            await record_run(self.database, report)
        except Exception as failure:  # noqa: BLE001 - as above
            unrecorded = f"the crawl could not be recorded: {_why(source.name, failure)}"
            return replace(report, error="; ".join(filter(None, (error, unrecorded))))
        return report

    async def said(self, source: SourceConfig) -> tuple[Sequence[Claim], frozenset[str]]:
        """What the source says at present, without a crawl, and which scopes could be read whole.

        Raises SourceError and ConfigurationError.
        """
        if refused := self.refusal(source):
            raise SourceError(refused)
        claims: list[Claim] = []
        whole = set()
        reading = await self.reader(await self._wanted(source))
        for scope in await reading.scopes():
            async with aclosing(reading.read(scope)) as batches:
                items = [item async for batch in batches for item in batch]
            claims += [one for one in items if isinstance(one, Claim)]
            if not any(isinstance(one, Problem) for one in items):
                whole.add(scope)
        return claims, frozenset(whole)

    async def run_all(self, sources: Iterable[SourceConfig]) -> tuple[RunReport, ...]:
        """One after the other, in the order given; a failure ends only its own source."""
        return tuple([await self.run(source) for source in sources])

    async def _proposals(self, source: SourceConfig, proposed: Proposed) -> tuple[str, ...]:
        """Put what was extracted before people; what is to be said of it."""
        if any(one.changed for one in proposed.scopes):
            await propose_classifications(self.database, source, proposed)
        if source.extract is None:
            return ()
        return tuple(await read_policies(self.store, self.organization, source, self.read_passage))

    async def _wanted(self, source: SourceConfig) -> Wanted:
        names = await entity_names(self.database)
        pushed = self._pushed(source, asyncio.get_running_loop())
        rate = source.pages_per_second
        bucket = None if rate is None else self.buckets.setdefault(source.name, TokenBucket(rate))
        held = self._held(source, asyncio.get_running_loop())
        places = await places_of(self.database, source.name)
        return Wanted(self.organization, source, names, pushed, held, bucket, places)

    def _pushed(self, source: SourceConfig, loop: asyncio.AbstractEventLoop) -> Callable[[], Resources]:
        """What was pushed to the source, for the thread that reads."""

        async def read() -> Resources:
            return Resources(
                await pushed(self.database, source.name), await stale(self.database, source.name)
            )

        return lambda: asyncio.run_coroutine_threadsafe(read(), loop).result()

    def _held(
        self, source: SourceConfig, loop: asyncio.AbstractEventLoop
    ) -> Callable[[str], Iterator[Claim]]:
        """What the source claims in a scope, page by page, for the thread that reads."""

        def wait(work: Coroutine[Any, Any, T]) -> T:
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        def held(scope: str) -> Iterator[Claim]:
            if wait(is_quarantined(self.database, source.name, scope)):
                raise PositionLostError("what is quarantined of it is read again")
            after = -1
            while pages := wait(pages_of(self.database, (source.name, scope), after, _PAGES)):
                for page in pages:
                    yield from (one.claim for one in page.claims.values())
                after = pages[-1].number

        return held

    async def _tell(self, source: str, record: UnderWay, scope: ScopeReport) -> None:
        self.progress(source, scope)
        await record.tell(scope)

    async def _scope(self, crawl: _ScopeCrawl, reading: Reading, places: asyncio.Semaphore) -> ScopeReport:
        name = crawl.source.name
        async with places:
            before = crawl.report
            for _ in range(_READERS):
                crawl = replace(crawl)
                try:
                    return (await crawl.go(reading)).after(before)
                except WorkerLostError as lost:
                    log.warning("source %s: %s", name, lost)
                    before = replace(crawl.report.after(before), outcome="failed", why=str(lost))
                except Exception as failure:  # noqa: BLE001 - it must end only this scope
                    return replace(crawl.report.after(before), outcome="failed", why=_why(name, failure))
            return before

    async def _left(self, source: SourceConfig, listed: Sequence[str]) -> list[ScopeReport]:
        """Scopes that are listed no longer. A filter may have been narrowed: a person says what is gone."""
        reports = []
        for scope in sorted(await scopes_read(self.database, source.name) - set(listed)):
            ours = _ScopeCrawl(self, source, scope, _told_nobody, Proposed({}, {}))
            async with self.store.crawl(source.policy(), scope) as crawl:
                gone, standing = await crawl.gone()
                if gone and not await ours.held(gone, standing, _NO_LONGER):
                    await ours.complete(crawl)
            if gone:
                reports.append(ours.report)
        return reports


@dataclass
class _ScopeCrawl:
    """One crawl of one scope, and its report so far."""

    runner: Runner
    source: SourceConfig
    scope: str
    tell: Callable[[ScopeReport], Awaitable[None]]
    """Called after each batch."""
    before: Proposed
    """What it has to keep to."""
    proposed: Proposed = field(init=False)
    report: ScopeReport = field(init=False)
    position: Position | None = field(default=None, init=False)
    """That the whole of it was read at."""
    places: Places | None = field(default=None, init=False)
    """By which keys its files are known, where its connector says so."""
    untold: int = field(default=0, init=False)
    """Problems beyond those in the report."""

    def __post_init__(self) -> None:
        self.report = ScopeReport(self.scope)
        self.proposed = self.before.of_scope()

    @cached_property
    def configuration(self) -> str:
        """A digest of all beside the source and its options that claims follow from: another, and the
        scope is read whole."""
        organization = self.runner.organization.model_dump_json(exclude={"source", "folder"})
        declared = [source.classifications() for source in self.runner.organization.source]
        source = self.source.model_dump_json(exclude=_SCHEDULING)
        text = f"{version('orgraph')} {organization} {source} {declared}"
        return hashlib.sha256(text.encode()).hexdigest()

    async def go(self, reading: Reading) -> ScopeReport:
        """Follow it from where it was read to, where that can be, and read it whole otherwise."""
        position = await position_of(self.runner.database, self.source.name, self.scope, self.configuration)
        if position is not None and (changes := reading.changes(self.scope, position)) is not None:
            try:
                return await self.follow(changes, position)
            except PositionLostError as lost:
                log.info("source %s: %s is read whole: %s", self.source.name, self.scope, lost)
        report = await self.read(reading)
        if report.outcome == "complete" and report.retracted and report.violations:
            # What was in the way of a refused claim may be gone: a unit that moves has one place only.
            self.report = ScopeReport(self.scope)
            return (await self.read(reading)).after(report)
        return report

    async def read(self, reading: Reading) -> ScopeReport:
        """Read it whole; what it no longer says is retracted unless there are problems, or it is held."""
        database, name = self.runner.database, self.source.name
        await forget_position(database, name, self.scope)
        async with (
            self.runner.store.crawl(self.source.policy(), self.scope) as crawl,
            aclosing(reading.read(self.scope)) as read,
        ):
            async with aclosing(crawl.write_each(self._claims(read))) as written:
                async for report in written:
                    self.report = self.report.plus(report)
                    await self.tell(self.report)
            if self.report.problems:
                self.report = replace(self.report, outcome="partial", problems=self._told())
                return self.report
            if unshown := self.proposed.unshown():
                self.report = self.report.plus(await crawl.write(unshown))
            gone, standing = await crawl.gone()
            if self.source.brake.holds(gone, standing) and await self.held(gone, standing, _TOO_MUCH):
                return self.report
            await self.complete(crawl)
        if self.places is not None:
            self.places = replace(self.places, gone={})
            await remember_places(database, name, self.scope, self.places)
        if self.position is not None:
            await remember(database, name, self.scope, reached(self.configuration, self.position.text))
        return self.report

    async def _claims(self, read: AsyncIterator[Sequence[Item]]) -> AsyncIterator[Sequence[Claim]]:
        """Those of each batch that is read; the rest of it comes into the report."""
        self.position = None
        async for told in read:
            items = self.proposed.admitted(told)
            claims = [item for item in items if not isinstance(item, (Problem, Position, Places))]
            for places in (item for item in items if isinstance(item, Places)):
                self.places = places  # known before a claim rests on it
                await remember_places(self.runner.database, self.source.name, self.scope, places)
            self._problems([item for item in items if isinstance(item, Problem)])
            self.position = next((item for item in items if isinstance(item, Position)), self.position)
            self.report = replace(self.report, claims=self.report.claims + len(claims))
            if claims:
                yield claims
            # A source that makes one wait is told of before its batch is written.
            await self.tell(self.report)

    async def follow(self, changes: AsyncGenerator[Sequence[Change], None], position: str) -> ScopeReport:
        """Take the changes since a position, each in a revision; what did not change stands."""
        database, name, seen = self.runner.database, self.source.name, position
        kept = position
        async with (
            self.runner.store.crawl(self.source.policy(), self.scope) as crawl,
            aclosing(changes) as read,
        ):
            async for batch in read:
                taken: list[tuple[Change, Step]] = []
                for change in batch:
                    step = self._step(change)
                    gone = len(step.withdrawn)
                    if self.source.brake.holds(gone, change.standing):
                        await self._take(crawl, taken)
                        taken = []
                        if await self.held(gone, change.standing, f"{_TOO_MUCH} at {change.position}"):
                            return self.report
                        await lapse(database, name, self.scope)
                    taken.append((change, step))
                    seen = change.position or seen
                    if step.reached:
                        kept = seen
                await self._take(crawl, taken)
            if self.report.problems:  # of the latest change: earlier ones were mended since
                if self.places is not None:
                    await remember_places(database, name, self.scope, self.places)
                self.report = replace(self.report, outcome="partial")
                return self.report
            self.report = self.report.plus(await crawl.confirm())
        if seen != kept:
            await remember(database, name, self.scope, reached(self.configuration, seen, self.places))
        await lapse(database, name, self.scope)
        return self.report

    def _step(self, change: Change) -> Step:
        """With the position that is reached by it, if any, in the same transaction."""
        self.places = change.places or self.places
        withdrawn = self.proposed.without_sampled(change.withdrawn)
        claims = [one for one in self.proposed.admitted(change.claims) if isinstance(one, Claim)]
        if change.position is None or not (claims or withdrawn):
            return Step(claims, withdrawn)
        return Step(claims, withdrawn, reached(self.configuration, change.position, change.places))

    async def _take(self, crawl: Crawl, taken: Sequence[tuple[Change, Step]]) -> None:
        """Write the changes, and tell of one after the other."""
        if not taken:
            return
        written = await crawl.write_steps([step for _, step in taken])
        for (change, step), report in zip(taken, written, strict=True):
            claims = self.report.claims + len(step.claims)
            problems = tuple(change.problems)
            self.report = replace(self.report.plus(report), claims=claims, problems=problems)
            await self.tell(self.report)

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

    def _problems(self, problems: Sequence[Problem]) -> None:
        room = MOST_PROBLEMS - len(self.report.problems)
        self.untold += len(problems[room:])
        self.report = replace(self.report, problems=(*self.report.problems, *problems[:room]))

    def _told(self) -> tuple[Problem, ...]:
        if not self.untold:
            return self.report.problems
        more = Problem(self.scope, f"{self.untold} more like these; correct these first")
        return (*self.report.problems, more)


async def _told_nobody(scope: ScopeReport) -> None: ...


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
