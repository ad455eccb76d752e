"""Small orders share a transaction: those that gather while one is under way are carried out by the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

One = TypeVar("One")
Result = TypeVar("Result")


class Together(Generic[One, Result]):
    """`await together(one)` is `(await work([one]))[0]`, done for all that wait at once, in their order.

    Whoever's turn it is works for all others too. Where the work fails for several, it is done again for
    each alone, so that each has its own result or error; where whoever does it is cancelled, the next in
    turn does it again: `work` must bear both.
    """

    def __init__(self, work: Callable[[Sequence[One]], Awaitable[Sequence[Result]]], most: int) -> None:
        """`most`: how many at once."""
        self._work = work
        self._most = most
        self._turn = asyncio.Lock()
        self._waiting: dict[asyncio.Future[Result], One] = {}

    async def __call__(self, one: One) -> Result:
        """Its result. Raises what the work raises for it."""
        mine: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[mine] = one
        try:
            while not mine.done():
                async with self._turn:
                    if not mine.done():
                        await self._take()
            return mine.result()
        finally:
            self._waiting.pop(mine, None)

    async def _take(self) -> None:
        taken = dict(islice(self._waiting.items(), self._most))
        if len(taken) > 1:
            try:
                results = await self._work(list(taken.values()))
            except Exception:  # noqa: BLE001 - it is found out below whose it is
                results = ()
            for future, result in zip(taken, results, strict=False):
                self._tell(future, result)
            if results:
                return
        for future, one in taken.items():
            try:
                [result] = await self._work([one])
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                self._tell(future, error)
            else:
                self._tell(future, result)

    def _tell(self, future: asyncio.Future[Result], told: Result | Exception) -> None:
        if self._waiting.pop(future, None) is None:
            return  # nobody waits for it any more
        if isinstance(told, Exception):
            future.set_exception(told)
        else:
            future.set_result(told)
