"""The data that an API takes and gives, from OpenAPI 3 and Swagger 2 descriptions: schemas as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from discovery.connector import Problem
from discovery.fields import as_mapping, list_at, mapping_at, mappings_at, text_at
from discovery.file_source import File, file_connector
from discovery.files import UnreadableError
from graph.claims import Claim, entity_id

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_DEEP = 20


def _interpret(file: File) -> Iterator[Claim | Problem]:
    if not {"openapi", "swagger"} & file.document.keys():
        raise UnreadableError("expected `openapi` or `swagger` at the top, found neither")
    info = mapping_at(file.document, "info")
    api = entity_id("dataset", f"{file.source}/{file.key_stem}")
    yield from file.entity(
        api,
        "Dataset",
        name=text_at(info, "title") or file.stem,
        path=file.name,
        description=_described(file.document, info),
        version=text_at(info, "version"),
    )
    schemas = mapping_at(mapping_at(file.document, "components"), "schemas") or mapping_at(
        file.document, "definitions"
    )
    composed = _Composed(schemas, {})
    for name, schema in schemas.items():
        yield from _schema(file, api, str(name), as_mapping(schema, f"schema {name}"), composed)


connect = file_connector(_interpret)


def _described(document: Mapping[str, Any], info: Mapping[str, Any]) -> str | None:
    """What the description says, and each operation in a line."""
    lines = [text_at(info, "description")]
    for path, item in mapping_at(document, "paths").items():
        for method, operation in as_mapping(item, f"path {path}").items():
            if method in _METHODS:
                said = as_mapping(operation, f"{method} {path}")
                summary = text_at(said, "summary") or text_at(said, "operationId")
                lines.append(f"{method.upper()} {path}" + (f": {summary}" if summary else ""))
    return "\n".join(line for line in lines if line)[:50_000] or None


def _schema(
    file: File, api: str, name: str, schema: Mapping[str, Any], composed: _Composed
) -> Iterator[Claim]:
    key, place = f"{file.source}/{file.key_stem}/{name}", f"schema {name}"
    table = entity_id("table", key)
    described = {"description": text_at(schema, "description"), "dataType": _type(schema)}
    yield from file.entity(table, "Table", place, name=name, **described)
    yield file.relationship(api, "HAS_TABLE", table, place)
    properties, required = composed.properties(schema, 0)
    for position, (property_, value) in enumerate(properties.items(), start=1):
        column, place = entity_id("column", f"{key}/{property_}"), f"schema {name} property {property_}"
        yield from file.entity(
            column,
            "Column",
            place,
            name=property_,
            dataType=_type(value),
            nullable=property_ not in required,
            position=position,
            description=text_at(value, "description"),
        )
        yield file.relationship(table, "HAS_COLUMN", column, place)


_Properties = tuple[Mapping[str, Mapping[str, Any]], Set[str]]
"""Properties by name, and which of them are required."""


@dataclass(frozen=True)
class _Composed:
    """What schemas are composed of: each is put together once, however many refer to it."""

    schemas: Mapping[str, Any]
    known: dict[str, _Properties]

    def properties(self, schema: Mapping[str, Any], depth: int) -> _Properties:
        """Those of a schema and of all that it is composed of."""
        if depth > _DEEP:
            raise UnreadableError(f"expected schemas composed at most {_DEEP} deep, found one within itself")
        found: dict[str, Mapping[str, Any]] = {}
        required: set[str] = set()
        for part in mappings_at(schema, "allOf"):
            reference = (text_at(part, "$ref") or "").rpartition("/")[2]
            inner, needed = self._named(reference, depth) if reference else self.properties(part, depth + 1)
            found |= inner
            required |= needed
        for name, value in mapping_at(schema, "properties").items():
            found[str(name)] = as_mapping(value, f"property {name}") if not isinstance(value, bool) else {}
        return found, required | {str(name) for name in list_at(schema, "required")}

    def _named(self, name: str, depth: int) -> _Properties:
        if name not in self.known:
            self.known[name] = self.properties(as_mapping(self.schemas.get(name), name), depth + 1)
        return self.known[name]


def _type(schema: Mapping[str, Any]) -> str | None:
    """As a person writes it: `string (date)`, `array of Pet`."""
    if reference := text_at(schema, "$ref"):
        return reference.rpartition("/")[2]
    items = schema.get("items")
    kinds = [str(kind) for kind in list_at(schema, "type") if kind != "null"]
    if kinds == ["array"] and isinstance(items, Mapping):
        return f"array of {_type(items) or 'anything'}"
    kind, format_ = " or ".join(kinds), text_at(schema, "format")
    return (f"{kind} ({format_})" if format_ else kind) or None
