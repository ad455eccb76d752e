"""Records of YAML, TOML, JSON, XML and CSV files."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from discovery.connector import Problem
from discovery.files import UnreadableError, decoded
from discovery.templates import field_at, items_at
from discovery.xml_text import load_xml
from discovery.yaml_text import load_yaml

#: Of a JSON document or a CSV file, where a short row has all that the header has: values take much more
#: memory than their text.
MAX_VALUES = 10_000_000
MAX_ROWS = 1_000_000
#: Parts of a dotted key: reading TOML takes the square of them.
MAX_PARTS = 1_000

SUFFIXES = (".yaml", ".yml", ".toml", ".json", ".xml", ".csv")


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its fields, `_key` (the key or number that it stands under), `_parent` (of
    what it lies in), `_file`, `_stem` and `_path` (the file's name, without folder and suffix, in parts),
    and its place."""

    fields: Mapping[str, Any]
    place: str


def read_document(data: bytes, name: str) -> Any:
    """The content of a file: by its suffix YAML, TOML, JSON, XML, or CSV with a header line.

    A CSV file is a list of mappings; `_line` is the line that a row ends on. Raises UnreadableError.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if not data.strip():  # an export that broke off must not be taken for one without records
        raise UnreadableError("expected records, found an empty file; export it again")
    if suffix == ".xml":
        return load_xml(data).fields()
    text = decoded(data)
    if suffix in (".yml", ".yaml"):
        return load_yaml(text)
    if suffix == ".csv":
        return list(_csv(text))
    try:
        if suffix == ".toml":
            _check_keys(text)
            return tomllib.loads(text)
        if suffix == ".json":
            if sum(map(text.count, ",[{")) > MAX_VALUES:
                raise UnreadableError(f"expected at most {MAX_VALUES} values, found more; split the file")
            return json.loads(text)
    except RecursionError as error:
        raise UnreadableError(f"the {suffix[1:].upper()} is nested too deeply; flatten it") from error
    except ValueError as error:
        raise UnreadableError(f"expected {suffix[1:].upper()}: {error}; correct it") from error
    raise UnreadableError(f"expected a name that ends in one of {', '.join(SUFFIXES)}, found {name!r}")


def _check_keys(text: str) -> None:
    for line in text.splitlines():
        if max(part.count(".") for part in line.split("=")) > MAX_PARTS:
            raise UnreadableError(
                f"expected keys of at most {MAX_PARTS} parts, found more; shorten {line[:40]!r}"
            )


def _csv(text: str) -> Iterator[Mapping[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="_more")
    try:
        values = 0
        for number, row in enumerate(reader):
            values += len(row)
            if number == MAX_ROWS or values > MAX_VALUES:
                raise UnreadableError(
                    f"expected at most {MAX_ROWS} rows with {MAX_VALUES} values, found more; split the file"
                )
            yield {**row, "_line": reader.line_num}
    except csv.Error as error:
        raise UnreadableError(f"expected CSV: {error} in line {reader.line_num}; correct it") from error


def rows_at(document: Any, each: str, name: str) -> Iterator[Row | Problem]:
    """The records under a dotted path: the items of a list, the values of a mapping; for `.` the
    document itself. A Problem for each that is no record. Raises UnreadableError."""
    items = [("1", None, document)] if each == "." else items_at(document, each)
    if items is None:
        what = type(field_at(document, each) if each else document).__name__
        raise UnreadableError(f"expected records under {each or 'the top'!r}, found {what}")
    path = PurePosixPath(name)
    file = {"_file": name, "_stem": path.stem, "_path": list(path.parts)}
    for key, parent, item in items:
        if isinstance(item, Mapping) and "_line" in item:
            place = f"{name}:{item['_line']}"
            if "_more" in item or None in item.values():
                yield Problem(place, "expected as many cells as the header has; correct the row")
                continue
        else:
            place = name if each == "." else f"{name} record {key}"
        if item is None or isinstance(item, list):
            what = "nothing" if item is None else "a list"
            yield Problem(place, f"expected fields or a value, found {what}; correct the record")
        else:
            fields = item if isinstance(item, Mapping) else {"_item": item}
            yield Row({**fields, **file, "_key": key, "_parent": parent}, place)
