"""Data sets, tables, columns and foreign keys of a relational schema. No value of a row is kept."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, ColumnClause, Engine, Inspector, column, create_engine, inspect, make_url, select
from sqlalchemy import table as table_of
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from discovery.connector import (
    Change,
    Connector,
    Item,
    Position,
    Problem,
    SourceError,
    only_if_unchanged,
)
from discovery.files import expand, listing, locate
from discovery.options import Options, parse_options
from discovery.pages import turn
from discovery.patterns import Parts
from discovery.schemas import ROWS, unsampled
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id

# A password that stands there itself, and is no `$NAME`.
_PASSWORD = re.compile(r"://[^/@]*:(?!\$\w+@|\$\{\w+\}@)[^/@]+@")


class SqlOptions(Options):
    url: str
    """An SQLAlchemy URL, or the path of an SQLite file; it is opened read-only."""
    db_schema: str | None = None
    """The database's schema; its default one if none is named."""
    dataset: str | None = None
    """Key of the data set; the source's name if none is given."""
    name: str | None = None
    """Name of the data set; its key if none is given."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for a URL that SQLAlchemy does not take, or that holds a password itself."""
    options = parse_options(SqlOptions, source)
    if _PASSWORD.search(options.url):
        raise ConfigurationError(
            f"source {source.name!r}: url: expected the password in an environment variable, as "
            "`postgresql://reader:$DB_PASSWORD@host/database`"
        )
    text = expand(options.url)
    try:
        url = make_url(text if "://" in text else URL.create("sqlite", database=text))
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        why = str(error).replace(text, options.url)
        raise ConfigurationError(
            f"source {source.name!r}: url: expected an SQLAlchemy URL or the path of an SQLite file: {why}"
        ) from None
    return SqlConnector(organization, source, options, url)


@dataclass(frozen=True)
class SqlConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: SqlOptions
    url: URL

    def scopes(self) -> Sequence[str]:
        schema = self.options.db_schema
        return (f"{self._shown}{'' if schema is None else ' schema ' + schema}",)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position() or "")

    def _position(self) -> str | None:
        """A file that did not change has the schema it had; a server is asked again."""
        if self.url.get_backend_name() != "sqlite":
            return None
        path = self._file()
        log = path.with_name(f"{path.name}-wal")  # what was committed and is not yet in the file
        files = [(one, one.name) for one in (path, log) if one.exists()]
        return f"{self.options.digest()} {listing(files)}"

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        engine = self._engine()
        try:
            with engine.connect() as connection:
                turn("tables")
                inspector = inspect(connection)
                names = self._names(inspector)
                if not names:
                    yield Problem(
                        self._shown, "expected at least one table, found none; check url and rights"
                    )
                yield from self._dataset(inspector, names)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise SourceError(
                f"{scope}: the database cannot be read: {error}; check the url and the rights"
            ) from error
        finally:
            engine.dispose()
        if position is not None:
            yield Position(position)

    @property
    def _shown(self) -> str:
        """The URL without its password, or the SQLite file's path."""
        if self.url.get_backend_name() == "sqlite":
            return str(self.url.database)
        return self.url.render_as_string(hide_password=True)

    def _file(self) -> Path:
        return locate(self.organization, str(self.url.database)).resolve()

    def _engine(self) -> Engine:
        if self.url.get_backend_name() != "sqlite":
            return create_engine(self.url, poolclass=NullPool)
        path = self._file()
        if not path.is_file():
            raise SourceError(f"{path}: there is no such SQLite file; correct the url in sources.toml")
        address = f"file:{quote(str(path))}?mode=ro"
        return create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool
        )

    def _names(self, inspector: Inspector) -> list[str]:
        schema = self.options.db_schema
        return sorted({*inspector.get_table_names(schema), *inspector.get_view_names(schema)})

    def _key(self, *parts: str) -> str:
        return "/".join((self.options.dataset or self.source.name, *parts))

    def _dataset(self, inspector: Inspector, names: Sequence[str]) -> Iterator[Claim | Problem]:
        parts = Parts(self.organization, self.source)
        dataset = entity_id("dataset", self._key())
        name = self.options.name or self._key()
        yield from parts.classifications()
        yield EntityClaim(dataset, "Dataset", parts.collection(), {"name": name}, self._shown)
        for table in names:
            try:
                turn(table)
                yield from self._table(inspector, parts, dataset, table, names)
            except (SQLAlchemyError, OSError) as error:
                yield Problem(
                    f"{self._shown} table {table}", f"its schema cannot be read: {error}; repair it"
                )

    def _table(
        self, inspector: Inspector, parts: Parts, dataset: str, table: str, names: Sequence[str]
    ) -> Iterator[Claim | Problem]:
        schema, evidence = self.options.db_schema, f"{self._shown} table {table}"
        entity = entity_id("table", self._key(table))
        sampled: Sequence[Any] = ()
        if self.source.classify == "values":
            try:
                sampled = self._sampled(inspector, table)
            except SQLAlchemyError as error:
                yield Problem(evidence, unsampled(getattr(error, "orig", None) or error))
        columns = inspector.get_columns(table, schema)
        primary = set(inspector.get_pk_constraint(table, schema)["constrained_columns"])
        yield EntityClaim(
            entity, "Table", parts.collection(table), self._description(inspector, table), evidence
        )
        yield RelationshipClaim(dataset, "HAS_TABLE", entity, evidence)
        yield from parts.classified(entity, evidence, table)
        for position, one in enumerate(columns, start=1):
            key, place = one["name"], f"{evidence} column {one['name']}"
            part = f"{table}.{key}"
            values: dict[str, Value] = {
                "name": key,
                "dataType": str(one["type"]),
                "nullable": bool(one["nullable"]),
                "position": position,
                "primaryKey": key in primary,
            }
            if comment := one.get("comment"):
                values["description"] = comment
            column_id = entity_id("column", self._key(table, key))
            yield EntityClaim(column_id, "Column", parts.collection(part, table), values, place)
            yield RelationshipClaim(entity, "HAS_COLUMN", column_id, place)
            values_of = [row[position - 1] for row in sampled]
            yield from parts.classified(column_id, place, part, table, values=values_of)
        yield from self._foreign_keys(inspector, table, evidence, names)

    def _sampled(self, inspector: Inspector, table: str) -> Sequence[Any]:
        """Some rows, to be looked at for what they are and dropped."""
        turn(f"sample of {table}")
        columns: list[ColumnClause[Any]] = [
            column(one["name"]) for one in inspector.get_columns(table, self.options.db_schema)
        ]
        query = select(*columns).select_from(table_of(table, schema=self.options.db_schema)).limit(ROWS)
        with inspector.engine.connect() as connection:
            return connection.execute(query).fetchall()

    def _description(self, inspector: Inspector, table: str) -> dict[str, Value]:
        try:
            comment = inspector.get_table_comment(table, self.options.db_schema)["text"]
        except NotImplementedError:  # SQLite keeps no comments
            comment = None
        values: dict[str, Value] = {"name": table}
        if comment:
            values["description"] = comment
        return values

    def _foreign_keys(
        self, inspector: Inspector, table: str, evidence: str, names: Sequence[str]
    ) -> Iterator[Claim | Problem]:
        for foreign in inspector.get_foreign_keys(table, self.options.db_schema):
            target = foreign["referred_table"]
            if foreign["referred_schema"] not in (None, self.options.db_schema):
                continue  # in a schema that another source reads
            if target not in names:
                yield Problem(
                    evidence, f"a foreign key refers to table {target!r}, which does not exist; repair it"
                )
                continue
            pairs = zip(foreign["constrained_columns"], foreign["referred_columns"], strict=True)
            for name, referred in pairs:
                start, end = (
                    entity_id("column", self._key(*key)) for key in ((table, name), (target, referred))
                )
                yield RelationshipClaim(start, "REFERENCES", end, f"{evidence} foreign key {name}")
