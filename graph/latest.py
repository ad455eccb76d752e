"""What this process knows of the last revision, so that all who wait for the next one share the looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

#: Neo4j Community tells nobody of commits, so it is asked.
_LOOK_SECONDS = 0.05

Bell = tuple[str, str]
"""Where a process is rung, and the key of its lease."""


class Latest:
    """Of one database. Who commits here tells it at once; for what others commit, those who wait look."""

    def __init__(self) -> None:
        self.revision = 0
        """The last revision that is known to be committed."""
        self.access = 0
        """The last of those known to have changed who may see what."""
        self.bells: Collection[Bell] = ()
        """Of the processes that rang back when the last such change was acknowledged."""
        self._news = asyncio.Event()
        self._rung = False
        self._looking = False
        self._looked = 0.0

    def told(self, revision: int, access: int = 0) -> None:
        """The revisions are committed."""
        self.revision, self.access = max(self.revision, revision), max(self.access, access)
        self._wake()

    def ring(self) -> None:
        """It is worth having a look now."""
        self._rung = True
        self._wake()

    async def until(
        self, reached: Callable[[], bool], look: Callable[[], Awaitable[tuple[int, int]]]
    ) -> None:
        """Wait until `reached`, which depends on the numbers here. Raises what `look` at both numbers does.

        One of those who wait looks for all of them.
        """
        while not reached():
            if self._looking:
                await self._heard(2 * _LOOK_SECONDS)
                continue
            self._looking = True
            try:
                due = self._looked + _LOOK_SECONDS - time.monotonic()  # news from here put no look off
                if self._rung or not await self._heard(due) or self._rung:
                    self._rung, self._looked = False, time.monotonic()
                    self.revision, self.access = await look()
                    self._wake()
            finally:
                self._looking = False

    async def _heard(self, seconds: float) -> bool:
        """Whether there were news before so much time has passed."""
        news = self._news
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await news.wait()
        return news.is_set()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
