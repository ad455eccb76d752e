"""What a running service says of itself in its data folder, so that other commands find it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """A running service."""

    pid: int
    neo4j_uri: str
    url: str
    """Where it serves HTTP."""


@contextmanager
def announced(data_folder: Path, running: Running) -> Iterator[None]:
    """Say that a service runs, until the block ends."""
    path = _file(data_folder)
    path.write_text(json.dumps(asdict(running)), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_service(data_folder: Path) -> Running | None:
    """The service that runs on a data folder; None when there is none, or it was killed."""
    try:
        running = Running(**json.loads(_file(data_folder).read_text(encoding="utf-8")))
        os.kill(running.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return running


def _file(data_folder: Path) -> Path:
    return data_folder / "running.json"
