"""What happens at a source has it crawled at once."""

import asyncio
from datetime import UTC, datetime, timedelta

from discovery.events import follow, note, noted, seeing_to, watch
from discovery.reports import RunReport


class Crawls:
    """Crawls of a source during which something may happen."""

    def __init__(self, *errors, during=None):
        self.errors, self.during = iter(errors), during

    async def __call__(self, source):
        if self.during is not None:
            await self.during()
        return RunReport(source.name, datetime.now(UTC), timedelta(), (), next(self.errors, None))


async def test_an_event_is_seen_to_by_a_crawl_that_begins_after_it_and_does_not_fail(
    neo4j, make_organization, tmp_path
):
    [people] = make_organization(tmp_path, {"name": "people", "connector": "ldif"}).source
    await note(neo4j, "people")
    await note(neo4j, "people")
    await note(neo4j, "pages")
    assert (await noted(neo4j)).keys() == {"pages", "people"}
    await seeing_to(neo4j, Crawls("no such file"), people)
    assert (await noted(neo4j)).keys() == {"pages", "people"}
    await seeing_to(neo4j, Crawls(during=lambda: note(neo4j, "people")), people)
    assert (await noted(neo4j)).keys() == {"pages", "people"}
    await seeing_to(neo4j, Crawls(), people)
    assert (await noted(neo4j)).keys() == {"pages"}


async def test_events_are_followed(neo4j):
    heard = asyncio.Queue()
    following = asyncio.create_task(follow(neo4j, heard.put_nowait))
    try:
        await note(neo4j, "people")
        async with asyncio.timeout(30):
            assert await heard.get() == "people"
            await note(neo4j, "people")
            assert await heard.get() == "people"
        again = asyncio.create_task(follow(neo4j, heard.put_nowait))  # as after a kill
        async with asyncio.timeout(30):
            assert await heard.get() == "people"
        again.cancel()
    finally:
        following.cancel()


async def test_a_file_that_changes_below_what_is_watched_tells_of_itself(make_organization, tmp_path):
    (tmp_path / "people").mkdir()
    declared = {"name": "people", "connector": "ldif", "watch": ["people", "not-there"]}
    organization = make_organization(tmp_path, declared)
    heard, path = asyncio.Event(), tmp_path / "people" / "ada.ldif"
    watching = asyncio.create_task(watch(organization, organization.source[0], lambda name: heard.set()))
    try:
        async with asyncio.timeout(30):
            await heard.wait()  # it may have changed while nobody watched
            heard.clear()
            while not heard.is_set():  # the first may come before the watching has begun
                path.write_text("x")
                await asyncio.sleep(0.2)
    finally:
        watching.cancel()
