"""How the fields of a request are read, by the rules that OpenFGA's protobuf files can state.

As there, a field that is absent or null has its type's empty value, and fields that nobody knows are passed
over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import orjson

from context_manager.openfga_errors import OpenFgaError

Values = Mapping[str, Any]
"""The fields of a message by name; all that its type declares."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string. With `optional` the pattern holds only where it is not empty. `most` is in bytes."""

    pattern: str = ""
    optional: bool = False
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class PageSize:
    """A number of items, or None; `most` is None where any number may be asked for."""

    most: int | None = 100


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A JSON object of any content, or None."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the names (or its number); an unknown name is the first, as OpenFGA has it."""

    names: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class One:
    """A message, or None where it is not required."""

    of: Message
    required: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """A list of messages."""

    of: Message
    least: int = 0
    most: int | None = None
    exactly: int | None = None


Kind: TypeAlias = "Text | PageSize | Flag | Struct | Choice | One | Many"


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A type of messages: its name in OpenFGA's protobuf files, and its fields."""

    name: str
    fields: Mapping[str, Kind]


#: A model's rewrites nest by a few levels of JSON each; nothing readable is deeper.
_MAX_DEPTH = 200


def document_of(body: bytes) -> Any:
    """The JSON of a body; an empty one is an empty object. OpenFgaError for what is no JSON object."""
    try:
        document = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise OpenFgaError("validation_error", f"malformed JSON: {error}") from error
    if not isinstance(document, dict):
        raise _wrong_kind("an object", "the body", document)
    openings = body.count(b"{") + body.count(b"[")
    if openings > _MAX_DEPTH and _deeper_than(_MAX_DEPTH, document):
        raise OpenFgaError("validation_error", f"the JSON is nested deeper than {_MAX_DEPTH} levels")
    return document


def _deeper_than(levels: int, value: Any) -> bool:
    match value:
        case dict():
            return levels == 0 or any(_deeper_than(levels - 1, item) for item in value.values())
        case list():
            return levels == 0 or any(_deeper_than(levels - 1, item) for item in value)
    return False


def parse(message: Message, document: Any, where: str = "the body") -> Values:
    """The fields of the message. OpenFgaError names the first that is not as it must be."""
    if not isinstance(document, dict):
        raise _wrong_kind("an object", where, document)
    values = {}
    for name, read, absent in _readers(message):
        value = document.get(name)
        values[name] = read(value) if value is not None or absent is _READ else absent
    return values


def invalid(message: str, name: str, reason: str) -> OpenFgaError:
    """For a field of a message that is not as it must be."""
    field = "".join(part.capitalize() for part in name.split("_"))
    return OpenFgaError(_code(field, reason), f"invalid {message}.{field}: {reason}")


_Read = Callable[[Any], Any]
"""The value of a field's JSON; None is absent. Raises OpenFgaError."""
#: Of a field that has to be read also where it is absent.
_READ = object()


@cache
def _readers(message: Message) -> Sequence[tuple[str, _Read, Any]]:
    """Each field's name, its reader, and what it is where it is absent, or `_READ`."""
    readers: list[tuple[str, _Read, Any]] = []
    for name, kind in message.fields.items():
        read = _reader(kind, name, partial(invalid, message.name, name))
        try:
            absent = _READ if isinstance(kind, Many) else read(None)
        except OpenFgaError:
            absent = _READ
        readers.append((name, read, absent))
    return readers


_Invalid = Callable[[str], OpenFgaError]
"""The error of a field, for a reason."""


def _reader(kind: Kind, name: str, invalid: _Invalid) -> _Read:  # noqa: PLR0911  one for each kind
    match kind:
        case Text():
            return _text_reader(kind, name, invalid)
        case PageSize():
            return partial(_page_size, kind, name, invalid)
        case Flag():
            return lambda value: _of(bool, "bool", name, False if value is None else value)
        case Struct():
            return lambda value: None if value is None else _of(dict, "an object", name, value)
        case Choice():
            return partial(_choice, kind, name, invalid)
        case One():
            return partial(_one, kind, name, invalid)
        case Many():
            return partial(_many, kind, name, invalid)


def _text_reader(kind: Text, name: str, invalid: _Invalid) -> _Read:
    most, optional = kind.most, kind.optional
    fits = _compiled(kind.pattern).search

    def read(value: Any) -> str:
        text: str = _of(str, "string", name, "" if value is None else value)
        size = len(text) if text.isascii() else len(text.encode())
        if size < kind.least or (most is not None and size > most):
            between = f"between {kind.least} and" if kind.least else "at most"
            inclusive = ", inclusive" if kind.least else ""
            raise invalid(f"value length must be {between} {most} bytes{inclusive}")
        if not (optional and not text) and fits(text) is None:
            quoted = kind.pattern.replace("\\", "\\\\")
            raise invalid(f'value does not match regex pattern "{quoted}"')
        return text

    return read


def _page_size(kind: PageSize, name: str, invalid: _Invalid, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
        value = int(value)
    size: int = _of(int, "int32", name, value)
    if kind.most is not None and not 1 <= size <= kind.most:
        raise invalid(f"value must be inside range [1, {kind.most}]")
    if size < 1:
        raise invalid("value must be greater than or equal to 1")
    return size


def _choice(kind: Choice, name: str, invalid: _Invalid, value: Any) -> str:
    first = next(iter(kind.names))
    if isinstance(value, int) and not isinstance(value, bool):
        named = {number: name for name, number in kind.names.items()}
        if value not in named:
            raise invalid("value must be one of the defined enum values")
        return named[value]
    text: str = _of(str, "enum", name, first if value is None else value)
    return text if text in kind.names else first


def _one(kind: One, name: str, invalid: _Invalid, value: Any) -> Values | None:
    if value is None:
        if kind.required:
            raise invalid("value is required")
        return None
    return parse(kind.of, value, name)


def _many(kind: Many, name: str, invalid: _Invalid, value: Any) -> list[Values]:
    items = _of(list, "a list", name, [] if value is None else value)
    if kind.exactly is not None and len(items) != kind.exactly:
        raise invalid(f"value must contain exactly {kind.exactly} item(s)")
    if len(items) < kind.least:
        raise invalid(f"value must contain at least {kind.least} item(s)")
    if kind.most is not None and len(items) > kind.most:
        raise invalid(f"value must contain no more than {kind.most} item(s)")
    return [parse(kind.of, item, name) for item in items]


def _of(type_: type, expected: str, name: str, value: Any) -> Any:
    if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
        raise _wrong_kind(expected, name, value)
    return value


#: Codes of their own, by field and beginning of the reason.
_CODES = (
    ("Assertions", "value must contain no more than", "assertions_too_many_items"),
    ("AuthorizationModelId", "value length must be at most", "authorization_model_id_too_long"),
    ("Id", "value length must be at most", "id_too_long"),
    ("Object", "value length must be at most", "object_too_long"),
    ("PageSize", "value must be inside range", "page_size_invalid"),
    ("Relation", "value length must be at most", "relation_too_long"),
    ("TupleKey", "value is required", "tuple_key_value_not_specified"),
    ("TypeDefinitions", "value must contain at least", "type_definitions_too_few_items"),
    ("Type", "value length must be at", "type_invalid_length"),
    ("Type", "value does not match regex pattern", "type_invalid_pattern"),
)


def _code(field: str, reason: str) -> str:
    for name, begins, code in _CODES:
        if field == name and reason.startswith(begins):
            return code
    return "validation_error"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """As Go has it: `$` is the very end, and the classes are ASCII's."""
    return re.compile(pattern.replace("$", r"\Z"), re.ASCII)


def _wrong_kind(expected: str, name: str, value: Any) -> OpenFgaError:
    shown = json.dumps(value, default=str)[:100]
    return OpenFgaError("validation_error", f"invalid value for {expected} field {name}: {shown}")
