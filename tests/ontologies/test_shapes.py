"""The compiled shapes say what SHACL says, and the gate rules what SHACL leaves open."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyshacl import validate
from rdflib import RDF, SH, Graph, Literal, Namespace, URIRef

from ontologies import EntityState, load, load_shapes
from ontologies.loader import modules_graph, shapes_graph
from ontologies.ontology import Datatype
from ontologies.shapes import Scalar, Value, compile_shapes, is_of_datatype

OG = Namespace("urn:orgraph:ontology:")
XSD = "http://www.w3.org/2001/XMLSchema#"
ONTOLOGY, MODULES, SHAPES = load(), modules_graph(), shapes_graph()
CONCRETE = sorted(name for name, class_ in ONTOLOGY.classes.items() if not class_.abstract)


def broken(
    class_name: str,
    values: Mapping[str, Value] | None = None,
    relationships: Mapping[str, tuple[str, ...]] | None = None,
    **classes: str,
) -> set[tuple[str, str, str]]:
    """(shape or rule, path, constraint) of what an entity breaks; `x="Group"` makes `group:x` a Group."""
    ids = {f"{ONTOLOGY.classes[name].type}:{key}": name for key, name in classes.items()}
    type_ = ONTOLOGY.classes[class_name].type
    state = EntityState(f"{type_}:it", class_name, {"name": "It", **(values or {})}, relationships or {})
    found = load_shapes().check([state], {**ids, state.id: class_name})
    assert all(violation.entity == state.id for violation in found)
    return {(v.shape.removeprefix("urn:orgraph:shape:"), v.path, v.constraint) for v in found}


# Agreement with pySHACL.

SAMPLES: tuple[Scalar, ...] = (
    *(
        "",
        " ",
        "Ada",
        "ada@example.org",
        "keycloak",
        "a/b",
        "US",
        "US-CA",
        "USA",
        "de",
        "EUR",
        "chat",
        "embedding",
    ),
    *("1815-12-10", "1815-13-10", "https://example.org/a", "javascript:alert(1)", "x" * 300, "x" * 1001),
    *(-1, 0, 1, 2, True, False, 0.0, 2.5),
    *(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))),
)
SCALARS = st.sampled_from(SAMPLES)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3).map(tuple))


@st.composite
def states(draw: st.DrawFn) -> list[EntityState]:
    """Entities of any classes with any values and relationships that their classes may carry."""
    drawn = draw(st.lists(st.sampled_from(CONCRETE), min_size=1, max_size=8))
    ids = [f"{ONTOLOGY.classes[name].type}:{number}" for number, name in enumerate(drawn)]
    result = []
    for id_, name in zip(ids, drawn, strict=True):
        labels = set(ONTOLOGY.labels(name))
        carried = sorted(value.name for value in ONTOLOGY.values.values() if labels & value.domain)
        types = sorted(r.type for r in ONTOLOGY.relationships.values() if labels & r.domain)
        ends = st.lists(st.sampled_from(ids), max_size=3).map(tuple)
        result.append(
            EntityState(
                id_,
                name,
                draw(st.dictionaries(st.sampled_from(carried), VALUES, max_size=6)),
                draw(st.dictionaries(st.sampled_from(types), ends, max_size=4)),
            )
        )
    return result


def literal(value: Scalar, property_name: str) -> Literal:
    if isinstance(value, str) and ONTOLOGY.values[property_name].datatype == "anyURI":
        return Literal(value, datatype=URIRef(XSD + "anyURI"))
    if isinstance(value, float):
        return Literal(repr(value), datatype=URIRef(XSD + "decimal"))
    return Literal(value)


def data_graph(entities: list[EntityState]) -> Graph:
    graph = Graph()
    for state in entities:
        node = URIRef(f"urn:data:{state.id}")
        graph.add((node, RDF.type, OG[state.class_name]))
        for name, value in state.values.items():
            for item in value if isinstance(value, tuple) else (value,):
                graph.add((node, OG[name], literal(item, name)))
        for type_, ends in state.relationships.items():
            for end in ends:
                graph.add((node, URIRef(ONTOLOGY.relationships[type_].iri), URIRef(f"urn:data:{end}")))
    return graph


def by_pyshacl(entities: list[EntityState]) -> set[tuple[str, str, str, str]]:
    """(entity, node shape, path, constraint) of each of pySHACL's results."""
    _, report, _ = validate(data_graph(entities), shacl_graph=SHAPES, ont_graph=MODULES)
    types = {r.iri: r.type for r in ONTOLOGY.relationships.values()}
    found = set()
    for result in report.subjects(RDF.type, SH.ValidationResult):
        path = str(report.value(result, SH.resultPath))
        component = str(report.value(result, SH.sourceConstraintComponent))
        component = component.removeprefix(str(SH)).removesuffix("ConstraintComponent")
        found.add(
            (
                str(report.value(result, SH.focusNode)).removeprefix("urn:data:"),
                str(SHAPES.value(predicate=SH.property, object=report.value(result, SH.sourceShape))),
                types.get(path, path.removeprefix(str(OG))),
                component[0].lower() + component[1:],
            )
        )
    return found


def assert_agreement(entities: list[EntityState]) -> None:
    classes = {state.id: state.class_name for state in entities}
    ours = {
        (v.entity, v.shape, v.path, v.constraint)
        for v in load_shapes().check(entities, classes)
        if not v.shape.startswith("og:")
    }
    # Of a value of the wrong datatype we say only that; SHACL goes on to its other constraints.
    theirs = by_pyshacl(entities)
    wrong = {found[:3] for found in theirs if found[3] == "datatype"}
    assert {f for f in ours if f[:3] not in wrong} == {f for f in theirs if f[:3] not in wrong}
    assert {f[:3] for f in ours} == {f[:3] for f in theirs}


@settings(max_examples=30, deadline=None, derandomize=True)
@given(states())
def test_the_compiled_shapes_agree_with_pyshacl_on_generated_entities(entities: list[EntityState]) -> None:
    assert_agreement(entities)


def test_the_compiled_shapes_agree_with_pyshacl_on_every_property_and_sample() -> None:
    """One entity for each value property, each class of its domain (what is below an abstract one), and
    each sample."""
    assert_agreement(
        [
            EntityState(f"{ONTOLOGY.classes[name].type}:{prop}-{number}", name, {prop: sample}, {})
            for prop, value in ONTOLOGY.values.items()
            for domain in (value.domain - {"Entity"} or {"Lane"})
            for name in (
                [c for c in CONCRETE if ONTOLOGY.is_a(c, domain)]
                if ONTOLOGY.classes[domain].abstract
                else [domain]
            )
            for number, sample in enumerate(SAMPLES)
        ]
    )


# What the shapes promise, one by one.


@pytest.mark.parametrize(
    ("class_name", "values", "expected"),
    [
        ("Person", {"name": " "}, ("Entity", "name", "pattern")),
        ("Person", {"name": ("Ada", "Augusta")}, ("Entity", "name", "maxCount")),
        ("Person", {"name": ()}, ("Entity", "name", "minCount")),
        ("Person", {"email": "nobody"}, ("Person", "email", "pattern")),
        ("Person", {"email": "ada@example.org\n"}, ("Person", "email", "pattern")),
        ("Person", {"url": "javascript:alert(1)"}, ("Entity", "url", "pattern")),
        ("Passage", {"text": "x"}, ("Passage", "position", "minCount")),
        ("Passage", {"text": "x", "position": True}, ("Passage", "position", "datatype")),
        ("Passage", {"text": "x", "position": 1.0}, ("Passage", "position", "datatype")),
        ("Passage", {"text": "x", "position": 0, "page": 0}, ("Passage", "page", "minInclusive")),
        ("Account", {"issuer": "sample"}, ("Account", "subject", "minCount")),
        ("Account", {"issuer": "a/b", "subject": "ada"}, ("Account", "issuer", "pattern")),
        ("Account", {"issuer": "a", "subject": "b", "disabled": "no"}, ("Account", "disabled", "datatype")),
        ("MeshNode", {}, ("MeshNode", "jurisdiction", "minCount")),
        ("MeshNode", {"jurisdiction": ("US", "EU")}, ("MeshNode", "jurisdiction", "maxCount")),
        (
            "MeshNode",
            {"jurisdiction": "US", "capability": ("chat", "vote")},
            ("MeshNode", "capability", "in"),
        ),
        ("HandlingRule", {"clearance": -1}, ("HandlingRule", "clearance", "minInclusive")),
        ("Policy", {"effectiveFrom": datetime(2026, 1, 1)}, ("Document", "effectiveFrom", "datatype")),
        ("Policy", {"effectiveFrom": "2026-01-01"}, ("Document", "effectiveFrom", "datatype")),
        ("Person", {"shoeSize": 9}, ("og:unknownProperty", "shoeSize", "og:unknownProperty")),
        ("Person", {"annualSalary": 9}, ("og:domain", "annualSalary", "og:domain")),
    ],
)
def test_a_value_that_does_not_fit_is_reported(
    class_name: str, values: Mapping[str, Value], expected: tuple[str, str, str]
) -> None:
    assert broken(class_name, values) == {expected}


@pytest.mark.parametrize(
    ("class_name", "relationships", "expected"),
    [
        (
            "Person",
            {"IN_COLLECTION": ("collection:a", "collection:b")},
            ("Entity", "IN_COLLECTION", "maxCount"),
        ),
        ("Group", {"MEMBER_OF": ("group:g",)}, ("og:domain", "MEMBER_OF", "og:domain")),
        ("OrganizationalUnit", {"UNIT_OF": ("group:g",)}, ("og:range", "UNIT_OF", "og:range")),
        ("Person", {"LIKES": ("group:g",)}, ("og:unknownProperty", "LIKES", "og:unknownProperty")),
    ],
)
def test_a_relationship_that_does_not_fit_is_reported(
    class_name: str, relationships: Mapping[str, tuple[str, ...]], expected: tuple[str, str, str]
) -> None:
    assert broken(class_name, None, relationships, a="Collection", b="Collection", g="Group") == {expected}


def test_what_fits_passes() -> None:
    assert (
        broken("Person", {"accountName": ("ada", "ada-l")}, {"MEMBER_OF": ("group:g",)}, g="Group") == set()
    )
    assert broken("Activity", None, {"FOLLOWED_BY": ("gateway:x",)}, x="Gateway") == set()
    assert broken("Policy", {"effectiveFrom": datetime(2026, 1, 1, tzinfo=UTC)}) == set()


def test_a_relationship_whose_end_is_not_known_yet_is_pending() -> None:
    assert broken("Person", None, {"MEMBER_OF": ("group:later",)}) == set()


@pytest.mark.parametrize(
    ("id_", "class_name", "rule"),
    [
        ("robot:r", "Robot", "og:unknownClass"),
        ("agent:a", "Agent", "og:abstractClass"),
        ("person:ada", "Document", "og:idType"),
        ("person", "Person", "og:idType"),
    ],
)
def test_an_entity_of_no_class_or_of_another_than_its_id_says_is_refused(
    id_: str, class_name: str, rule: str
) -> None:
    found = load_shapes().check([EntityState(id_, class_name, {"name": "It"}, {})], {})
    assert [(v.entity, v.shape) for v in found] == [(id_, rule)]


def test_a_message_says_what_was_expected_and_found() -> None:
    state = EntityState("person:ada", "Person", {"name": "Ada", "email": "nobody"}, {})
    (violation,) = load_shapes().check([state], {})
    assert violation.message == r"expected a match of ^[^@\s]+@[^@\s]+$"
    assert violation.value == "'nobody'"


@pytest.mark.parametrize(
    ("value", "datatype", "fits"),
    [
        ("x", "string", True),
        (1, "integer", True),
        (True, "integer", False),
        (1, "decimal", True),
        (1.5, "decimal", True),
        (float("nan"), "decimal", False),
        (False, "boolean", True),
        (0, "boolean", False),
        (datetime(2026, 1, 1, tzinfo=UTC), "dateTime", True),
        (datetime(2026, 1, 1), "dateTime", False),
        ("https://example.org", "anyURI", True),
    ],
)
def test_python_values_have_xsd_datatypes(value: Scalar, datatype: Datatype, fits: bool) -> None:
    assert is_of_datatype(value, datatype) is fits


@pytest.mark.parametrize(
    ("turtle", "message"),
    [
        ("shape:Person sh:closed true .", "closed"),
        ("shape:X a sh:NodeShape ; sh:targetSubjectsOf og:name .", "targetSubjectsOf"),
        ("shape:X a sh:NodeShape ; sh:targetClass og:Robot .", "expected classes of the ontology"),
        (
            "shape:Lane sh:property [ sh:path og:age ; sh:datatype xsd:string ] .",
            "expected a property of the ontology",
        ),
        ("shape:Lane sh:property [ sh:path og:path ; sh:minCount 1 ] .", "expected sh:datatype"),
        ("shape:Lane sh:property [ sh:path og:path ; sh:datatype xsd:integer ] .", "expected the range"),
        (
            "shape:Lane sh:property [ sh:path og:path ; sh:datatype xsd:string ; sh:uniqueLang true ] .",
            "uniqueLang",
        ),
        (
            "shape:Lane sh:property [ sh:path og:path ; sh:datatype xsd:string ; sh:maxCount 1, 2 ] .",
            "maxCount once",
        ),
        (
            "shape:Lane sh:property [ sh:path og:path ; sh:datatype xsd:string ; sh:minInclusive 1 ] .",
            "sh:minInclusive only on values of integer or decimal",
        ),
        (
            "shape:Lane sh:property [ sh:path og:path ; sh:datatype xsd:string ; sh:pattern '(' ] .",
            "a regular expression",
        ),
        (
            "shape:Lane sh:property [ sh:path og:owns ; sh:class og:Robot ] .",
            "naming a class of the ontology",
        ),
        (
            "shape:Lane sh:property [ sh:path og:owns ; sh:maxCount true ] .",
            "expected an integer, found true",
        ),
        (
            "shape:Lane sh:property [ sh:path og:path ; sh:datatype xsd:string ; "
            "sh:minLength 3 ; sh:maxLength 2 ] .",
            "some value to meet both",
        ),
    ],
)
def test_a_constraint_that_is_not_understood_is_refused(turtle: str, message: str) -> None:
    prefixes = """@prefix og: <urn:orgraph:ontology:> . @prefix sh: <http://www.w3.org/ns/shacl#> .
        @prefix shape: <urn:orgraph:shape:> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . """
    graph = shapes_graph() + Graph().parse(data=prefixes + turtle, format="turtle")
    _, (problem,) = compile_shapes(graph, ONTOLOGY)
    assert problem.shape in ("urn:orgraph:shape:Person", "urn:orgraph:shape:Lane", "urn:orgraph:shape:X")
    assert re.search(message, problem.expected), problem
