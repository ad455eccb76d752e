"""PostgreSQL by its own catalogue: schemas, tables, views, keys, policies, and which role may read what.

Everything is read in one read-only snapshot, and no row of a table, but where the source asks for
classifications by values: then some are looked at, and dropped.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, namedtuple_row, tuple_row

from discovery.addresses import is_here
from discovery.connector import Change, Connector, Item, Position, Problem, SourceError, only_if_unchanged
from discovery.connectors.postgresql_catalogue import QUERIES, RELATIONS
from discovery.options import Options, parse_options
from discovery.pages import turn
from discovery.patterns import Parts, matches
from discovery.schemas import ROWS, unsampled
from discovery.secrets import SecretReference, read_secret
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id

_SECONDS = 60
_KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}


class PostgresqlOptions(Options):
    host: str
    """A host name, an address, or the folder of a socket."""
    port: int = 5432
    database: str
    user: str
    password: SecretReference | None = None
    sslmode: Literal["verify-full", "verify-ca", "disable"] = "verify-full"
    """`disable` on this machine only."""
    schemas: tuple[str, ...] = ("*",)
    """Globs of the schemas that are read."""
    dataset: str | None = None
    """Key of the data set; the source's name if none is given."""
    roles: Mapping[str, str] = {}
    """Ids of what roles are in the organization (`ada = "person:ada"`); groups if not named."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for a connection that would be in the clear."""
    options = parse_options(PostgresqlOptions, source)
    if options.sslmode == "disable" and not is_here(options.host):
        raise ConfigurationError(f"source {source.name!r}: sslmode: 'disable' is for this machine only")
    return PostgresqlConnector(organization, source, options)


@dataclass(frozen=True)
class PostgresqlConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: PostgresqlOptions

    def scopes(self) -> Sequence[str]:
        options = self.options
        return (f"{options.host}:{options.port}/{options.database} {' '.join(options.schemas)}",)

    def read(self, scope: str) -> Iterator[Item]:
        catalogue = self._catalogue()
        if not catalogue["tables"]:
            yield Problem(scope, "expected at least one table, found none; check schemas and rights")
        samples: dict[tuple[int, str], Sequence[object]] = {}
        if self.source.classify == "values":
            for item in self._samples(catalogue["tables"], catalogue["columns"]):
                if isinstance(item, Problem):
                    yield item
                else:
                    samples |= item
        yield from _Database(self.organization, self.source, self.options, catalogue, samples).claims()
        if self.source.classify != "values":  # values change without the catalogue
            yield Position(self._position(catalogue))

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position(self._catalogue()))

    def _position(self, catalogue: Mapping[str, Sequence[TupleRow]]) -> str:
        return f"{self.options.digest()} {hashlib.sha256(repr(catalogue).encode()).hexdigest()}"

    def _catalogue(self) -> Mapping[str, Sequence[TupleRow]]:
        """The rows of each query of the catalogue, those of other schemas left out."""
        try:
            turn("connection")
            with self._connected() as connection:
                found = {}
                for name, query in QUERIES.items():
                    turn(name)
                    rows = connection.execute(RELATIONS + query).fetchall()
                    found[name] = [row for row in rows if self._covers(row)]
                return found
        except (psycopg.Error, OSError) as error:
            raise self._unreadable(error) from error

    def _samples(
        self, tables: Sequence[Any], columns: Sequence[Any]
    ) -> Iterator[Mapping[tuple[int, str], Sequence[object]] | Problem]:
        """Some values of each column, by its table's number and its name; table by table."""
        names = defaultdict(list)
        for column in columns:
            names[column.table].append(column.name)
        try:
            with self._connected() as connection:
                for table in tables:
                    yield self._sample(connection, table, names[table.id])
        except (psycopg.Error, OSError) as error:
            raise self._unreadable(error) from error

    def _sample(
        self, connection: psycopg.Connection[Any], table: Any, names: Sequence[str]
    ) -> Mapping[tuple[int, str], Sequence[object]] | Problem:
        query = sql.SQL("SELECT {} FROM {} LIMIT {}").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table.schema, table.name), ROWS
        )
        try:
            turn(f"sample of {table.schema}.{table.name}")
            with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
                rows = cursor.execute(query).fetchall()
        except psycopg.Error as error:
            return Problem(f"{self.options.database} table {table.schema}.{table.name}", unsampled(error))
        return {(table.id, name): [row[at] for row in rows] for at, name in enumerate(names)}

    def _unreadable(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.scopes()[0]}: the catalogue cannot be read: {str(error).strip()}; "
            "check host, user and password"
        )

    def _covers(self, row: Any) -> bool:
        schema = getattr(row, "schema", None)
        return schema is None or any(matches(glob, schema) for glob in self.options.schemas)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        options = self.options
        password = options.password and read_secret(self.organization, options.password)
        with psycopg.connect(
            host=options.host,
            port=options.port,
            dbname=options.database,
            user=options.user,
            password=password,
            sslmode="prefer" if options.host.startswith("/") else options.sslmode,
            sslrootcert="" if options.sslmode == "disable" or options.host.startswith("/") else "system",
            connect_timeout=_SECONDS,
            application_name="orgraph",
            options=f"-c search_path= -c statement_timeout={_SECONDS * 1000}",
            row_factory=namedtuple_row,
        ) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            yield connection


@dataclass(frozen=True)
class _Database:
    organization: OrganizationConfig
    source: SourceConfig
    options: PostgresqlOptions
    catalogue: Mapping[str, Sequence[Any]]
    samples: Mapping[tuple[int, str], Sequence[object]]

    def claims(self) -> Iterator[Claim]:
        parts = Parts(self.organization, self.source)
        dataset, place = entity_id("dataset", self._key()), self.options.database
        yield from parts.classifications()
        yield EntityClaim(dataset, "Dataset", parts.collection(), {"name": self._key()}, place)
        yield from self._roles(parts, dataset)
        policies: dict[int, list[str]] = defaultdict(list)
        for policy in self.catalogue["policies"]:
            policies[policy.table].append(policy.description)
        tables = {table.id: table for table in self.catalogue["tables"]}
        for table in tables.values():
            yield from self._table(parts, dataset, table, policies[table.id])
        for column in self.catalogue["columns"]:
            if column.table in tables:
                yield from self._column(parts, tables[column.table], column)
        for key in self.catalogue["foreign keys"]:
            if key.target_table in tables:  # else in a schema that is not read
                start, end = (
                    self._column_id(tables[table], column)
                    for table, column in ((key.table, key.column), (key.target_table, key.target_column))
                )
                yield RelationshipClaim(start, "REFERENCES", end, f"{place} constraint {key.name}")
        for view in self.catalogue["views"]:
            if view.base in tables and view.table in tables:
                start, end = self._table_id(tables[view.table]), self._table_id(tables[view.base])
                yield RelationshipClaim(start, "DERIVED_FROM", end, f"{place} view {view.schema}.{view.name}")
        yield from self._grants(tables)

    def _key(self, *more: str) -> str:
        return "/".join((self.options.dataset or self.source.name, *more))

    def _table_id(self, table: Any) -> str:
        return entity_id("table", self._key(f"{table.schema}.{table.name}"))

    def _column_id(self, table: Any, column: str) -> str:
        return entity_id("column", self._key(f"{table.schema}.{table.name}", column))

    def _role_id(self, role: str) -> str:
        return self.options.roles.get(role) or entity_id("group", self._key(role))

    def _roles(self, parts: Parts, dataset: str) -> Iterator[Claim]:
        for role in self.catalogue["roles"]:
            id_, place = self._role_id(role.name), f"{self.options.database} role {role.name}"
            if role.name not in self.options.roles:
                values = {"name": f"{role.name} in {self._key()}", "description": role.description}
                yield EntityClaim(id_, "Group", parts.collection(), values, place)
            if role.superuser:
                yield RelationshipClaim(id_, "ADMINISTERS", dataset, place)
        if "SUBGROUP_OF" not in self.source.grants:
            return
        for member in self.catalogue["members"]:
            start, end = self._role_id(member.member), self._role_id(member.role)
            if start.startswith("group:") and end.startswith("group:"):
                yield RelationshipClaim(
                    start, "SUBGROUP_OF", end, f"{self.options.database} role {member.member}"
                )

    def _table(self, parts: Parts, dataset: str, table: Any, policies: Sequence[str]) -> Iterator[Claim]:
        part, id_ = f"{table.schema}.{table.name}", self._table_id(table)
        place = f"{self.options.database} table {part}"
        said = [table.comment]
        if table.row_security:
            said += ["Row-level security" + (", also for its owner" if table.forced else "") + ".", *policies]
        values: dict[str, Value] = {"name": part, "dataType": _KINDS[table.kind]}
        if description := " ".join(text for text in said if text):
            values["description"] = description
        yield EntityClaim(id_, "Table", parts.collection(part), values, place)
        yield RelationshipClaim(dataset, "HAS_TABLE", id_, place)
        yield RelationshipClaim(self._role_id(table.owner), "OWNS", id_, place)
        yield from parts.classified(id_, place, part)

    def _column(self, parts: Parts, table: Any, column: Any) -> Iterator[Claim]:
        within = f"{table.schema}.{table.name}"
        part, id_ = f"{within}.{column.name}", self._column_id(table, column.name)
        place = f"{self.options.database} column {part}"
        values: dict[str, Value] = {
            "name": column.name,
            "dataType": column.type,
            "nullable": column.nullable,
            "position": column.position,
            "primaryKey": column.primary_key,
        }
        if column.comment:
            values["description"] = column.comment
        yield EntityClaim(id_, "Column", parts.collection(part, within), values, place)
        yield RelationshipClaim(self._table_id(table), "HAS_COLUMN", id_, place)
        values_of = self.samples.get((column.table, column.name), ())
        yield from parts.classified(id_, place, part, within, values=values_of)

    def _grants(self, tables: Mapping[int, Any]) -> Iterator[Claim]:
        for grant in self.catalogue["grants"]:
            if grant.table not in tables:
                continue
            role, table = self._role_id(grant.role), tables[grant.table]
            place = f"{self.options.database} grants on {table.schema}.{table.name}"
            if grant.read:
                yield RelationshipClaim(role, "MAY_READ", self._table_id(table), place)
            if grant.write:
                yield RelationshipClaim(role, "MAY_WRITE", self._table_id(table), place)
        for grant in self.catalogue["column grants"]:
            if grant.table in tables:
                table = tables[grant.table]
                place = f"{self.options.database} grants on {table.schema}.{table.name}.{grant.column}"
                end = self._column_id(table, grant.column)
                yield RelationshipClaim(self._role_id(grant.role), "MAY_READ", end, place)
