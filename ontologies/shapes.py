"""SHACL shapes compiled to plain checks: the gate that a batch passes before it is written.

Only the SHACL Core components listed in `_COMPONENTS` are understood; anything else in a shape is
refused when it is compiled, so that no constraint is ever silently left out. What the shapes leave
open, the ontology itself closes: unknown classes and properties, domains, ranges, and the type of an
id are gate rules (`og:...`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from rdflib import RDF, RDFS, SH, XSD, Graph, Literal
from rdflib.collection import Collection
from rdflib.term import Node

from ontologies.modules import PROVENANCE
from ontologies.ontology import Datatype, Ontology, RelationshipType, ValueProperty

Scalar = str | int | float | bool | datetime
Value = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class EntityState:
    """An entity as it would stand after the batch."""

    id: str
    class_name: str
    values: Mapping[str, Value]
    """Keyed by the names of value properties; a tuple for several values."""
    relationships: Mapping[str, tuple[str, ...]]
    """Keyed by relationship type; the ids of the ends of those that start here."""


@dataclass(frozen=True, slots=True)
class ShapeViolation:
    """One constraint that one entity breaks."""

    entity: str
    shape: str
    """IRI of the node shape, or the name of a gate rule (`og:unknownProperty`)."""
    path: str
    """Name of the value property, or the relationship type; empty for the entity itself."""
    constraint: str
    """The SHACL component (`minCount`); for a gate rule its name again."""
    value: str
    """What was found, as Python writes it; cut at 200 characters."""
    message: str
    """What was expected."""


@dataclass(frozen=True, slots=True)
class ShapeProblem:
    """A node shape that cannot be compiled."""

    shape: str
    """Its IRI."""
    expected: str
    action: str


class _RefusedError(Exception):
    """Some of a node shape is not understood; what was expected, and what to do."""

    def __init__(self, expected: str, action: str) -> None:
        super().__init__(expected)
        self.expected, self.action = expected, action


@dataclass(frozen=True, slots=True)
class ValueTest:
    """One constraint on each value of a path, or on the id of each end of a relationship."""

    constraint: str
    holds: Callable[[Scalar, Mapping[str, str]], bool]
    expected: str


@dataclass(frozen=True, slots=True)
class PropertyShape:
    """What one node shape asks of one path. The datatype, if any, is tested first."""

    shape: str
    path: str
    relationship: bool
    min_count: int
    max_count: int | None
    tests: tuple[ValueTest, ...]
    end_class: str = ""
    """The class that the other end must be of (`sh:class`); empty when any in range will do."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """Compiled shapes, ready to check any number of states."""

    ontology: Ontology
    by_class: Mapping[str, tuple[PropertyShape, ...]]
    """The property shapes that apply to each class, those of its superclasses included."""
    targets: frozenset[str]
    """The classes that a node shape names as its target."""

    def check(self, states: Sequence[EntityState], classes: Mapping[str, str]) -> list[ShapeViolation]:
        """Every constraint and gate rule that the states break, in their order.

        `classes` maps ids to class names and holds every entity that will stand; the end of a
        relationship that it lacks is pending: it counts, but neither `sh:class` nor a range is tested.
        """
        return [violation for state in states for violation in self._check(state, classes)]

    def _check(self, state: EntityState, classes: Mapping[str, str]) -> Iterator[ShapeViolation]:
        refused = _gate_class(self.ontology, state)
        if refused:
            yield refused
            return
        yield from _gate_paths(self.ontology, state, classes)
        for shape in self.by_class[state.class_name]:
            told = state.relationships if shape.relationship else state.values
            if shape.min_count or shape.path in told:  # else there is nothing to look at
                yield from _check_property(shape, state, classes)


def compile_shapes(graph: Graph, ontology: Ontology) -> tuple[Shapes, tuple[ShapeProblem, ...]]:
    """Compile every node shape of the graph; those that are not understood are left out and told.

    Shapes of statements about facts (of the provenance module) are for RDF, not for the gate.
    """
    own: dict[str, list[PropertyShape]] = {}
    problems: list[ShapeProblem] = []
    for node in sorted(graph.subjects(RDF.type, SH.NodeShape), key=str):
        stated = set(graph.objects(node, SH.targetClass))
        if stated and all(str(target).startswith(PROVENANCE) for target in stated):
            continue
        try:
            targets = _targets(graph, node, ontology)
            shapes = [
                _property_shape(graph, node, prop, ontology) for prop in graph.objects(node, SH.property)
            ]
        except _RefusedError as refused:
            problems.append(ShapeProblem(str(node), refused.expected, refused.action))
            continue
        for name in targets:
            own.setdefault(name, []).extend(sorted(shapes, key=lambda shape: shape.path))
    by_class = {
        name: tuple(shape for label in ontology.labels(name) for shape in own.get(label, ()))
        for name in ontology.classes
    }
    return Shapes(ontology, by_class, frozenset(own)), tuple(problems)


# The gate rules.


def _gate_class(ontology: Ontology, state: EntityState) -> ShapeViolation | None:
    class_ = ontology.classes.get(state.class_name)
    if class_ is None:
        return _violation(state, "og:unknownClass", state.class_name, "expected a class of the ontology")
    if class_.abstract:
        return _violation(
            state, "og:abstractClass", state.class_name, "expected one of its subclasses: it is abstract"
        )
    if not state.id.startswith(f"{class_.type}:"):
        return _violation(
            state, "og:idType", state.id, f"expected an id of the type {class_.type!r}, as its class is"
        )
    return None


def _gate_paths(
    ontology: Ontology, state: EntityState, classes: Mapping[str, str]
) -> Iterator[ShapeViolation]:
    labels = set(ontology.labels(state.class_name))
    for name in state.values:
        prop = ontology.values.get(name)
        if prop is None:
            message = "expected a value property of the ontology"
            yield _violation(state, "og:unknownProperty", name, message, name)
        elif not labels & prop.domain:
            message = f"expected it only on {_either(prop.domain)}, not on {state.class_name}"
            yield _violation(state, "og:domain", state.class_name, message, name)
    for type_, ends in state.relationships.items():
        relationship = ontology.relationships.get(type_)
        if relationship is None:
            message = "expected a relationship type of the ontology"
            yield _violation(state, "og:unknownProperty", type_, message, type_)
            continue
        if not labels & relationship.domain:
            message = f"expected it to start at {_either(relationship.domain)}, not at {state.class_name}"
            yield _violation(state, "og:domain", state.class_name, message, type_)
        for end in ends:
            if end in classes and not _is_any(ontology, classes[end], relationship.range):
                message = f"expected it to end at {_either(relationship.range)}, not at {classes[end]}"
                yield _violation(state, "og:range", end, message, type_)


def _violation(state: EntityState, rule: str, value: object, message: str, path: str = "") -> ShapeViolation:
    return ShapeViolation(state.id, rule, path, rule, _shown(value), message)


def _is_any(ontology: Ontology, class_name: str, wanted: frozenset[str]) -> bool:
    return class_name in ontology.classes and not wanted.isdisjoint(ontology.labels(class_name))


def _either(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))


# The shapes.


def _check_property(
    shape: PropertyShape, state: EntityState, classes: Mapping[str, str]
) -> Iterator[ShapeViolation]:
    values = _values(state, shape)
    if len(values) < shape.min_count:
        yield _broken(shape, state, "minCount", len(values), f"expected at least {shape.min_count} value(s)")
    if shape.max_count is not None and len(values) > shape.max_count:
        yield _broken(shape, state, "maxCount", values, f"expected at most {shape.max_count} value(s)")
    for value in values:
        for test in shape.tests:
            if not test.holds(value, classes):
                yield _broken(shape, state, test.constraint, value, f"expected {test.expected}")
                if test.constraint == "datatype":
                    break


def _broken(
    shape: PropertyShape, state: EntityState, constraint: str, value: object, message: str
) -> ShapeViolation:
    return ShapeViolation(state.id, shape.shape, shape.path, constraint, _shown(value), message)


def _values(state: EntityState, shape: PropertyShape) -> tuple[Scalar, ...]:
    """The distinct values at the path: RDF has sets, and 1, 1.0 and true are three values."""
    if shape.relationship:
        return tuple(dict.fromkeys(state.relationships.get(shape.path, ())))
    value = state.values.get(shape.path, ())
    if not isinstance(value, tuple):
        return (value,)
    return tuple({(type(item), str(item)): item for item in value}.values())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"


# Compiling.

_NODE_SHAPE = frozenset({RDF.type, SH.targetClass, SH.property, RDFS.label, RDFS.comment})


@dataclass(frozen=True, slots=True)
class _Place:
    """The property shape that is being compiled."""

    graph: Graph
    name: str
    target: ValueProperty | RelationshipType
    ontology: Ontology

    def refuse(self, expected: str, action: str = "correct the shape") -> NoReturn:
        raise _RefusedError(f"path {self.name}: {expected}", action)

    def needs(self, component: str, *datatypes: Datatype) -> None:
        if not isinstance(self.target, ValueProperty) or self.target.datatype not in datatypes:
            self.refuse(f"expected sh:{component} only on values of {' or '.join(datatypes)}", "remove it")


def _targets(graph: Graph, node: Node, ontology: Ontology) -> list[str]:
    unknown = set(graph.predicates(node)) - _NODE_SHAPE
    if unknown:
        raise _RefusedError(f"expected only what is understood, found {_listed(unknown)}", "remove it")
    by_iri = {class_.iri: name for name, class_ in ontology.classes.items()}
    targets = [str(target) for target in graph.objects(node, SH.targetClass)]
    if not targets or not set(targets) <= set(by_iri):
        found = _listed(set(targets) - set(by_iri)) or "none"
        raise _RefusedError(f"expected classes of the ontology as sh:targetClass, found {found}", "name one")
    return sorted(by_iri[target] for target in targets)


def _property_shape(graph: Graph, node: Node, prop: Node, ontology: Ontology) -> PropertyShape:
    stated: dict[Node, Node] = {}
    for predicate, term in graph.predicate_objects(prop):
        if predicate in stated:
            raise _RefusedError(f"expected {predicate} once for one path, found it twice", "keep one")
        stated[predicate] = term
    path = stated.pop(SH.path, None)
    by_iri: dict[str, ValueProperty | RelationshipType] = {
        **{value.iri: value for value in ontology.values.values()},
        **{relationship.iri: relationship for relationship in ontology.relationships.values()},
    }
    target = by_iri.get(str(path))
    if target is None:
        raise _RefusedError(f"expected a property of the ontology as sh:path, found {path}", "name one")
    name = target.name if isinstance(target, ValueProperty) else target.type
    place = _Place(graph, name, target, ontology)
    if isinstance(target, ValueProperty) and SH.datatype not in stated:
        place.refuse("expected sh:datatype, which the other constraints rest on, found none", "add it")
    minimum, maximum = stated.pop(SH.minCount, None), stated.pop(SH.maxCount, None)
    unknown = set(stated) - set(_COMPONENTS)
    if unknown:
        place.refuse(f"expected only what is understood, found {_listed(unknown)}", "remove it")
    for least, most in ((SH.minInclusive, SH.maxInclusive), (SH.minLength, SH.maxLength)):
        if (
            least in stated
            and most in stated
            and _integer(place, stated[least]) > _integer(place, stated[most])
        ):
            place.refuse(f"expected some value to meet both {least} and {most}, which none does")
    ends = [name for name, one in ontology.classes.items() if one.iri == str(stated.get(SH["class"]))]
    return PropertyShape(
        end_class=ends[0] if ends else "",
        shape=str(node),
        path=name,
        relationship=isinstance(target, RelationshipType),
        min_count=0 if minimum is None else _integer(place, minimum),
        max_count=None if maximum is None else _integer(place, maximum),
        tests=tuple(
            build(place, stated[component]) for component, build in _COMPONENTS.items() if component in stated
        ),
    )


def _listed(terms: set[Any]) -> str:
    return ", ".join(sorted(map(str, terms)))


def _datatype(place: _Place, term: Node) -> ValueTest:
    if not isinstance(place.target, ValueProperty) or term != XSD[place.target.datatype]:
        place.refuse(f"expected the range that the ontology states as sh:datatype, found {term}")
    datatype = place.target.datatype
    return ValueTest("datatype", lambda value, _: is_of_datatype(value, datatype), f"xsd:{datatype}")


def _class(place: _Place, term: Node) -> ValueTest:
    names = [name for name, class_ in place.ontology.classes.items() if class_.iri == str(term)]
    if not isinstance(place.target, RelationshipType) or not names:
        place.refuse(f"expected sh:class on a relationship, naming a class of the ontology, found {term}")
    ontology, wanted = place.ontology, frozenset(names)

    def holds(end: Scalar, classes: Mapping[str, str]) -> bool:
        return end not in classes or _is_any(ontology, classes[str(end)], wanted)

    return ValueTest("class", holds, f"an entity of the class {names[0]}")


def _in(place: _Place, term: Node) -> ValueTest:
    place.needs("in", "string", "anyURI")
    allowed = frozenset(str(item) for item in Collection(place.graph, term))
    if not allowed:
        place.refuse("expected a list of one or more values as sh:in, found none")
    return ValueTest("in", lambda value, _: value in allowed, f"one of {', '.join(sorted(allowed))}")


def _pattern(place: _Place, term: Node) -> ValueTest:
    place.needs("pattern", "string", "anyURI")
    try:
        # In XPath, whose expressions these are, `$` is the very end; Python's also allows a last newline.
        pattern = re.compile(re.sub(r"\$$", r"\\Z", str(term)))
    except re.error as error:
        place.refuse(f"expected a regular expression as sh:pattern, found {str(term)!r}: {error}")
    return ValueTest("pattern", lambda value, _: pattern.search(str(value)) is not None, f"a match of {term}")


def _min_length(place: _Place, term: Node) -> ValueTest:
    place.needs("minLength", "string", "anyURI")
    bound = _integer(place, term)
    return ValueTest("minLength", lambda value, _: len(str(value)) >= bound, f"{bound} or more characters")


def _max_length(place: _Place, term: Node) -> ValueTest:
    place.needs("maxLength", "string", "anyURI")
    bound = _integer(place, term)
    return ValueTest("maxLength", lambda value, _: len(str(value)) <= bound, f"{bound} or fewer characters")


def _min_inclusive(place: _Place, term: Node) -> ValueTest:
    place.needs("minInclusive", "integer", "decimal")
    bound = _integer(place, term)
    return ValueTest(
        "minInclusive", lambda v, _: isinstance(v, int | float) and v >= bound, f"{bound} or more"
    )


def _max_inclusive(place: _Place, term: Node) -> ValueTest:
    place.needs("maxInclusive", "integer", "decimal")
    bound = _integer(place, term)
    return ValueTest(
        "maxInclusive", lambda v, _: isinstance(v, int | float) and v <= bound, f"{bound} or less"
    )


def _integer(place: _Place, term: Node) -> int:
    value = term.toPython() if isinstance(term, Literal) else None
    if not isinstance(value, int) or isinstance(value, bool):
        place.refuse(f"expected an integer, found {term}")
    return value


#: The components understood, in the order that values are tested in.
_COMPONENTS: Mapping[Node, Callable[[_Place, Node], ValueTest]] = {
    SH.datatype: _datatype,
    SH["class"]: _class,
    SH["in"]: _in,
    SH.pattern: _pattern,
    SH.minLength: _min_length,
    SH.maxLength: _max_length,
    SH.minInclusive: _min_inclusive,
    SH.maxInclusive: _max_inclusive,
}


def is_of_datatype(value: Scalar, datatype: Datatype) -> bool:
    """Whether a Python value is one of the XSD datatype: a bool is no number, a dateTime has a zone."""
    match datatype:
        case "string" | "anyURI":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "dateTime":
            return isinstance(value, datetime) and value.utcoffset() is not None
