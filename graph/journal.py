"""What was decided by hand, kept outside the database: an older database, from a backup, lacks it.

One JSON object a line, appended and synced to disk before the call returns.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
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
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

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

    def close(self) -> None:
        os.close(self._fd)


def _repair(path: Path) -> None:
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
