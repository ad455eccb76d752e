"""The reasoner finds the ontology free of contradictions, and finds the contradictions put into it."""

import pytest
from rdflib import Graph

from ontologies.loader import modules_graph
from ontologies.reasoner import Consistency, check_consistency

PREFIXES = """
@prefix og: <urn:orgraph:ontology:> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix : <urn:example:> .
"""


def reason(turtle: str) -> Consistency:
    return check_consistency(modules_graph() + Graph().parse(data=PREFIXES + turtle, format="turtle"))


def test_the_modules_are_consistent_and_every_class_can_have_instances() -> None:
    assert check_consistency(modules_graph()) == Consistency(consistent=True, unsatisfiable=())


@pytest.mark.parametrize(
    "turtle",
    [
        pytest.param(":ada a og:Person, og:Group .", id="a person is no group"),
        pytest.param(":x a og:Table ; og:hasPassage :p .", id="only a document has passages"),
        pytest.param(
            ":a og:inCollection :b, :c . :b owl:differentFrom :c .", id="an entity is in one collection"
        ),
        pytest.param(":ada og:reportsTo :ada .", id="nobody reports to themselves"),
        pytest.param(":p a og:Passage ; og:position 'first' .", id="a position is an integer"),
        pytest.param(
            ":ada og:hasAccount :x . :bob og:hasAccount :x . :ada owl:differentFrom :bob .",
            id="an account is of one person",
        ),
    ],
)
def test_a_contradiction_among_entities_is_found(turtle: str) -> None:
    assert not reason(turtle).consistent


@pytest.mark.parametrize(
    ("turtle", "unsatisfiable"),
    [
        (":Bot a owl:Class ; rdfs:subClassOf og:Person, og:Account .", "urn:example:Bot"),
        ("og:Lane rdfs:subClassOf og:ProcessStep .", "urn:orgraph:ontology:Lane"),
    ],
)
def test_a_class_that_nothing_can_be_is_named(turtle: str, unsatisfiable: str) -> None:
    assert reason(turtle) == Consistency(consistent=True, unsatisfiable=(unsatisfiable,))
