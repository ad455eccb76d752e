"""The ontology that the rooms share is the one that docs/architecture.md promises."""

import re
from pathlib import Path

from rdflib import URIRef

from ontologies import load, load_authorization
from ontologies.loader import modules_graph
from ontologies.modules import MODULES

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
    assert len(MODULES) == 8
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


def test_every_module_states_its_version() -> None:
    modules = load().modules
    assert {one.iri.rpartition(":")[2] for one in modules} == {
        *("organization", "people", "access", "data", "process", "policy", "provenance", "mesh")
    }
    for one in modules:
        assert re.fullmatch(r"\d+\.\d+\.\d+", one.version)
        assert one.version_iri == f"{one.iri}:{one.version}"


def test_what_follows_from_a_relationship_is_read_from_the_axioms() -> None:
    relationships = load().relationships
    assert relationships["UNIT_OF"].broader == {"PART_OF"}
    assert relationships["PART_OF"].transitive
    assert {one.type for one in relationships.values() if one.acyclic} == {
        *("SUBGROUP_OF", "UNIT_OF", "REPORTS_TO", "INHERITS_FROM")
    }
