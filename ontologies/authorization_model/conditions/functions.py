"""What expressions call beside CEL's own functions, and those of them that cel-go has otherwise than the
runtime here: each overload is put in the place of CEL's of the same name without the `@`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from cel_expr_python import cel
from google.protobuf.timestamp_pb2 import Timestamp

from ontologies.authorization_model.conditions.addresses import address, in_cidr
from ontologies.authorization_model.conditions.trees import CheckedTree, parts_of
from ontologies.authorization_model.conditions.values import duration, timestamp

_INTEGER, _UNSIGNED = (re.compile(sign + "[0-9]+", re.ASCII) for sign in ("[-+]?", ""))
_INT64, _UINT64 = (-(2**63), 2**63 - 1), (0, 2**64 - 1)
_TRUTH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):\d\d)", re.ASCII)


def _int(text: str) -> int:
    return _whole(text, _INTEGER, _INT64)


def _uint(text: str) -> int:
    return _whole(text, _UNSIGNED, _UINT64)


def _whole(text: str, form: re.Pattern[str], bounds: tuple[int, int]) -> int:
    # Nothing longer is in bounds, but for zeros before it.
    if (
        not form.fullmatch(text)
        or not bounds[0] <= int(text[:1] + text[1:].lstrip("0")[:20] or "0") <= bounds[1]
    ):
        raise ValueError(f"{text!r} is no whole number that fits")
    return int(text)


def _bool(text: str) -> bool:
    if text not in _TRUTH:
        raise ValueError(f"{text!r} is neither true nor false")
    return _TRUTH[text]


def _timestamp(text: str) -> Timestamp:
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"invalid RFC 3339 timestamp {text!r}")
    return timestamp(text)


def _milliseconds(of: timedelta) -> int:
    """Of all of it; CEL's specification has those beyond the last second."""
    return int(of / timedelta(milliseconds=1))


@cache
def replacements() -> Mapping[str, Any]:
    """By the overload that each replaces."""
    of = cel.Type
    text = [of.STRING]
    return {
        "string_to_int64": cel.Overload("@string_to_int64", of.INT, text, impl=_int),
        "string_to_uint64": cel.Overload("@string_to_uint64", of.UINT, text, impl=_uint),
        "string_to_bool": cel.Overload("@string_to_bool", of.BOOL, text, impl=_bool),
        "string_to_duration": cel.Overload("@string_to_duration", of.DURATION, text, impl=duration),
        "string_to_timestamp": cel.Overload("@string_to_timestamp", of.TIMESTAMP, text, impl=_timestamp),
        "duration_to_milliseconds": cel.Overload(
            "@duration_to_milliseconds", of.INT, [of.DURATION], is_member=True, impl=_milliseconds
        ),
    }


def replace(tree: CheckedTree, whole: Any) -> bool:
    """Put them into an expression; whether there was any to replace."""
    found = [part for part in parts_of(whole) if tree.overload(part) in replacements()]
    for part in found:
        part.call.function = f"@{tree.overload(part)}"
        part.id = 0
    return bool(found)


def functions() -> list[Any]:
    """All of them, for an environment whose types have `IPAddress`."""
    type_ = cel.Type("IPAddress")
    in_network = cel.Overload(
        "ipaddr_in_cidr", cel.Type.BOOL, [type_, cel.Type.STRING], is_member=True, impl=in_cidr
    )
    from_text = cel.Overload("string_to_ipaddress", type_, [cel.Type.STRING], impl=address)
    return [
        cel.FunctionDecl("in_cidr", [in_network]),
        cel.FunctionDecl("ipaddress", [from_text]),
        *(cel.FunctionDecl(f"@{name}", [overload]) for name, overload in replacements().items()),
    ]
