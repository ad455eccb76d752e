"""A circuit breaker for each mesh node: one that fails gets no requests until looks find it whole again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inference.nodes import NodeState, Status

WINDOW = timedelta(seconds=60)
FAILURES = 3
"""Bad answers within the window after which a node counts as down."""
RECOVERIES = 2
"""Good looks in a row after which a node that was down is ready; until then it is degraded."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What has happened to a node lately."""

    failed: tuple[datetime, ...] = ()
    """Bad answers within the window."""
    recovering: int = 0
    """Good looks that it still needs."""

    def after_bad_answer(self, why: str, now: datetime) -> tuple[Breaker, NodeState]:
        """It answered, but not what was asked for: degraded, and down after several."""
        failed = (*(at for at in self.failed if now - at < WINDOW), now)
        if len(failed) >= FAILURES:
            return Breaker(recovering=RECOVERIES), NodeState(Status.DOWN, why, at=now)
        return replace(self, failed=failed), NodeState(Status.DEGRADED, why, at=now)

    def after_silence(self, why: str, now: datetime) -> tuple[Breaker, NodeState]:
        """It gave no whole answer: down at once, since the next request would wait as long."""
        return Breaker(recovering=RECOVERIES), NodeState(Status.DOWN, why, at=now)

    def after_look(self, found: NodeState, now: datetime) -> tuple[Breaker, NodeState]:
        """What a look found, and what still stands against it."""
        if not found.up:
            opened = replace(self, recovering=RECOVERIES) if found.status is Status.DOWN else self
            return opened, replace(found, at=now)
        breaker = replace(
            self,
            failed=tuple(at for at in self.failed if now - at < WINDOW),
            recovering=max(0, self.recovering - 1),
        )
        if breaker.recovering:
            return breaker, replace(found, status=Status.DEGRADED, why="it was down lately", at=now)
        if breaker.failed:
            return breaker, replace(found, status=Status.DEGRADED, why="it answered badly lately", at=now)
        return breaker, replace(found, at=now)
