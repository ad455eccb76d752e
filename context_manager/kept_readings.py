"""What was read of the graph about somebody, used again for a moment and read anew beside the requests, so
that none of them waits for that.

What was read before something that it may rest on changed is not used again. A revocation returns only once
all processes have followed it, so that none is answered from before it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_KEPT_S = 1.0
"""Seconds after which requests wait until it is read again."""
_MOST = 10_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Reading(Generic[Value]):
    """The last, when it began and after which changes."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    values: tuple[Value, ...] = ()
    """One, once it was read."""
    at: float = 0.0
    after: Hashable = None
    renewal: asyncio.Task[Value] | None = None


@dataclass(frozen=True, slots=True)
class KeptReadings(Generic[Key, Value]):
    """By what is read about. Used from one event loop."""

    read: Callable[[Key], Awaitable[Value]]
    after: Callable[[], Hashable]
    """What has changed so far: once it is another, what was read before is of no more use."""
    fresh_s: float = 0.1
    """Seconds after which it is read again beside the requests."""
    _kept: OrderedDict[Key, _Reading[Value]] = field(default_factory=OrderedDict)

    async def of(self, key: Key) -> Value:
        """Raises what the reading raises."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Reading()
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        age = self._age(kept)
        if age >= _KEPT_S:
            async with kept.turn:
                return await self._read(key, kept) if self._age(kept) >= _KEPT_S else kept.values[0]
        if age > self.fresh_s and (kept.renewal is None or kept.renewal.done()):
            kept.renewal = asyncio.create_task(self._renewed(key, kept))
            kept.renewal.add_done_callback(_look_at)
        return kept.values[0]

    def _age(self, kept: _Reading[Value]) -> float:
        """In seconds; of what is of no use, endless."""
        useful = kept.values and kept.after == self.after()
        return time.monotonic() - kept.at if useful else float("inf")

    async def _renewed(self, key: Key, kept: _Reading[Value]) -> Value:
        async with kept.turn:
            return await self._read(key, kept)

    async def _read(self, key: Key, kept: _Reading[Value]) -> Value:
        after, at = self.after(), time.monotonic()
        value = await self.read(key)
        kept.values, kept.after, kept.at = (value,), after, at
        return value


def _look_at(renewal: asyncio.Task[Value]) -> None:
    """What a renewal failed with is met again by the next request that has to read."""
    if not renewal.cancelled():
        renewal.exception()
