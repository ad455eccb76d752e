"""Connectors that read files of one kind, each by itself: what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from discovery.connector import Change, Connector, Item, Places, Position, Problem, only_if_unchanged
from discovery.fields import as_mapping
from discovery.files import find, listing, locate, read_bytes
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.places import known, read_each
from discovery.records import read_document
from discovery.sources import OrganizationConfig, SourceConfig
from discovery.statements import alike
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value


class FileOptions(Options):
    path: str
    """A file or a glob."""


@dataclass(frozen=True)
class File:
    """One file as read, and what makes claims of it."""

    name: str
    """Its path from the glob's base."""
    key: str
    """What ids are made of: the path that it was first read at."""
    document: Any
    source: str
    parts: Parts

    @property
    def stem(self) -> str:
        """Its name, for what has none."""
        return without_suffix(self.name)

    @property
    def key_stem(self) -> str:
        return without_suffix(self.key)

    def entity(self, id_: str, class_name: str, place: str = "", **values: Value | None) -> Iterator[Claim]:
        """An entity with those of the values that there are, and its classifications."""
        evidence = f"{self.name} {place}".strip()
        present = {name: value for name, value in values.items() if value is not None}
        yield EntityClaim(id_, class_name, self.parts.collection(self.name), present, evidence)
        yield from self.parts.classified(id_, evidence, self.name)

    def relationship(self, start: str, type_name: str, end: str, place: str = "") -> Claim:
        return RelationshipClaim(start, type_name, end, f"{self.name} {place}".strip())


def without_suffix(name: str) -> str:
    """The path of a file without what its name ends in."""
    return name.rpartition(".")[0] or name


Interpret = Callable[[File], Iterator[Claim | Problem]]
"""May raise UnreadableError, which makes a Problem of the rest of the file."""


def file_connector(
    interpret: Interpret,
) -> Callable[[OrganizationConfig, SourceConfig], Connector]:
    """`connect` of a connector whose files are read by `interpret`."""

    def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
        return FileConnector(organization, source, parse_options(FileOptions, source), interpret)

    return connect


@dataclass(frozen=True)
class FileConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: FileOptions
    interpret: Interpret
    places: Mapping[str, Places] = field(default_factory=dict)

    def knowing(self, places: Mapping[str, Places]) -> Self:
        return replace(self, places=places)

    def scopes(self) -> Sequence[str]:
        return (self.options.path,)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position())

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        parts = Parts(self.organization, self.source)
        yield from parts.classifications()
        described: dict[str, EntityClaim] = {}
        found = find(locate(self.organization, self.options.path))
        read = partial(self._file, parts)
        for item in read_each(found, known(self.places, scope, self.scopes()), read):
            if isinstance(item, EntityClaim):
                first = described.setdefault(item.id, item)
                if not alike(first, item):
                    yield Problem(item.evidence, f"{item.id} is also described at {first.evidence}; keep one")
                if first is not item:
                    continue
            yield item
        yield Position(position)

    def _file(self, parts: Parts, path: Path, name: str, key: str) -> Iterator[Claim | Problem]:
        document = as_mapping(read_document(read_bytes(path), name), "the document")
        return self.interpret(File(name, key, document, self.source.name, parts))

    def _position(self) -> str:
        return f"{self.options.digest()} {listing(find(locate(self.organization, self.options.path)))}"
