"""Who may send a request to the mesh now, who waits, and who is told to come back: fair shares by team."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum


class Priority(IntEnum):
    """The class of a request; a team's own come in this order."""

    INTERACTIVE = 0
    """Somebody waits for it."""
    BATCH = 1


class Overloaded(Exception):  # noqa: N818  named for what happened
    """The team has as much waiting as it may; nothing was sent."""

    def __init__(self, team: str, waiting: int, retry_after: int) -> None:
        super().__init__(
            f"{waiting} requests of {team} wait already, which is all that it may have waiting: "
            f"try again in {retry_after} s"
        )
        self.retry_after = retry_after
        """Seconds until about half of those that wait now are served."""


@dataclass(slots=True)
class _Team:
    running: int = 0
    waiting: tuple[deque[asyncio.Future[None]], ...] = field(
        default_factory=lambda: tuple(deque() for _ in Priority)
    )

    def idle(self) -> bool:
        return not self.running and not any(self.waiting)


class Admission:
    """At most `slots` requests run. Of a loop's single thread.

    With n teams at it, none has more than slots / (n + 1) of them running: so one more team always finds
    a slot free, however much the others send. A slot that is freed goes to the team with the fewest
    running; among equals to the one that has waited longest since its last.
    """

    def __init__(self, slots: int = 64, waiting: tuple[int, int] = (64, 256)) -> None:
        """`waiting` is how many of each class a team may have waiting."""
        if slots < 1:
            raise ValueError(f"slots is {slots}; at least one request must be able to run")
        self._slots = slots
        self._limits = waiting
        self._teams: dict[str, _Team] = defaultdict(_Team)
        self._running = 0
        self._seconds = 1.0
        """How long a request lately took, on average."""

    @asynccontextmanager
    async def slot(self, team: str, priority: Priority = Priority.INTERACTIVE) -> AsyncIterator[bool]:
        """Hold a slot for the block; whether it was waited for. Raises Overloaded."""
        one = self._teams[team]
        waited = any(one.waiting) or not self._may_run(one)
        if waited:
            await self._wait(team, one, priority)
        else:
            self._start(one)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            yield waited
        finally:
            self._seconds += 0.1 * (loop.time() - started - self._seconds)
            one.running -= 1
            self._running -= 1
            self._forget(team)
            self._admit()

    def _share(self) -> int:
        return max(1, self._slots // (len(self._teams) + 1))

    def _may_run(self, team: _Team) -> bool:
        return self._running < self._slots and team.running < self._share()

    def _start(self, team: _Team) -> None:
        team.running += 1
        self._running += 1

    async def _wait(self, name: str, team: _Team, priority: Priority) -> None:
        queue = team.waiting[priority]
        if len(queue) >= self._limits[priority]:
            ahead = sum(len(team.waiting[before]) for before in Priority if before <= priority)
            seconds = math.ceil(ahead / 2 * self._seconds / self._share())
            raise Overloaded(name, len(queue), max(1, seconds))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # admitted and cancelled at once
                team.running -= 1
                self._running -= 1
            elif turn in queue:
                queue.remove(turn)
            self._forget(name)
            self._admit()
            raise

    def _admit(self) -> None:
        """Give out what is free."""
        while True:
            waiting = [
                (team.running, name)
                for name, team in self._teams.items()
                if any(team.waiting) and self._may_run(team)
            ]
            if not waiting:
                return
            name = min(waiting, key=lambda found: found[0])[1]
            team = self._teams[name]
            turn = next(queue for queue in team.waiting if queue).popleft()
            if turn.cancelled():
                continue
            self._start(team)
            turn.set_result(None)
            self._teams[name] = self._teams.pop(name)  # to the end: among equals the others come first

    def _forget(self, name: str) -> None:
        if name in self._teams and self._teams[name].idle():
            del self._teams[name]
