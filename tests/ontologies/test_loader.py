"""The ontology that the rooms share is the one that docs/architecture.md promises."""

import re
from pathlib import Path

import pytest
from rdflib import Graph, Namespace, URIRef

from ontologies import OntologyError, load, load_authorization
from ontologies.loader import BINDINGS, MODULES, build, modules_graph, read_bindings

OG = Namespace("urn:orgraph:ontology:")
ARCHITECTURE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_classes_are_those_of_the_architecture() -> None:
    listed = re.search(r"^Classes \(subclass in brackets\): (.*)$", ARCHITECTURE, re.MULTILINE)
    assert listed is not None
    abstract = set(re.findall(r"(\w+) \(abstract\)", listed[1])) | {"Entity"}
    classes = load().classes
    assert set(classes) == set(re.findall(r"[A-Z]\w+", listed[1])) | {"Entity"}
    assert {name for name, class_ in classes.items() if class_.abstract} == abstract


def test_the_relationships_are_those_of_the_architecture() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| (.+?) -> (.+?) \| ?(yes)? ?\|$", ARCHITECTURE, re.MULTILINE)
    expected = {
        type_: (frozenset(domain.split(", ")), frozenset(range_.split(", ")), access == "yes")
        for type_, domain, range_, access in rows
    }
    found = {r.type: (r.domain, r.range, r.access_bearing) for r in load().relationships.values()}
    assert len(expected) > 25
    assert found == expected


def test_the_values_are_those_of_the_architecture() -> None:
    paragraph = next(line for line in ARCHITECTURE.splitlines() if line.startswith("Values: "))
    listed = set(re.findall(r"`([a-zA-Z]+)`", paragraph)) - {"chat", "embedding"}
    assert set(load().values) == listed


def test_an_entity_is_labelled_with_its_class_and_all_superclasses() -> None:
    ontology = load()
    assert ontology.labels("PlanSummary") == ("PlanSummary", "Document", "Entity")
    assert ontology.class_of_type("organizational_unit").name == "OrganizationalUnit"
    assert ontology.is_a("Gateway", "ProcessStep")
    assert not ontology.is_a("Lane", "ProcessStep")


def test_a_relationship_reads_as_a_sentence_from_both_ends() -> None:
    leads = load().relationships["LEADS"]
    assert f"Ada {leads.label} Claims" == "Ada leads Claims"
    assert f"Claims {leads.inverse_label} Ada" == "Claims is led by Ada"
    assert f"Ada's {load().values['jobTitle'].label} is analyst" == "Ada's job title is analyst"


def test_every_type_with_a_place_is_bound_to_it() -> None:
    bound = {b.object_type for b in load().bindings if b.relationship == "IN_COLLECTION"}
    assert bound == set(load_authorization().types) - {"collection"}


def test_the_modules_are_aligned_by_iri_and_import_no_other_vocabulary() -> None:
    graph = modules_graph()
    assert len(MODULES) == 6
    assert all(
        str(module).startswith("urn:orgraph:")
        for module in graph.objects(None, URIRef("http://www.w3.org/2002/07/owl#imports"))
    )
    used = {str(term) for triple in graph for term in triple if isinstance(term, URIRef)}
    for vocabulary in (
        "http://www.w3.org/ns/org#",
        "http://xmlns.com/foaf/0.1/",
        "http://www.w3.org/ns/prov#",
        "http://www.w3.org/ns/dcat#",
        "http://www.w3.org/ns/odrl/2/",
        "http://www.w3.org/2004/02/skos/core#",
        "https://w3id.org/dpv#",
    ):
        assert any(term.startswith(vocabulary) for term in used), vocabulary


@pytest.mark.parametrize(
    ("turtle", "message"),
    [
        (
            "og:Robot a owl:Class ; rdfs:label 'robot'@en ; rdfs:comment 'A robot.'@en .",
            "no subclass of og:Entity",
        ),
        (
            "og:Robot a owl:Class ; rdfs:subClassOf og:Agent ; rdfs:comment 'A robot.'@en .",
            "og:Robot has 0 English",
        ),
        ("og:Entity rdfs:subClassOf og:Agent .", "is its own superclass"),
        (
            "og:age a owl:DatatypeProperty ; rdfs:range <urn:x> .",
            "og:age: its range is urn:x; write one of xsd",
        ),
        (
            "og:age a owl:DatatypeProperty ; rdfs:range xsd:integer ; rdfs:label 'age'@en .",
            "og:age has 0 rdfs:domain; write one",
        ),
        ("og:leads rdfs:domain og:Group .", "og:leads has 2 rdfs:domain; write one, or a union"),
        ("<urn:orgraph:module:mesh> owl:versionInfo '9' .", "the modules state the versions"),
    ],
)
def test_a_module_that_says_too_little_or_too_much_is_refused(turtle: str, message: str) -> None:
    prefixes = """@prefix og: <urn:orgraph:ontology:> . @prefix owl: <http://www.w3.org/2002/07/owl#> .
        @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
        @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . """
    graph = modules_graph() + Graph().parse(data=prefixes + turtle, format="turtle")
    with pytest.raises(OntologyError, match=message):
        build(graph, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('object_end = "start"', 'object_end = "middle"'),
            "bindings.toml, binding 1: object_end is 'middle'",
        ),
        (('relation = "account"', 'relations = "account"'), "binding 1: expected the keys"),
        (('users = { account = "" }', "users = {}"), "binding 1: users is {}"),
        (("[[binding]]", "[[bindings]]"), r"expected only \[\[binding\]\] tables"),
    ],
)
def test_a_binding_that_is_not_understood_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / "bindings.toml"
    path.write_text(BINDINGS.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(OntologyError, match=message):
        read_bindings(path, load_authorization())
