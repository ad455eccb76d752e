"""What a store lists: its files and folders, and who may do what with them there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from discovery.connector import Problem

EVERYONE = "everyone"
_DIGEST = 1 << 128


@dataclass(frozen=True, slots=True)
class Access:
    """What the store itself permits, by its own names: `user:ada`, `group:staff`, `everyone`."""

    owner: str | None = None
    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder."""

    path: str
    """Below the store's root, with `/`; the root's own is empty."""
    is_folder: bool
    size: int
    """Bytes."""
    version: str
    """Another one where the content may be another."""
    access: Access

    @property
    def parent(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2] or "/"


class Store(Protocol):
    """One folder of a file system, or one prefix of an object store."""

    def entries(self) -> Iterator[Entry | Problem]:
        """Everything in it, each folder before what it contains, the root first; in any order else.

        A Problem for each part that cannot be listed. Raises SourceError where nothing can.
        """
        ...

    def open(self, path: str) -> BinaryIO:
        """The content of a file. Raises OSError."""
        ...


def everyone_or(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order; where everyone is among them nobody else needs to be."""
    found = set(names)
    return (EVERYONE,) if EVERYONE in found else tuple(sorted(found))


class ListingDigest:
    """A digest of entries in whatever order they come: an equal one means an equal listing."""

    def __init__(self) -> None:
        self._sum = 0
        self._count = 0

    def add(self, entry: Entry | Problem) -> None:
        if isinstance(entry, Problem):
            said = repr(entry)
        else:
            said = f"{entry.path}\0{entry.is_folder}\0{entry.size}\0{entry.version}\0{entry.access}"
        digest = hashlib.blake2b(said.encode(errors="surrogateescape"), digest_size=16).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _DIGEST
        self._count += 1

    def text(self) -> str:
        return f"{self._count} {self._sum:032x}"
