"""What was decided by hand, kept outside the database: an older database, from a backup, lacks it.

One JSON object a line, appended and synced to disk before the call returns.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class JournalError(Exception):
    """The journal cannot be read or written; the message names the file, the line and what to do."""


class Journal:
    """Appends records; made once a process. What is not on disk was not decided."""

    def __init__(self, path: Path) -> None:
        """Cuts off a line that a crash left unfinished. Raises JournalError for any other that is broken."""
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        _repair(path)
        for _record in self.records():
            pass
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        _sync(path.parent)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record durably. Raises JournalError; then what it says must not be done."""
        line = json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        with self._lock:
            end = os.fstat(self._fd).st_size
            try:
                if os.write(self._fd, line) != len(line):
                    raise OSError("only a part of the line was written")
                os.fsync(self._fd)
            except OSError as error:
                with suppress(OSError):  # else the next start names the broken line
                    os.ftruncate(self._fd, end)
                raise JournalError(
                    f"{self.path}: the journal cannot be written: {error}; free the disk"
                ) from error

    def records(self) -> Iterator[Mapping[str, Any]]:
        """All records, oldest first. Raises JournalError."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if not isinstance(record, dict):
                    raise JournalError(
                        f"{self.path}:{number}: expected a record of the journal; restore the file: "
                        "without it revocations made by hand could be lost"
                    )
                yield record

    def rewrite(self, changed: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Put what `changed` makes of each record in its place, all in one step. Raises JournalError."""
        part = self.path.with_suffix(".part")
        with self._lock:
            records = list(self.records())
            after = [changed(record) for record in records]
            if after == records:
                return
            try:
                with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    for record in after:
                        file.write(json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.path)
                _sync(self.path.parent)
            except OSError as error:
                raise JournalError(
                    f"{self.path}: the journal cannot be rewritten: {error}; free the disk"
                ) from error
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND, 0o600)

    def close(self) -> None:
        os.close(self._fd)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _repair(path: Path) -> None:
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
