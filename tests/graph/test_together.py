"""What waits at once is done together, each with its own result, and what fails fails alone."""

import asyncio
from collections.abc import Sequence

import pytest

from graph.together import Together


class Work:
    """Doubles numbers; refuses seven."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int]:
        await self.gate.wait()
        if 7 in numbers:
            raise ValueError("seven")
        self.done.append(list(numbers))
        return [2 * number for number in numbers]


async def started(together: Together[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    async def one(number: int) -> int:
        return await together(number)

    tasks = []
    for number in numbers:
        tasks.append(asyncio.create_task(one(number)))
        await asyncio.sleep(0)
    return tasks


async def test_those_that_gather_while_one_is_under_way_are_done_by_the_next_in_their_order() -> None:
    work = Work()
    tasks = await started(Together(work, 3), 1, 2, 3, 4, 5)
    work.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert work.done == [[1], [2, 3, 4], [5]]


async def test_one_that_fails_takes_no_other_with_it() -> None:
    work = Work()
    tasks = await started(Together(work, 9), 1, 2, 7, 3)
    work.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [results[at] for at in (0, 1, 3)] == [2, 4, 6]
    assert isinstance(results[2], ValueError)


async def test_one_that_is_cancelled_at_its_turn_leaves_the_others_to_the_next() -> None:
    work = Work()
    tasks = await started(Together(work, 9), 1, 2, 3)
    tasks[0].cancel()
    await asyncio.sleep(0)
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await asyncio.gather(*tasks[1:]) == [4, 6]
    assert work.done == [[2, 3]]
