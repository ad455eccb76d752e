"""Git repositories and bundles, read by the `git` command: no network, no hooks, no checkout."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from discovery.connector import Problem, SourceError
from discovery.files import MAX_BYTES, UnreadableError
from discovery.pages import turn

_TIMEOUT_SECONDS = 120
#: Files of one commit; more are refused.
MAX_FILES = 1_000_000
_PIECE = 1 << 16
_BLOB_MODES = {"100644", "100755", "100664"}
_ABSENT_MODE = "000000"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

Files = Mapping[str, str]
"""Ids of blobs by the path of their file."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with the files that it added, changed (their blobs) or removed (None)."""

    id: str
    changed: Mapping[str, str | None]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Repository:
    path: Path
    """As configured, for messages."""
    directory: Path
    """Its git directory."""

    def commit(self, reference: str | None = None) -> str:
        """Id of the commit that a branch, a tag or an id names; HEAD's without. Raises SourceError."""
        names = ["HEAD"] if reference is None else [f"refs/heads/{reference}", f"refs/tags/{reference}"]
        if reference is not None and _HASH.fullmatch(reference):
            names = [reference]
        for name in names:
            found = self.find("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if found is not None:
                return found.decode("ascii").strip()
        raise SourceError(f"{self.path}: {reference or 'HEAD'} names no commit; correct it in sources.toml")

    def is_ancestor(self, before: str, after: str) -> bool:
        """Whether `before` is a commit on the way to `after` along first parents."""
        if not _HASH.fullmatch(before):
            return False
        if before == after:
            return True
        found = self.find("rev-list", "--first-parent", "--parents", "--end-of-options", f"{before}..{after}")
        if not found:
            return False
        return found.splitlines()[-1].decode("ascii").split()[1:2] == [before]

    def files(self, commit: str) -> tuple[Files, tuple[Problem, ...]]:
        """The files of a commit; a Problem for each whose name is none that a source may have."""
        output = self.find("ls-tree", "-r", "-z", "--full-tree", commit)
        if output is None:
            raise SourceError(f"{self.path}: commit {commit} cannot be listed; check the repository")
        records = [record for record in output.split(b"\0") if record]
        if len(records) > MAX_FILES:
            raise SourceError(f"{self.path}: expected at most {MAX_FILES} files, found {len(records)}")
        files: dict[str, str] = {}
        problems = []
        for record in records:
            head, _, name = record.partition(b"\t")
            mode, _, blob = head.decode("ascii").split(" ")
            path = _file_name(name)
            if isinstance(path, Problem):
                problems.append(path)
            elif mode in _BLOB_MODES:  # symbolic links and submodules hold no records
                files[path] = blob
        return files, tuple(problems)

    def commits(self, after: str, until: str) -> Iterator[Commit]:
        """The commits after one, to and with another, along first parents, oldest first."""
        command = ["log", "--first-parent", "-m", "--reverse", "--raw", "--no-abbrev", "--no-renames", "-z"]
        command += ["--no-ext-diff", "--format=commit %H", "--end-of-options", f"{after}..{until}"]
        yield from _commits(self._log(command, f"git could not list the commits to {until}"))

    def authors(self, until: str) -> Iterator[tuple[str, str]]:
        """All commits on the way to one, the newest first, each with its author's address by the mailmap."""
        command = ["log", "-z", "--use-mailmap", "--format=%H %aE", "--end-of-options", until]
        command = ["-c", f"mailmap.blob={until}:.mailmap", *command]
        for field in self._log(command, f"git could not list the commits to {until}"):
            commit, _, address = field.decode(errors="replace").partition(" ")
            yield commit, address.strip()

    def _log(self, command: Sequence[str], failed: str) -> Iterator[bytes]:
        """What the command tells, parted by NUL bytes. Raises SourceError where it fails."""
        directory = self.directory.resolve()
        process = subprocess.Popen(
            [*_GIT, f"--git-dir={directory}", *command],
            env=_environment(),
            cwd=directory.anchor,  # else git looks for a mailmap where this process was started
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            turn("commits")
            yield from _fields(iter(partial(process.stdout.read, _PIECE), b""))
            status = process.wait()
        except OSError as error:
            raise SourceError(f"{self.path}: {failed}: {error}; check the repository") from error
        finally:
            process.stdout.close()
            process.kill()
            process.wait()
        if status:
            raise SourceError(f"{self.path}: {failed}; check the repository")

    @contextmanager
    def reader(self) -> Iterator[BlobReader]:
        """Reads blobs through one process, as long as the block lasts."""
        process = subprocess.Popen(
            [*_GIT, f"--git-dir={self.directory}", "cat-file", "--batch-command"],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield BlobReader(process)
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.kill()
            process.wait()

    def find(self, *arguments: str) -> bytes | None:
        """Output of a git command; None when it finds nothing."""
        if not (self.directory / "HEAD").exists() and not self.directory.is_file():
            raise SourceError(
                f"{self.path}: expected a git repository or a bundle; correct the path in sources.toml"
            )
        result = _run(self.path, f"--git-dir={self.directory}", *arguments)
        if result.returncode == 128 and b"dubious ownership" in result.stderr:
            raise SourceError(f"{self.path}: the repository belongs to another user; change its owner")
        return result.stdout if result.returncode == 0 else None


class BlobReader:
    """Content of blobs by their ids, which are hexadecimal, so that no file name reaches the process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def read(self, blob: str, limit: int = MAX_BYTES) -> bytes:
        """Raises UnreadableError for a blob that is absent or larger than `limit` bytes."""
        size = self._asked("info", blob)
        if size > limit:
            raise UnreadableError(f"expected at most {limit} bytes, found {size}; split the file")
        size = self._asked("contents", blob)
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        return self._process.stdout.read(size + 1)[:-1]

    def _asked(self, command: str, blob: str) -> int:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101  they are pipes
        try:
            turn(f"{command} {blob}")
            stdin.write(f"{command} {blob}\n".encode("ascii"))
            stdin.flush()
            said = stdout.readline().split()
        except OSError as error:
            raise SourceError(f"git ended while it was read: {error}; check the repository") from error
        if len(said) != 3 or said[1] != b"blob":
            raise UnreadableError(f"blob {blob} is not in the repository; fetch it whole and try again")
        return int(said[2])


@contextmanager
def open_repository(path: Path) -> Iterator[Repository]:
    """A working tree, a bare repository, or a bundle, which is cloned into a temporary folder.

    Raises SourceError for what is none.
    """
    if path.is_dir():
        yield Repository(path, path / ".git" if (path / ".git").exists() else path)
    elif path.is_file():
        with TemporaryDirectory(prefix="orgraph-") as folder:
            clone = Path(folder) / "clone.git"
            arguments = ("clone", "--quiet", "--bare", "--end-of-options", str(path.resolve()), str(clone))
            result = _run(path, *arguments)
            if result.returncode != 0:
                said = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
                raise SourceError(f"{path}: expected a git repository or a bundle; git says: {said[-1]}")
            yield Repository(path, clone)
    else:
        raise SourceError(f"{path}: there is no such repository or bundle; correct the path in sources.toml")


def repository_name(path: Path) -> str:
    """What it is called by, if nothing else is said: its file or folder."""
    return path.resolve().name.removesuffix(".git").removesuffix(".bundle")


def head_of(path: Path, branch: str | None) -> str:
    """The commit that a repository or bundle holds for a branch, or HEAD. Raises SourceError."""
    if (commit := bundle_head(path, branch)) is not None:
        return commit
    with open_repository(path) as repository:
        return repository.commit(branch)


def bundle_head(path: Path, branch: str | None) -> str | None:
    """The commit that a bundle holds for a branch, or HEAD, without unpacking it; None when there is none."""
    if not path.is_file():
        return None
    result = _run(path, "bundle", "list-heads", str(path.resolve()))
    wanted = {f"refs/heads/{branch}"} if branch else {"HEAD"}
    for line in result.stdout.decode(errors="replace").splitlines() if result.returncode == 0 else ():
        id_, _, name = line.partition(" ")
        if name in wanted and _HASH.fullmatch(id_):
            return id_
    return None


def _fields(stream: Iterable[bytes]) -> Iterator[bytes]:
    """What NUL bytes separate, read piece by piece."""
    rest = b""
    for piece in stream:
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole
    if rest:
        yield rest


def _commits(fields: Iterator[bytes]) -> Iterator[Commit]:
    id_, changed, problems = "", dict[str, str | None](), list[Problem]()
    for field in fields:
        line = field.strip(b"\n")
        if line.startswith(b"commit "):
            if id_:
                yield Commit(id_, changed, tuple(problems))
            id_, changed, problems = line[7:].decode("ascii"), {}, []
        elif line.startswith(b":"):
            _, mode, _, blob, _ = line.decode("ascii").split(" ")
            path = _file_name(next(fields, b""))
            if isinstance(path, Problem):
                if mode != _ABSENT_MODE:
                    problems.append(path)
            else:
                changed[path] = blob if mode in _BLOB_MODES else None
    if id_:
        yield Commit(id_, changed, tuple(problems))


def _file_name(name: bytes) -> str | Problem:
    try:
        path = name.decode("utf-8")
    except UnicodeDecodeError:
        return Problem(name.decode(errors="replace")[:200], "expected a file name in UTF-8; rename it")
    if _CONTROL.search(path) or path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        return Problem(repr(path[:200]), "expected a plain file name; rename it")
    return path


def _run(path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [*_GIT, *arguments],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceError("git was not found; install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{path}: git took more than {_TIMEOUT_SECONDS} s; check the repository") from error


# A repository's own configuration may name programs: those that these commands could run are set to none.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.pager=cat")


@lru_cache(maxsize=1)
def _environment() -> Mapping[str, str]:
    """Without configuration of the user or machine, without prompts, from files only."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
    }
