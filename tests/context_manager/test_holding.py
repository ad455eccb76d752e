"""What the process or its Neo4j may not hold is refused before it is read, and the error says what to do."""

import pytest

from context_manager.mesh_nodes import holding
from context_manager.settings import Settings
from discovery.sources import HandlingTerms, SourceConfig


def source(**fields: object) -> SourceConfig:
    return SourceConfig.model_validate({"name": "s", "connector": "sql", "collection": "c", **fields})


HERE = Settings(
    node_jurisdiction="US", node_region="us-east", node_certifications=("SOC2",), node_clearance=1
)


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({}, ""),
        ({"jurisdictions": ["US", "EU"], "certifications": ["SOC2"], "clearance": 1}, ""),
        ({"jurisdictions": ["EU"]}, "under the law of US, not of EU"),
        ({"residency": ["eu-central"]}, "stands in us-east, not in eu-central"),
        ({"certifications": ["HIPAA"]}, "not certified for HIPAA"),
        ({"clearance": 2}, "has clearance 1, not 2"),
        ({"excluded_jurisdictions": ["US"]}, "under the law of US, where US is excluded"),
        ({"excluded_silicon": ["cpu"]}, "has silicon cpu"),
        ({"excluded_owners": ["organization:x"]}, "owned by nobody knows what"),
        ({"purposes": ["care"]}, "used for nobody knows what"),
        ({"jurisdictions": []}, "no jurisdiction is permitted"),
    ],
)
def test_the_process_holds_only_what_its_source_lets_it(terms: dict[str, object], why: str) -> None:
    refusal = holding(HERE)(source(handling=terms))
    assert (refusal == "") == (why == "")
    if why:
        assert why in refusal
        assert "source 's' was not crawled" in refusal
        assert "ORGRAPH_NODE_*" in refusal
        assert "`holding`" in refusal


def test_a_neo4j_elsewhere_is_held_to_it_too() -> None:
    elsewhere = HERE.model_copy(update={"neo4j_jurisdiction": "CA"})
    american = source(handling={"jurisdictions": ["US"]})
    assert holding(HERE)(american) == ""
    refusal = holding(elsewhere)(american)
    assert "neo4j (under the law of CA, not of US)" in refusal
    assert "orgraph (" not in refusal


def test_keeping_may_be_allowed_where_processing_is_not() -> None:
    european = source(handling={"jurisdictions": ["EU"]}, holding={"jurisdictions": ["US", "EU"]})
    assert holding(HERE)(european) == ""
    assert european.handling == HandlingTerms(jurisdictions=("EU",))


def test_a_certification_that_has_ended_does_not_count() -> None:
    lapsed = HERE.model_copy(update={"node_certifications": ("HIPAA until 2020-01-01",)})
    assert "its certification for HIPAA does not hold now" in holding(lapsed)(
        source(handling={"certifications": ["HIPAA"]})
    )
