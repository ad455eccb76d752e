"""Specimens of our connectors for the conformance suite, and those that other packages register."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pyarrow
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pyarrow import parquet

from discovery import served_specimens
from discovery.conformance import MakeSpecimen, Specimen
from discovery.connectors.table import load_point
from discovery.node_statements import sign_statement
from discovery.sources import ConfigurationError

#: Group of entry points: `name = "package.module:specimen"`.
GROUP = "orgraph.specimens"


def specimen_of(connector: str) -> MakeSpecimen:
    """Raises ConfigurationError for a connector that has none."""
    if connector in SPECIMENS:
        return SPECIMENS[connector]
    points = tuple(entry_points(group=GROUP, name=connector))
    if not points:
        raise ConfigurationError(
            f"connector {connector!r} has no specimen to be tried on: register one under the entry points "
            f"{GROUP!r} (`orgraph connector new` writes one)"
        )
    return load_point(points)  # type: ignore[return-value]  # by the contract of the entry points


@contextmanager
def _ldif(folder: Path) -> Iterator[Specimen]:
    person = "dn: uid={0},dc=x\nobjectClass: inetOrgPerson\nuid: {0}\ncn: {1}\nmail: {0}@x.example\n\n"
    group = "dn: cn=crew,dc=x\nobjectClass: groupOfNames\ncn: crew\nmember: uid=ada,dc=x\n"
    (folder / "1.ldif").write_text(person.format("ada", "Ada"))
    (folder / "2.ldif").write_text(person.format("bob", "Bob"))
    (folder / "3.ldif").write_text(group)

    def rename() -> None:
        (folder / "1.ldif").write_text(person.format("ada", "Ada L."))

    yield Specimen(
        {"path": "*.ldif"},
        frozenset({"person:ada"}),
        rename,
        _moves(folder / "1.ldif", folder / "4.ldif"),
        _copies(folder / "2.ldif", folder / "5.ldif"),
    )


@contextmanager
def _sql(folder: Path) -> Iterator[Specimen]:
    with closing(sqlite3.connect(folder / "x.sqlite")) as database:
        database.executescript(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, secret TEXT);"
            "CREATE TABLE b (a INTEGER REFERENCES a (id)); INSERT INTO a VALUES (1, 'no row is read');"
        )

    def change(script: str) -> None:
        with closing(sqlite3.connect(folder / "x.sqlite")) as database:
            database.executescript(script)

    yield Specimen(
        {"url": "x.sqlite"},
        frozenset({"table:specimen/b", "column:specimen/b/a"}),
        partial(change, "ALTER TABLE b ADD COLUMN c TEXT"),
        partial(
            change,
            "CREATE TABLE other (c TEXT, a INTEGER REFERENCES a (id)); DROP TABLE b;"
            "ALTER TABLE other RENAME TO b",
        ),
        partial(change, "CREATE VIEW again AS SELECT * FROM b"),
        secrets=("no row is read",),
    )


@contextmanager
def _bpmn(folder: Path) -> Iterator[Specimen]:
    model = (
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p" name="{0}">'
        '<startEvent id="s"/>{1}<sequenceFlow sourceRef="s" targetRef="t"/></process></definitions>'
    )
    task, within = '<task id="t"/>', '<subProcess id="u"><task id="t"/></subProcess>'
    (folder / "a.bpmn").write_text(model.format("Quoting", task))
    (folder / "b.bpmn").write_text(model.format("Hiring", task))

    def rename() -> None:
        (folder / "a.bpmn").write_text(model.format("Quotes", task))

    def move() -> None:
        (folder / "a.bpmn").write_text(model.format("Quotes", within))

    yield Specimen(
        {"path": "*.bpmn"},
        frozenset({"process:a/p", "activity:a/t"}),
        rename,
        move,
        _copies(folder / "b.bpmn", folder / "c.bpmn"),
    )


@contextmanager
def _documents(folder: Path) -> Iterator[Specimen]:
    (folder / "pages").mkdir()
    one, two = "## One\n\nSome text.\n", "## Two\n\nSome other.\n"
    (folder / "pages" / "a.md").write_text(f"# A\n\n{one}\n{two}")
    (folder / "pages" / "b.md").write_text("# B\n\nSee [A](a.md).\n")

    def rename() -> None:
        (folder / "pages" / "a.md").write_text(f"# Another\n\n{one}\n{two}")

    def move() -> None:
        (folder / "pages" / "a.md").write_text(f"# Another\n\n{two}\n{one}")

    yield Specimen(
        {"path": "pages", "mentions": False},
        frozenset({"document:specimen/a.md", "passage:specimen/a.md/one-1", "passage:specimen/a.md/two-1"}),
        rename,
        move,
        _copies(folder / "pages" / "b.md", folder / "pages" / "c.md"),
    )


@contextmanager
def _mapping(folder: Path) -> Iterator[Specimen]:
    (folder / "m.toml").write_text(_MAPPING)
    (folder / "people").mkdir()
    ada = folder / "people" / "ada.json"
    ada.write_text('{"id": 1, "name": "Ada"}')
    (folder / "people" / "bob.yml").write_text("id: 2\nname: Bob\n")

    def rename() -> None:
        ada.write_text('{"id": 1, "name": "Ada L."}')

    yield Specimen(
        {"path": "people/*", "mapping": "m.toml"},
        frozenset({"person:1"}),
        rename,
        _moves(ada, folder / "people" / "zoe.json"),
        _copies(folder / "people" / "bob.yml", folder / "people" / "rob.yml"),
    )


@contextmanager
def _rdf(folder: Path) -> Iterator[Specimen]:
    person = "<https://x.example/{0}> a <urn:orgraph:ontology:Person> ; <urn:orgraph:ontology:name> '{1}' .\n"
    (folder / "1.ttl").write_text(person.format("ada", "Ada"))
    (folder / "2.ttl").write_text(person.format("bob", "Bob"))

    def rename() -> None:
        (folder / "1.ttl").write_text(person.format("ada", "Ada L."))

    yield Specimen(
        {"path": "*.ttl"},
        frozenset({"person:https%3A//x.example/ada"}),
        rename,
        _moves(folder / "1.ttl", folder / "3.ttl"),
        _copies(folder / "2.ttl", folder / "4.ttl"),
    )


@contextmanager
def _codeowners(folder: Path) -> Iterator[Specimen]:
    repository = folder / "repository"
    repository.mkdir()
    _git(repository, "init", "-q", "-b", "main")

    def commit(place: str, text: str) -> None:
        for old in repository.glob("**/CODEOWNERS"):
            old.unlink()
        path = repository / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        _git(repository, "add", "-A")
        _git(repository, "commit", "-q", "-m", "x")

    commit("CODEOWNERS", "/src/ @ada\n")
    yield Specimen(
        {"repository": "repository"},
        frozenset({"code_path:repository//src/"}),
        partial(commit, "CODEOWNERS", "/src/ @ada\n/docs/ @bob\n"),
        partial(commit, ".github/CODEOWNERS", "/src/ @ada\n"),
        partial(commit, "CODEOWNERS", "/src/ @ada\n/src/ @ada\n"),
    )


@contextmanager
def _git_authors(folder: Path) -> Iterator[Specimen]:
    repository = folder / "repository"
    repository.mkdir()
    _git(repository, "init", "-q", "-b", "main")

    def commit(address: str) -> None:
        author = ["-c", f"user.email={address}", "-c", "user.name=x"]
        subprocess.run(
            ["git", *author, "commit", "-q", "--allow-empty", "-m", "x"],
            cwd=repository,
            check=True,
            capture_output=True,
        )

    commit("ada@x.example")
    yield Specimen(
        {"repository": "repository"},
        frozenset({"repository:repository"}),
        partial(commit, "bob@x.example"),
        partial(commit, "ada@y.example"),
        partial(commit, "ada@x.example"),
    )


@contextmanager
def _files(folder: Path) -> Iterator[Specimen]:
    data = folder / "data"
    (data / "2026").mkdir(parents=True)
    (data / "2026" / "people.csv").write_text("name,phone\nAda,no value is kept\n")
    (data / "notes.txt").write_text("text")
    parquet.write_table(pyarrow.table({"id": [1], "name": ["no value is kept"]}), data / "2026" / "a.parquet")

    def rename() -> None:
        (data / "2026" / "people.csv").write_text("name,telephone\nAda,no value is kept\n")

    yield Specimen(
        {"url": "data"},
        frozenset({"file:specimen/2026/people.csv", "folder:specimen/2026"}),
        rename,
        _moves(data / "notes.txt", data / "2026" / "notes.txt"),
        _copies(data / "2026" / "people.csv", data / "people.csv"),
        secrets=("no value is kept",),
        at_path=frozenset({"file:specimen/2026/people.csv"}),
    )


@contextmanager
def _mesh_nodes(folder: Path) -> Iterator[Specimen]:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "attester.pem").write_bytes(public)
    (folder / "nodes").mkdir()

    def state(name: str, region: str) -> None:
        offered = {"jurisdiction": "EU", "region": region, "silicon": "cpu", "models": ["m"]}
        node = {"endpoint": f"https://{name}.example:8000", **offered}
        said = {"sub": f"mesh_node:{name}", "certificate": "ab" * 32, "node": node}
        text = sign_statement(private, "facilities", "specimen", said, timedelta(days=1))
        (folder / "nodes" / f"{name}.jwt").write_text(text)

    state("a", "r1")
    state("b", "r1")
    yield Specimen(
        {"folder": "nodes", "attesters": {"facilities": "attester.pem"}},
        frozenset({"mesh_node:a"}),
        partial(state, "a", "r2"),
        _moves(folder / "nodes" / "a.jwt", folder / "nodes" / "c.jwt"),
        _copies(folder / "nodes" / "b.jwt", folder / "nodes" / "d.jwt"),
    )


@contextmanager
def _json_file(
    text: str, renamed: tuple[str, str], moved: tuple[str, str], stays: Sequence[str], folder: Path
) -> Iterator[Specimen]:
    """Two files of which one is renamed and moved within, for connectors that read each file by itself."""

    def write(file: str, *changes: tuple[str, str]) -> None:
        said = text.replace("FILE", file)
        for old, new in changes:
            said = said.replace(old, new)
        (folder / f"{file}.json").write_text(said)

    write("a")
    write("b")
    yield Specimen(
        {"path": "*.json"},
        frozenset(stays),
        partial(write, "a", renamed),
        partial(write, "a", renamed, moved),
        _copies(folder / "b.json", folder / "d.json"),
    )


_OPENAPI = (
    '{"openapi": "3.0.0", "info": {"title": "Pets"}, "components": {"schemas": {"Pet": '
    '{"properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}}}}'
)
_OSCAL = (
    '{"catalog": {"metadata": {"title": "T"}, "groups": [{"title": "G", "controls": [{"id": "FILE-1", '
    '"title": "Access", "parts": [{"name": "statement", "prose": "Keep it."}]}]}]}}'
)
_DBT = (
    '{"metadata": {"project_name": "FILE"}, "nodes": {"model.FILE.x": {"resource_type": "model", '
    '"name": "x", "original_file_path": "models/x.sql", "columns": {"id": {}}}}}'
)
_ACTIONS = (
    '{"name": "Build", "on": "push", "jobs": {"build": {"steps": [{"run": "make"}]}, "lint": {"steps": []}}}'
)

SPECIMENS: Mapping[str, MakeSpecimen] = {
    "bpmn": _bpmn,
    "codeowners": _codeowners,
    "dbt": partial(
        _json_file,
        _DBT,
        ('"x"', '"y"'),
        ("models/x.sql", "models/marts/x.sql"),
        ("table:specimen/model.a.x", "column:specimen/model.a.x/id"),
    ),
    "git-authors": _git_authors,
    "github-actions": partial(
        _json_file,
        _ACTIONS,
        ("Build", "Built"),
        ('"lint": {"steps": []}', '"lint": {"needs": "build", "steps": []}'),
        ("process:specimen/a.json", "activity:specimen/a.json/lint"),
    ),
    "documents": _documents,
    "files": _files,
    "ldap": served_specimens.ldap,
    "ldif": _ldif,
    "mapping": _mapping,
    "mesh-nodes": _mesh_nodes,
    "openapi": partial(
        _json_file,
        _OPENAPI,
        ("Pets", "Animals"),
        (
            '"id": {"type": "integer"}, "name": {"type": "string"}',
            '"name": {"type": "string"}, "id": {"type": "integer"}',
        ),
        ("dataset:specimen/a", "table:specimen/a/Pet", "column:specimen/a/Pet/id"),
    ),
    "oscal": partial(
        _json_file,
        _OSCAL,
        ("Access", "Access Control"),
        ('"G", "controls": [', '"G", "controls": []}, {"title": "H", "controls": ['),
        ("policy:specimen/control/a-1",),
    ),
    "postgresql": served_specimens.postgresql,
    "rdf": _rdf,
    "scim": served_specimens.scim,
    "scim-push": served_specimens.scim_pushed,
    "sql": _sql,
}

_MAPPING = """\
[[rule]]
each = "."
id = "person:{id}"
class = "Person"
values = { name = "name" }
"""


def _copies(path: Path, to: Path) -> Callable[[], None]:
    def copy() -> None:
        to.write_bytes(path.read_bytes())

    return copy


def _moves(path: Path, to: Path) -> Callable[[], None]:
    def move() -> None:
        path.rename(to)

    return move


def _git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=specimen", "-c", "user.email=specimen@x.example"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)
