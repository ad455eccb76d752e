"""Entities and relationships from the records of a folder or a git repository, by a declarative mapping file.

    absent = ["none"]                      # texts that stand for no value

    [lookup.manager]                       # manager_role_slug -> key of the record that has it
    key = "manager_role_slug"
    value = "{_key}"

    [[rule]]
    each = "people"                        # dotted path to the records
    id = "person:{_key}"
    class = "Person"
    values = { name = "name", jobTitle = "{role}" }

    [[rule.relationship]]
    type = "REPORTS_TO"
    end = "person:{manager[reports_to]}"

docs/mapping.md has the whole format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import model_validator

from discovery.connector import (
    Change,
    Connector,
    Item,
    Position,
    PositionLostError,
    Problem,
    SourceError,
    only_if_unchanged,
)
from discovery.files import UnreadableError, find, listing, locate, read_bytes
from discovery.git import BlobReader, Repository, bundle_head, open_repository
from discovery.mapped import Mapped
from discovery.mapping_file import MappingFile, load_mapping
from discovery.options import Options, parse_options
from discovery.patterns import Parts, matches
from discovery.records import read_document
from discovery.sources import OrganizationConfig, SourceConfig


class MappingOptions(Options):
    path: str
    """A file or a glob; in a repository, of its files."""
    mapping: str
    """The mapping file."""
    repository: str | None = None
    """Path of a working tree, a bare repository or a bundle, whose commits are read."""
    branch: str | None = None
    """HEAD if none is named."""
    commit: str | None = None
    """Read the repository at this commit; without, go on from there to the head, commit by commit."""

    @model_validator(mode="after")
    def _of_a_repository(self) -> MappingOptions:
        if self.repository is None and (self.branch or self.commit):
            raise ValueError("branch and commit are of a repository; name it")
        return self


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for a mapping file that cannot be used."""
    options = parse_options(MappingOptions, source)
    mapping = load_mapping(locate(organization, options.mapping))
    if options.repository is not None:
        return GitMappingConnector(organization, source, options, mapping)
    return MappingConnector(organization, source, options, mapping)


@dataclass(frozen=True)
class _Mapping:
    """What both have in common."""

    organization: OrganizationConfig
    source: SourceConfig
    options: MappingOptions
    mapping: MappingFile

    def mapped(self) -> Mapped:
        external = {
            key: dict(_documents(self.organization, spec.path))
            for key, spec in self.mapping.lookup.items()
            if spec.path is not None
        }
        return Mapped(self.mapping, Parts(self.organization, self.source), external)

    def scope(self, of: str) -> str:
        """The name of what is read, with its filters: under others it is another scope."""
        filters = self.mapping.filters()
        return f"{of} filtered by {filters}" if filters else of

    def rules(self) -> str:
        """A digest of all that the claims follow from beside the source's own files."""
        digest = hashlib.sha256(f"{self.options.path}\n{self.options.repository}\n".encode())
        looked = [spec.path for spec in self.mapping.lookup.values() if spec.path is not None]
        for text in (self.options.mapping, *looked):
            for found in find(locate(self.organization, text)):
                digest.update(_content(found).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class MappingConnector(_Mapping):
    """Files of a folder."""

    def scopes(self) -> Sequence[str]:
        return (self.scope(self.options.path),)

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        mapped = self.mapped()
        mapped.update(dict(_documents(self.organization, self.options.path)))
        yield from mapped.statements.claims()
        yield Position(position)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position())

    def _position(self) -> str:
        return f"{self.rules()} {listing(find(locate(self.organization, self.options.path)))}"


@dataclass(frozen=True)
class GitMappingConnector(_Mapping):
    """Files of a git repository. Its commits are replayed along first parents as changes."""

    def scopes(self) -> Sequence[str]:
        at = "" if self.options.branch is None else f" branch {self.options.branch}"
        return (self.scope(f"{self.options.repository}{at} {self.options.path}"),)

    def read(self, scope: str) -> Iterator[Item]:
        with open_repository(self._path) as repository, repository.reader() as blobs:
            commit = repository.commit(self.options.commit or self.options.branch)
            mapped = self._at(repository, blobs, commit)
            yield from mapped.statements.claims()
            yield Position(f"{commit} {self.rules()}")

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        before, _, rules = position.partition(" ")
        if rules != self.rules():
            raise PositionLostError("the mapping is another")
        if self.options.commit is None and bundle_head(self._path, self.options.branch) == before:
            return
        with open_repository(self._path) as repository, repository.reader() as blobs:
            after = repository.commit(self.options.commit or self.options.branch)
            if not repository.is_ancestor(before, after):
                raise PositionLostError(f"{before} is not on the way to {after}")
            if before == after:
                return
            mapped = self._at(repository, blobs, before)
            mapped.statements.change(position)
            for commit in repository.commits(before, after):
                changed = {n: b for n, b in commit.changed.items() if matches(self.options.path, n)}
                mapped.update({problem.place: problem for problem in commit.problems})
                mapped.update({name: _document(blobs, name, blob) for name, blob in changed.items()})
                yield mapped.statements.change(f"{commit.id} {rules}")

    def _at(self, repository: Repository, blobs: BlobReader, commit: str) -> Mapped:
        files, problems = repository.files(commit)
        chosen = {name: blob for name, blob in files.items() if matches(self.options.path, name)}
        if not chosen:
            raise SourceError(
                f"{self._path}: no file of commit {commit} matches {self.options.path}; "
                "correct the path in sources.toml"
            )
        mapped = self.mapped()
        mapped.update({problem.place: problem for problem in problems})
        mapped.update({name: _document(blobs, name, blob) for name, blob in chosen.items()})
        return mapped

    @property
    def _path(self) -> Path:
        return locate(self.organization, self.options.repository or "")


def _content(found: tuple[Path, str] | Problem) -> str:
    if isinstance(found, Problem):
        return repr(found)
    try:
        return hashlib.sha256(read_bytes(found[0])).hexdigest()
    except UnreadableError as error:
        raise SourceError(f"{found[0]}: {error}") from error


def _documents(organization: OrganizationConfig, path: str) -> Iterator[tuple[str, Any]]:
    """Name and content of each file that a path leads to, or the Problem that it is."""
    for found in find(locate(organization, path)):
        if isinstance(found, Problem):
            yield found.place, found
            continue
        try:
            yield found[1], read_document(read_bytes(found[0]), found[1])
        except UnreadableError as error:
            yield found[1], Problem(found[1], str(error))


def _document(blobs: BlobReader, name: str, blob: str | None) -> Any:
    if blob is None:
        return None
    try:
        return read_document(blobs.read(blob), name)
    except UnreadableError as error:
        return Problem(name, str(error))
