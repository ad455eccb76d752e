"""The ontology as plain values: what the rest of Orgraph knows of the OWL modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Datatype = Literal["string", "integer", "decimal", "boolean", "dateTime", "anyURI"]

Strength = Literal["", "weak", "strong", "decides"]
"""How much it says that two entities have a property in common; nothing where it is empty."""

#: The root of all entity classes; every live node carries it as a label.
ROOT = "Entity"
#: From an entity to another that is the same one. No access rests on it.
SAME_AS = "SAME_AS"


@dataclass(frozen=True, slots=True)
class OntologyClass:
    """A class of entities. `name` is the Neo4j label and the local name of `iri`."""

    name: str
    iri: str
    label: str
    comment: str
    superclasses: tuple[str, ...]
    """All of our own superclasses, nearest first, `Entity` last (empty for `Entity`)."""
    type: str
    """`name` in snake_case: the type of ids (`type:key`) and of the authorization model."""
    abstract: bool
    """An abstract class is never asserted; it has no authorization type."""


@dataclass(frozen=True, slots=True)
class ValueProperty:
    """A datatype property. `name` is the Neo4j property key and the local name of `iri`."""

    name: str
    iri: str
    label: str
    datatype: Datatype
    many: bool
    """True when an entity may hold several values (a list in Neo4j)."""
    domain: frozenset[str]
    """Names of the classes that may carry it, before subclasses are added."""
    synonyms: str = ""
    """Other words for it that questions use; may be empty."""
    identifies: Strength = ""


@dataclass(frozen=True, slots=True)
class RelationshipType:
    """An object property. `type` is `iri`'s local name in UPPER_SNAKE_CASE (`memberOf` -> `MEMBER_OF`)."""

    type: str
    iri: str
    label: str
    """Reads as a sentence between two names: 'Ada Lovelace *is a member of* Analysts'."""
    inverse_label: str
    """Reads from the other end: 'Analysts *has member* Ada Lovelace'."""
    domain: frozenset[str]
    range: frozenset[str]
    access_bearing: bool
    """True when a binding makes tuples of it: who may claim it is restricted."""
    synonyms: str = ""
    """Other words for it that questions use; may be empty."""
    broader: frozenset[str] = frozenset()
    """The types that follow from it, from the same start to the same end (rdfs:subPropertyOf)."""
    inverses: frozenset[str] = frozenset()
    """The types that hold the other way round (owl:inverseOf, in either direction)."""
    symmetric: bool = False
    transitive: bool = False
    acyclic: bool = False
    """True when it must lead from nothing back to itself, over any number of steps."""
    inverse_functional: bool = False
    """True when one thing alone may have it to another."""
    identifies: Strength = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """Turns a relationship into OpenFGA tuples.

    `(start)-[:relationship]->(end)` becomes `object#relation@user`, where the object is the
    end that `object_end` names and the user is the other end, as the userset `id#users[type]`
    when `users` has a non-empty entry for its type, or the bare id when that entry is "".
    A type that `users` does not list makes no tuple.
    """

    relationship: str
    object_type: str
    relation: str
    object_end: Literal["start", "end"]
    users: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"binding of {self.relationship} to {self.object_type}#{self.relation}"


@dataclass(frozen=True, slots=True)
class Module:
    """An OWL ontology of one file. Its own terms are those in its namespace."""

    iri: str
    version: str
    version_iri: str
    namespace: str
    file: str


@dataclass(frozen=True, slots=True)
class Ontology:
    """All modules, merged and checked. Keys of the mappings are the `name`s and `type`s within."""

    modules: tuple[Module, ...]
    classes: Mapping[str, OntologyClass]
    values: Mapping[str, ValueProperty]
    relationships: Mapping[str, RelationshipType]
    bindings: tuple[Binding, ...]

    def labels(self, class_name: str) -> tuple[str, ...]:
        """Neo4j labels of an entity of that class: itself, then its superclasses."""
        return (class_name, *self.classes[class_name].superclasses)

    def class_of_type(self, type_name: str) -> OntologyClass:
        """The class whose ids begin with `type_name:`. KeyError when there is none."""
        for candidate in self.classes.values():
            if candidate.type == type_name:
                return candidate
        raise KeyError(type_name)

    def is_a(self, class_name: str, ancestor: str) -> bool:
        """True when `class_name` is `ancestor` or a subclass of it."""
        return ancestor in self.labels(class_name)
