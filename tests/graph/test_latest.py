"""Who waits for the next revision: news from here at once, those of others by looks that all share."""

import asyncio

import pytest

from graph.latest import Latest


class Looks:
    """How often was looked, and what is found then."""

    def __init__(self) -> None:
        self.count = 0
        self.found = (0, 0)
        self.fails = 0

    async def look(self) -> tuple[int, int]:
        self.count += 1
        if self.fails:
            self.fails -= 1
            raise OSError("gone")
        return self.found


def waiting(latest: Latest, looks: Looks, revision: int = 0) -> asyncio.Task[None]:
    return asyncio.create_task(latest.until(lambda: latest.revision > revision, looks.look))


async def test_what_is_told_ends_all_waits_without_a_look() -> None:
    latest, looks = Latest(), Looks()
    all_of_them = [waiting(latest, looks, 4) for _ in range(5)]
    await asyncio.sleep(0)
    latest.told(5)
    await asyncio.wait_for(asyncio.gather(*all_of_them), 1)
    assert (latest.revision, looks.count) == (5, 0)


async def test_those_who_wait_share_the_looks() -> None:
    latest, looks = Latest(), Looks()
    all_of_them = [waiting(latest, looks) for _ in range(20)]
    while looks.count < 3:  # noqa: ASYNC110 - a counter tells nobody
        await asyncio.sleep(0.01)
    assert not any(one.done() for one in all_of_them)
    looks.found = 1, 0
    await asyncio.wait_for(asyncio.gather(*all_of_them), 1)
    assert looks.count <= 5


async def test_a_ring_looks_at_once() -> None:
    latest, looks = Latest(), Looks()
    latest.told(3)
    one = waiting(latest, looks, 3)
    await asyncio.sleep(0)
    looks.found = 4, 4
    latest.ring()
    await asyncio.wait_for(one, 1)
    assert (latest.revision, latest.access, looks.count) == (4, 4, 1)


async def test_news_from_here_put_off_no_look_for_what_others_committed() -> None:
    latest, looks = Latest(), Looks()
    looks.found = 1, 7
    access = asyncio.create_task(latest.until(lambda: latest.access >= 7, looks.look))
    for revision in range(2, 1_000):
        latest.told(revision)
        await asyncio.sleep(0.001)
        if access.done():
            break
    assert access.done()


async def test_who_looked_and_failed_hears_of_it_and_another_looks_on() -> None:
    latest, looks = Latest(), Looks()
    looks.fails = 1
    first, second = waiting(latest, looks), waiting(latest, looks)
    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(first, 1)
    looks.found = 1, 0
    await asyncio.wait_for(second, 1)


async def test_who_looked_and_was_cancelled_leaves_the_looks_to_another() -> None:
    latest, looks = Latest(), Looks()
    first, second = waiting(latest, looks), waiting(latest, looks)
    await asyncio.sleep(0)
    first.cancel()
    looks.found = 1, 0
    await asyncio.wait_for(second, 1)
