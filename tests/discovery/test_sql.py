"""The schema of a database: tables, columns, keys, and not one row."""

import re
import sqlite3

import pytest
from sqlalchemy import Engine, event

from discovery.connector import SourceError
from discovery.connectors.table import build
from discovery.sources import ConfigurationError

SCHEMA = """
CREATE TABLE carriers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE members (
    id INTEGER PRIMARY KEY, diagnosis TEXT, carrier_id INTEGER NOT NULL REFERENCES carriers (id)
);
CREATE VIEW names AS SELECT name FROM carriers;
INSERT INTO carriers VALUES (1, 'row-value-carrier');
INSERT INTO members VALUES (1, 'row-value-diagnosis', 1);
"""


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "benefits.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    return path


def test_a_schema_becomes_a_data_set_of_tables_and_columns(say, database):
    said = say(database.parent, "sql", {"url": "benefits.sqlite", "dataset": "benefits"})
    assert said.problems == []
    assert said.typed("HAS_TABLE") == {
        ("dataset:benefits", f"table:benefits/{table}") for table in ("carriers", "members", "names")
    }
    assert said.entities["column:benefits/members/carrier_id"].values == {
        "name": "carrier_id",
        "dataType": "INTEGER",
        "nullable": False,
        "position": 3,
        "primaryKey": False,
    }
    assert said.entities["column:benefits/carriers/id"].values["primaryKey"] is True
    assert said.typed("REFERENCES") == {("column:benefits/members/carrier_id", "column:benefits/carriers/id")}
    assert said.entities["table:benefits/members"].evidence == "benefits.sqlite table members"


def test_no_row_is_ever_read(say, database):
    read, statements = set(), []

    def authorize(action, first, *_):
        if action == sqlite3.SQLITE_READ:
            read.add(first)
        return sqlite3.SQLITE_OK

    def connected(connection, _):
        connection.set_authorizer(authorize)
        connection.set_trace_callback(statements.append)

    event.listen(Engine, "connect", connected)
    try:
        said = say(database.parent, "sql", {"url": "benefits.sqlite"})
    finally:
        event.remove(Engine, "connect", connected)
    assert statements
    assert all(name.startswith(("sqlite_", "pragma_")) for name in read), read
    assert not any(re.search(r"\b(from|join)\s+\W?(carriers|members|names)\b", s, re.I) for s in statements)
    assert not any("row-value" in str(claim) for claim in said.claims)


def test_the_database_is_opened_read_only_and_left_as_it_is(say, database):
    before = database.read_bytes()
    modes = []

    def connected(connection, _):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("CREATE TABLE intruder (x)")
        modes.append("refused")

    event.listen(Engine, "connect", connected)
    try:
        say(database.parent, "sql", {"url": f"sqlite:///{database}"})
    finally:
        event.remove(Engine, "connect", connected)
    assert modes == ["refused"]
    assert database.read_bytes() == before


def test_columns_go_where_their_table_goes_and_are_classified_as_it_is(say, database):
    said = say(
        database.parent,
        "sql",
        {"url": "benefits.sqlite"},
        placement=[{"pattern": "members", "collection": "hr"}],
        classification=[
            {"pattern": "members", "classification": "health"},
            {"pattern": "carriers.name", "classification": "trade"},
        ],
    )
    assert {e.collection for i, e in said.entities.items() if "members" in i} == {"collection:hr"}
    assert said.entities["table:source/carriers"].collection == "collection:all"
    assert said.typed("CLASSIFIED_AS") == {
        ("table:source/members", "classification:health"),
        ("column:source/members/id", "classification:health"),
        ("column:source/members/diagnosis", "classification:health"),
        ("column:source/members/carrier_id", "classification:health"),
        ("column:source/carriers/name", "classification:trade"),
    }
    assert {c.id for c in said.of("Classification")} == {"classification:health", "classification:trade"}


def test_a_foreign_key_to_nowhere_is_named_and_the_rest_goes_on(say, tmp_path):
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.executescript("CREATE TABLE a (b INTEGER REFERENCES gone (id)); CREATE TABLE c (d TEXT);")
    connection.close()
    said = say(tmp_path, "sql", {"url": "x.sqlite"})
    assert [problem.place for problem in said.problems] == ["x.sqlite table a"]
    assert "'gone'" in said.problems[0].message
    assert "table:source/c" in said.entities


def test_names_made_to_break_out_of_a_query_are_only_names(say, tmp_path):
    name = 'x"; DROP TABLE keep; --'
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("CREATE TABLE keep (a TEXT)")
        connection.execute(f'CREATE TABLE "{name.replace(chr(34), chr(34) * 2)}" ("a b" TEXT)')
    connection.close()
    said = say(tmp_path, "sql", {"url": "x.sqlite"})
    assert said.problems == []
    assert {table.values["name"] for table in said.of("Table")} == {"keep", name}


def test_what_is_no_database_fails_the_scope(say, tmp_path):
    (tmp_path / "x.sqlite").write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(SourceError, match=r"x\.sqlite: the database cannot be read"):
        say(tmp_path, "sql", {"url": "x.sqlite"})
    with pytest.raises(SourceError, match="there is no such SQLite file"):
        say(tmp_path, "sql", {"url": "gone.sqlite"})
    assert not (tmp_path / "gone.sqlite").exists()


def test_a_url_that_nothing_understands_is_refused(say, tmp_path):
    with pytest.raises(ConfigurationError, match="url"):
        say(tmp_path, "sql", {"url": "nosuchdb://host/x"})


def test_a_password_is_in_no_message(make_organization, tmp_path, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    source = {
        "name": "pg",
        "connector": "sql",
        "options": {"url": "sqlite://user:$DB_PASSWORD@host/gone.sqlite"},
    }
    config = make_organization(tmp_path, source)
    assert "hunter2" not in "".join(build(config, config.source[0], {}).scopes())


@pytest.mark.shared_data
def test_the_chinook_schema_is_read(say, shared_data, tmp_path):
    script = (shared_data / "chinook" / "Chinook_PostgreSql.sql").read_text(encoding="utf-8-sig")
    tables = dict(re.findall(r"CREATE TABLE (\w+)\s*(\(.*?\n\));", script, re.DOTALL))
    keys = re.findall(r"ALTER TABLE (\w+) ADD CONSTRAINT \w+\s+(FOREIGN KEY .*?);", script, re.DOTALL)
    with sqlite3.connect(tmp_path / "chinook.sqlite") as connection:
        for table, body in tables.items():
            own = "".join(f", {key}" for of, key in keys if of == table)
            connection.execute(f"CREATE TABLE {table} {body.removesuffix(')')}{own})")
    connection.close()
    said = say(tmp_path, "sql", {"url": "chinook.sqlite", "dataset": "chinook"})
    assert said.problems == []
    assert len(said.of("Table")) == 11
    assert len(said.typed("REFERENCES")) == len(keys) == 11
    assert ("column:chinook/track/album_id", "column:chinook/album/album_id") in said.typed("REFERENCES")
