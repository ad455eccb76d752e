"""A folder of any other store that fsspec knows: listed folder by folder; who may read is not known."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem

from discovery.connector import Problem, SourceError
from discovery.pages import turn
from discovery.stores.entries import Access, Entry

_NOBODY = Access()
#: What stores call it when a file changes, by content or by time.
_VERSIONS = (
    "ETag",
    "etag",
    "md5Hash",
    "checksum",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "modified",
)


@dataclass(frozen=True)
class RemoteStore:
    system: AbstractFileSystem
    root: str

    def open(self, path: str) -> BinaryIO:
        opened: BinaryIO = self.system.open(f"{self.root}/{path}", "rb")
        return opened

    def entries(self) -> Iterator[Entry | Problem]:
        yield Entry("", True, 0, "", _NOBODY)
        waiting = [""]
        while waiting:
            path = waiting.pop()
            try:
                turn(path or ".")
                found = self.system.ls(f"{self.root}/{path}".rstrip("/") or "/", detail=True, refresh=True)
            except OSError as error:
                if not path:
                    raise SourceError(f"{self.root}: cannot be listed: {error}; correct the url") from error
                yield Problem(path, f"cannot be listed: {error}; check its permissions")
                continue
            for info in found:
                name = str(info["name"]).rstrip("/").rpartition("/")[2]
                inner = f"{path}/{name}" if path else name
                if info["type"] == "directory":
                    waiting.append(inner)
                    yield Entry(inner, True, 0, "", _NOBODY)
                elif info["type"] == "file":
                    yield Entry(inner, False, int(info["size"] or 0), _version(info), _NOBODY)


def _version(info: Mapping[str, Any]) -> str:
    """Where the store does not tell, one that never comes again."""
    said = [f"{key} {info[key]}" for key in _VERSIONS if info.get(key) is not None]
    return "; ".join(said) or f"unknown {time.time_ns()}"
