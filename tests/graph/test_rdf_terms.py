"""Ids and values come back from RDF as they were, and what is no value of a datatype is refused."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import Literal, NamedNode
from rdflib import URIRef

from graph.claims import Scalar
from graph.rdf import terms
from ontologies.ontology import Datatype

XSD = "http://www.w3.org/2001/XMLSchema#"
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
VALUES = st.one_of(
    st.tuples(st.just("string"), TEXT),
    st.tuples(st.just("anyURI"), TEXT),
    st.tuples(st.just("boolean"), st.booleans()),
    st.tuples(st.just("integer"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("decimal"), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just("dateTime"), st.datetimes(timezones=ZONES)),
)


@settings(deadline=None)
@given(TEXT)
def test_every_id_is_an_iri_of_its_own(key: str) -> None:
    iri = terms.entity_iri(f"person:{key}").value
    assert terms.entity_id_of(iri) == f"person:{key}"
    assert URIRef(iri).n3() == f"<{iri}>"  # rdflib refuses to write what is no IRI
    assert terms.entity_id_of("https://x.example/ada") is None


@settings(deadline=None)
@given(VALUES)
def test_every_value_comes_back(drawn: tuple[Datatype, Scalar]) -> None:
    datatype, value = drawn
    found = terms.value(terms.literal(value, datatype), datatype)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "of", "datatype"),
    [
        ("seven", "integer", "integer"),
        ("7", "string", "integer"),
        ("7" * 5000, "integer", "integer"),
        ("1e3", "decimal", "decimal"),
        ("9" * 400, "decimal", "decimal"),
        ("yes", "boolean", "boolean"),
        ("2026-01-01T00:00:00", "dateTime", "dateTime"),
        ("2026-13-01T00:00:00Z", "dateTime", "dateTime"),
        ("2026-01-01", "date", "dateTime"),
    ],
)
def test_what_is_no_value_of_the_datatype_is_refused(text: str, of: str, datatype: Datatype) -> None:
    with pytest.raises(ValueError):
        terms.value(Literal(text, datatype=NamedNode(XSD + of)), datatype)


def test_a_text_with_a_language_is_no_plain_text() -> None:
    with pytest.raises(ValueError, match="expected a literal of xsd:string, found 'Ada' of en"):
        terms.value(Literal("Ada", language="en"), "string")
    assert terms.value(Literal("2026-01-01T00:00:00Z", datatype=NamedNode(XSD + "dateTime")), "dateTime") == (
        datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert math.isclose(float(terms.literal(1e-7, "decimal").value), 1e-7)
    assert terms.literal(1e-7, "decimal").value == "0.0000001"
