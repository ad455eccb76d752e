"""The authorization model as plain values: OpenFGA's types, relations, rewrites and conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Parameter types of conditions, and how many types each takes in angle brackets.
PARAMETER_TYPES: Mapping[str, int] = {
    "any": 0,
    "bool": 0,
    "string": 0,
    "int": 0,
    "uint": 0,
    "double": 0,
    "duration": 0,
    "timestamp": 0,
    "ipaddress": 0,
    "map": 1,
    "list": 1,
}


@dataclass(frozen=True, slots=True)
class TypeRestriction:
    """What a direct relation takes as a user: `type`, `type#relation` or `type:*`, `with` a condition."""

    type: str
    relation: str = ""
    wildcard: bool = False
    condition: str = ""

    def __str__(self) -> str:
        text = self.type + (f"#{self.relation}" if self.relation else ":*" if self.wildcard else "")
        return f"{text} with {self.condition}" if self.condition else text


@dataclass(frozen=True, slots=True)
class Direct:
    """`[a, b#c, d:*]`: the users of the relation's own tuples."""

    restrictions: tuple[TypeRestriction, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """`relation`: another relation of the same object."""

    relation: str


@dataclass(frozen=True, slots=True)
class TupleToUserset:
    """`relation from tupleset`: `relation` of the objects that `tupleset`'s tuples name."""

    relation: str
    tupleset: str


@dataclass(frozen=True, slots=True)
class Union:
    """`a or b`: in any of them; two or more."""

    children: tuple[Rewrite, ...]


@dataclass(frozen=True, slots=True)
class Intersection:
    """`a and b`: in all of them; two or more."""

    children: tuple[Rewrite, ...]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """`base but not subtract`."""

    base: Rewrite
    subtract: Rewrite


Rewrite = Direct | Computed | TupleToUserset | Union | Intersection | Exclusion


@dataclass(frozen=True, slots=True)
class Origin:
    """The module, and its file, that a type, relation or condition of a modular model was written in."""

    module: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A type of objects and how each of its relations is derived.

    `origins` has the relations that another module than the type's own added by `extend type`.
    """

    name: str
    relations: Mapping[str, Rewrite]
    origin: Origin = Origin()
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParameterType:
    """The type of a condition's parameter: one of PARAMETER_TYPES, a map or list of `element`."""

    name: str
    element: ParameterType | None = None

    def __str__(self) -> str:
        return f"{self.name}<{self.element}>" if self.element else self.name


@dataclass(frozen=True, slots=True)
class Condition:
    """A named expression in CEL that yields a bool, over typed parameters."""

    name: str
    parameters: Mapping[str, ParameterType]
    expression: str
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class AuthorizationModel:
    """A valid model: `validation.validate` has passed it. `types` is keyed by name, in the order written.

    Compared and hashed by identity, so that what is compiled from a model can be kept by it.
    """

    types: Mapping[str, TypeDefinition]
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    schema_version: str = "1.1"

    def rewrite(self, type_name: str, relation: str) -> Rewrite:
        """How `relation` of objects of the type is derived. KeyError when there is no such."""
        return self.types[type_name].relations[relation]

    def has(self, type_name: str, relation: str) -> bool:
        return type_name in self.types and relation in self.types[type_name].relations


class ModelError(Exception):
    """The model is not valid.

    `code` is OpenFGA's: `invalid_authorization_model`, or that of a field of a document that has not the
    form of a model, as `validation_error` or `type_invalid_pattern`. `about` is the type, `type#relation`
    or condition that is wrong. `line` and `column` count from 1; 0 where no text was read.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "invalid_authorization_model",
        about: str = "",
        line: int = 0,
        column: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.about = about
        self.line = line
        self.column = column


def leaves(rewrite: Rewrite) -> Iterator[Direct | Computed | TupleToUserset]:
    """What the operators of a rewrite combine."""
    match rewrite:
        case Union(children) | Intersection(children):
            for child in children:
                yield from leaves(child)
        case Exclusion(base, subtract):
            yield from leaves(base)
            yield from leaves(subtract)
        case _:
            yield rewrite


def direct_restrictions(rewrite: Rewrite) -> tuple[TypeRestriction, ...]:
    """What the relation itself takes as users; empty when no tuple can be written to it."""
    return next((leaf.restrictions for leaf in leaves(rewrite) if isinstance(leaf, Direct)), ())
