"""Reads the OWL modules, the shapes, the authorization model and the bindings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from rdflib import OWL, RDF, RDFS, SKOS, XSD, Graph, Literal, Namespace, URIRef
from rdflib.collection import Collection
from rdflib.term import Node

from ontologies.authorization_model import AuthorizationModel, parse_dsl
from ontologies.check import check
from ontologies.ontology import (
    ROOT,
    Binding,
    Datatype,
    Ontology,
    OntologyClass,
    RelationshipType,
    ValueProperty,
)
from ontologies.shapes import Shapes, compile_shapes

OG = Namespace("urn:orgraph:ontology:")

_FOLDER = Path(__file__).resolve().parent
#: The OWL modules and the SHACL shapes, in Turtle.
MODULES = tuple(sorted((_FOLDER / "owl").glob("*.ttl")))
SHAPES = tuple(sorted((_FOLDER / "shapes").glob("*.ttl")))
AUTHORIZATION_MODEL = _FOLDER / "authorization" / "organization.fga"
BINDINGS = _FOLDER / "authorization" / "bindings.toml"

_DATATYPES: Mapping[Node | None, Datatype] = {XSD[name]: name for name in get_args(Datatype)}


class OntologyError(Exception):
    """The ontology's files cannot be used; the message names the term or file and what was expected."""


@cache
def load() -> Ontology:
    """All modules, merged and checked. Raises OntologyError, ModelError or ShapesError."""
    ontology = build(modules_graph(), read_bindings(BINDINGS, load_authorization()))
    problems = check(ontology, load_authorization(), compile_shapes(shapes_graph(), ontology))
    if problems:
        raise OntologyError("the ontology's parts do not fit each other: " + "; ".join(problems))
    return ontology


@cache
def load_shapes() -> Shapes:
    """The shapes, compiled to check states. Raises as `load` does."""
    return compile_shapes(shapes_graph(), load())


@cache
def load_authorization() -> AuthorizationModel:
    """The authorization model. Raises ModelError."""
    return parse_dsl(AUTHORIZATION_MODEL.read_text(encoding="utf-8"), AUTHORIZATION_MODEL.name)


def modules_graph() -> Graph:
    """All OWL modules in one RDF graph."""
    return _parse(MODULES)


def shapes_graph() -> Graph:
    """All SHACL shapes in one RDF graph."""
    return _parse(SHAPES)


def build(graph: Graph, bindings: tuple[Binding, ...]) -> Ontology:
    """The values that the merged modules state. Raises OntologyError naming the term that is wrong."""
    access_bearing = {binding.relationship for binding in bindings}
    classes = {c.name: c for c in (_class(graph, node) for node in _own(graph, OWL.Class))}
    if ROOT not in classes:
        raise OntologyError(f"no module declares og:{ROOT}, the root of all classes")
    values = {v.name: v for v in (_value(graph, node) for node in _own(graph, OWL.DatatypeProperty))}
    relationships = {
        r.type: r
        for r in (_relationship(graph, node, access_bearing) for node in _own(graph, OWL.ObjectProperty))
    }
    return Ontology(_version(graph), classes, values, relationships, bindings)


def read_bindings(path: Path, model: AuthorizationModel) -> tuple[Binding, ...]:
    """The bindings; the object type `*` becomes every type of the model that has the relation."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    if set(raw) != {"binding"}:
        raise OntologyError(f"{path.name}: expected only [[binding]] tables, found {sorted(raw)}")
    bindings: list[Binding] = []
    for number, entry in enumerate(raw["binding"], start=1):
        _check_binding(f"{path.name}, binding {number}", entry)
        for object_type in _object_types(entry, model):
            bindings.append(Binding(**{**entry, "object_type": object_type}))
    return tuple(bindings)


def _check_binding(place: str, entry: Mapping[str, Any]) -> None:
    expected = set(Binding.__dataclass_fields__)
    if set(entry) != expected:
        raise OntologyError(f"{place}: expected the keys {sorted(expected)}, found {sorted(entry)}")
    if entry["object_end"] not in ("start", "end"):
        raise OntologyError(f"{place}: object_end is {entry['object_end']!r}; write 'start' or 'end'")
    if not isinstance(entry["users"], dict) or not entry["users"]:
        raise OntologyError(f"{place}: users is {entry['users']!r}; write a table from type to relation")


def _object_types(entry: Mapping[str, Any], model: AuthorizationModel) -> tuple[str, ...]:
    if entry["object_type"] != "*":
        return (entry["object_type"],)
    return tuple(name for name in model.types if model.has(name, entry["relation"]))


def _parse(paths: tuple[Path, ...]) -> Graph:
    graph = Graph()
    for path in paths:
        graph.parse(path, format="turtle")
    return graph


def _own(graph: Graph, kind: URIRef) -> list[URIRef]:
    """The terms of our own namespace that are declared as `kind`, in order of their names."""
    found = {s for s in graph.subjects(RDF.type, kind) if isinstance(s, URIRef) and s in OG}
    return sorted(found)


def _class(graph: Graph, node: URIRef) -> OntologyClass:
    name = _local_name(node)
    return OntologyClass(
        name=name,
        iri=str(node),
        label=_text(graph, node, RDFS.label),
        comment=_text(graph, node, RDFS.comment),
        superclasses=_superclasses(graph, node),
        type=_snake_case(name),
        abstract=_flag(graph, node, OG.abstract) or name == ROOT,
    )


def _value(graph: Graph, node: URIRef) -> ValueProperty:
    range_ = graph.value(node, RDFS.range)
    if range_ not in _DATATYPES:
        known = ", ".join(_DATATYPES.values())
        raise OntologyError(f"og:{_local_name(node)}: its range is {range_}; write one of xsd: {known}")
    return ValueProperty(
        name=_local_name(node),
        iri=str(node),
        label=_text(graph, node, RDFS.label),
        datatype=_DATATYPES[range_],
        many=_flag(graph, node, OG.many),
        domain=_class_names(graph, node, RDFS.domain),
        synonyms=_synonyms(graph, node),
    )


def _relationship(graph: Graph, node: URIRef, access_bearing: set[str]) -> RelationshipType:
    type_ = _snake_case(_local_name(node)).upper()
    return RelationshipType(
        type=type_,
        iri=str(node),
        label=_text(graph, node, RDFS.label),
        inverse_label=_text(graph, node, OG.inverseLabel),
        domain=_class_names(graph, node, RDFS.domain),
        range=_class_names(graph, node, RDFS.range),
        access_bearing=type_ in access_bearing,
        synonyms=_synonyms(graph, node),
    )


def _superclasses(graph: Graph, node: URIRef) -> tuple[str, ...]:
    """Our own superclasses, breadth first, the root last whatever the distance."""
    found: list[str] = []
    level = [node]
    while level:
        level = sorted(
            parent
            for child in level
            for parent in graph.objects(child, RDFS.subClassOf)
            if isinstance(parent, URIRef) and parent in OG and _local_name(parent) not in found
        )
        found += dict.fromkeys(map(_local_name, level))
    name = _local_name(node)
    if name in found:
        raise OntologyError(f"og:{name} is its own superclass; remove one of the subclass axioms")
    if name != ROOT and ROOT not in found:
        raise OntologyError(f"og:{name} is no subclass of og:{ROOT}; every class of entities is")
    return tuple(sorted(found, key=lambda ancestor: ancestor == ROOT))


def _class_names(graph: Graph, node: URIRef, predicate: URIRef) -> frozenset[str]:
    """The class, or the members of the union of classes, that a domain or range names."""
    stated = list(graph.objects(node, predicate))
    if len(stated) != 1:
        raise OntologyError(
            f"og:{_local_name(node)} has {len(stated)} rdfs:{_local_name(predicate)}; write one, or a union"
        )
    union = graph.value(stated[0], OWL.unionOf)
    members = list(Collection(graph, union)) if union is not None else stated
    for member in members:
        if not isinstance(member, URIRef) or member not in OG or (member, RDF.type, OWL.Class) not in graph:
            raise OntologyError(f"og:{_local_name(node)}: {member} is no class of the ontology; declare it")
    return frozenset(_local_name(member) for member in members)


def _text(graph: Graph, node: URIRef, predicate: URIRef) -> str:
    texts = [o for o in graph.objects(node, predicate) if isinstance(o, Literal) and o.language == "en"]
    if len(texts) != 1:
        raise OntologyError(f"og:{_local_name(node)} has {len(texts)} English {predicate}; write one")
    return str(texts[0])


def _synonyms(graph: Graph, node: URIRef) -> str:
    return ", ".join(sorted(str(o) for o in graph.objects(node, SKOS.altLabel)))


def _flag(graph: Graph, node: URIRef, predicate: URIRef) -> bool:
    return (node, predicate, Literal(True)) in graph


def _version(graph: Graph) -> str:
    versions = {str(o) for o in graph.objects(None, OWL.versionInfo)}
    if len(versions) != 1:
        raise OntologyError(f"the modules state the versions {sorted(versions)}; write the same in all")
    return versions.pop()


def _local_name(node: Node) -> str:
    return re.split(r"[:#/]", str(node))[-1]


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
