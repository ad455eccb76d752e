"""Files that a source names: found within their folder only, read within bounds."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from discovery.connector import Problem, SourceError
from discovery.pages import turn
from discovery.patterns import matches
from discovery.sources import ConfigurationError, OrganizationConfig

#: Larger files are refused: everything is read into memory.
MAX_BYTES = 64 * 1024 * 1024

_noted: ContextVar[dict[Path, str] | None] = ContextVar("noted", default=None)
_FRESH_NS = 2_000_000_000
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_MAGIC = re.compile(r"[*?]")


class UnreadableError(Exception):
    """A file that cannot be used; the message says what was expected and what to do."""


def expand(text: str) -> str:
    """Replace `$NAME` and `${NAME}`. Raises ConfigurationError for a variable that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise ConfigurationError(
                f"{text!r} uses the environment variable {name}, which is not set; set it or write the path"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def locate(organization: OrganizationConfig, text: str) -> Path:
    """The path that an option names, relative to the organization's folder."""
    return organization.folder / expand(text)


def find(path: Path) -> Iterator[tuple[Path, str] | Problem]:
    """The file, or the files that the glob in `path` matches, each with its path from the glob's base.

    What a symbolic link puts outside the base is a Problem, never read. Raises SourceError when
    the base does not exist or nothing matches.
    """
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), None)
    if first is not None:
        yield from search(Path(*parts[:first]), ["/".join(parts[first:])])
    elif path.is_file():
        yield from _inside(path.parent, [path.name])
    else:
        raise SourceError(f"{path}: there is no such file; correct the path in sources.toml")


def search(base: Path, globs: list[str]) -> Iterator[tuple[Path, str] | Problem]:
    """Files below `base` that match one of the globs, in order of their paths; else as `find`."""
    if not base.is_dir():
        raise SourceError(f"{base}: expected a folder; correct the path in sources.toml")
    unseen: list[Problem] = []
    names = [name for name in _walk(base, unseen) if any(matches(glob, name) for glob in globs)]
    if not names and not unseen:
        raise SourceError(f"{base}: no file matches {', '.join(globs)}; correct the path in sources.toml")
    yield from unseen
    yield from _inside(base, names)


def stamps(files: Iterable[tuple[Path, str] | Problem]) -> dict[str, str]:
    """A digest of size and times of change of each file, by name, as `find` and `search` yield them.

    It stands for its content: of a file that changed in the last seconds, in which another change could
    leave all of them as they are, it is one that never comes again.
    """
    found, now = dict[str, str](), time.time_ns()
    for file in files:
        if isinstance(file, Problem):
            found[file.place] = repr(file)
            continue
        path, name = file
        status = path.stat()
        fresh = now if now - status.st_mtime_ns < _FRESH_NS else 0
        text = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {fresh}"
        found[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def listing(files: Iterable[tuple[Path, str] | Problem]) -> str:
    """A digest of names and `stamps`."""
    return hashlib.sha256(repr(sorted(stamps(files).items())).encode(errors="replace")).hexdigest()


def _inside(base: Path, names: list[str]) -> Iterator[tuple[Path, str] | Problem]:
    inside = base.resolve()
    for name in names:
        try:
            within = (base / name).resolve().is_relative_to(inside)
        except (OSError, RuntimeError):  # a RuntimeError before Python 3.13
            yield Problem(name, "a symbolic link leads in a circle; remove it")
            continue
        if within:
            yield base / name, name
        else:
            yield Problem(name, "a symbolic link leads out of the source's folder; put the file itself there")


def _walk(base: Path, unseen: list[Problem]) -> list[str]:
    """Paths of the files below; a folder that cannot be listed goes to `unseen`."""
    found = []

    def cannot(error: OSError) -> None:
        place = Path(error.filename).relative_to(base).as_posix()
        unseen.append(Problem(place, f"the folder cannot be listed: {error.strerror}; check its permissions"))

    for folder, folders, files in os.walk(base, followlinks=False, onerror=cannot):
        folders.sort()
        found += [(Path(folder) / file).relative_to(base).as_posix() for file in files]
    return sorted(found)


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Content of a regular file of at most `limit` bytes. Raises UnreadableError."""
    try:
        turn(path.name)
        if not path.is_file():
            raise UnreadableError("expected a regular file; correct the path in sources.toml")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UnreadableError(
            f"cannot be read: {error.strerror}; check that it exists and its permissions"
        ) from error
    if len(data) > limit:
        raise UnreadableError(f"expected at most {limit} bytes, found more; split the file")
    if (noted := _noted.get()) is not None:
        noted[path] = digest(data)
    return data


def digest(data: bytes) -> str:
    """Of a file's content, by which it is known again elsewhere."""
    return hashlib.sha256(data).hexdigest()[:32]


@contextmanager
def noting() -> Iterator[Mapping[Path, str]]:
    """The `digest` of each file that this thread reads within the block."""
    noted: dict[Path, str] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """Content of a UTF-8 file, with or without byte order mark. Raises UnreadableError."""
    return decoded(read_bytes(path, limit))


def decoded(data: bytes) -> str:
    """UTF-8 as text, with or without byte order mark. Raises UnreadableError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"expected UTF-8, found byte {error.object[error.start]:#04x} at offset {error.start}; "
            "save the file as UTF-8"
        ) from error
