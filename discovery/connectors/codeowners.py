"""Repositories, their paths and who owns these, from CODEOWNERS in a git repository or bundle."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from discovery.connector import Connector, Problem, SourceError
from discovery.files import MAX_BYTES, locate
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, entity_id

#: Where the file may be, the first one counts (GitHub's order).
PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")

_TIMEOUT_SECONDS = 120
_TEAM = re.compile(r"@[\w.-]+/([\w./-]+)")
_USER = re.compile(r"@([\w.-]+)")
_EMAIL = re.compile(r"([^@\s]+)@[^@\s]+")
_FIELD = re.compile(r"(?:\\.|[^\\\s])+")


class CodeownersOptions(Options):
    repository: str
    """Path of a working tree, a bare repository or a bundle."""
    branch: str | None = None
    """HEAD if none is named."""
    name: str | None = None
    """Key and name of the repository; the file's or folder's name if none is given."""
    owners: Mapping[str, str] = {}
    """Ids of owners that the rule does not give (`"@octo" = "person:ada"`). The rule: `@org/team` is
    group:team, `@name` and `name@host` are person:name."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    return CodeownersConnector(organization, source, parse_options(CodeownersOptions, source))


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: str
    owners: Sequence[str]
    line: int


@dataclass(frozen=True)
class CodeownersConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: CodeownersOptions

    def scopes(self) -> Sequence[str]:
        branch = self.options.branch
        return (self.options.repository + ("" if branch is None else f" branch {branch}"),)

    def read(self, scope: str) -> Iterator[Claim | Problem]:
        path = locate(self.organization, self.options.repository)
        with _git_directory(path) as directory:
            commit = _commit(directory, path, self.options.branch)
            place, text = _codeowners(directory, path, commit)
        yield from self._claims(path, f"{place}@{commit[:12]}", text)

    def _claims(self, path: Path, file: str, text: str) -> Iterator[Claim | Problem]:
        parts = Parts(self.organization, self.source)
        name = self.options.name or path.resolve().name.removesuffix(".git").removesuffix(".bundle")
        repository = entity_id("repository", name)
        yield from parts.classifications()
        yield EntityClaim(repository, "Repository", parts.collection(), {"name": name}, file)
        rules: dict[str, _Rule] = {}
        for rule in _rules(file, text):
            if isinstance(rule, Problem):
                yield rule
            else:
                rules[rule.pattern] = rule  # of equal patterns the last one counts
        for rule in rules.values():
            code_path, evidence = entity_id("code_path", f"{name}/{rule.pattern}"), _place(file, rule.line)
            values = {"name": f"{rule.pattern} in {name}", "pattern": rule.pattern}
            yield EntityClaim(code_path, "CodePath", parts.collection(rule.pattern), values, evidence)
            yield RelationshipClaim(repository, "HAS_PATH", code_path, evidence)
            yield from parts.classified(code_path, evidence, rule.pattern)
            for token in rule.owners:
                owner = _owner(token, self.options.owners)
                if owner is None:
                    yield Problem(
                        evidence, f"expected @org/team, @name or an e-mail address, found {token!r}"
                    )
                else:
                    yield RelationshipClaim(owner, "OWNS", code_path, evidence)


def _place(file: str, line: int) -> str:
    path, _, commit = file.rpartition("@")
    return f"{path}:{line}@{commit}"


def _rules(file: str, text: str) -> Iterator[_Rule | Problem]:
    for number, line in enumerate(text.splitlines(), start=1):
        fields = _FIELD.findall(line)
        comment = next((i for i, field in enumerate(fields) if field.startswith("#")), len(fields))
        fields = fields[:comment]
        if fields and fields[0].startswith(("[", "^[")):
            yield Problem(_place(file, number), "sections are not read; write the owners beside each pattern")
        elif fields:
            yield _Rule(re.sub(r"\\(.)", r"\1", fields[0]), fields[1:], number)


def _owner(token: str, named: Mapping[str, str]) -> str | None:
    if token in named:
        return named[token]
    if match := _TEAM.fullmatch(token):
        return entity_id("group", match[1])
    if match := _USER.fullmatch(token) or _EMAIL.fullmatch(token):
        return entity_id("person", match[1])
    return None


@contextmanager
def _git_directory(path: Path) -> Iterator[Path]:
    """The repository's git directory; a bundle is cloned bare into a temporary one."""
    if path.is_dir():
        yield path / ".git" if (path / ".git").exists() else path
    elif path.is_file():
        with TemporaryDirectory(prefix="orgraph-") as folder:
            clone = Path(folder) / "clone.git"
            _git(path, "clone", "--quiet", "--bare", "--end-of-options", str(path.resolve()), str(clone))
            yield clone
    else:
        raise SourceError(f"{path}: there is no such repository or bundle; correct the path in sources.toml")


def _commit(directory: Path, path: Path, branch: str | None) -> str:
    reference = "HEAD" if branch is None else f"refs/heads/{branch}"
    found = _in(
        directory, path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"
    )
    if found is None:
        raise SourceError(f"{path}: {branch or 'HEAD'} names no commit; correct the branch in sources.toml")
    return found.decode("ascii").strip()


def _codeowners(directory: Path, path: Path, commit: str) -> tuple[str, str]:
    for place in PLACES:
        name = f"{commit}:{place}"
        size = _in(directory, path, "cat-file", "-s", name)
        if size is None:
            continue
        if int(size) > MAX_BYTES:
            raise SourceError(
                f"{path}: {place} has {int(size)} bytes, expected at most {MAX_BYTES}; shorten it"
            )
        try:
            return place, (_in(directory, path, "cat-file", "blob", name) or b"").decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SourceError(f"{path}: {place}: expected UTF-8: {error}; save it as UTF-8") from error
    raise SourceError(f"{path}: commit {commit[:12]} has none of {', '.join(PLACES)}; add one")


def _in(directory: Path, path: Path, *arguments: str) -> bytes | None:
    """Output of git in that directory; None when it finds nothing."""
    if not (directory / "HEAD").exists() and not directory.is_file():
        raise SourceError(f"{path}: expected a git repository or a bundle; correct the path in sources.toml")
    result = _run(path, f"--git-dir={directory}", *arguments)
    if result.returncode == 128 and b"dubious ownership" in result.stderr:
        raise SourceError(f"{path}: the repository belongs to another user; change its owner")
    return result.stdout if result.returncode == 0 else None


def _git(path: Path, *arguments: str) -> None:
    result = _run(path, *arguments)
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SourceError(f"{path}: expected a git repository or a bundle; git says: {said[-1]}")


def _run(path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Without configuration of the user or machine, without prompts, from files only."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
    }
    try:
        return subprocess.run(
            ["git", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceError("git was not found; install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{path}: git took more than {_TIMEOUT_SECONDS} s; check the repository") from error
