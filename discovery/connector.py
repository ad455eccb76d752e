"""The contract of a connector: it lists scopes and yields what each of them says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from graph.claims import Claim


class SourceError(Exception):
    """A scope that cannot be read at all; the message names it, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a scope that could not be read. It makes the scope partial: nothing is retracted."""

    place: str
    """Where: `directory.ldif:120`."""
    message: str
    """What was expected, what was found, what to do."""


class Connector(Protocol):
    """Reads one configured source. Built by a factory from its `SourceConfig`.

    `read` runs in a thread. A scope whose `read` ends without a `Problem` was complete: what this
    source claimed there before and no longer yields is retracted. After a `Problem` it is partial,
    after a `SourceError` failed, and nothing is retracted.
    """

    def scopes(self) -> Sequence[str]: ...

    def read(self, scope: str) -> Iterator[Claim | Problem]: ...
