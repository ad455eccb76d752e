"""Entities and relationships from YAML, JSON and CSV records, by a declarative mapping file.

    absent = ["none"]                      # texts that stand for no value

    [lookup.manager]                       # manager_role_slug -> key of the record that has it
    key = "manager_role_slug"
    value = "{_key}"

    [[rule]]
    each = "people"                        # dotted path to the records
    id = "person:{_key}"
    class = "Person"
    values = { name = "name", jobTitle = "{role}" }

    [[rule.relationship]]
    type = "REPORTS_TO"
    end = "person:{manager[reports_to]}"

docs/mapping.md has the whole format.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from discovery.connector import Connector, Problem
from discovery.files import UnreadableError, find, locate
from discovery.mapping_file import LookupSpec, MappingFile, RelationshipSpec, Rule, ValueSpec, load_mapping
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.records import Row, read_document, rows_at
from discovery.sources import OrganizationConfig, SourceConfig
from discovery.templates import Lookups, MissingLookupError, Record, field_at, parse_template, plain_text
from graph.claims import Claim, EntityClaim, RelationshipClaim, Scalar, Value, entity_id


class MappingOptions(Options):
    path: str
    """A file or a glob."""
    mapping: str
    """The mapping file."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for a mapping file that cannot be used."""
    options = parse_options(MappingOptions, source)
    mapping = load_mapping(locate(organization, options.mapping))
    return MappingConnector(organization, source, options, mapping)


@dataclass(frozen=True)
class MappingConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: MappingOptions
    mapping: MappingFile

    def scopes(self) -> Sequence[str]:
        return (self.options.path,)

    def read(self, scope: str) -> Iterator[Claim | Problem]:
        parts = Parts(self.organization, self.source)
        yield from parts.classifications()
        documents = yield from self._documents(scope)
        lookups: dict[str, Mapping[str, str]] = {}
        for key, spec in self.mapping.lookup.items():
            lookups[key] = yield from self._lookup(spec, documents, lookups)
        reading = _Reading(parts, lookups, {})
        for name, document in documents.items():
            for rule in self.mapping.rule:
                for row in _rows(document, rule.each, name):
                    yield from [row] if isinstance(row, Problem) else reading.claims(rule, row)

    def _documents(self, path: str) -> Generator[Problem, None, Mapping[str, Any]]:
        """Content of each file, by its name."""
        documents: dict[str, Any] = {}
        for found in find(locate(self.organization, path)):
            if isinstance(found, Problem):
                yield found
                continue
            try:
                documents[found[1]] = self._present(read_document(*found))
            except UnreadableError as error:
                yield Problem(found[1], str(error))
        return documents

    def _present(self, value: Any) -> Any:
        """The document without the texts that stand for no value."""
        if isinstance(value, Mapping):
            return {k: self._present(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._present(item) for item in value]
        return None if isinstance(value, str) and value.strip() in self.mapping.absent else value

    def _lookup(
        self, spec: LookupSpec, documents: Mapping[str, Any], before: Lookups
    ) -> Generator[Problem, None, Mapping[str, str]]:
        if spec.path is not None:
            documents = yield from self._documents(spec.path)
        table: dict[str, str] = {}
        preferred: set[str] = set()
        for name, document in documents.items():
            for row in _rows(document, spec.each, name):
                if isinstance(row, Problem):
                    yield row
                    continue
                try:
                    key = _text_at(row.fields, spec.key)
                    value = spec.value.render(row.fields, before)
                except (MissingLookupError, ValueError) as error:
                    yield Problem(row.place, f"{error}; correct the record")
                    continue
                if key is None or value is None:
                    continue
                better = spec.prefer is not None and field_at(row.fields, spec.prefer) is not None
                if key not in table or (better and key not in preferred):
                    table[key] = value
                if better:
                    preferred.add(key)
        return table


def _rows(document: Any, each: str, name: str) -> Iterator[Row | Problem]:
    try:
        yield from rows_at(document, each, name)
    except UnreadableError as error:
        yield Problem(name, str(error))


def _text_at(record: Record, path: str) -> str | None:
    value = field_at(record, path)
    return None if value is None else plain_text(value)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of the source's documents."""

    parts: Parts
    lookups: Lookups
    seen: dict[str, str]
    """Where each entity was described."""

    def claims(self, rule: Rule, row: Row) -> Iterator[Claim | Problem]:
        """What a rule makes of a record; a Problem where the record does not have the form it should."""
        try:
            if not self._applies(rule, row.fields):
                return
            entity = self._id(rule.id, row.fields) if rule.id else None
            if rule.id and entity is None:
                raise ValueError(f"a field of the id {rule.id!r} is absent")
            claim = self._entity(rule, row, entity) if entity and rule.class_name else None
        except (MissingLookupError, ValueError) as error:
            yield Problem(row.place, f"{error}; correct the record or the mapping")
            return
        if claim is not None:
            yield claim
            yield from self.parts.classified(claim.id, row.place, claim.id)
        for spec in rule.relationship:
            yield from self._relationships(spec, row, entity)

    def _applies(self, rule: Rule, record: Record) -> bool:
        if any(field_at(record, path) is None for path in rule.when):
            return False
        if lacking := [path for path in rule.required if field_at(record, path) is None]:
            raise ValueError(f"{', '.join(lacking)}: expected a value, found none")
        return all(
            _text_at(record, path) == template.render(record, self.lookups)
            for path, template in rule.where.items()
        )

    def _id(self, text: str, record: Record) -> str | None:
        type_name, _, key = text.partition(":")
        rendered = parse_template(key).render(record, self.lookups)
        return None if rendered is None else entity_id(type_name, rendered)

    def _entity(self, rule: Rule, row: Row, entity: str) -> EntityClaim:
        if entity in self.seen:
            raise ValueError(f"{entity} is also the record at {self.seen[entity]}")
        values = {}
        for name, spec in rule.values.items():
            try:
                value = _value(spec, row.fields, self.lookups)
            except ValueError as error:
                raise ValueError(f"{spec.field or name}: {error}") from error
            if value is not None and value != ():
                values[name] = value
        if "name" not in values:
            raise ValueError(f"name: expected a value for {entity}, found none")
        self.seen[entity] = row.place
        return EntityClaim(entity, rule.class_name or "", self.parts.collection(entity), values, row.place)

    def _relationships(
        self, spec: RelationshipSpec, row: Row, entity: str | None
    ) -> Iterator[Claim | Problem]:
        """One, or one for each item; none where a field is absent, and none from an entity to itself."""
        if any(field_at(row.fields, path) is None for path in spec.when):
            return
        records: list[Record] = [row.fields]
        if spec.each is not None:
            items = field_at(row.fields, spec.each) or []
            if not isinstance(items, list):
                yield Problem(row.place, f"{spec.each}: expected a list, found {items!r}; correct the record")
                return
            records = [{**row.fields, "_item": item} for item in items]
        for record in records:
            try:
                start = self._id(spec.start, record) if spec.start else entity
                end = self._id(spec.end, record)
            except (MissingLookupError, ValueError) as error:
                yield Problem(row.place, f"{spec.type}: {error}; correct the record or the mapping")
                continue
            if start is not None and end is not None and start != end:
                yield RelationshipClaim(start, spec.type, end, row.place)


def _value(spec: ValueSpec, record: Record, lookups: Lookups) -> Value | None:
    if spec.literal is not None:
        return spec.literal
    if spec.join is not None:
        texts = (template.render(record, lookups) for template in spec.join)
        return spec.by.join(text for text in texts if text) or None
    found = spec.text.render(record, lookups) if spec.text else field_at(record, spec.field or "")
    if isinstance(found, list):
        return tuple(_scalar(item, spec.type) for item in found if item is not None)
    return None if found is None else _scalar(found, spec.type)


def _scalar(value: Any, type_name: str | None) -> Scalar:
    if type_name is None and isinstance(value, (bool, int, float)):
        return value
    if type_name in (None, "string") and isinstance(value, date):
        aware = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return aware if aware.tzinfo else aware.replace(tzinfo=UTC)
    text = plain_text(value)
    if type_name == "integer":
        return int(text)
    if type_name == "decimal":
        return float(text)
    if type_name == "boolean":
        if text.casefold() not in ("true", "false", "yes", "no"):
            raise ValueError(f"expected true or false, found {text!r}")
        return text.casefold() in ("true", "yes")
    return text
