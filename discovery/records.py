"""Records of YAML, JSON and CSV files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.connector import Problem
from discovery.files import UnreadableError, read_text
from discovery.templates import field_at
from discovery.yaml_text import load_yaml


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its fields, `_key` (the key or number that it stands under) and its place."""

    fields: Mapping[str, Any]
    place: str


def read_document(path: Path, name: str) -> Any:
    """The content of a file: by its suffix YAML, JSON, or CSV with a header line. Raises UnreadableError.

    A CSV file is a list of mappings; `_line` is the line that a row ends on.
    """
    text, suffix = read_text(path), path.suffix.lower()
    if not text.strip():  # an export that broke off must not be taken for one without records
        raise UnreadableError("expected records, found an empty file; export it again")
    if suffix in (".yml", ".yaml"):
        return load_yaml(text)
    if suffix == ".json":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise UnreadableError(f"expected JSON: {error.msg} in line {error.lineno}; correct it") from error
        except (RecursionError, ValueError) as error:
            raise UnreadableError(f"expected JSON within bounds: {error}; flatten it") from error
    if suffix == ".csv":
        return list(_csv(text))
    raise UnreadableError(f"expected a name that ends in .yaml, .yml, .json or .csv, found {name!r}")


def _csv(text: str) -> Iterator[Mapping[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="_more")
    try:
        for row in reader:
            yield {**row, "_line": reader.line_num}
    except csv.Error as error:
        raise UnreadableError(f"expected CSV: {error} in line {reader.line_num}; correct it") from error


def rows_at(document: Any, each: str, name: str) -> Iterator[Row | Problem]:
    """The records under a dotted path: the items of a list, the values of a mapping; for `.` the
    document itself. A Problem for each that is no record. Raises UnreadableError."""
    if each == ".":
        found: Any = [document]
    else:
        found = field_at(document, each) if each else document
    if isinstance(found, Mapping):
        items = list(found.items())
    elif isinstance(found, list):
        items = list(enumerate(found, start=1))
    elif found is None:
        items = []
    else:
        raise UnreadableError(f"expected records under {each or 'the top'!r}, found {type(found).__name__}")
    for key, item in items:
        if isinstance(item, Mapping) and "_line" in item:
            place = f"{name}:{item['_line']}"
            if "_more" in item or None in item.values():
                yield Problem(place, "expected as many cells as the header has; correct the row")
                continue
        else:
            place = f"{name} record {key}"
        if item is None or isinstance(item, list):
            what = "nothing" if item is None else "a list"
            yield Problem(place, f"expected fields or a value, found {what}; correct the record")
        else:
            fields = item if isinstance(item, Mapping) else {"_item": item}
            yield Row({**fields, "_key": str(key)}, place)
