"""What every connector must keep: whatever goes wrong while it reads, nothing is retracted for it.

    def test_mine_conforms(tmp_path):
        assert findings(connect, specimen, tmp_path) == []

A connector's *specimen* is a small source of its kind. The suite reads it whole, then again with each
fault at each of its pages, and compares what a store would be left with.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from discovery.connector import (
    Connector,
    Incremental,
    Places,
    Position,
    PositionLostError,
    Problem,
    SourceError,
)
from discovery.pages import watched
from discovery.readings import knowing
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from discovery.statements import Fact, fact_of
from graph.claims import Claim, EntityClaim
from ontologies import load

Connect = Callable[[OrganizationConfig, SourceConfig], Connector]


class CannotServeError(Exception):
    """What a specimen needs is not on this machine; the message says what and how to give it."""


@dataclass(frozen=True)
class Specimen:
    """A small source, ready to be read."""

    options: Mapping[str, Any]
    stays: frozenset[str]
    """Ids of entities that `rename` and `move` leave in the source."""
    rename: Callable[[], None]
    """Gives one of them another name, in the source."""
    move: Callable[[], None]
    """Puts one of them in another place of the source."""
    repeat: Callable[[], None]
    """Has the source hold one of its pages twice."""
    secrets: Sequence[str] = ()
    """Texts that the source knows and nobody else may: no claim, problem or error holds one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the source in sources.toml, such as placement."""
    connect: Connect | None = None
    """In place of the connector's own, where the service gives it something beside its configuration."""
    at_path: frozenset[str] = frozenset()
    """Those of `stays` that are what is at a path, and so others where a file is moved."""


MakeSpecimen = Callable[[Path], AbstractContextManager[Specimen]]
"""Makes a specimen in an empty folder, and whatever serves it, until the block ends."""

#: What a source may answer when a page is turned.
FAULTS: Mapping[str, OSError] = {
    "killed": ConnectionResetError(errno.ECONNRESET, "connection reset"),
    "rate-limited": BlockingIOError(errno.EAGAIN, "too many requests"),
    "page missing": FileNotFoundError(errno.ENOENT, "no such page"),
    "permission lost": PermissionError(errno.EACCES, "permission denied"),
}
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a connector does not keep what it must."""

    check: str
    says: str


@dataclass(frozen=True)
class _Told:
    """One reading, as a store sees it."""

    claims: Mapping[Fact, Claim]
    problems: Sequence[Problem]
    positions: Sequence[str]
    error: Exception | None

    @property
    def complete(self) -> bool:
        return not self.problems and self.error is None


def findings(connect: Connect, make: MakeSpecimen, folder: Path) -> list[Finding]:
    """Every check, on specimens in folders of their own below `folder`; none when the connector conforms.

    Raises CannotServeError where there is nothing to read.
    """
    found: list[Finding] = []
    for number, check in enumerate((_faults, _changes, _renames, _files_moved, _skew)):
        place = folder / f"specimen-{number}"
        place.mkdir()
        with make(place) as specimen:
            found += check(_Reader(connect, specimen, place), specimen, place)
    return found


@dataclass(frozen=True)
class _Reader:
    connect: Connect
    specimen: Specimen
    folder: Path
    places: dict[str, Places] = field(default_factory=dict)
    """As the runner keeps them."""

    def connector(self) -> Connector:
        declared = {
            "name": "specimen",
            "connector": "specimen",
            "collection": "all",
            "handling": {},
            "options": dict(self.specimen.options),
            **self.specimen.settings,
        }
        organization = OrganizationConfig.model_validate(
            {
                "name": "Specimen",
                "issuer": "specimen",
                "administrator": "person:admin",
                "collection": [{"id": "all", "name": "All"}],
                "source": [declared],
                "folder": self.folder,
            }
        )
        connector = (self.specimen.connect or self.connect)(organization, organization.source[0])
        return knowing(connector, dict(self.places))

    def read(self, watcher: Callable[[str], None] = lambda page: None) -> _Told:
        """All scopes, as the runner reads them: an error or a problem anywhere and nothing is retracted."""
        claims: dict[Fact, Claim] = {}
        problems: list[Problem] = []
        positions: list[str] = []
        with watched(watcher):
            try:
                connector = self.connector()
                for scope in connector.scopes():
                    for item in connector.read(scope):
                        if isinstance(item, Places):
                            self.places[scope] = item
                        else:
                            _sort(item, claims, problems, positions)
            except Exception as error:  # noqa: BLE001 - what it raises is judged by the checks
                return _Told(claims, problems, positions, error)
        return _Told(claims, problems, positions, None)


def _sort(
    item: Claim | Problem | Position, claims: dict[Fact, Claim], problems: list[Problem], positions: list[str]
) -> None:
    if isinstance(item, Problem):
        problems.append(item)
    elif isinstance(item, Position):
        positions.append(item.text)
    else:
        claims.setdefault(fact_of(item), item)


def _faults(reader: _Reader, specimen: Specimen, folder: Path) -> Iterator[Finding]:
    """Killed at every page boundary, rate-limited, a page missing, permission lost; and a page repeated."""
    pages: list[str] = []
    whole = reader.read(pages.append)
    yield from _said(whole, specimen, "a whole reading")
    if not whole.complete:
        said = whole.error or "; ".join(problem.message for problem in whole.problems)
        yield Finding("a whole reading", f"expected the specimen to be read completely: {said}")
        return
    if not pages:
        yield Finding("pages", "no page was turned; call discovery.pages.turn before each one is asked for")
    yield from _of_ontology(whole)
    for number, page in enumerate(pages):
        for name, fault in FAULTS.items():
            told = reader.read(_failing(number, fault))
            check = f"{name} at page {number + 1} of {len(pages)} ({page})"
            yield from _said(told, specimen, check)
            if told.complete and whole.claims.keys() - told.claims.keys():
                lost = len(whole.claims.keys() - told.claims.keys())
                yield Finding(check, f"taken for complete: {lost} claims would be retracted")
            if told.error is not None and not isinstance(told.error, (SourceError, ConfigurationError)):
                yield Finding(check, f"expected a Problem or a SourceError, found {told.error!r}")
    if reader.read().claims != whole.claims:
        yield Finding("read again", "expected the same claims of the same source")
    specimen.repeat()
    twice = reader.read()
    if twice.complete and whole.claims.keys() - twice.claims.keys():
        yield Finding("a page repeated", "taken for complete without what it said before")
    if not twice.complete and twice.error is not None:
        yield Finding("a page repeated", f"expected what the rest says, found {twice.error}")


def _failing(number: int, fault: OSError) -> Callable[[str], None]:
    turned = iter(range(number + 1))

    def watch(page: str) -> None:
        if next(turned, None) == number:
            raise type(fault)(*fault.args, page)

    return watch


def _said(told: _Told, specimen: Specimen, check: str) -> Iterator[Finding]:
    """No secret leaves with a claim, a problem or an error, and each claim says where it is from."""
    texts = [repr(told.claims), repr(told.problems), repr(told.positions), str(told.error)]
    for secret in specimen.secrets:
        if any(secret in text for text in texts):
            yield Finding(check, "a secret of the source stands in what it says")
    if any(not claim.evidence for claim in told.claims.values()):
        yield Finding(check, "expected evidence in each claim, for a person to look it up")


def _of_ontology(whole: _Told) -> Iterator[Finding]:
    ontology = load()
    for claim in whole.claims.values():
        if isinstance(claim, EntityClaim):
            known = claim.class_name in ontology.classes and claim.values.keys() <= ontology.values.keys()
        else:
            known = claim.type in ontology.relationships
        if not known:
            yield Finding("ontology", f"expected classes, values and relationships of it, found {claim}")


def _changes(reader: _Reader, specimen: Specimen, folder: Path) -> Iterator[Finding]:
    """A source that has not changed since a position has no changes, and a lost position is said."""
    connector = reader.connector()
    if not isinstance(connector, Incremental):
        return
    _settle(folder)
    told = reader.read()
    for scope, position in zip(connector.scopes(), told.positions, strict=False):
        if changed := [c for c in connector.changes(scope, position) if c.claims or c.withdrawn]:
            yield Finding("unchanged", f"expected no changes of an unchanged source, found {changed[:3]}")
        try:
            list(connector.changes(scope, "a position that nobody gave"))
        except PositionLostError:
            continue
        yield Finding("position lost", "expected PositionLostError for a position that it does not know")


def _renames(reader: _Reader, specimen: Specimen, folder: Path) -> Iterator[Finding]:
    """Renamed and moved: the entity stays."""
    for check, change in (("renamed", specimen.rename), ("moved", specimen.move)):
        change()
        told = reader.read()
        if gone := sorted(specimen.stays - told.claims.keys()):
            yield Finding(check, f"taken for deleted: {', '.join(gone)}")
        if not told.complete:
            said = told.error or "; ".join(problem.message for problem in told.problems)
            yield Finding(check, f"expected the specimen to be read completely: {said}")


def _files_moved(reader: _Reader, specimen: Specimen, folder: Path) -> Iterator[Finding]:
    """Each file under another name: what is known of it stays."""
    whole = reader.read()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts):
        to = path.rename(path.with_name(f"moved-{path.name}"))
        told = reader.read()
        to.rename(path)
        gone = (specimen.stays - specimen.at_path) & whole.claims.keys() - told.claims.keys()
        if told.complete and gone:
            check = f"{path.relative_to(folder)} moved to {to.name}"
            yield Finding(check, f"taken for deleted: {', '.join(sorted(gone))}")
        reader.read()


def _skew(reader: _Reader, specimen: Specimen, folder: Path) -> Iterator[Finding]:
    """Clock skew: the times of files say nothing of what they hold."""
    whole = reader.read()
    for days in (-400, 400):
        for path in folder.rglob("*"):
            if path.is_file() and ".git" not in path.parts:
                os.utime(path, (time.time() + days * _DAY,) * 2)
        told = reader.read()
        if told.claims != whole.claims:
            yield Finding("clock skew", f"another reading with a clock that is {days} days off")


def _settle(folder: Path) -> None:
    """Files that changed just now are read again to be sure; these have been there for a day."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - _DAY,) * 2)
