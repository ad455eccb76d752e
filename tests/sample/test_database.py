"""The committed database is the readable one, and none of its rows gets out."""

import sqlite3
from contextlib import closing

PROTECTED = {"members", "member_diagnoses", "claims", "claim_lines", "prescriptions"}


def test_the_file_equals_the_sql(sample):
    with (
        closing(sqlite3.connect(":memory:")) as built,
        closing(sqlite3.connect(f"file:{sample / 'benefits.sqlite'}?mode=ro", uri=True)) as committed,
    ):
        built.executescript((sample / "benefits.sql").read_text(encoding="utf-8"))
        assert list(committed.iterdump()) == list(built.iterdump())
        assert committed.execute("PRAGMA foreign_key_check").fetchall() == []


def test_every_table_has_rows_that_can_be_told(sample):
    with closing(sqlite3.connect(f"file:{sample / 'benefits.sqlite'}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert len(tables) == 12
        for table in set(tables) - {"plans"}:  # of public plans, whose names the documents have too
            rows = database.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608  names of its own
            assert rows, table
            assert all("ZX-ROW-MARKER" in str(row) for row in rows), table


def test_no_row_is_claimed(crawl):
    assert crawl.entities
    assert "ZX-ROW-MARKER" not in repr((crawl.entities, crawl.relationships))
    assert "Thaddeus Crumb" not in repr((crawl.entities, crawl.relationships))


def test_protected_tables_and_all_their_columns_lie_apart_and_are_classified(crawl):
    kinds = ("table:benefits/", "column:benefits/")
    for id_, entity in crawl.entities.items():
        if id_.startswith(kinds):
            protected = id_.split("/")[1] in PROTECTED
            assert entity.collection == ("collection:phi-schemas" if protected else "collection:data-catalog")
            classes = {"classification:protected-health-information"} if protected else set()
            assert crawl.ends(id_, "CLASSIFIED_AS") == classes, id_
