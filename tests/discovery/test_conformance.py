"""Every connector keeps the contract, and the suite finds those that do not."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from discovery.conformance import Specimen, findings
from discovery.connector import Problem, SourceError
from discovery.connectors.table import build, names
from discovery.pages import turn
from discovery.specimens import SPECIMENS, specimen_of
from graph.claims import EntityClaim


def connect_as(name):
    """As `build` does for a source of that connector."""
    return lambda organization, source: build(organization, source.model_copy(update={"connector": name}), {})


@pytest.mark.parametrize("name", sorted(SPECIMENS))
def test_each_connector_conforms(name, tmp_path):
    assert findings(connect_as(name), specimen_of(name), tmp_path) == []


#: Their tests bring a server, and run the suite on it.
WITH_A_SERVER = {"ldap", "postgresql", "scim", "scim-push"}


def test_each_connector_has_a_specimen():
    assert set(names()) - WITH_A_SERVER == set(SPECIMENS)


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


class RestsOnTimes(Paged):
    def person(self, key, **values):
        return super().person(key, description=str((self.folder / "file").stat().st_mtime))


@pytest.fixture
def found(tmp_path):
    """What the suite says of a connector, by check."""

    def make(folder: Path):
        (folder / "file").write_text("x")
        return nullcontext(
            Specimen({}, frozenset({"person:1"}), (folder / "renamed").touch, secrets=("hunter2",))
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
        (RestsOnTimes, "clock skew", "another reading"),
    ],
)
def test_what_a_connector_does_wrong_is_found(found, connector, check, says):
    assert any(finding.check == check and says in finding.says for finding in found(connector))
