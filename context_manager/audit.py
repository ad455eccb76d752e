"""The audit log: what was asked, by whom, read from what, placed where; and what came of it.

One JSON object a line, appended and synced to disk before the call returns. Each record carries the
SHA-256 of the line before it, so that a line that was edited or taken out shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FIRST = "0" * 64
_ROOM = 1 << 20
"""Bytes that must be free on the disk."""


class AuditError(Exception):
    """The log cannot be written or is not intact; the message names the file, the line and what to do."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    content: dict[str, Any]
    written: Future[None]


class AuditLog:
    """Appends records; made once a process. A record that is not on disk was not written.

    Records that wait at once are synced at once, since that is what takes long.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._last = _repair(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._waiting: deque[_Waiting] = deque()
        self._writer = ThreadPoolExecutor(1, "audit")

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Write one record durably. Raises AuditError; then nothing may be done that needs the record."""
        self._put(kind, record).result()

    async def record(self, kind: str, record: Mapping[str, Any]) -> None:
        """As `append`. It is written also where the caller is cancelled meanwhile."""
        await asyncio.shield(asyncio.wrap_future(self._put(kind, record)))

    def follow(self, kind: str, record: Mapping[str, Any]) -> None:
        """As `append`, after those that were asked for before, and without waiting: of what has left already.

        What is asked for later is not on disk before it. A failure is in the service's log.
        """
        try:
            self._put(kind, record).add_done_callback(_tell)
        except AuditError as error:
            log.error("%s", error)

    def _put(self, kind: str, record: Mapping[str, Any]) -> Future[None]:
        one = _Waiting({"kind": kind, "at": datetime.now(UTC).isoformat(), **record}, Future())
        self._waiting.append(one)
        try:
            self._writer.submit(self._write)
        except RuntimeError as error:
            raise AuditError(
                f"{self.path}: the audit log cannot be written: it is closed; start the service again"
            ) from error
        return one.written

    def _write(self) -> None:
        """All that waits, in order. Of the writer's one thread."""
        ready: list[_Waiting] = []
        lines, last = b"", self._last
        while self._waiting:
            one = self._waiting.popleft()
            try:
                line = json.dumps({**one.content, "previous": last}, ensure_ascii=False, sort_keys=True)
                encoded = line.encode()
            except (TypeError, ValueError) as error:
                one.written.set_exception(error)
                continue
            ready.append(one)
            lines, last = lines + encoded + b"\n", hashlib.sha256(encoded).hexdigest()
        if not ready:
            return
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, lines)
            if written != len(lines):
                raise OSError(f"only {written} of {len(lines)} bytes were written")
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):  # nothing of them stays before what is written next
                os.ftruncate(self._fd, size)
            why = f"{self.path}: the audit log cannot be written: {error}; free the disk"
            for one in ready:
                one.written.set_exception(AuditError(why))
            return
        self._last = last
        for one in ready:
            one.written.set_result(None)

    def writable(self) -> bool:
        """True while the file is the one that this log writes and its disk has room."""
        status, disk = os.fstat(self._fd), os.fstatvfs(self._fd)
        return status.st_nlink > 0 and disk.f_bavail * disk.f_frsize > _ROOM

    def close(self) -> None:
        self._writer.shutdown()
        os.close(self._fd)


def _tell(written: Future[None]) -> None:
    if (error := written.exception()) is not None:
        log.error("%s", error)


def verify(path: Path) -> int:
    """Number of records of an intact log. Raises AuditError naming the first line that is not."""
    return _scan(path)[0]


def _repair(path: Path) -> str:
    """Hash of the last whole line; a line that a crash left unfinished was never acted on and is cut off."""
    if not path.is_file():
        return FIRST
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) != len(content):
        os.truncate(path, len(whole))
    return _scan(path)[1]


def _scan(path: Path) -> tuple[int, str]:
    last, count = FIRST, 0
    with path.open("rb") as file:
        for count, line in enumerate(file, start=1):
            try:
                previous = json.loads(line)["previous"]
            except (ValueError, KeyError, TypeError) as error:
                raise AuditError(f"{path}:{count}: not an audit record; restore the file") from error
            if previous != last:
                raise AuditError(
                    f"{path}:{count}: the record before it was changed or removed; restore the file"
                )
            last = hashlib.sha256(line.rstrip(b"\n")).hexdigest()
    return count, last
