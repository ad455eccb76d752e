"""Conditions: expressions in CEL over OpenFGA's parameter types, by Google's CEL runtime.

An expression is type-checked when its model is written. Evaluation is bounded: what it could take at worst
is known before it begins, by the sizes of its context and of the expression; beside that the runtime stops
comprehensions after 10,000 steps, and its regular expressions (RE2) take linear time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from math import inf, isinf
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ontologies.authorization_model.model import Condition, ModelError, ParameterType

_INT64 = (-(2**63), 2**63 - 1)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_NANOSECONDS = {**_UNITS, "h": 3600 * 10**9}
_DURATION = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d?)(:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-](?:[01]\d|2[0-4]):\d\d)", re.ASCII
)
_BITS = re.compile(r"0|[1-9][0-9]{0,2}")
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,4})?)(?:[pP]([-+]?\d{1,4}))?", re.ASCII)
_INFINITY = re.compile(r"[-+]?[iI]nf")
#: Each goes over a list or a map, or makes another one of it.
_COMPREHENSION = re.compile(r"\b(?:all|exists|exists_one|map|filter)\b")
_TERM = re.compile(r"\w+")
#: Items that an evaluation may look at at worst, and characters; half a second or less. What OpenFGA decides
#: below its limit, where an item of a comprehension costs 3 at least and all may cost 100, is less.
_MOST_ITEMS, _MOST_TEXT = 10**7, 10**8


class ConditionError(Exception):
    """A condition cannot be decided: parameters are `missing` or of another type, or evaluation failed."""

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A condition that is ready to be asked."""

    condition: Condition
    _program: Any
    _comprehensions: int
    _terms: int
    """Names, numbers and words in the expression."""

    def holds(self, context: Mapping[str, Any]) -> bool:
        """Whether the expression is true in a context of JSON values; what is no parameter is left out.

        Raises ConditionError where a parameter is missing or not of its type, or the evaluation fails.
        """
        name = self.condition.name
        values = typed_parameters(self.condition, context)
        missing = sorted(self.condition.parameters.keys() - values.keys())
        if missing:
            text = f"'{name}' - missing context parameters '[{' '.join(missing)}]'"
            raise ConditionError(text, tuple(missing))
        if self._costs_too_much(context):
            raise ConditionError(f"'{name}' - failed to evaluate condition expression: cost limit exceeded")
        try:
            value = self._program.eval(data=values).value()
        except RuntimeError as error:
            raise ConditionError(f"'{name}' - failed to evaluate condition expression: {error}") from error
        if not isinstance(value, bool):
            raise ConditionError(f"'{name}' - failed to evaluate condition expression: {value}")
        return value

    def _costs_too_much(self, context: Mapping[str, Any]) -> bool:
        """Whether it could, were each comprehension within all others and each term to look at everything."""
        expression = self.condition.expression
        items, text = _size([context[name] for name in self.condition.parameters])
        # Literals have commas between them, and a comprehension one between its variable and what it is for.
        items += max(expression.count(",") - self._comprehensions, 0)
        looks: int = self._terms * items**self._comprehensions
        return looks * items > _MOST_ITEMS or looks * (text + len(expression)) > _MOST_TEXT


def _size(value: Any) -> tuple[int, int]:
    """The items of lists and maps in a value of JSON, and the characters of texts."""
    match value:
        case str():
            return 0, len(value)
        case list() | dict():
            below = [_size(item) for item in (value.values() if isinstance(value, dict) else value)]
            text = sum(map(len, value)) if isinstance(value, dict) else 0
            return len(value) + sum(items for items, _ in below), text + sum(text for _, text in below)
    return 0, 0


def compiled(condition: Condition) -> CompiledCondition:
    """The condition, type-checked. Raises ModelError where the expression is no bool over its parameters."""
    try:
        program = _program(condition.expression, tuple(sorted(condition.parameters.items(), key=str)))
    except RuntimeError as error:
        raise ModelError(
            f"failed to compile expression on condition '{condition.name}' - {error}", about=condition.name
        ) from error
    # The type checker leaves what comes from an `any` open; OpenFGA refuses it as a result.
    if program.return_type() != cel.Type.BOOL:
        raise ModelError(
            f"failed to compile expression on condition '{condition.name}' - expected a bool condition "
            f"expression output, but got '{program.return_type().name().lower()}'",
            about=condition.name,
        )
    comprehensions, terms = (
        len(pattern.findall(condition.expression)) for pattern in (_COMPREHENSION, _TERM)
    )
    return CompiledCondition(condition, program, comprehensions, terms)


def typed_parameters(condition: Condition, context: Mapping[str, Any]) -> dict[str, Any]:
    """The condition's parameters that the context gives, as CEL takes them. Raises ConditionError."""
    values: dict[str, Any] = {}
    for name, type_ in condition.parameters.items():
        if name in context:
            try:
                values[name] = _convert(type_, context[name])
            except ValueError as error:
                raise ConditionError(
                    f"parameter type error on condition '{condition.name}' - failed to convert context "
                    f"parameter '{name}': {error}"
                ) from error
    return values


@lru_cache(maxsize=4096)
def _program(expression: str, parameters: tuple[tuple[str, ParameterType], ...]) -> Any:
    address = _address_class()
    type_ = cel.Type("IPAddress")
    in_cidr = cel.Overload(
        "ipaddr_in_cidr", cel.Type.BOOL, [type_, cel.Type.STRING], is_member=True, impl=_in_cidr
    )
    from_string = cel.Overload("string_to_ipaddress", type_, [cel.Type.STRING], impl=_address)
    environment = cel.NewEnv(
        address.DESCRIPTOR.file.pool,
        variables={name: _cel_type(parameter) for name, parameter in parameters},
        functions=[cel.FunctionDecl("in_cidr", [in_cidr]), cel.FunctionDecl("ipaddress", [from_string])],
    )
    return environment.compile(expression)


@cache
def _address_class() -> type[Message]:
    """CEL's view of an address: a message type, since the runtime takes no opaque values of ours.

    Its field has a reserved word for a name, which no expression can select.
    """
    file = descriptor_pb2.FileDescriptorProto(name="ipaddress.proto", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="IPAddress")
    message.field.add(name="in", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("IPAddress"))


def _address(text: str) -> Message:
    parsed = ipaddress.ip_address(text)
    # An address of IPv4 in IPv6 is in the networks of IPv4.
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return _address_class()(**{"in": str(mapped or parsed)})


def _in_cidr(address: Message, cidr: str) -> bool:
    network, found = _network(cidr), ipaddress.ip_address(getattr(address, "in"))
    # Networks have no zones.
    return found in network and not (isinstance(found, ipaddress.IPv6Address) and found.scope_id)


@lru_cache(maxsize=4096)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    base, slash, bits = cidr.partition("/")
    if not slash or not _BITS.fullmatch(bits) or "%" in base:
        raise ValueError(f"'{cidr}' is a malformed CIDR string")
    network = ipaddress.ip_network(cidr, strict=False)
    mapped = ipaddress.ip_address(base)
    if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((mapped.ipv4_mapped, network.prefixlen - 96), strict=False)
    return network


def _cel_type(parameter: ParameterType) -> Any:
    if parameter.element:
        element = _cel_type(parameter.element)
        return cel.Type.List(element) if parameter.name == "list" else cel.Type.Map(cel.Type.STRING, element)
    if parameter.name == "ipaddress":
        return cel.Type("IPAddress")
    return cel.Type.DYN if parameter.name == "any" else getattr(cel.Type, parameter.name.upper())


def _convert(type_: ParameterType, value: Any) -> Any:
    """A value of JSON as one of the type, by OpenFGA's conversions. Raises ValueError."""
    match type_.name:
        case "bool" if isinstance(value, bool):
            return value
        case "int" | "uint" | "double":
            return _number(type_.name, value)
        case "string" | "duration" | "timestamp" | "ipaddress" if isinstance(value, str):
            return _FROM_STRING[type_.name](value)
        case "list" if isinstance(value, list) and type_.element:
            return [_convert(type_.element, item) for item in value]
        case "map" if isinstance(value, dict) and type_.element:
            return {key: _convert(type_.element, item) for key, item in value.items()}
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


def _duration(text: str) -> Duration:
    if not _DURATION.fullmatch(text):
        raise ValueError(f"expected a valid duration string, but found: '{text}'")
    total = sum(int(Fraction(count) * _NANOSECONDS[unit]) for count, unit in _DURATION_PART.findall(text))
    signed = -total if text.startswith("-") else total
    if not _INT64[0] <= signed <= _INT64[1]:
        raise ValueError(f"expected a valid duration string, but found: '{text}'")
    duration = Duration()
    duration.FromNanoseconds(signed)
    return duration


def _timestamp(text: str) -> Timestamp:
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise ValueError(f"expected RFC 3339 formatted timestamp string, but found '{text}'")
    day, hour, rest, fraction, offset = match.groups(default="")
    timestamp = Timestamp()
    timestamp.FromJsonString(f"{day}T{hour.zfill(2)}{rest}.{fraction[:9].ljust(9, '0')}{offset}")
    return timestamp


_FROM_STRING: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "duration": _duration,
    "timestamp": _timestamp,
    "ipaddress": _address,
}
