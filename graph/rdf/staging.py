"""Triples on disk, so that those of one subject come together however they were scattered."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pyoxigraph import Literal, NamedNode

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Staged:
    """A triple with where it stands. Its object is the IRI of a resource, or a literal."""

    subject: str
    predicate: str
    object: str | Literal
    place: str


class Staging:
    """A set of triples; the first place of each is kept."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE triple (
                subject TEXT, predicate TEXT, object TEXT, datatype TEXT, language TEXT, place TEXT,
                PRIMARY KEY (subject, predicate, object, datatype, language)
            ) WITHOUT ROWID;
            CREATE INDEX by_predicate ON triple (predicate, object);
            """
        )

    def add(self, triples: Iterable[Staged]) -> None:
        rows: list[tuple[str, ...]] = []
        for one in triples:
            rows.append((one.subject, one.predicate, *_columns(one.object), one.place))
            if len(rows) == _BATCH:
                self._insert(rows)
                rows = []
        self._insert(rows)

    def subjects(self) -> Iterator[list[Staged]]:
        """The triples of each subject."""
        found: list[Staged] = []
        for row in self._database.execute("SELECT * FROM triple ORDER BY subject, predicate"):
            if found and found[0].subject != row[0]:
                yield found
                found = []
            found.append(_staged(row))
        if found:
            yield found

    def of(self, subject: str, predicate: str | None = None) -> list[Staged]:
        """The triples of a subject, of one predicate or of all."""
        query = "SELECT * FROM triple WHERE subject = ?1 AND (?2 IS NULL OR predicate = ?2)"
        return [_staged(row) for row in self._database.execute(query, (subject, predicate))]

    def with_object(self, predicate: str, object: str) -> list[str]:
        """The subjects of such triples, whose object is a resource."""
        query = "SELECT subject FROM triple WHERE predicate = ? AND object = ? AND datatype = ''"
        return [row[0] for row in self._database.execute(query, (predicate, object))]

    def _insert(self, rows: list[tuple[str, ...]]) -> None:
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO triple VALUES (?, ?, ?, ?, ?, ?)", rows)


@contextmanager
def staging() -> Iterator[Staging]:
    """Empty, and gone after the block."""
    with (
        TemporaryDirectory(prefix="orgraph-rdf-") as folder,
        closing(sqlite3.connect(Path(folder) / "triples.sqlite", check_same_thread=False)) as database,
    ):
        yield Staging(database)


def _columns(object: str | Literal) -> tuple[str, str, str]:
    """Text, datatype (empty for a resource) and language."""
    if isinstance(object, str):
        return object, "", ""
    return object.value, object.datatype.value, object.language or ""


def _staged(row: tuple[str, str, str, str, str, str]) -> Staged:
    subject, predicate, text, datatype, language, place = row
    if not datatype:
        return Staged(subject, predicate, text, place)
    literal = Literal(text, language=language) if language else Literal(text, datatype=NamedNode(datatype))
    return Staged(subject, predicate, literal, place)
