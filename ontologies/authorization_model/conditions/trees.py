"""CEL's checked syntax trees (cel/expr/checked.proto), as far as they are looked at here, and new parts.

What is not declared of a message stays in it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

#: Number, name and type of each field, by message; `*` where it is repeated.
_FIELDS = {
    "Any": "1 type_url string, 2 value bytes",
    "CheckedExpr": "2 references ReferenceEntry*, 3 types TypeEntry*, 4 expr Expr",
    "ReferenceEntry": "1 key int64, 2 value Reference",
    "Reference": "3 overload_id string*",
    "TypeEntry": "1 key int64, 2 value Type",
    "Type": "1 dyn Other, 3 primitive int64, 6 list_type Other, 7 map_type Other, 10 type_param string, "
    "11 type Other",
    "Expr": "2 id int64, 3 constant Constant, 4 ident Ident, 5 select Select, 6 call Call, "
    "7 list CreateList, 8 struct CreateStruct, 9 comprehension Comprehension",
    "Constant": "2 bool bool, 3 int64 int64, 5 double double, 6 string string, 7 bytes bytes",
    "Ident": "1 name string",
    "Select": "1 operand Expr, 2 field string, 3 test_only bool",
    "Call": "1 target Expr, 2 function string, 3 args Expr*",
    "CreateList": "1 elements Expr*",
    "CreateStruct": "1 message_name string, 2 entries Entry*",
    "Entry": "3 map_key Expr, 4 value Expr",
    "Comprehension": "1 iter_var string, 2 iter_range Expr, 3 accu_var string, 4 accu_init Expr, "
    "5 loop_condition Expr, 6 loop_step Expr, 7 result Expr",
    "Other": "",
}
#: Of `Type.primitive`: what has a size, and what has none.
STRING, BYTES = 5, 6
SCALARS = frozenset({1, 2, 3, 4})


@cache
def _messages() -> Mapping[str, Any]:
    of = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="trees.proto", package="trees", syntax="proto2")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for number, label, kind in (one.split() for one in fields.split(", ") if one):
            field = described.field.add(name=label, number=int(number), label=of.LABEL_OPTIONAL)
            if kind.endswith("*"):
                field.label = of.LABEL_REPEATED
            base = kind.removesuffix("*")
            if base in _FIELDS:
                field.type, field.type_name = of.TYPE_MESSAGE, f".trees.{base}"
            else:
                field.type = getattr(of, f"TYPE_{base.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"trees.{n}")) for n in _FIELDS}


class CheckedTree:
    """An expression that was type-checked, as the runtime serializes it."""

    def __init__(self, serialized: bytes) -> None:
        self._envelope = _messages()["Any"].FromString(serialized)
        self._checked = _messages()["CheckedExpr"].FromString(self._envelope.value)
        self.whole: Any = self._checked.expr
        self._overloads = {entry.key: entry.value.overload_id for entry in self._checked.references}
        self._types = {entry.key: entry.value for entry in self._checked.types}

    def serialized(self, part: Any) -> bytes:
        """The whole or a part, by itself. What was put into it gets numbers of its own."""
        checked, envelope = copy_of(self._checked), copy_of(self._envelope)
        checked.expr.CopyFrom(part)
        free = count(1 + max(self._types))
        for one in parts_of(checked.expr):
            if not one.id:
                one.id = next(free)
        envelope.value = checked.SerializeToString()
        return bytes(envelope.SerializeToString())

    def overload(self, part: Any) -> str:
        """Which a call has; none where that is known at evaluation only."""
        found = self._overloads.get(part.id, ())
        return str(found[0]) if len(found) == 1 else ""

    def type_of(self, part: Any) -> Any:
        return self._types[part.id]

    def constant(self, part: Any) -> bool:
        """Whether cel-go has its value before it is evaluated."""
        match kind_of(part):
            case "constant":
                return True
            case "ident":
                return bool(self.type_of(part).HasField("type"))
            case "list":
                return all(map(self.constant, part.list.elements))
            case "struct":
                entries = part.struct.entries
                return not part.struct.message_name and all(
                    self.constant(e.map_key) and self.constant(e.value) for e in entries
                )
            case "call":
                return self._constant_call(part, arguments(part))
        return False

    def _constant_call(self, part: Any, args: Sequence[Any]) -> bool:
        if part.call.function in CONVERSIONS and len(args) == 1:
            return self.constant(args[0])
        # Nothing is in an empty list.
        return self.overload(part) == "in_list" and kind_of(args[1]) == "list" and not args[1].list.elements


#: Functions of one value.
CONVERSIONS = frozenset(
    {"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"}
)


def arguments(part: Any) -> list[Any]:
    """Of a call, the one that it is a member of first."""
    of = part.call
    return [*([of.target] if of.HasField("target") else []), *of.args]


def copy_of(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def kind_of(part: Any) -> str:
    """Which of the fields of an Expr it is."""
    return str(part.ListFields()[-1][0].name)


def parts_of(part: Any) -> Iterator[Any]:
    """An Expr and all below it."""
    yield part
    yield from _below(part)


def _below(message: Message) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else (value,):
                yield from parts_of(one) if field.message_type.name == "Expr" else _below(one)


def expr(**kind: Any) -> Any:
    return _messages()["Expr"](**kind)


def name(of: str) -> Any:
    return expr(ident={"name": of})


def text(of: str) -> Any:
    return expr(constant={"string": of})


def number(of: int) -> Any:
    return expr(constant={"int64": of})


def call(function: str, *args: Any) -> Any:
    return expr(call={"function": function, "args": args})


def where(condition: Any, then: Any) -> Any:
    """The other expression where the condition, which is never false, is no error."""
    return call("_?_:_", condition, then, expr(constant={"bool": False}))


def bound(variable: str, value: Any, within: Any) -> Any:
    """An expression in which a variable stands for the value of another: a comprehension over nothing."""
    return expr(
        comprehension={
            "iter_var": "@unused",
            "iter_range": expr(list={}),
            "accu_var": variable,
            "accu_init": value,
            "loop_condition": expr(constant={"bool": False}),
            "loop_step": name(variable),
            "result": within,
        }
    )
