"""When sources are crawled: what is due at a start, then each at its interval, failures sooner."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from discovery.reports import RunReport
from discovery.sources import SourceConfig
from graph.tuples import CONFIGURATION

log = logging.getLogger(__name__)

Crawl = Callable[[SourceConfig], Awaitable[RunReport]]

_FIRST_RETRY = timedelta(seconds=30)


def in_order(sources: Iterable[SourceConfig]) -> tuple[SourceConfig, ...]:
    """The configuration first, then sources that grant access, then the rest: what is claimed later
    finds its collections, and no one loses access for want of a crawl that waits behind a long one."""
    return tuple(sorted(sources, key=lambda source: (source.name != CONFIGURATION, not source.grants)))


def due(
    sources: Iterable[SourceConfig], completed: Mapping[str, datetime], now: datetime
) -> tuple[SourceConfig, ...]:
    """The sources, in order, that completed no crawl within their interval before `now`.

    The configuration always is: the file may have been edited while the service was down.
    """
    return in_order(
        source
        for source in sources
        if source.name == CONFIGURATION
        or source.name not in completed
        or now - completed[source.name] >= source.every
    )


def retry_after(failures: int, every: timedelta) -> timedelta:
    """30 s after the first failure in a row, doubled after each further one, at most the interval."""
    return min(_FIRST_RETRY * (1 << min(failures - 1, 20)), every)


def start_schedule(
    sources: Iterable[SourceConfig], completed: Mapping[str, datetime], crawl: Crawl
) -> AsyncIOScheduler:
    """A started scheduler on the running loop; `shutdown` ends it. No source is crawled twice at once."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    failures: dict[str, int] = {}

    async def run(source: SourceConfig) -> None:
        report = await crawl(source)
        if report.outcome != "failed":
            failures.pop(source.name, None)
            return
        failures[source.name] = failures.get(source.name, 0) + 1
        wait = retry_after(failures[source.name], source.every)
        log.warning(
            "source %s failed %d times in a row; again in %s", source.name, failures[source.name], wait
        )
        if (job := scheduler.get_job(source.name)) is not None:
            job.modify(next_run_time=datetime.now(UTC) + wait)

    now = datetime.now(UTC)
    for source in in_order(sources):
        scheduler.add_job(
            run,
            "interval",
            seconds=source.every.total_seconds(),
            args=[source],
            id=source.name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            next_run_time=max(now, completed.get(source.name, now) + source.every),
        )
    scheduler.start()
    return scheduler
