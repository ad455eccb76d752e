"""Pages: what a source is read in, a file, a page of results, a table. Connectors say when they turn one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_watcher: ContextVar[Callable[[str], None] | None] = ContextVar("_watcher", default=None)


def turn(page: str) -> None:
    """Said before a page is asked for, with what it is. Where somebody watches it may raise any OSError,
    as the source itself might."""
    if (watcher := _watcher.get()) is not None:
        watcher(page)


@contextmanager
def watched(watcher: Callable[[str], None]) -> Iterator[None]:
    """Pages that this thread turns within the block are told to the watcher first."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
