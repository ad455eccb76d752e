"""Every connector keeps the contract, and the suite finds those that do not."""

from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from context_manager.cli import app
from discovery.conformance import CannotServeError, Specimen, findings
from discovery.connector import Problem, SourceError
from discovery.connectors.table import names
from discovery.pages import turn
from discovery.specimens import SPECIMENS
from graph.claims import EntityClaim


def test_every_connector_conforms():
    """Also those that take a server: a directory, PostgreSQL and a SCIM service are started for them."""
    result = CliRunner().invoke(app, ["connector", "test", "--all"])
    assert result.stdout.splitlines() == [f"{name}: conforms" for name in names()]
    assert result.exit_code == 0, result.output


def test_what_cannot_be_tried_does_not_look_as_if_it_passed(monkeypatch):
    @contextmanager
    def nowhere(folder):
        raise CannotServeError("it takes a mainframe: rent one")
        yield

    monkeypatch.setattr("context_manager.cli_connectors.names", lambda: ["ldap", "ldif"])
    monkeypatch.setitem(SPECIMENS, "ldap", nowhere)
    for asked in (["--all"], ["ldap"]):
        result = CliRunner().invoke(app, ["connector", "test", *asked])
        assert result.exit_code == 1
        assert "ldap: not run: it takes a mainframe: rent one\n" in result.stdout
        assert "Not tried, so not known to conform: ldap." in result.stderr
        assert ("ldif: conforms" in result.stdout) == (asked == ["--all"])
    monkeypatch.setattr("context_manager.cli_connectors.names", lambda: ["nosuch"])
    result = CliRunner().invoke(app, ["connector", "test", "--all"])
    assert (result.exit_code, "nosuch: not run: " in result.stdout) == (1, True)


PAGES = ("1", "2", "3")


class Paged:
    """A source of three pages with a person on each; subclasses do one thing wrong."""

    def __init__(self, folder):
        self.folder = folder

    def scopes(self):
        return ("people",)

    def read(self, scope):
        for page in PAGES:
            yield from self.page(page)

    def page(self, page):
        try:
            turn(page)
        except OSError as error:
            raise SourceError(f"page {page}: {error}") from error
        yield self.person(page)

    def person(self, key, **values):
        return EntityClaim(
            f"person:{key}", "Person", "collection:all", {"name": key, **values}, f"page {key}"
        )


class Swallows(Paged):
    def page(self, page):
        try:
            yield from super().page(page)
        except SourceError:
            return


class StopsEarly(Paged):
    def read(self, scope):
        try:
            yield from super().read(scope)
        except SourceError:
            return


class Raises(Paged):
    def page(self, page):
        turn(page)
        yield self.person(page)


class TurnsNone(Paged):
    def page(self, page):
        yield self.person(page)


class TellsSecrets(Paged):
    def page(self, page):
        try:
            turn(page)
            yield self.person(page)
        except OSError as error:
            yield Problem(page, f"ldap://admin:hunter2@host: {error}")


class Invents(Paged):
    def person(self, key, **values):
        return super().person(key, favouriteColour="red")


class NoEvidence(Paged):
    def person(self, key, **values):
        return EntityClaim(f"person:{key}", "Person", "collection:all", {"name": key}, "")


class Loses(Paged):
    def read(self, scope):
        for page in PAGES[1 if (self.folder / "renamed").exists() else 0 :]:
            yield from self.page(page)


class LosesWhatMoves(Paged):
    def person(self, key, **values):
        return super().person(f"{key} moved" if (self.folder / "moved").exists() else key, **values)


class KnowsFilesByTheirPath(Paged):
    def person(self, key, **values):
        return super().person(key if (self.folder / "file").exists() else f"{key} elsewhere", **values)


class KeepsOneOfTwo(Paged):
    """Takes a page that is there twice for the end of the pages."""

    def read(self, scope):
        for page in PAGES[: 1 if (self.folder / "repeated").exists() else None]:
            yield from self.page(page)


class GivesUpOnTwo(Paged):
    def read(self, scope):
        if (self.folder / "repeated").exists():
            raise SourceError("people: page 2 is there twice")
        yield from super().read(scope)


class RestsOnTimes(Paged):
    def person(self, key, **values):
        return super().person(key, description=str((self.folder / "file").stat().st_mtime))


@pytest.fixture
def found(tmp_path):
    """What the suite says of a connector, by check."""

    def make(folder: Path):
        (folder / "file").write_text("x")

        def touches(name):
            return (folder / name).touch

        return nullcontext(
            Specimen(
                {},
                frozenset({"person:1"}),
                touches("renamed"),
                touches("moved"),
                touches("repeated"),
                secrets=("hunter2",),
            )
        )

    def go(connector):
        return findings(lambda organization, source: connector(organization.folder), make, tmp_path)

    return go


def test_a_connector_that_keeps_the_contract_has_no_findings(found):
    assert found(Paged) == []


@pytest.mark.parametrize(
    ("connector", "check", "says"),
    [
        (Swallows, "page missing at page 2 of 3 (2)", "1 claims would be retracted"),
        (StopsEarly, "killed at page 1 of 3 (1)", "3 claims would be retracted"),
        (StopsEarly, "permission lost at page 3 of 3 (3)", "1 claims would be retracted"),
        (Raises, "rate-limited at page 1 of 3 (1)", "expected a Problem or a SourceError"),
        (TurnsNone, "pages", "no page was turned"),
        (TellsSecrets, "killed at page 1 of 3 (1)", "a secret of the source"),
        (Invents, "ontology", "favouriteColour"),
        (NoEvidence, "a whole reading", "expected evidence"),
        (Loses, "renamed", "taken for deleted: person:1"),
        (LosesWhatMoves, "moved", "taken for deleted: person:1"),
        (KnowsFilesByTheirPath, "file moved to moved-file", "taken for deleted: person:1"),
        (KeepsOneOfTwo, "a page repeated", "without what it said before"),
        (GivesUpOnTwo, "a page repeated", "page 2 is there twice"),
        (RestsOnTimes, "clock skew", "another reading"),
    ],
)
def test_what_a_connector_does_wrong_is_found(found, connector, check, says):
    assert any(finding.check == check and says in finding.says for finding in found(connector))
