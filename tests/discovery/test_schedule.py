"""When sources are crawled."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED

from discovery.configuration import all_sources
from discovery.rate import TokenBucket
from discovery.reports import RunReport
from discovery.schedule import AT_ONCE, due, in_order, next_time, retry_after, scheduled

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def sources(make_organization, tmp_path):
    return all_sources(
        make_organization(
            tmp_path,
            {"name": "pages", "connector": "documents", "every": "6h"},
            {"name": "people", "connector": "ldif", "grants": ["MEMBER_OF"]},
            {"name": "schema", "connector": "sql"},
        )
    )


def names(chosen):
    return [source.name for source in chosen]


def test_the_configuration_comes_first_then_what_grants_then_the_rest(sources):
    assert names(in_order(reversed(sources))) == ["configuration", "people", "schema", "pages"]


def test_due_is_what_never_completed_or_not_within_its_interval(sources):
    assert names(due(sources, {}, NOW)) == ["configuration", "people", "pages", "schema"]
    completed = {
        "configuration": NOW,
        "people": NOW - timedelta(hours=1),
        "schema": NOW - timedelta(minutes=59),
        "pages": NOW - timedelta(hours=5),
    }
    assert names(due(sources, completed, NOW)) == ["configuration", "people"]


def test_a_retry_waits_longer_each_time_but_never_longer_than_the_interval():
    hour = timedelta(hours=1)
    waits = [retry_after(failures, hour) for failures in (1, 2, 3, 8, 1000)]
    assert waits == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2), hour, hour]


def test_of_sources_that_failed_together_each_returns_at_its_own_time():
    hour = timedelta(hours=1)
    assert retry_after(3, hour, 0.0) == timedelta(minutes=2)
    assert retry_after(3, hour, 1.0) == timedelta(minutes=1)


def test_a_source_may_have_times_of_the_day_instead_of_an_interval(make_organization, tmp_path):
    nightly = {"name": "nightly", "connector": "ldif", "cron": "30 2 * * *"}
    [source] = make_organization(tmp_path, nightly).source
    yesterday = datetime(2026, 10, 31, 2, 31, tzinfo=UTC)
    assert next_time(source, None, NOW) == NOW
    assert due([source], {"nightly": yesterday}, NOW) == (source,)
    this_night = datetime(2026, 11, 1, 2, 31, tzinfo=UTC)
    assert due([source], {"nightly": this_night}, NOW) == ()
    assert next_time(source, this_night, NOW) == datetime(2026, 11, 2, 2, 30, tzinfo=UTC)


def test_times_that_are_none_are_refused(make_organization, tmp_path):
    with pytest.raises(ValueError, match="cron"):
        make_organization(tmp_path, {"name": "x", "connector": "ldif", "cron": "at dawn"})


class Crawls:
    """Crawls that end when they are let."""

    def __init__(self):
        self.begun: list[str] = []
        self.let = asyncio.Event()
        self.at_once = self.most = 0

    async def __call__(self, source):
        self.begun.append(source.name)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.let.wait()
        finally:
            self.at_once -= 1
        return RunReport(source.name, datetime.now(UTC), timedelta(), ())

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition(self):  # noqa: ASYNC110 - of several things, and none tells of itself
                await asyncio.sleep(0.01)


def many(make_organization, tmp_path, count):
    declared = [{"name": f"s{number}", "connector": "ldif"} for number in range(count)]
    return make_organization(tmp_path, *declared).source


async def test_only_so_many_sources_are_crawled_at_once(make_organization, tmp_path):
    crawls, sources = Crawls(), many(make_organization, tmp_path, AT_ONCE + 3)
    long_ago = dict.fromkeys([source.name for source in sources], NOW - timedelta(days=1))
    async with scheduled(sources, long_ago, crawls):
        await crawls.until(lambda c: c.at_once == AT_ONCE)
        crawls.let.set()
        await crawls.until(lambda c: len(c.begun) == AT_ONCE + 3 and c.at_once == 0)
    assert crawls.most == AT_ONCE


async def test_what_happens_during_a_crawl_has_it_crawled_once_more_afterwards(make_organization, tmp_path):
    crawls = Crawls()
    [source] = many(make_organization, tmp_path, 1)
    async with scheduled([source], {}, crawls) as schedule:  # completed just now: it is not due
        schedule.now("s0")
        await crawls.until(lambda c: c.at_once == 1)
        schedule.now("s0")
        schedule.now("nobody")
        await crawls.until(lambda _: "s0" in schedule._again)
        assert crawls.begun == ["s0"]
        crawls.let.set()
        await crawls.until(lambda c: c.begun == ["s0", "s0"] and c.at_once == 0)
    assert crawls.most == 1


async def test_a_stop_ends_the_crawls_that_are_under_way_and_waits_for_them(make_organization, tmp_path):
    crawls = Crawls()
    [source] = many(make_organization, tmp_path, 1)
    async with scheduled([source], {"s0": NOW - timedelta(days=1)}, crawls):
        await crawls.until(lambda c: c.at_once == 1)
    assert crawls.at_once == 0


def test_a_bucket_gives_as_many_tokens_as_its_rate():
    now, slept = 0.0, []

    def sleep(seconds):
        nonlocal now
        slept.append(seconds)
        now += seconds

    bucket = TokenBucket(2.0, lambda: now, sleep)
    for _ in range(6):
        bucket.take("page")
    assert sum(slept) == pytest.approx(2.0)  # two at once, then two a second
    now += 100.0
    del slept[:]
    for _ in range(2):
        bucket.take("page")
    assert slept == []


async def test_a_failed_crawl_is_tried_again_before_its_interval_is_over(sources):
    [people] = [source for source in sources if source.name == "people"]
    crawled = asyncio.Event()

    async def crawl(source):
        return RunReport(source.name, datetime.now(UTC), timedelta(), (), "no such file")

    overdue = {"people": datetime.now(UTC) - timedelta(hours=2)}
    async with scheduled([people], overdue, crawl) as schedule:
        schedule.scheduler.add_listener(lambda event: crawled.set(), EVENT_JOB_EXECUTED)
        async with asyncio.timeout(30):
            await crawled.wait()
        again = schedule.scheduler.get_job("people").next_run_time
        assert again <= datetime.now(UTC) + timedelta(seconds=30)


async def test_a_source_waits_for_what_is_left_of_its_interval(sources):
    completed = {"pages": datetime.now(UTC) - timedelta(hours=5)}

    async def crawl(source):
        raise AssertionError(f"{source.name} is not due")

    async with scheduled(sources, completed, crawl) as schedule:
        jobs = schedule.scheduler.get_jobs()
        waits = {job.id: job.next_run_time - datetime.now(UTC) for job in jobs}
        assert timedelta(minutes=59) < waits["pages"] <= timedelta(hours=1)
        assert timedelta(minutes=59) < waits["schema"] <= timedelta(hours=1)
