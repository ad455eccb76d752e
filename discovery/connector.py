"""The contract of a connector: it lists scopes and yields what each of them says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

from graph.claims import Claim


class SourceError(Exception):
    """A scope that cannot be read at all; the message names it, what was expected and what to do."""


class PositionLostError(Exception):
    """The source cannot tell what changed since a position: the scope is read whole instead."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a scope that could not be read. It makes the scope partial: nothing is retracted."""

    place: str
    """Where: `directory.ldif:120`."""
    message: str
    """What was expected, what was found, what to do."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reading of the scope got: a commit, a log position, a digest of what files there are.

    It must stand for all that the claims follow from in the source, so that an equal one means equal claims.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A file that a source knows by a key: the path at which it was first read."""

    key: str
    content: str
    """A digest of what was last read there."""


@dataclass(frozen=True, slots=True)
class Places:
    """By which keys the files of a scope are known, each under the path that it has now."""

    files: Mapping[str, Place] = field(default_factory=dict)
    gone: Mapping[str, Place] = field(default_factory=dict)
    """Those that stand at no path now; known until the scope is complete without them."""


Item = Claim | Problem | Position | Places


class Connector(Protocol):
    """Reads one configured source. Built by a factory from its `SourceConfig`.

    `read` runs in a thread. A scope whose `read` ends without a `Problem` was complete: what this
    source claimed there before and no longer yields is retracted. After a `Problem` it is partial,
    after a `SourceError` failed, and nothing is retracted.

    It yields the `Places` of its files, if any, before the first claim, and again at its end, with what
    they said.

    A scope's name says what it covers, filters included: under a narrower filter it is another scope,
    and what the old one held is not taken for deleted.
    """

    def scopes(self) -> Sequence[str]: ...

    def read(self, scope: str) -> Iterator[Item]: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What the source changed at once, such as a commit. It is written in one transaction."""

    position: str | None
    """Of the source after it; None where a problem keeps it from being taken as a whole."""
    claims: Sequence[Claim] = ()
    withdrawn: Sequence[Claim] = ()
    """What was claimed before and is gone. Empty where there are problems."""
    problems: Sequence[Problem] = ()
    standing: int = 0
    """Claims of the scope before the change; the brake compares `withdrawn` with it."""
    places: Places | None = None
    """After it, of a connector that knows files by keys."""


@runtime_checkable
class Incremental(Protocol):
    """A connector that can go on from the `Position` which its last complete reading yielded."""

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        """What changed since then, in order; nothing when nothing did.

        Raises PositionLostError, before the first change, when the source cannot tell.
        """
        ...


@runtime_checkable
class Keyed(Protocol):
    """A connector whose ids are made of files' paths: a file that is moved keeps the key that it had, and
    so its labels, rules, reviews and history (`discovery.places`)."""

    def knowing(self, places: Mapping[str, Places]) -> Self:
        """The same connector, told what its last readings yielded, by scope."""
        ...


def only_if_unchanged(position: str, now: str) -> Iterator[Change]:
    """The changes of a source that can only tell whether anything changed at all."""
    if position != now:
        raise PositionLostError(f"expected the position {position}, found {now}")
    yield from ()
