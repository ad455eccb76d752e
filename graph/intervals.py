"""When entities hold, and the next instant at which something may begin or cease to."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

Interval = tuple[datetime | None, datetime | None]
"""From when until before when; None is open."""
ALWAYS: Interval = (None, None)

Entity = TypeVar("Entity", bound=Hashable)


def within(first: Interval, second: Interval) -> Interval:
    """When both hold."""
    begins = [at for at in (first[0], second[0]) if at is not None]
    ends = [at for at in (first[1], second[1]) if at is not None]
    return max(begins, default=None), min(ends, default=None)


def holds(interval: Interval, at: datetime) -> bool:
    begin, end = interval
    return (begin is None or begin <= at) and (end is None or at < end)


class Intervals(Generic[Entity]):
    """Of entities that do not hold for ever."""

    def __init__(self) -> None:
        self.of: dict[Entity, Interval] = {}
        self.bounds: list[datetime] = []
        """A heap of the instants at which something may begin or cease to hold."""

    def get(self, entity: Entity) -> Interval:
        return self.of.get(entity, ALWAYS)

    def put(self, entity: Entity, interval: Interval) -> bool:
        """Whether that is news."""
        if interval == self.get(entity):
            return False
        if interval == ALWAYS:
            del self.of[entity]
        else:
            self.of[entity] = interval
            self.bound(interval)
        return True

    def bound(self, interval: Interval) -> None:
        """Something, perhaps no entity, has this interval."""
        for instant in interval:
            if instant is not None:
                heapq.heappush(self.bounds, instant)

    def until(self, now: datetime) -> datetime | None:
        """The next instant at which something may begin or cease to hold; the past is asked for no more."""
        while self.bounds and self.bounds[0] <= now:
            heapq.heappop(self.bounds)
        return self.bounds[0] if self.bounds else None
