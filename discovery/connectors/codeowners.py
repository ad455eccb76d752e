"""Repositories, their paths and who owns these, from CODEOWNERS in a git repository or bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery.connector import Change, Connector, Item, Position, Problem, SourceError, only_if_unchanged
from discovery.files import UnreadableError, decoded, locate
from discovery.git import Repository, head_of, open_repository, repository_name
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, entity_id

#: Where the file may be, the first one counts (GitHub's order).
PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")

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

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        commit = head_of(locate(self.organization, self.options.repository), self.options.branch)
        yield from only_if_unchanged(position, f"{commit} {self.options.digest()}")

    def read(self, scope: str) -> Iterator[Item]:
        path = locate(self.organization, self.options.repository)
        with open_repository(path) as repository:
            commit = repository.commit(self.options.branch)
            place, text = _codeowners(repository, commit)
        yield from self._claims(path, f"{place}@{commit[:12]}", text)
        yield Position(f"{commit} {self.options.digest()}")

    def _claims(self, path: Path, file: str, text: str) -> Iterator[Claim | Problem]:
        parts = Parts(self.organization, self.source)
        name = self.options.name or repository_name(path)
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
    if match := _USER.fullmatch(token):
        return entity_id("person", match[1])
    return person_at(token)


def person_at(address: str) -> str | None:
    """Who has the address `name@host`, by the rule: person:name."""
    match = _EMAIL.fullmatch(address)
    return entity_id("person", match[1]) if match else None


def _codeowners(repository: Repository, commit: str) -> tuple[str, str]:
    path = repository.path
    files, _ = repository.files(commit)
    place = next((place for place in PLACES if place in files), None)
    if place is None:
        raise SourceError(f"{path}: commit {commit[:12]} has none of {', '.join(PLACES)}; add one")
    try:
        with repository.reader() as blobs:
            return place, decoded(blobs.read(files[place]))
    except UnreadableError as error:
        raise SourceError(f"{path}: {place}: {error}") from error
