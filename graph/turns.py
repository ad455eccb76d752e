"""Writes of a crawl one after the other: the next waits for the lock while the one before it is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from graph.order import Order, Outcome


class OvertakenError(Exception):
    """The write before this one is begun anew, and needs the lock that this one has got meanwhile."""


class Turn:
    """One write in such a row. What it is to do follows from what became of the one before it."""

    def __init__(self, order: Order, before: Turn | None = None) -> None:
        """`before`: the one that is under way, where it holds the lock."""
        loop = asyncio.get_running_loop()
        self.order = order
        self.locked: asyncio.Future[None] = loop.create_future()
        """Done once the transaction holds the lock."""
        self.committed: asyncio.Future[Outcome] = loop.create_future()
        self._before = before
        self._anew: asyncio.Future[None] = loop.create_future()
        self._begun = False
        self.began = 0.0
        """When the transaction got the lock, by the monotonic clock."""

    async def holds_lock(self) -> None:
        """Wait until it does, or has ended."""
        await _first(self.locked, self.committed)

    def begin(self) -> None:
        """Its transaction begins, or begins anew."""
        if self._begun and not self._anew.done():
            self._anew.set_result(None)
        self._begun = True

    async def made(self) -> Order:
        """The order, once the lock is held. Raises OvertakenError, and what the one before raised."""
        self.began = time.monotonic()
        if not self.locked.done():
            self.locked.set_result(None)
        before = self._before
        if before is None:
            return self.order
        await _first(before.committed, before._anew)
        if not before.committed.done():
            raise OvertakenError
        return replace(self.order, last=before.committed.result().last)

    async def take(self, commit: Callable[[Turn], Awaitable[Outcome]]) -> Outcome:
        """Commit it, by what does so in one transaction."""
        try:
            try:
                outcome = await commit(self)
            except OvertakenError:
                assert self._before is not None  # noqa: S101  it overtook
                await asyncio.wait([self._before.committed])
                outcome = await commit(self)
        except BaseException as error:
            failed = RuntimeError("cancelled") if isinstance(error, asyncio.CancelledError) else error
            self.committed.set_exception(failed)
            self.committed.exception()  # whoever follows may be gone
            raise
        finally:
            self._before = None  # else each would hold all before it
        self.committed.set_result(outcome)
        return outcome


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
