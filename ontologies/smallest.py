"""The smallest instances of the shapes, which must not contradict the axioms: HermiT is asked.

Of every class that entities may have: one with only what its shapes require, and one more for each
path that they allow, with one value at it. Each is asked for as a class, so that one run of the
reasoner names all that nothing can be an instance of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rdflib import OWL, RDF, RDFS, XSD, Graph, Literal, URIRef
from rdflib.term import BNode, Node

from ontologies.finding import Finding
from ontologies.modules import shown
from ontologies.ontology import Datatype, Ontology
from ontologies.reasoner import ReasonerError, check_consistency
from ontologies.shapes import PropertyShape, Shapes

Triple = tuple[Node, Node, Node]

_VALUES: Mapping[Datatype, Sequence[str]] = {
    "string": ("a", "b", "c"),
    "anyURI": ("urn:a", "urn:b", "urn:c"),
    "integer": ("1", "2", "3"),
    "decimal": ("1.5", "2.5", "3.5"),
    "boolean": ("true", "false"),
    "dateTime": ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
}


@dataclass(frozen=True, slots=True)
class Instance:
    """A class of entities of which the smallest instance is asked for, and where it comes from."""

    iri: str
    of: str
    """IRI of the class of the ontology."""
    shape: str
    """IRI of the node shape."""
    path: str
    """The path that has a value beyond what is required; empty for the smallest of all."""
    axioms: tuple[Triple, ...]


def contradictions(
    axioms: Graph, ontology: Ontology, shapes: Shapes, where: Mapping[str, str]
) -> list[Finding]:
    """What the reasoner finds against the axioms, or against them and the smallest instances."""
    instances = {one.iri: one for one in smallest_instances(ontology, shapes)}
    graph = Graph()
    graph += axioms
    for instance in instances.values():
        for triple in instance.axioms:
            graph.add(triple)
    try:
        found = check_consistency(graph)
    except ReasonerError as error:
        expected = f"expected OWL 2 DL, found what HermiT refuses: {error}"
        return [Finding("", "", expected, "correct the axiom that it names")]
    if not found.consistent:
        expected = "expected axioms that do not contradict each other, found a contradiction"
        return [Finding("", "", expected, "remove the newest axioms until it is gone")]
    impossible = [iri for iri in found.unsatisfiable if iri not in instances]
    culprits = [instances[iri] for iri in found.unsatisfiable if iri in instances]
    empty = {*impossible, *(one.of for one in culprits if not one.path)}
    return [
        *(
            Finding(
                where.get(iri, ""),
                shown(iri),
                "expected that something can be of the class, found that nothing can",
                "remove one of its superclasses or of its disjointness axioms",
            )
            for iri in impossible
        ),
        *(
            Finding(
                where.get(one.shape, ""),
                shown(one.shape) + (f", path {one.path}" if one.path else ""),
                f"expected that the smallest {shown(one.of)} can be, found a contradiction",
                "make the shape and the axioms agree",
            )
            for one in culprits
            if one.of not in impossible and (not one.path or one.of not in empty)
        ),
    ]


def smallest_instances(ontology: Ontology, shapes: Shapes) -> Iterator[Instance]:
    """By class, the barest first. Their IRIs are in `urn:orgraph:example:`."""
    for class_ in ontology.classes.values():
        if class_.abstract:
            continue
        asked: dict[str, list[PropertyShape]] = {}
        for shape in shapes.by_class[class_.name]:
            asked.setdefault(shape.path, []).append(shape)
        required = {path for path, its in asked.items() if any(shape.min_count for shape in its)}
        for path in ("", *(path for path in asked if path not in required)):
            its = asked[path] if path else shapes.by_class[class_.name]
            node = URIRef(f"urn:orgraph:example:{class_.name}.{path}")
            axioms: list[Triple] = [
                (node, RDF.type, OWL.Class),
                (node, RDFS.subClassOf, URIRef(class_.iri)),
            ]
            for name in sorted({path, *required} - {""}):
                axioms += _has(ontology, node, name, asked[name])
            yield Instance(str(node), class_.iri, its[0].shape if its else class_.iri, path, tuple(axioms))


def _has(ontology: Ontology, node: URIRef, path: str, shapes: Sequence[PropertyShape]) -> Iterator[Triple]:
    """That it has as many values at the path as the shapes ask for, one at least."""
    count = max(shape.min_count for shape in shapes)
    if path in ontology.values:
        value = ontology.values[path]
        for text in _VALUES[value.datatype][: max(1, count)]:
            literal = Literal(text, datatype=XSD[value.datatype])
            yield from _restricted(node, value.iri, [(OWL.hasValue, literal)])
        return
    relationship = ontology.relationships[path]
    for name in {shape.end_class for shape in shapes if shape.end_class} or {min(relationship.range)}:
        end = URIRef(ontology.classes[name].iri)
        yield from _restricted(node, relationship.iri, [(OWL.someValuesFrom, end)])
        if count > 1:
            least = Literal(count, datatype=XSD.nonNegativeInteger)
            constraint = [(OWL.minQualifiedCardinality, least), (OWL.onClass, end)]
            yield from _restricted(node, relationship.iri, constraint)


def _restricted(node: URIRef, property_iri: str, constraint: Sequence[tuple[Node, Node]]) -> Iterator[Triple]:
    restriction = BNode()
    yield restriction, RDF.type, OWL.Restriction
    yield restriction, OWL.onProperty, URIRef(property_iri)
    for predicate, value in constraint:
        yield restriction, predicate, value
    yield node, RDFS.subClassOf, restriction
