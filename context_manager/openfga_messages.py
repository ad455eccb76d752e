"""The requests of OpenFGA's API: what each field may hold, by its published protobuf files
(github.com/openfga/api)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from context_manager.openfga_fields import (
    Choice,
    Flag,
    Kind,
    Many,
    Message,
    One,
    PageSize,
    Struct,
    Text,
    invalid,
    parse,
)

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
_TYPE_DEFINITIONS = Many(Message("TypeDefinition", {"type": Text(_TYPE)}), least=1)
_WRITE_MODEL = Message(
    "WriteAuthorizationModelRequest", {"type_definitions": _TYPE_DEFINITIONS, "schema_version": Text()}
)
_MOST_CONDITIONS, _MOST_EXPRESSION = 25, 512
_MOST_PAIRS = f"value must contain no more than {_MOST_CONDITIONS} pair(s)"
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


def check_model(document: Mapping[str, Any]) -> None:
    """What OpenFGA asks of a model before it reads it as one. OpenFgaError."""
    values = parse(_WRITE_MODEL, document)
    if values["schema_version"] not in _SCHEMA_VERSIONS:
        raise invalid(
            _WRITE_MODEL.name, "schema_version", f"value must be in list [{' '.join(_SCHEMA_VERSIONS)}]"
        )
    conditions = document.get("conditions")
    # What has another form is told of where the model is read.
    if isinstance(conditions, dict):
        _check_conditions(conditions)


def _check_conditions(conditions: Mapping[str, Any]) -> None:
    if len(conditions) > _MOST_CONDITIONS:
        raise invalid(_WRITE_MODEL.name, "conditions", _MOST_PAIRS)
    for name, condition in sorted(conditions.items()):
        if not re.fullmatch(_NAME, name):
            raise invalid(
                _WRITE_MODEL.name, f"conditions[{name}]", f'value does not match regex pattern "{_NAME}"'
            )
        if not isinstance(condition, dict):
            continue
        expression, parameters = condition.get("expression"), condition.get("parameters")
        if isinstance(expression, str) and len(expression.encode()) > _MOST_EXPRESSION:
            raise invalid("Condition", "expression", f"value length must be at most {_MOST_EXPRESSION} bytes")
        if isinstance(parameters, dict) and len(parameters) > _MOST_CONDITIONS:
            raise invalid("Condition", "parameters", _MOST_PAIRS)
