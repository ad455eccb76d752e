"""Secrets go to their source and nowhere else: not into the graph, a report, a log or an error."""

import json
import logging
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from context_manager.display import report_as_json
from discovery.configuration import all_sources
from discovery.connectors.table import build
from discovery.runner import Runner
from discovery.secrets import read_secret
from discovery.sources import ConfigurationError
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes
from tests.discovery.ldap_server import ADMIN, BASE, PASSWORD, ldap_server
from tests.graph.everything import everything

WRONG = "wrong-but-also-secret"
LDIF = f"""\
dn: {BASE}
objectClass: domain
dc: planetexpress

dn: cn=Fry,{BASE}
objectClass: person
objectClass: inetOrgPerson
cn: Fry
sn: Fry
uid: fry
userPassword: {WRONG}-of-fry
"""


@pytest.fixture
def organization(tmp_path, monkeypatch, make_organization):
    """Sources that can be read with a secret, and some that cannot."""
    monkeypatch.setenv("RIGHT", PASSWORD)
    monkeypatch.setenv("WRONG", WRONG)
    (tmp_path / "right.txt").write_text(f"{PASSWORD}\n")

    def make(url):
        def ldap(name, password, **changed):
            options = {"url": url, "base": BASE, "bind_dn": ADMIN, "password": password, **changed}
            return {"name": name, "connector": "ldap", "options": options, "grants": ["HAS_ACCOUNT"]}

        def other(name, connector, **options):
            return {"name": name, "connector": connector, "options": options}

        here = {"host": "127.0.0.1", "port": 1, "sslmode": "disable", "database": "d", "user": "u"}
        return make_organization(
            tmp_path,
            ldap("by-environment", "env:RIGHT"),
            ldap("by-file", "file:right.txt", people_base="ou=none," + BASE),
            ldap("wrong", "env:WRONG"),
            ldap("nowhere", "env:WRONG", url="ldap://127.0.0.1:1"),
            other("database", "postgresql", **here, password="env:WRONG"),
            other("url", "sql", url="postgresql+psycopg://u:$WRONG@127.0.0.1:1/d"),
            other("no-driver", "sql", url="nosuch://u:$WRONG@127.0.0.1/d"),
        )

    return make


async def test_no_secret_is_in_the_graph_in_reports_or_in_logs(neo4j, organization, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "x.ldif").write_text(LDIF)
    with ldap_server(tmp_path / "x.ldif") as server:
        runner = Runner(
            organization(server.url), FactStore(neo4j, load_shapes(), load_authorization()), neo4j
        )
        reports = await runner.run_all(all_sources(runner.organization))
    outcomes = {report.source: report.outcome for report in reports}
    assert outcomes.pop("configuration") == outcomes.pop("by-environment") == "complete"
    assert outcomes.pop("by-file") == "complete"
    assert set(outcomes.values()) == {"failed"}
    said = await all_that_is_told(neo4j, reports, caplog, capfd)
    for secret in (PASSWORD, WRONG):
        assert [text for text in said if secret in text] == []


async def all_that_is_told(neo4j, reports, caplog, capfd):
    """Of the graph all that is live, and claims and changes as they are kept; of crawls reports and logs."""
    found = await everything(neo4j)
    for label in ("_Page", "_Change"):
        assert any("CONFIGURATION" not in text and "name" in text for text in found[label]), label
    return (
        [text for texts in found.values() for text in texts]
        + [json.dumps(report_as_json(report)) + repr(report) for report in reports]
        + [record.getMessage() for record in caplog.records]
        + [caplog.text, *capfd.readouterr()]
    )


async def test_values_that_are_looked_at_are_kept_nowhere(neo4j, make_organization, tmp_path, caplog, capfd):
    """Also those at which the looking fails: what a database says then repeats them."""
    caplog.set_level(logging.DEBUG)
    address = "ada{}@hush.example"
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        database.executescript("CREATE TABLE buyer (reach TEXT); CREATE TABLE odd (reach TEXT);")
        database.executemany("INSERT INTO buyer VALUES (?)", [(address.format(n),) for n in range(9)])
        database.execute("INSERT INTO odd VALUES (CAST(? AS TEXT))", (b"ada@hush.example\xff",))
        database.commit()
    (tmp_path / "data").mkdir()
    rows = "\n".join(address.format(n) for n in range(9))
    (tmp_path / "data" / "a.csv").write_text(f"reach\n{rows}\n")
    (tmp_path / "data" / "ragged.csv").write_text(f'reach,x\n"{rows}\n')
    (tmp_path / "data" / "a.jsonl").write_text('{"reach": "ada@hush.example"}\n{"reach": ada@hush.example}\n')
    organization = make_organization(
        tmp_path,
        {"name": "shop", "connector": "sql", "classify": "values", "options": {"url": "shop.sqlite"}},
        {"name": "files", "connector": "files", "classify": "values", "options": {"url": "data"}},
    )
    runner = Runner(organization, FactStore(neo4j, load_shapes(), load_authorization()), neo4j)
    reports = await runner.run_all(all_sources(organization))
    assert [one.outcome for one in reports] == ["complete", "partial", "partial"]
    labelled = await neo4j.read("MATCH (c:Column)-[:CLASSIFIED_AS]->() RETURN c.id AS id ORDER BY id")
    assert [one["id"] for one in labelled] == ["column:files/a.csv/reach", "column:shop/buyer/reach"]
    told = await all_that_is_told(neo4j, reports, caplog, capfd)
    assert [text for text in told if "hush" in text] == []
    assert any("column:shop/odd/reach" in text for text in told), "its schema is read all the same"


@pytest.mark.parametrize(
    ("connector", "options"),
    [
        ("ldap", {"url": "ldaps://x", "base": BASE, "bind_dn": ADMIN, "password": WRONG}),
        ("ldap", {"url": f"ldaps://u:{WRONG}@x", "base": BASE}),
        ("postgresql", {"host": "x", "database": "d", "user": "u", "password": WRONG}),
        ("sql", {"url": f"postgresql://u:{WRONG}@x/d"}),
        ("sql", {"url": f"nosuch://u:{WRONG}@x/d"}),
    ],
)
def test_a_secret_that_stands_in_the_configuration_is_refused_and_not_repeated(
    make_organization, tmp_path, connector, options
):
    organization = make_organization(tmp_path, {"name": "s", "connector": connector, "options": options})
    with pytest.raises(ConfigurationError) as error:
        build(organization, organization.source[0], {})
    assert WRONG not in str(error.value)


@pytest.mark.parametrize("reference", ["env:NOT_SET", "file:absent", "file:empty", "file:huge"])
def test_a_secret_that_is_not_there_is_named_by_its_reference(make_organization, tmp_path, reference):
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "huge").write_text("x" * 100_000)
    with pytest.raises(ConfigurationError, match=reference.partition(":")[2]):
        read_secret(make_organization(tmp_path), reference)


class Vault(BaseHTTPRequestHandler):
    """A key-value engine of version 2, as far as reading goes."""

    secrets: ClassVar[dict[str, object]] = {
        "directory/reader": {"password": "of the vault"},
        "odd": {"password": 7},
    }

    def do_GET(self) -> None:
        place = self.path.removeprefix("/v1/secret/data/")
        if self.headers["X-Vault-Token"] != "may-read":
            status, told = 403, {"errors": ["permission denied"]}
        elif place == "moved":
            status, told = 302, {}
        elif place in self.secrets:
            status, told = 200, {"data": {"data": self.secrets[place], "metadata": {"version": 1}}}
        else:
            status, told = 404, {"errors": []}
        self.send_response(status)
        self.send_header("Location", "/v1/secret/data/directory/reader")
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *said: object) -> None: ...


@pytest.fixture
def vault(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Vault) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("VAULT_TOKEN", "may-read")
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def here(vault, make_organization, tmp_path):
    return make_organization(tmp_path)


def test_a_secret_may_be_kept_in_a_vault(here):
    assert read_secret(here, "vault:secret/directory/reader#password") == "of the vault"


@pytest.mark.parametrize(
    ("reference", "changed", "says"),
    [
        ("secret/directory/reader#nothing", {}, "expected a key 'nothing'"),
        ("secret/absent#password", {}, "answered with 404"),
        ("secret/moved#password", {}, "answered with 302"),
        ("secret/odd#password", {}, "expected a text"),
        ("secret/directory/reader#password", {"VAULT_TOKEN": "another-token"}, "answered with 403"),
        ("secret/directory/reader#password", {"VAULT_TOKEN": "a\ntoken"}, "a token that is none"),
        ("secret/directory/reader#password", {"VAULT_TOKEN": ""}, "VAULT_TOKEN is not set"),
        ("secret/directory/reader#password", {"VAULT_ADDR": "http://vault.example"}, "https://host"),
        ("secret/directory/reader#password", {"VAULT_ADDR": "http://127.0.0.1:1"}, "does not answer"),
    ],
)
def test_what_a_vault_does_not_give_is_named_by_its_reference(here, monkeypatch, reference, changed, says):
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=says) as error:
        read_secret(here, f"vault:{reference}")
    assert f"vault:{reference}" in str(error.value)
    assert not any(secret in str(error.value) for secret in ("of the vault", "may-read", "another-token"))
