"""Conditions: expressions in CEL over OpenFGA's parameter types, by Google's CEL runtime.

An expression is type-checked when its model is written. Evaluation is bounded as OpenFGA's is, by what it
costs (`cost`); the runtime's regular expressions (RE2) take linear time, and it stops comprehensions after
10,000 rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isinf
from typing import Any

from cel_expr_python import cel
from google.protobuf.message import DecodeError

from ontologies.authorization_model.conditions import cost, functions
from ontologies.authorization_model.conditions.addresses import address_class
from ontologies.authorization_model.conditions.trees import (
    CONVERSIONS,
    CheckedTree,
    arguments,
    call,
    copy_of,
    kind_of,
    parts_of,
    text,
)
from ontologies.authorization_model.conditions.values import convert
from ontologies.authorization_model.model import Condition, ModelError, ParameterType


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

    def holds(self, context: Mapping[str, Any]) -> bool:
        """Whether the expression is true in a context of JSON values; what is no parameter is left out.

        Raises ConditionError where a parameter is missing or not of its type, or the evaluation fails or
        costs too much.
        """
        name = self.condition.name
        values = typed_parameters(self.condition, context)
        missing = sorted(self.condition.parameters.keys() - values.keys())
        if missing:
            text = f"'{name}' - missing context parameters '[{' '.join(missing)}]'"
            raise ConditionError(text, tuple(missing))
        cost.begin()
        try:
            value = self._program.eval(data=values).value()
        except RuntimeError as error:
            value = error
        if cost.exceeded():
            value = cost.EXCEEDED
        if not isinstance(value, bool):
            raise ConditionError(f"'{name}' - failed to evaluate condition expression: {value}")
        return value


def compiled(condition: Condition) -> CompiledCondition:
    """The condition, type-checked. Raises ModelError where the expression is no bool over its parameters."""
    parameters = tuple(sorted(condition.parameters.items(), key=str))
    try:
        return CompiledCondition(condition, _program(condition.expression, parameters))
    except (RuntimeError, ValueError) as error:
        why = str(error)
    except DecodeError:
        why = "its parts are nested too deeply; write it in several conditions"
    raise ModelError(
        f"failed to compile expression on condition '{condition.name}' - {why}", about=condition.name
    )


def typed_parameters(condition: Condition, context: Mapping[str, Any]) -> dict[str, Any]:
    """The condition's parameters that the context gives, as CEL takes them. Raises ConditionError."""
    values: dict[str, Any] = {}
    for name, type_ in condition.parameters.items():
        if name in context:
            try:
                values[name] = convert(type_, context[name])
            except ValueError as error:
                raise ConditionError(
                    f"parameter type error on condition '{condition.name}' - failed to convert context "
                    f"parameter '{name}': {error}"
                ) from error
    return values


@lru_cache(maxsize=4096)
def _program(expression: str, parameters: tuple[tuple[str, ParameterType], ...]) -> Any:
    """Raises RuntimeError where the expression is none, ValueError where OpenFGA takes no such one."""
    environment = cel.NewEnv(
        address_class().DESCRIPTOR.file.pool,
        variables={name: _cel_type(parameter) for name, parameter in parameters},
        functions=[*functions.functions(), *cost.functions()],
    )
    program = environment.compile(expression)
    # The type checker leaves what comes from an `any` open; OpenFGA refuses it as a result.
    if program.return_type() != cel.Type.BOOL:
        found = program.return_type().name().lower()
        raise ValueError(f"expected a bool condition expression output, but got '{found}'")
    tree = CheckedTree(program.serialize())
    _refuse(tree)
    known = [copy_of(part) for part in _known_beforehand(tree)]
    if cost.count(tree) | functions.replace(tree, tree.whole):
        program = environment.deserialize(tree.serialized(tree.whole))
    for part in known:
        functions.replace(tree, part)
        value = environment.deserialize(tree.serialized(part)).eval()
        if value.type() in (cel.Type.ERROR, cel.Type.UNKNOWN):
            raise ValueError(f"condition expression construction: {value.value()}")
    return program


def _refuse(tree: CheckedTree) -> None:
    """Raise ValueError for what the runtime here knows and OpenFGA does not."""
    for part in parts_of(tree.whole):
        if "IPAddress" in {part.ident.name, part.struct.message_name}:
            raise ValueError("undeclared reference to 'IPAddress'")
        if isinf(part.constant.double):
            raise ValueError("invalid double literal")
        if tree.overload(part) == "int64_to_duration":
            raise ValueError("found no matching overload for 'duration' applied to '(int)'")


def _known_beforehand(tree: CheckedTree) -> Iterator[Any]:
    """What OpenFGA has evaluated once a model is written, which then must not fail."""
    for part in parts_of(tree.whole):
        args = arguments(part)
        if part.call.function in CONVERSIONS and tree.constant(part):
            yield part
        if part.call.function == "matches" and kind_of(args[1]) == "constant":
            yield call("matches", text(""), args[1])


def _cel_type(parameter: ParameterType) -> Any:
    if parameter.element:
        element = _cel_type(parameter.element)
        return cel.Type.List(element) if parameter.name == "list" else cel.Type.Map(cel.Type.STRING, element)
    if parameter.name == "ipaddress":
        return cel.Type("IPAddress")
    return cel.Type.DYN if parameter.name == "any" else getattr(cel.Type, parameter.name.upper())
