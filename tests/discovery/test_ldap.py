"""An LDAP directory read over the wire, from a real server: pages, groups within groups, and its ends."""

from pathlib import Path

import pytest
from ldap3 import MODIFY_REPLACE, Connection, Server

from discovery.connector import Position, PositionLostError, SourceError
from discovery.connectors.ldap import LdapOptions
from discovery.connectors.table import build
from discovery.pages import watched
from discovery.sources import ConfigurationError
from tests.discovery.ldap_server import ADMIN, BASE, PASSWORD, ldap_server

NESTED = """\
dn: cn=everyone,ou=people,dc=planetexpress,dc=com
objectClass: groupOfNames
cn: everyone
member: cn=ship_crew,ou=people,dc=planetexpress,dc=com
member: cn=admin_staff,ou=people,dc=planetexpress,dc=com
member: cn=Zapp Brannigan,ou=people,dc=planetexpress,dc=com

dn: cn=Zapp Brannigan,ou=people,dc=planetexpress,dc=com
objectClass: user
cn: Zapp Brannigan
uid: zapp
userAccountControl: 514
memberOf: cn=ship_crew,ou=people,dc=planetexpress,dc=com

dn: cn=NIMBUS,ou=people,dc=planetexpress,dc=com
objectClass: user
objectClass: computer
cn: NIMBUS
uid: nimbus$
"""


@pytest.fixture(scope="module")
def directory(shared_data, tmp_path_factory):
    """Planet Express, with groups within groups and what Active Directory has."""
    top = f"dn: {BASE}\nobjectClass: domain\ndc: planetexpress\n"
    files = sorted((shared_data / "ldap-planet-express").glob("*.ldif"))
    path = tmp_path_factory.mktemp("ldap") / "all.ldif"
    path.write_text("\n".join([top, *(file.read_text() for file in files), NESTED]))
    return path


@pytest.fixture(scope="module")
def server(directory):
    with ldap_server(directory) as started:
        yield started


@pytest.fixture
def options(monkeypatch):
    monkeypatch.setenv("DIRECTORY_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG_PASSWORD", "let-me-in")

    def make(server, **changed):
        options = {"url": server.url, "base": BASE, "bind_dn": ADMIN, "password": "env:DIRECTORY_PASSWORD"}
        return {**options, "page_size": 3, **changed}

    return make


def test_people_and_groups_are_read_page_by_page(say, server, options, tmp_path):
    pages = []
    with watched(pages.append):
        said = say(tmp_path, "ldap", options(server))
    assert said.problems == []
    assert {claim.id for claim in said.of("Person")} == {
        *(
            f"person:{uid}"
            for uid in ("amy", "bender", "fry", "hermes", "leela", "professor", "zoidberg", "zapp")
        )
    }
    assert pages == ["bind", *(f"page {number}" for number in range(1, 6))]  # of three
    fry = said.entities["person:fry"].values
    assert (fry["name"], fry["email"], fry["accountName"]) == (
        "Philip J. Fry",
        "fry@planetexpress.com",
        "fry",
    )
    assert said.entities["account:acme/zapp"].values["disabled"] is True
    assert said.entities["account:acme/fry"].values["disabled"] is False
    crew = {person for person, group in said.typed("MEMBER_OF") if group == "group:ship_crew"}
    assert crew == {"person:fry", "person:leela", "person:bender", "person:zapp"}  # he says so himself
    assert said.typed("SUBGROUP_OF") == {
        ("group:ship_crew", "group:everyone"),
        ("group:admin_staff", "group:everyone"),
    }


def test_what_did_not_change_is_not_read_again(make_organization, directory, options, tmp_path):
    """Where the server tells a version of each entry: here a time in milliseconds."""
    with ldap_server(directory, versions=True) as server:
        declared = {"name": "s", "connector": "ldap", "options": options(server, page_size=500)}
        organization = make_organization(tmp_path, declared)
        connector = build(organization, organization.source[0], {})
        [scope] = connector.scopes()
        [position] = [one for one in connector.read(scope) if isinstance(one, Position)]
        assert list(connector.changes(scope, position.text)) == []
        fry = f"cn=Philip J. Fry,ou=people,{BASE}"
        with Connection(Server(server.url), ADMIN, PASSWORD, auto_bind=True) as admin:
            for change in (
                lambda: admin.modify(fry, {"mail": [(MODIFY_REPLACE, ["fry@example.com"])]}),
                lambda: admin.modify(fry, {"mail": [(MODIFY_REPLACE, ["f@example.com"])]}),
                lambda: admin.delete(fry),
            ):
                assert change(), admin.result
                with pytest.raises(PositionLostError):
                    list(connector.changes(scope, position.text))
                [position] = [one for one in connector.read(scope) if isinstance(one, Position)]
                assert list(connector.changes(scope, position.text)) == []


def test_a_whole_reading_lists_once_and_what_changes_meanwhile_is_read_again(
    make_organization, directory, options, tmp_path
):
    with ldap_server(directory, versions=True) as server:
        declared = {"name": "s", "connector": "ldap", "options": options(server, page_size=4)}
        organization = make_organization(tmp_path, declared)
        connector = build(organization, organization.source[0], {})
        [scope] = connector.scopes()
        turned = []
        with watched(turned.append):
            [_] = [one for one in connector.read(scope) if isinstance(one, Position)]
        assert turned == ["bind", *(f"page {number}" for number in range(1, len(turned)))]
        with Connection(Server(server.url), ADMIN, PASSWORD, auto_bind=True) as admin:
            admin.search(BASE, LdapOptions.model_fields["filter"].default, paged_size=4)
            *_, changes, goes = (one["dn"] for one in admin.response)  # of the first page
            for change in (
                lambda: admin.modify(changes, {"description": [(MODIFY_REPLACE, ["Another."])]}),
                lambda: admin.delete(goes),
            ):

                def then(page, change=change):
                    if page == turned[-1]:
                        assert change(), admin.result

                with watched(then):
                    [position] = [one for one in connector.read(scope) if isinstance(one, Position)]
                with pytest.raises(PositionLostError):
                    list(connector.changes(scope, position.text))


def test_passwords_and_photographs_are_not_asked_for(say, server, options, tmp_path):
    said = say(tmp_path, "ldap", options(server))
    assert PASSWORD not in repr(said)
    assert "SSHA" not in repr(said)
    assert "jpeg" not in repr(said).lower()


@pytest.mark.parametrize("last", range(1, 6))
def test_a_server_that_dies_between_two_pages_fails_the_scope(
    directory, options, make_organization, tmp_path, last
):
    with ldap_server(directory) as dying:
        declared = {"name": "people", "connector": "ldap", "options": options(dying)}
        organization = make_organization(tmp_path, declared)
        connector = build(organization, organization.source[0], {})
        with (
            watched(lambda page: dying.kill() if page == f"page {last}" else None),
            pytest.raises(SourceError, match="cannot be read") as error,
        ):
            list(connector.read(connector.scopes()[0]))
    assert PASSWORD not in str(error.value)


def test_a_search_that_hits_a_limit_is_no_whole_one(directory, options, say, tmp_path):
    with ldap_server(directory, "--sizeLimit", "4") as limited, pytest.raises(SourceError) as error:
        say(tmp_path, "ldap", options(limited, page_size=100))
    assert "sizeLimitExceeded" in str(error.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"password": "env:WRONG_PASSWORD"}, "may not bind: invalidCredentials"),
        ({"bind_dn": None, "password": None}, "the search ended with"),
        ({"base": "dc=nowhere"}, "the search ended with noSuchObject"),
        ({"filter": "(((", "page_size": 3}, "cannot be read"),
        ({"start_tls": True}, "StartTLS|cannot be read"),
        ({"url": "ldaps://127.0.0.1:{port}"}, "cannot be read"),
        ({"url": "ldap://127.0.0.1:1"}, "cannot be read"),
    ],
)
def test_what_keeps_the_directory_from_being_read_is_said(say, server, options, changed, says):
    if "url" in changed:
        changed = {**changed, "url": changed["url"].format(port=server.port)}
    with pytest.raises(SourceError, match=says) as error:
        say(Path.cwd(), "ldap", options(server, **changed))
    assert "let-me-in" not in str(error.value)


def test_a_filter_that_finds_nothing_is_a_problem(say, server, options, tmp_path):
    said = say(tmp_path, "ldap", options(server, filter="(uid=nobody)"))
    assert said.claims == []
    assert "found none" in said.problems[0].message


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"url": "https://x"}, "expected ldaps://host"),
        ({"url": "ldap://user:pw@x"}, "no name or password"),
        ({"url": "ldap://directory.example"}, "in the clear"),
        ({"password": "let-me-in"}, "password"),
        ({"password": None}, "belong together"),
        ({"password": "env:NOT_SET"}, "NOT_SET is not set"),
        ({"password": "file:absent"}, "the secret's file absent"),
        ({"base": "nonsense"}, "a base"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(say, options, tmp_path, changed, says):
    class Nowhere:
        url = "ldap://127.0.0.1:1"

    with pytest.raises((ConfigurationError, SourceError), match=says) as error:
        say(tmp_path, "ldap", options(Nowhere, **changed))
    assert "let-me-in" not in str(error.value)
