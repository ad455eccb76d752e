"""Token buckets: no more pages of a source than its owner bears."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class TokenBucket:
    """`rate` tokens a second, and as many at once as come in one (at least one)."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._tokens = self._most
        self._clock, self._sleep = clock, sleep
        self._at = clock()
        self._lock = Lock()

    def take(self, page: str) -> None:
        """Take one, and wait until there is one."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate) - 1
            self._at = now
            wait = max(0.0, -self._tokens / self._rate)
        if wait:
            self._sleep(wait)
