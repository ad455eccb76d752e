"""The schema of a data file: Parquet by its footer, CSV and JSON by their beginning. No value is kept."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

from discovery.classification import in_text
from discovery.files import UnreadableError, decoded

#: Bytes of a file that are looked at, and rows of it.
HEAD = 1 << 20
ROWS = 200
_MAX_COLUMNS = 10_000
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".parquet", *_DELIMITERS, ".json", *_LINES)
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.?\d+)([eE][+-]?\d+)?")
_KINDS = {bool: "boolean", int: "integer", float: "decimal", str: "string", dict: "object", list: "list"}


@dataclass(frozen=True, slots=True)
class FileColumn:
    name: str
    data_type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of a file, and what is known of its columns. Values are looked at, not kept."""

    columns: Sequence[FileColumn]
    rows: Sequence[Mapping[str, Any]] = ()


def has_schema(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def unsampled(error: BaseException) -> str:
    """Of a table: not what the database says, which may repeat a value."""
    return (
        f"its values cannot be looked at ({type(error).__name__}); grant SELECT and see that it can be read, "
        "or let it classify by names alone"
    )


def sample(file: BinaryIO, name: str, rows: int = ROWS) -> Sample | None:
    """None for JSON that holds no records. Raises UnreadableError, which says what was expected."""
    suffix = PurePosixPath(name).suffix.lower()
    try:
        if suffix == ".parquet":
            return _parquet(file, rows)
        head = file.read(HEAD + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error}; check the file and its permissions") from error
    whole = len(head) <= HEAD
    text = _text(head[:HEAD], whole)
    if suffix in _DELIMITERS:
        return _csv(text, whole, _DELIMITERS[suffix], rows)
    records = list(_records(text, whole, rows, by_line=suffix in _LINES))
    return _checked(Sample(_columns_of(records), records)) if records else None


def _checked(found: Sample) -> Sample:
    names = [column.name for column in found.columns]
    if len(names) > _MAX_COLUMNS:
        raise UnreadableError(f"expected at most {_MAX_COLUMNS} columns, found {len(names)}; split the file")
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        # By their numbers: what stands in the place of a name may be a value.
        if not name.strip() or in_text(name):
            raise UnreadableError(
                f"expected a header with the names of the columns, found none of column {number}; add it"
            )
        if (other := first.setdefault(name, number)) != number:
            raise UnreadableError(
                f"expected a name of its own for each column, found one of columns {other} and {number}; "
                "correct it"
            )
    return found


def _parquet(file: BinaryIO, rows: int) -> Sample:
    try:
        opened = parquet.ParquetFile(
            file, thrift_string_size_limit=HEAD * 16, thrift_container_size_limit=HEAD
        )
        columns = [FileColumn(one.name, str(one.type), one.nullable) for one in opened.schema_arrow]
        return _checked(Sample(columns))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UnreadableError(f"expected Parquet: {str(error)[:300]}; write the file anew") from error


def _text(head: bytes, whole: bool) -> str:
    if whole:
        text = decoded(head)
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
        except UnicodeDecodeError as error:
            raise UnreadableError(
                f"expected UTF-8: {error.reason} at {error.start}; save it as UTF-8"
            ) from error
    if "\0" in text:
        raise UnreadableError("expected text, found a zero byte; export it again")
    if not text.strip():
        raise UnreadableError("expected records, found none; export it again")
    return text


def _csv(text: str, whole: bool, delimiters: str, rows: int) -> Sample:
    first = text.partition("\n")[0]
    delimiter = max(delimiters, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=whole)
    found: list[list[str]] = []
    try:
        header = next(reader)
        for row in reader:
            if row:
                found.append(row)
            if len(found) > rows:
                break
    except (csv.Error, StopIteration) as error:
        raise UnreadableError(f"expected CSV with a header: {error}; correct it") from error
    if not whole and len(found) <= rows:
        found = found[:-1]  # the last one is cut off
    if len(header) > _MAX_COLUMNS:
        raise UnreadableError(f"expected at most {_MAX_COLUMNS} columns, found {len(header)}; split the file")
    if all(_kind_of_text(cell) != "string" for cell in header):
        raise UnreadableError("expected a header with the names of the columns in the first line; add one")
    cells = [dict(zip(header, row, strict=False)) for row in found[:rows]]
    columns = [_text_column(name.strip(), [row.get(name, "") for row in cells]) for name in header]
    return _checked(Sample(columns, cells))


def _text_column(name: str, values: Sequence[str]) -> FileColumn:
    kinds = {_kind_of_text(value) for value in values if value.strip()}
    return FileColumn(name, _common(kinds), any(not value.strip() for value in values))


def _kind_of_text(text: str) -> str:
    text = text.strip()
    if text.lower() in ("true", "false"):
        return "boolean"
    if _INTEGER.fullmatch(text):
        return "integer"
    if len(text) <= 40 and _DECIMAL.fullmatch(text):
        return "decimal"
    for kind, parse in (("date", date.fromisoformat), ("dateTime", datetime.fromisoformat)):
        try:
            if len(text) >= 10:
                parse(text)
                return kind
        except ValueError:
            continue
    return "string"


def _common(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds == {"integer", "decimal"}:
        return "decimal"
    return "dateTime" if kinds == {"date", "dateTime"} else "string"


def _records(text: str, whole: bool, rows: int, *, by_line: bool) -> Iterator[Mapping[str, Any]]:
    """Objects of JSON lines, or of a list at the top; of a file that goes on, those before its end."""
    if whole and not by_line:
        document = _decoded(text)
        listed = document if isinstance(document, list) else ()
        yield from (one for one in listed[:rows] if isinstance(one, dict))
        return
    if by_line:
        lines = [line for line in text.split("\n")[: None if whole else -1] if line.strip()]
        yield from (one for line in lines[:rows] if isinstance(one := _decoded(line), dict))
        return
    decoder, at = json.JSONDecoder(), 1
    text = text.lstrip()
    for _ in range(rows if text[0] == "[" else 0):
        while text[at : at + 1] in (" ", "\t", "\r", "\n", ","):
            at += 1
        try:
            record, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return  # cut off
        if isinstance(record, dict):
            yield record


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UnreadableError("the JSON is nested too deeply; flatten it") from error
    except ValueError as error:
        raise UnreadableError(f"expected JSON: {error}; correct it") from error


def _columns_of(records: Sequence[Mapping[str, Any]]) -> Sequence[FileColumn]:
    names = dict.fromkeys(name for record in records for name in record)
    columns = []
    for name in names:
        values = [record.get(name) for record in records]
        kinds = {_KINDS[type(value)] for value in values if value is not None}
        columns.append(FileColumn(name, _common(kinds), None in values))
    return columns
