"""When sources are crawled: what is due at a start, then each at its times, on events, failures sooner."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from discovery.reports import RunReport
from discovery.sources import SourceConfig
from graph.tuples import CONFIGURATION

log = logging.getLogger(__name__)

Crawl = Callable[[SourceConfig], Awaitable[RunReport]]

#: Crawls at once. Each reads in a thread of its own; the store lets them write one after the other.
AT_ONCE = 4
_FIRST_RETRY = timedelta(seconds=30)
_STOP_S = 60


def in_order(sources: Iterable[SourceConfig]) -> tuple[SourceConfig, ...]:
    """The configuration first, then sources that grant access, then the rest: what is claimed later
    finds its collections, and no one loses access for want of a crawl that waits behind a long one."""
    return tuple(sorted(sources, key=lambda source: (source.name != CONFIGURATION, not source.grants)))


def next_time(source: SourceConfig, completed: datetime | None, now: datetime) -> datetime:
    """When it is to be crawled next: at once where it never was, or a time has passed since."""
    if completed is None:
        return now
    if source.cron is None:
        return max(now, completed + source.every)
    following: datetime = CronTrigger.from_crontab(source.cron, UTC).get_next_fire_time(None, completed)
    return max(now, following)


def due(
    sources: Iterable[SourceConfig], completed: Mapping[str, datetime], now: datetime
) -> tuple[SourceConfig, ...]:
    """The sources, in order, that completed no crawl since their last time before `now`.

    The configuration always is: the file may have been edited while the service was down.
    """
    return in_order(
        source
        for source in sources
        if source.name == CONFIGURATION or next_time(source, completed.get(source.name), now) <= now
    )


def retry_after(failures: int, every: timedelta, jitter: float = 0.0) -> timedelta:
    """30 s after the first failure in a row, doubled after each further one, at most the interval; less up
    to half of it by `jitter` (0 to 1), so that sources which failed together do not return together."""
    return min(_FIRST_RETRY * (1 << min(failures - 1, 20)), every) * (1 - jitter / 2)


@dataclass
class Schedule:
    """Crawls at their times. No source is crawled twice at once; one that is asked for meanwhile is
    crawled again afterwards."""

    sources: Sequence[SourceConfig]
    crawl: Crawl
    scheduler: AsyncIOScheduler = field(default_factory=lambda: AsyncIOScheduler(timezone=UTC))
    _failures: dict[str, int] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _running: dict[str, asyncio.Task[None] | None] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)

    def start(self, completed: Mapping[str, datetime]) -> None:
        now = datetime.now(UTC)
        for source in in_order(self.sources):
            trigger = (
                IntervalTrigger(seconds=source.every.total_seconds(), timezone=UTC)
                if source.cron is None
                else CronTrigger.from_crontab(source.cron, UTC)
            )
            self.scheduler.add_job(
                self._run,
                trigger,
                args=[source],
                id=source.name,
                max_instances=2,  # the second only says that it is wanted again
                coalesce=True,
                misfire_grace_time=None,
                next_run_time=next_time(source, completed.get(source.name, now), now),
            )
        self.scheduler.start()

    def now(self, name: str) -> None:
        """Something happened at the source. An unknown name is passed over."""
        if (job := self.scheduler.get_job(name)) is not None:
            job.modify(next_run_time=datetime.now(UTC))

    async def stop(self) -> None:
        """Crawls under way end where they are: what they wrote stands, nothing is retracted for it."""
        self.scheduler.shutdown(wait=False)
        running = [task for task in self._running.values() if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_STOP_S)

    async def _run(self, source: SourceConfig) -> None:
        if source.name in self._running:
            self._again.add(source.name)
            return
        self._running[source.name] = asyncio.current_task()
        try:
            wanted = True
            while wanted:
                self._again.discard(source.name)
                async with self._slots:
                    report = await self.crawl(source)
                self._settle(source, report)
                wanted = source.name in self._again
        finally:
            del self._running[source.name]

    def _settle(self, source: SourceConfig, report: RunReport) -> None:
        if report.outcome != "failed":
            self._failures.pop(source.name, None)
            return
        failures = self._failures[source.name] = self._failures.get(source.name, 0) + 1
        wait = retry_after(failures, source.every, random.random())  # noqa: S311  jitter
        log.warning("source %s failed %d times in a row; again in %s", source.name, failures, wait)
        if (job := self.scheduler.get_job(source.name)) is not None:
            job.modify(next_run_time=datetime.now(UTC) + wait)


@asynccontextmanager
async def scheduled(
    sources: Sequence[SourceConfig], completed: Mapping[str, datetime], crawl: Crawl
) -> AsyncIterator[Schedule]:
    """A schedule that runs until the block ends."""
    schedule = Schedule(sources, crawl)
    schedule.start(completed)
    try:
        yield schedule
    finally:
        with suppress(asyncio.CancelledError):
            await schedule.stop()
