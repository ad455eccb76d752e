"""Memory that is kept for long, out of the way of the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_lived() -> Iterator[None]:
    """What is made in the block is freed as it is let go of, and never looked at for cycles.

    Else each full collection, several while it is made, stops everything for a second a million tuples.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
