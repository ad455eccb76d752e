"""The jars of Neo4j Community, fetched from Maven Central through jgo and pinned by SHA-256.

Neo4j is under GPLv3: its jars are run as a process of their own and never loaded into ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.maven import Artifact, MavenContext

VERSION = "2026.09.0"
PINS = Path(__file__).with_name("neo4j_jars.txt")
_PARALLEL_DOWNLOADS = 8
_ATTEMPTS = 3

Progress = Callable[[str], None]
"""Told in words what is being done; may be called from other threads."""


class JarError(Exception):
    """A jar that could not be fetched or is not the pinned one; the message names it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A jar as it must be. `coordinates` are `group:artifact:version[:classifier]`."""

    coordinates: str
    sha256: str


def read_pins(path: Path = PINS) -> tuple[Pin, ...]:
    """One pin for each line `coordinates sha256`."""
    return tuple(Pin(*line.split()) for line in path.read_text(encoding="utf-8").splitlines())


def fetch_jars(
    progress: Progress, pins: tuple[Pin, ...] | None = None, repository: Path | None = None
) -> list[Path]:
    """Paths of all pinned jars in jgo's repository cache, fetched where absent.

    A jar is hashed when it is new or its size or time changed since, else its stat is enough.
    Raises JarError.
    """
    pins = read_pins() if pins is None else pins
    repository = GlobalSettings.load().repo_cache if repository is None else repository
    context = MavenContext(repo_cache=repository)
    repository.mkdir(parents=True, exist_ok=True)
    with _locked(repository / "orgraph.lock"):
        stamps = _Stamps(repository / "orgraph.json")
        paths = {pin: _path(context, pin) for pin in pins}
        doubtful = [pin for pin, path in paths.items() if not stamps.holds(pin, path)]
        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
            fetched = pool.map(lambda pin: _fetch(context, pin), doubtful)
            for number, _ in enumerate(fetched, 1):
                if number % 20 == 0 or number == len(doubtful):
                    progress(f"Neo4j {VERSION}: {number} of {len(doubtful)} jars fetched and verified")
        if doubtful:
            stamps.save(paths)
    return list(paths.values())


def _artifact(context: MavenContext, pin: Pin) -> Artifact:
    group, name, version, *classifier = pin.coordinates.split(":")
    return context.project(group, name).at_version(version).artifact(*classifier)


def _path(context: MavenContext, pin: Pin) -> Path:
    return Path(_artifact(context, pin).cached_path)


def _fetch(context: MavenContext, pin: Pin) -> None:
    path = _path(context, pin)
    problem = ""
    for _ in range(_ATTEMPTS):
        try:
            _artifact(context, pin).resolve()
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            problem = f"could not be fetched: {error}; check the connection to Maven Central and free disk"
        else:
            if found == pin.sha256:
                return
            problem = f"has SHA-256 {found}, expected {pin.sha256}; it was removed from {path.parent}"
        path.unlink(missing_ok=True)  # half a download, or not what was pinned
    raise JarError(f"{pin.coordinates} {problem}. Nothing was started.")


class _Stamps:
    """What was verified, in a file beside the jars: coordinates -> [sha256, size, mtime in ns]."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, object] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):  # without it all is hashed again
            self._known = json.loads(path.read_text(encoding="utf-8"))

    def holds(self, pin: Pin, jar: Path) -> bool:
        return jar.exists() and self._known.get(pin.coordinates) == _stamp(pin, jar)

    def save(self, verified: Mapping[Pin, Path]) -> None:
        new = self._path.with_suffix(".new")
        stamps = {pin.coordinates: _stamp(pin, jar) for pin, jar in verified.items()}
        new.write_text(json.dumps(stamps), encoding="utf-8")
        new.replace(self._path)


def _stamp(pin: Pin, jar: Path) -> list[object]:
    stat = jar.stat()
    return [pin.sha256, stat.st_size, stat.st_mtime_ns]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps two processes from fetching the same file at once; jgo writes in place."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
