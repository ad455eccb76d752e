"""Records as entities and relationships, by the rules of a mapping file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from discovery.connector import Problem
from discovery.files import UnreadableError
from discovery.mapping_file import RelationshipSpec, Rule, ValueSpec
from discovery.patterns import Parts
from discovery.records import Row, rows_at
from discovery.statements import alike
from discovery.templates import (
    Lookups,
    MissingLookupError,
    Record,
    Template,
    field_at,
    items_at,
    parse_template,
    plain_text,
)
from graph.claims import Claim, EntityClaim, RelationshipClaim, Scalar, Value, entity_id


def rows(document: Any, each: str, name: str) -> Iterator[Row | Problem]:
    """As `rows_at`, but what holds no records is a Problem."""
    try:
        yield from rows_at(document, each, name)
    except UnreadableError as error:
        yield Problem(name, str(error))


def text_at(record: Record, path: str) -> str | None:
    """A field as text; None where it is absent. Raises ValueError for a list or mapping."""
    value = field_at(record, path)
    return None if value is None else plain_text(value)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a document."""

    parts: Parts
    lookups: Lookups
    seen: dict[str, EntityClaim]
    """How each entity was described first."""

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
        return self._equal(rule.where, record)

    def _equal(self, where: Mapping[str, Template], record: Record) -> bool:
        return all(text_at(record, path) == t.render(record, self.lookups) for path, t in where.items())

    def _id(self, text: str, record: Record) -> str | None:
        type_name, _, key = text.partition(":")
        rendered = parse_template(key).render(record, self.lookups)
        return None if rendered is None else entity_id(type_name, rendered)

    def _entity(self, rule: Rule, row: Row, entity: str) -> EntityClaim | None:
        """None where another record says the same."""
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
        claim = EntityClaim(entity, rule.class_name or "", self.parts.collection(entity), values, row.place)
        first = self.seen.setdefault(entity, claim)
        if not alike(first, claim):
            raise ValueError(f"{entity} is also the record at {first.evidence}")
        return claim if first is claim else None

    def _relationships(
        self, spec: RelationshipSpec, row: Row, entity: str | None
    ) -> Iterator[Claim | Problem]:
        """One, or one for each item; none where a field is absent, and none from an entity to itself."""
        records: list[Record] = [row.fields]
        if spec.each is not None:
            items = items_at(row.fields, spec.each)
            if items is None:
                found = field_at(row.fields, spec.each)
                yield Problem(
                    row.place,
                    f"{spec.each}: expected a list or a mapping, found {type(found).__name__}; correct it",
                )
                return
            records = [{**row.fields, "_item_key": key, "_item": _item(spec, item)} for key, _, item in items]
        for record in records:
            try:
                if any(field_at(record, path) is None for path in spec.when):
                    continue
                if not self._equal(spec.where, record):
                    continue
                start = self._id(spec.start, record) if spec.start else entity
                end = self._id(spec.end, record)
            except (MissingLookupError, ValueError) as error:
                yield Problem(row.place, f"{spec.type}: {error}; correct the record or the mapping")
                continue
            if start is not None and end is not None and start != end:
                yield RelationshipClaim(start, spec.type, end, row.place)


def _item(spec: RelationshipSpec, item: Any) -> Any:
    return field_at(item, spec.item) if spec.item is not None and isinstance(item, Mapping) else item


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
    if type_name is not None and type_name in _TYPES:
        try:
            return _TYPES[type_name](text)
        except (ValueError, KeyError):
            # What was found may be a salary, and the report is for whoever runs crawls.
            raise ValueError(f"expected {type_name}, found something else") from None
    return text


_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
_TYPES: Mapping[str, Callable[[str], Scalar]] = {
    "integer": int,
    "decimal": float,
    "boolean": lambda text: _BOOLEANS[text.casefold()],
}
