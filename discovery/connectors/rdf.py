"""RDF in Turtle, N-Triples and JSON-LD, with the terms of the ontology.

A file may be larger than memory: its triples go to a temporary file first, since those of one subject
may be anywhere. What is no claim is a problem with its line, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery.connector import Change, Connector, Item, Position, Problem, only_if_unchanged
from discovery.files import find, listing, locate
from discovery.options import Options, parse_options
from discovery.pages import turn
from discovery.patterns import Parts
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import EntityClaim
from graph.rdf.parsing import MAX_PROBLEMS, BadTriple, triples
from graph.rdf.reading import claims
from graph.rdf.staging import Staged, Staging, staging
from graph.rdf.terms import SUFFIXES
from ontologies import load


class RdfOptions(Options):
    path: str
    """A file or a glob; .ttl, .nt or .jsonld."""
    attributed_to: str | None = None
    """Of an export: the source whose claims alone are read, each with its own evidence."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    return RdfConnector(organization, source, parse_options(RdfOptions, source))


@dataclass(frozen=True)
class RdfConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: RdfOptions

    def scopes(self) -> Sequence[str]:
        return (self.options.path,)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        return only_if_unchanged(position, self._position())

    def read(self, scope: str) -> Iterator[Item]:
        before = self._position()
        parts = Parts(self.organization, self.source)
        yield from parts.classifications()
        ontology = load(self.organization.ontology_files())
        with staging() as staged:
            yield from self._stage(staged)
            problems = 0
            for item in claims(staged, ontology, parts.collection, self.options.attributed_to):
                if not isinstance(item, BadTriple):
                    yield item
                    if isinstance(item, EntityClaim):
                        yield from parts.classified(item.id, item.evidence, item.id)
                    continue
                problems += 1
                if problems <= MAX_PROBLEMS:
                    yield Problem(item.place, item.reason)
            if problems > MAX_PROBLEMS:
                yield Problem(
                    scope, f"{problems - MAX_PROBLEMS} more triples are no claims; correct these first"
                )
        yield Position(before)

    def _position(self) -> str:
        files = listing(find(locate(self.organization, self.options.path)))
        ontology = listing((path, path.name) for path in self.organization.ontology_files())
        return f"{self.options.digest()} {ontology} {files}"

    def _stage(self, staged: Staging) -> Iterator[Problem]:
        for found in find(locate(self.organization, self.options.path)):
            if isinstance(found, Problem):
                yield found
                continue
            problems: list[Problem] = []
            try:
                staged.add(_read(*found, problems))
            except OSError as error:
                problems.append(
                    Problem(found[1], f"cannot be read: {error.strerror or error}; check the file")
                )
            yield from problems


def _read(path: Path, name: str, problems: list[Problem]) -> Iterator[Staged]:
    """The triples of a file; what is wrong with it goes to `problems`."""
    format = SUFFIXES.get(path.suffix)
    if format is None:
        known = ", ".join(SUFFIXES)
        problems.append(Problem(name, f"expected a file of the kind {known}; rename it or narrow the path"))
        return
    turn(name)
    with path.open("rb") as file:
        for one in triples(file, name, format):
            if isinstance(one, BadTriple):
                problems.append(Problem(one.place, one.reason))
            else:
                yield one
