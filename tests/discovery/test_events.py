"""What happens at a source has it crawled at once."""

import asyncio

from discovery.events import follow, note, taken, watch


async def test_an_event_is_taken_up_once_however_often_it_was_noted(neo4j):
    await note(neo4j, "people")
    await note(neo4j, "people")
    await note(neo4j, "pages")
    assert sorted(await taken(neo4j)) == ["pages", "people"]
    assert await taken(neo4j) == ()


async def test_events_are_followed(neo4j):
    heard = asyncio.Queue()
    following = asyncio.create_task(follow(neo4j, heard.put_nowait))
    try:
        await note(neo4j, "people")
        async with asyncio.timeout(30):
            assert await heard.get() == "people"
    finally:
        following.cancel()


async def test_a_file_that_changes_below_what_is_watched_tells_of_itself(make_organization, tmp_path):
    (tmp_path / "people").mkdir()
    declared = {"name": "people", "connector": "ldif", "watch": ["people", "not-there"]}
    organization = make_organization(tmp_path, declared)
    heard = asyncio.Event()
    watching = asyncio.create_task(watch(organization, organization.source[0], lambda name: heard.set()))
    try:
        async with asyncio.timeout(30):
            while not heard.is_set():  # the first may come before the watching has begun
                (tmp_path / "people" / "ada.ldif").write_text("x")
                await asyncio.sleep(0.2)
    finally:
        watching.cancel()
