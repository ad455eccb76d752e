"""Values of conditions: what JSON has for a parameter, as CEL takes it, by OpenFGA's conversions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import inf, isinf
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ontologies.authorization_model.conditions.addresses import address
from ontologies.authorization_model.model import ParameterType

_INT64 = (-(2**63), 2**63 - 1)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_NANOSECONDS = {**_UNITS, "h": 3600 * 10**9}
_DURATION = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d?)(:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-](?:[01]\d|2[0-4]):\d\d)", re.ASCII
)
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,4})?)(?:[pP]([-+]?\d{1,4}))?", re.ASCII)
_INFINITY = re.compile(r"[-+]?[iI]nf")


def convert(type_: ParameterType, value: Any) -> Any:
    """A value of JSON as one of the type, by OpenFGA's conversions. Raises ValueError."""
    match type_.name:
        case "bool" if isinstance(value, bool):
            return value
        case "int" | "uint" | "double":
            return _number(type_.name, value)
        case "string" | "duration" | "timestamp" | "ipaddress" if isinstance(value, str):
            return _FROM_STRING[type_.name](value)
        case "list" if isinstance(value, list) and type_.element:
            return [convert(type_.element, item) for item in value]
        case "map" if isinstance(value, dict) and type_.element:
            return {key: convert(type_.element, item) for key, item in value.items()}
        case "any":
            return _dynamic(value)
    raise ValueError(f"expected a value of type {type_}, but found {type(value).__name__}")


def _dynamic(value: Any) -> Any:
    """Numbers of JSON are doubles."""
    match value:
        case int() if not isinstance(value, bool):
            return float(value)
        case list():
            return [_dynamic(item) for item in value]
        case dict():
            return {key: _dynamic(item) for key, item in value.items()}
    return value


def _number(kind: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a value of type {kind}, but found {type(value).__name__}")
    if isinstance(value, str):
        if kind == "double" and _INFINITY.fullmatch(value):
            return float(value)
        exact = _exact(kind, value)
    else:
        # A number of JSON is a double, also where it is written without a fraction.
        try:
            exact = Fraction(float(value))
        except OverflowError as error:
            raise ValueError(f"expected a value of type {kind}, but found {value}") from error
    if kind == "double":
        return _double(exact, value)
    if exact.denominator != 1:
        raise ValueError(f"expected a value of type {kind}, but found numeric value '{value}'")
    whole = min(max(int(exact), _INT64[0]), _INT64[1])
    if kind == "uint" and whole < 0:
        raise ValueError(f"expected a uint value, but found int64 value '{value}'")
    return whole


def _exact(kind: str, text: str) -> Fraction:
    match = _NUMBER.fullmatch(text)
    # Go takes one exponent, to the base 10 or to the base 2.
    if not match or (match[2] and "e" in match[1].lower()):
        raise ValueError(f"expected a value of type {kind}, but found invalid string value '{text}'")
    return Fraction(match[1]) * Fraction(2) ** int(match[2] or 0)


def _double(exact: Fraction, value: float | str) -> float:
    try:
        number = float(exact)
    except OverflowError:
        number = inf
    if isinf(number) or Fraction(number) != exact:
        raise ValueError(f"number cannot be represented as a float64: {value}")
    # A zero may be negative.
    return number or (-0.0 if str(value).startswith("-") else 0.0)


def duration(text: str) -> Duration:
    if not _DURATION.fullmatch(text):
        raise ValueError(f"expected a valid duration string, but found: '{text}'")
    total = sum(int(Fraction(count) * _NANOSECONDS[unit]) for count, unit in _DURATION_PART.findall(text))
    signed = -total if text.startswith("-") else total
    if not _INT64[0] <= signed <= _INT64[1]:
        raise ValueError(f"expected a valid duration string, but found: '{text}'")
    duration = Duration()
    duration.FromNanoseconds(signed)
    return duration


def timestamp(text: str) -> Timestamp:
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise ValueError(f"expected RFC 3339 formatted timestamp string, but found '{text}'")
    day, hour, rest, fraction, offset = match.groups(default="")
    timestamp = Timestamp()
    timestamp.FromJsonString(f"{day}T{hour.zfill(2)}{rest}.{fraction[:9].ljust(9, '0')}{offset}")
    return timestamp


_FROM_STRING: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "duration": duration,
    "timestamp": timestamp,
    "ipaddress": address,
}
