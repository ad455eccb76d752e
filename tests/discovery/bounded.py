"""One reading of a source in a process of its own, which may not take more than so much memory and time."""

import multiprocessing
import resource
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from discovery.connector import Places, Position, Problem, SourceError
from discovery.connectors.table import build
from tests.discovery.conftest import organization

MEMORY = 1 << 30
"""Bytes beyond what the process has when it begins."""
SECONDS = 30
"""Of computing, however busy the machine is."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


def read_within_bounds(
    folder: Path, connector: str, options: Mapping[str, Any]
) -> tuple[int, Sequence[Problem]]:
    """How many claims there were, and the problems. Fails where it would take more than it may."""
    with ProcessPoolExecutor(1, mp_context=_FORKS) as pool:
        return pool.submit(_read, folder, connector, options).result()


def _read(folder: Path, connector: str, options: Mapping[str, Any]) -> tuple[int, list[Problem]]:
    config = organization(folder, {"name": "s", "connector": connector, "options": options})
    built = build(config, config.source[0], {})
    _limit()
    claims, problems = 0, []
    try:
        for scope in built.scopes():
            for item in built.read(scope):
                if isinstance(item, Problem):
                    problems.append(item)
                elif not isinstance(item, (Places, Position)):
                    claims += 1
    except SourceError as error:
        problems.append(Problem("the source", str(error)))
    return claims, problems


def _limit() -> None:
    """A parser that wants more memory gets a MemoryError, one that takes more time is killed."""
    data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + MEMORY, data + MEMORY))
    spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + SECONDS, spent + SECONDS))
