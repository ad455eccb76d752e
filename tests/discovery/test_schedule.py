"""When sources are crawled."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED

from discovery.configuration import all_sources
from discovery.reports import RunReport
from discovery.schedule import due, in_order, retry_after, start_schedule

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


async def test_a_failed_crawl_is_tried_again_before_its_interval_is_over(sources):
    [people] = [source for source in sources if source.name == "people"]
    crawled = asyncio.Event()

    async def crawl(source):
        return RunReport(source.name, datetime.now(UTC), timedelta(), (), "no such file")

    overdue = {"people": datetime.now(UTC) - timedelta(hours=2)}
    scheduler = start_schedule([people], overdue, crawl)
    scheduler.add_listener(lambda event: crawled.set(), EVENT_JOB_EXECUTED)
    try:
        async with asyncio.timeout(30):
            await crawled.wait()
        assert scheduler.get_job("people").next_run_time <= datetime.now(UTC) + timedelta(seconds=30)
    finally:
        scheduler.shutdown(wait=False)


async def test_a_source_waits_for_what_is_left_of_its_interval(sources):
    completed = {"pages": datetime.now(UTC) - timedelta(hours=5)}

    async def crawl(source):
        raise AssertionError(f"{source.name} is not due")

    scheduler = start_schedule(sources, completed, crawl)
    try:
        waits = {job.id: job.next_run_time - datetime.now(UTC) for job in scheduler.get_jobs()}
        assert timedelta(minutes=59) < waits["pages"] <= timedelta(hours=1)
        assert timedelta(minutes=59) < waits["schema"] <= timedelta(hours=1)
        assert {job.max_instances for job in scheduler.get_jobs()} == {1}
    finally:
        scheduler.shutdown(wait=False)
