"""The requests of OpenFGA's API: what each field may hold, checked as OpenFGA checks it.

The rules are those of its published protobuf files (github.com/openfga/api). As there, a field
that is absent or null has its type's empty value, and fields that nobody knows are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True, slots=True)
class Message:
    """A type of messages: its name in OpenFGA's protobuf files, and its fields."""

    name: str
    fields: Mapping[str, Kind]


#: A model's rewrites nest by a few levels of JSON each; nothing readable is deeper.
_MAX_DEPTH = 200
_ID = r"^[ABCDEFGHJKMNPQRSTVWXYZ0-9]{26}$"
_NAME = r"^[^:#@\s]{1,50}$"
_TYPE = r"^[^:#@\s]{1,254}$"
_OBJECT = r"^[^\s]{2,256}$"
_USER = r"^[^\s]{2,512}$"
_STORE_NAME = r"^[a-zA-Z0-9\s\.\-\/^_&@]{3,64}$"
_TOKEN = Text(r"^$|^[A-Za-z0-9-_]+={0,2}$", most=5120)
_MODEL_ID = Text(_ID, optional=True)
_CONSISTENCY = Choice({"UNSPECIFIED": 0, "MINIMIZE_LATENCY": 100, "HIGHER_CONSISTENCY": 200})

_CONDITION = Message("RelationshipCondition", {"name": Text(r"^[^\s]{2,256}$"), "context": Struct()})
_TUPLE_KEY = Message(
    "TupleKey",
    {
        "user": Text(most=512),
        "relation": Text(_NAME, optional=True),
        "object": Text(_OBJECT, optional=True),
        "condition": One(_CONDITION),
    },
)
_PLAIN_KEY = Message(
    "TupleKeyWithoutCondition",
    {
        "user": Text(most=512),
        "relation": Text(_NAME, optional=True),
        "object": Text(_OBJECT, optional=True),
    },
)
_CONTEXTUAL = One(Message("ContextualTupleKeys", {"tuple_keys": Many(_TUPLE_KEY, most=100)}))
_ASKED_KEY: Mapping[str, Kind] = {"user": Text(_USER), "relation": Text(_NAME), "object": Text(_OBJECT)}
_CHECK_KEY = One(Message("CheckRequestTupleKey", _ASKED_KEY), required=True)

STORE_ID = Message("GetStoreRequest", {"store_id": Text(_ID)})
MODEL_ID = Message("ReadAuthorizationModelRequest", {"id": Text(_ID)})
CREATE_STORE = Message("CreateStoreRequest", {"name": Text(_STORE_NAME)})
LIST_STORES = Message(
    "ListStoresRequest",
    {
        "page_size": PageSize(),
        "continuation_token": _TOKEN,
        "name": Text(_STORE_NAME, optional=True),
    },
)
READ_MODELS = Message(
    "ReadAuthorizationModelsRequest", {"page_size": PageSize(), "continuation_token": _TOKEN}
)
WRITE = Message(
    "WriteRequest",
    {
        "writes": One(
            Message("WriteRequestWrites", {"tuple_keys": Many(_TUPLE_KEY, least=1), "on_duplicate": Text()})
        ),
        "deletes": One(
            Message("WriteRequestDeletes", {"tuple_keys": Many(_PLAIN_KEY, least=1), "on_missing": Text()})
        ),
        "authorization_model_id": _MODEL_ID,
    },
)
READ = Message(
    "ReadRequest",
    {
        "tuple_key": One(
            Message(
                "ReadRequestTupleKey",
                {
                    "user": Text(r"^[^\s]{1,511}:[^\s]{1,511}$", optional=True, most=512),
                    "relation": Text(_NAME, optional=True),
                    "object": Text(_OBJECT, optional=True),
                },
            )
        ),
        "page_size": PageSize(),
        "continuation_token": _TOKEN,
        "consistency": _CONSISTENCY,
    },
)
READ_CHANGES = Message(
    "ReadChangesRequest",
    {
        "type": Text(r"^[^:#\s]{1,254}$", optional=True),
        "page_size": PageSize(most=None),
        "continuation_token": _TOKEN,
        "start_time": Text(),
    },
)
CHECK = Message(
    "CheckRequest",
    {
        "tuple_key": _CHECK_KEY,
        "contextual_tuples": _CONTEXTUAL,
        "authorization_model_id": _MODEL_ID,
        "context": Struct(),
        "consistency": _CONSISTENCY,
    },
)
BATCH_CHECK = Message(
    "BatchCheckRequest",
    {
        "checks": Many(
            Message(
                "BatchCheckItem",
                {
                    "tuple_key": _CHECK_KEY,
                    "contextual_tuples": _CONTEXTUAL,
                    "context": Struct(),
                    "correlation_id": Text(r"^[\w\d-]{1,36}$"),
                },
            ),
            least=1,
        ),
        "authorization_model_id": _MODEL_ID,
        "consistency": _CONSISTENCY,
    },
)
EXPAND = Message(
    "ExpandRequest",
    {
        "tuple_key": One(
            Message(
                "ExpandRequestTupleKey",
                {"relation": Text(_NAME, optional=True), "object": Text(_OBJECT, optional=True)},
            ),
            required=True,
        ),
        "authorization_model_id": _MODEL_ID,
        "consistency": _CONSISTENCY,
        "contextual_tuples": _CONTEXTUAL,
    },
)
_LIST_OBJECTS: Mapping[str, Kind] = {
    "authorization_model_id": _MODEL_ID,
    "type": Text(_TYPE),
    "relation": Text(_NAME),
    "user": Text(least=1, most=512),
    "contextual_tuples": _CONTEXTUAL,
    "context": Struct(),
    "consistency": _CONSISTENCY,
}
#: Pages are ours: OpenFGA cuts a list off, or streams it.
LIST_OBJECTS = Message(
    "ListObjectsRequest",
    {**_LIST_OBJECTS, "page_size": PageSize(most=None), "continuation_token": _TOKEN},
)
STREAMED_LIST_OBJECTS = Message("StreamedListObjectsRequest", _LIST_OBJECTS)
LIST_USERS = Message(
    "ListUsersRequest",
    {
        "authorization_model_id": _MODEL_ID,
        "object": One(Message("Object", {"type": Text(_TYPE), "id": Text(r"[^#:\s]+$")}), required=True),
        "relation": Text(_NAME),
        "user_filters": Many(
            Message("UserTypeFilter", {"type": Text(_TYPE), "relation": Text(_NAME, optional=True)}),
            exactly=1,
        ),
        "contextual_tuples": Many(_TUPLE_KEY, most=100),
        "context": Struct(),
        "consistency": _CONSISTENCY,
    },
)
_TYPE_DEFINITION = Message("TypeDefinition", {"type": Text(_TYPE)})
_SCHEMA_VERSIONS = ("1.0", "1.1", "1.2")
WRITE_ASSERTIONS = Message(
    "WriteAssertionsRequest",
    {
        "assertions": Many(
            Message(
                "Assertion",
                {
                    "tuple_key": One(Message("AssertionTupleKey", _ASKED_KEY), required=True),
                    "expectation": Flag(),
                    "contextual_tuples": Many(_TUPLE_KEY, most=20),
                    "context": Struct(),
                },
            ),
            most=100,
        )
    },
)


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
    return {
        name: _field(message.name, name).parse(kind, document.get(name))
        for name, kind in message.fields.items()
    }


def check_model(document: Mapping[str, Any]) -> None:
    """What OpenFGA asks of a model before it reads it as one. OpenFgaError."""
    types = _Field("WriteAuthorizationModelRequest", "type_definitions")
    types.parse(Many(_TYPE_DEFINITION, least=1), document.get("type_definitions"))
    version = _Field("WriteAuthorizationModelRequest", "schema_version")
    if version.parse(Text(), document.get("schema_version")) not in _SCHEMA_VERSIONS:
        raise version.invalid(f"value must be in list [{' '.join(_SCHEMA_VERSIONS)}]")


@dataclass(frozen=True, slots=True)
class _Field:
    message: str
    name: str

    def parse(self, kind: Kind, value: Any) -> Any:  # noqa: PLR0911  one for each kind
        match kind:
            case Text():
                return self._text(kind, value)
            case PageSize():
                return self._page_size(kind, value)
            case Flag():
                return self._of(bool, "bool", False if value is None else value)
            case Struct():
                return None if value is None else self._of(dict, "an object", value)
            case Choice():
                return self._choice(kind, value)
            case One():
                if value is None and kind.required:
                    raise self.invalid("value is required")
                return None if value is None else parse(kind.of, value, self.name)
            case Many():
                return self._many(kind, value)

    def _text(self, kind: Text, value: Any) -> str:
        text: str = self._of(str, "string", "" if value is None else value)
        size = len(text.encode())
        if kind.least and not kind.least <= size <= (kind.most or size):
            raise self.invalid(f"value length must be between {kind.least} and {kind.most} bytes, inclusive")
        if kind.most is not None and size > kind.most:
            raise self.invalid(f"value length must be at most {kind.most} bytes")
        if kind.pattern and not (kind.optional and not text) and not _matches(kind.pattern, text):
            quoted = kind.pattern.replace("\\", "\\\\")
            raise self.invalid(f'value does not match regex pattern "{quoted}"')
        return text

    def _page_size(self, kind: PageSize, value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            value = int(value)
        size: int = self._of(int, "int32", value)
        if kind.most is not None and not 1 <= size <= kind.most:
            raise self.invalid(f"value must be inside range [1, {kind.most}]")
        if size < 1:
            raise self.invalid("value must be greater than or equal to 1")
        return size

    def _choice(self, kind: Choice, value: Any) -> str:
        first = next(iter(kind.names))
        if isinstance(value, int) and not isinstance(value, bool):
            named = {number: name for name, number in kind.names.items()}
            if value not in named:
                raise self.invalid("value must be one of the defined enum values")
            return named[value]
        text: str = self._of(str, "enum", first if value is None else value)
        return text if text in kind.names else first

    def _many(self, kind: Many, value: Any) -> list[Values]:
        items = self._of(list, "a list", [] if value is None else value)
        if kind.exactly is not None and len(items) != kind.exactly:
            raise self.invalid(f"value must contain exactly {kind.exactly} item(s)")
        if len(items) < kind.least:
            raise self.invalid(f"value must contain at least {kind.least} item(s)")
        if kind.most is not None and len(items) > kind.most:
            raise self.invalid(f"value must contain no more than {kind.most} item(s)")
        return [parse(kind.of, item, self.name) for item in items]

    def _of(self, type_: type, expected: str, value: Any) -> Any:
        if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
            raise _wrong_kind(expected, self.name, value)
        return value

    def invalid(self, reason: str) -> OpenFgaError:
        field = "".join(part.capitalize() for part in self.name.split("_"))
        return OpenFgaError(_code(field, reason), f"invalid {self.message}.{field}: {reason}")


_field = cache(_Field)

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


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """As Go has it: `$` is the very end, and the classes are ASCII's."""
    return re.compile(pattern.replace("$", r"\Z"), re.ASCII)


def _wrong_kind(expected: str, name: str, value: Any) -> OpenFgaError:
    shown = json.dumps(value, default=str)[:100]
    return OpenFgaError("validation_error", f"invalid value for {expected} field {name}: {shown}")
