"""Classifications that are proposed: by names, by values that are looked at and dropped, and never to loosen."""

import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.classification import LABELS, by_name, by_values, in_text
from graph.handling import Handling, meet_all

LABELLED = Path(__file__).parent / "classification_labels.toml"
#: Precision and recall of the rules as they are: docs/benchmarks.md.
FOUND = {"chinook": (0.968, 0.885), "pagila": (1.0, 0.944)}


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        ("hr/employee/firstName", {"personal-data"}),
        ("hr/employees/hire_date", {"personal-data"}),
        ("crm/leads/E-Mail", {"personal-data"}),
        ("clinic/visits/icd10_code", {"health-data"}),
        ("clinic/visits/Diagnoses", {"health-data"}),
        ("shop/orders/card_number", {"payment-data"}),
        ("shop/payments.csv/amount", {"payment-data"}),
        ("app/users/password_hash", {"credentials"}),
        ("app/clients/api_key", {"credentials"}),
        ("parts/items/ECCN", {"export-controlled"}),
        ("shop/orders/customer_id", set()),
        ("shop/product/name", set()),
        ("shop/album/title", set()),
    ],
)
def test_names_tell_what_columns_hold(column, labels):
    assert set(by_name(f"column:{column}")) == labels


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["ada@x.example", "grace@x.example", "not given", "joan@x.example"], {"personal-data"}),
        (["+1 617 555 0199", "(617) 555-0123", "617-555-0177"], {"personal-data"}),
        (["078-05-1120", "219-09-9999", "457-55-5462"], {"personal-data"}),
        (["4111 1111 1111 1111", "5500000000000004", "340000000000009"], {"payment-data"}),
        (
            ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"],
            {"payment-data"},
        ),
        (["E11.9", "I10.0", "J45.909"], {"health-data"}),
        (["$2b$12$" + "a" * 53, "$2b$12$" + "b" * 53, "$2b$12$" + "c" * 53], {"credentials"}),
        (["2026-01-31", "2026-02-01", "2026-02-02"], set()),
        (["4111111111111112", "5500000000000005", "340000000000001"], set()),
        (["ada@x.example"], set()),
        ([1, 2, 3, None], set()),
    ],
)
def test_values_tell_what_columns_hold(values, labels):
    assert set(by_values(values)) == labels


def test_texts_tell_what_stands_in_them():
    assert set(in_text("Call ada@x.example, card 4111 1111 1111 1111, ECCN 5A002.")) == {
        "personal-data",
        "payment-data",
        "export-controlled",
    }
    assert in_text("Order 1234567890123456 of 2026-01-31.") == {}


@pytest.mark.parametrize("schema", sorted(FOUND))
def test_precision_and_recall_on_labelled_columns(say, shared_data, tmp_path, schema):
    labelled = tomllib.loads(LABELLED.read_text())[schema]
    columns = [column for table in labelled_tables(shared_data, schema) for column in table]
    right = wrong = missed = 0
    for table, column in columns:
        wanted = {label for label, names in labelled.get(table, {}).items() if column in names}
        found = set(by_name(f"column:{schema}/{table}/{column}"))
        right, wrong, missed = (
            right + len(found & wanted),
            wrong + len(found - wanted),
            missed + len(wanted - found),
        )
    precision, recall = right / (right + wrong), right / (right + missed)
    assert precision >= FOUND[schema][0]
    assert recall >= FOUND[schema][1]


def labelled_tables(shared_data, schema):
    """Table and column of each CREATE TABLE, without Pagila's partitions."""
    file = {"chinook": "Chinook_PostgreSql.sql", "pagila": "pagila-schema.sql"}[schema]
    text = (shared_data / schema / file).read_text(errors="replace")
    for match in re.finditer(r"CREATE TABLE (?:public\.)?(\w+)\s*\((.*?)\n\)[^;]*;", text, re.DOTALL):
        if not match[1].startswith("payment_p"):
            lines = [line.strip() for line in match[2].splitlines() if line.strip()]
            words = [line.split()[0].strip('"') for line in lines]
            yield [(match[1], w) for w in words if w.upper() not in ("CONSTRAINT", "PRIMARY", "FOREIGN")]


def shop(folder):
    with closing(sqlite3.connect(folder / "shop.sqlite")) as database:
        database.executescript("CREATE TABLE buyers (id INTEGER, email TEXT, reach TEXT, note TEXT);")
        rows = [(n, f"buyer{n}@hush.example", f"also{n}@hush.example", "n") for n in range(9)]
        database.executemany("INSERT INTO buyers VALUES (?, ?, ?, ?)", rows)
        database.commit()


def classified(said):
    return {
        (claim.start.rpartition("/")[2], claim.end.partition(":")[2]): claim.confidence
        for claim in said.claims
        if getattr(claim, "type", "") == "CLASSIFIED_AS"
    }


def test_proposals_are_made_where_a_source_asks_for_them(say, tmp_path):
    shop(tmp_path)
    options = {"url": "shop.sqlite"}
    assert classified(say(tmp_path, "sql", options)) == {}
    assert classified(say(tmp_path, "sql", options, classify="names")) == {("email", "personal-data"): 0.7}
    said = say(tmp_path, "sql", options, classify="values")
    assert classified(said) == {("email", "personal-data"): 0.9, ("reach", "personal-data"): 0.9}
    assert "hush" not in repr(said)
    assert {claim.id for claim in said.of("Classification")} == {
        f"classification:{label}" for label in LABELS
    }


def test_a_declared_rule_is_no_proposal(say, tmp_path):
    shop(tmp_path)
    rule = {"pattern": "buyers.email", "classification": "personal-data"}
    said = say(tmp_path, "sql", {"url": "shop.sqlite"}, classify="names", classification=[rule])
    assert classified(said) == {("email", "personal-data"): 1.0}


def test_files_and_passages_are_classified_by_what_stands_in_them(say, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("who,reach\n" + "x,ada@hush.example\n" * 5)
    (tmp_path / "data" / "passwords.txt").write_text("x")
    (tmp_path / "data" / "page.md").write_text("# Contact\n\nWrite to ada@x.example.\n")
    said = say(tmp_path, "files", {"url": "data"}, classify="values")
    assert classified(said) == {
        ("reach", "personal-data"): 0.9,
        ("passwords.txt", "credentials"): 0.7,
    }
    assert "hush" not in repr(said)
    pages = say(tmp_path, "documents", {"path": "data", "mentions": False}, classify="values")
    assert classified(pages) == {("introduction-1", "personal-data"): 0.9}


def test_a_table_that_may_not_be_looked_into_is_a_problem_so_that_nothing_loosens(say, tmp_path):
    shop(tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        database.executescript("CREATE VIEW broken AS SELECT email FROM buyers; DROP TABLE buyers;")
    said = say(tmp_path, "sql", {"url": "shop.sqlite"}, classify="values")
    assert said.problems != []


def test_a_value_at_which_the_looking_fails_is_not_told_and_the_schema_is_read(say, tmp_path):
    """SQLite repeats what it cannot decode."""
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        database.executescript("CREATE TABLE buyers (reach TEXT)")
        database.execute("INSERT INTO buyers VALUES (CAST(? AS TEXT))", (b"ada@hush.example\xff",))
        database.commit()
    said = say(tmp_path, "sql", {"url": "shop.sqlite"}, classify="values")
    [problem] = said.problems
    assert "its values cannot be looked at (OperationalError)" in problem.message
    assert "hush" not in repr(said)
    assert "column:source/buyers/reach" in said.entities


HANDLINGS = st.builds(
    Handling,
    st.none() | st.frozensets(st.sampled_from(["US", "EU"])),
    st.none() | st.frozensets(st.sampled_from(["east", "west"])),
    st.frozensets(st.sampled_from(["HIPAA", "SOC2"])),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(HANDLINGS, max_size=4), HANDLINGS)
def test_a_classification_more_tightens_or_leaves_as_it_is(before, rule):
    was, now = meet_all(before), meet_all([*before, rule])
    assert now.meet(was) == now


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_looked_at_without_an_error(text):
    assert set(in_text(text)) | set(by_values([text] * 3)) | set(by_name(f"column:a/b/{text}")) <= set(LABELS)
