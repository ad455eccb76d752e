"""Parts that do not fit each other are reported, each by a sentence that names it."""

from dataclasses import replace

import pytest
from rdflib import SH, Graph, Namespace

from ontologies import Ontology, load, load_authorization
from ontologies.authorization_model import AuthorizationModel, parse_dsl
from ontologies.check import check
from ontologies.loader import AUTHORIZATION_MODEL, shapes_graph
from ontologies.ontology import Binding
from ontologies.shapes import compile_shapes

OG = Namespace("urn:orgraph:ontology:")
SHAPE = Namespace("urn:orgraph:shape:")


def problems(
    ontology: Ontology | None = None,
    model: AuthorizationModel | None = None,
    graph: Graph | None = None,
) -> list[str]:
    ontology = ontology or load()
    shapes = compile_shapes(shapes_graph() if graph is None else graph, ontology)
    return check(ontology, model or load_authorization(), shapes)


def changed_model(old: str, new: str) -> AuthorizationModel:
    text = AUTHORIZATION_MODEL.read_text(encoding="utf-8")
    assert old in text
    return parse_dsl(text.replace(old, new))


def rebound(of: str, **changes: object) -> Ontology:
    """The ontology with the first binding of the relationship changed."""
    bindings = list(load().bindings)
    index = next(i for i, binding in enumerate(bindings) if binding.relationship == of)
    bindings[index] = replace(bindings[index], **changes)  # type: ignore[arg-type]
    return replace(load(), bindings=tuple(bindings))


def test_what_we_publish_fits() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            ("type gateway\n  relations\n", "type gate\n  relations\n"),
            [
                "class Gateway: define the authorization type 'gateway' with 'viewer'",
                "authorization type 'gate': no class that entities may have is named so; remove it",
                "binding of IN_COLLECTION to gateway#collection: the model has no such relation; define it",
                "gate#collection takes tuples that no binding makes; bind or remove it",
            ],
        ),
        (
            (" but not denied", " or denied"),
            ["collection#viewer: end it with 'but not denied', so that a denial wins"],
        ),
        (
            ("define denied: [person#account, group#member]", "define denied: [person#account]"),
            ["binding of DENIED to collection#denied: the relation takes person#account, not group#member"],
        ),
    ],
)
def test_a_break_of_the_authorization_model_is_reported(model: tuple[str, str], expected: list[str]) -> None:
    assert problems(model=changed_model(*model)) == expected


@pytest.mark.parametrize(
    ("ontology", "expected"),
    [
        (
            rebound("MEMBER_OF", relationship="LIKES"),
            "binding of LIKES to group#member: name a relationship type of the ontology",
        ),
        (
            rebound("INHERITS_FROM", relation="owner"),
            "binding of INHERITS_FROM to collection#owner: the model has no such relation; define it",
        ),
        (
            rebound("MEMBER_OF", object_end="start"),
            "binding of MEMBER_OF to group#member: its object is at the start, where Person is expected",
        ),
        (
            rebound("DENIED", users={"person": "account"}),
            "binding of DENIED to collection#denied: a group at the other end would make no tuple; "
            "list it in users",
        ),
        (
            rebound("MAY_VIEW", users={"person": "account", "group": "member", "lane": ""}),
            "binding of MAY_VIEW to collection#reader: its user is a lane, where Group or Person is expected",
        ),
        (
            rebound("HAS_ACCOUNT", users={"account": "viewer"}),
            "binding of HAS_ACCOUNT to person#account: the relation takes account, not account#viewer",
        ),
    ],
)
def test_a_break_of_a_binding_is_reported(ontology: Ontology, expected: str) -> None:
    assert expected in problems(ontology=ontology)


def test_a_direct_relation_that_nothing_feeds_is_reported() -> None:
    def feeds_denied(binding: Binding) -> bool:
        return binding.relation == "denied"

    ontology = replace(load(), bindings=tuple(b for b in load().bindings if not feeds_denied(b)))
    assert problems(ontology=ontology) == [
        "collection#denied takes tuples that no binding makes; bind or remove it"
    ]


def test_a_class_without_a_shape_is_reported() -> None:
    graph = shapes_graph()
    graph.remove((SHAPE.Lane, None, None))
    assert problems(graph=graph) == ["class Lane: write a node shape with it as sh:targetClass"]


def test_a_value_that_no_shape_bounds_is_reported() -> None:
    graph = shapes_graph()
    issuer, subject = (next(graph.subjects(SH.path, OG[name])) for name in ("issuer", "subject"))
    graph.remove((issuer, SH.maxCount, None))
    graph.remove((None, SH.property, subject))
    assert problems(graph=graph) == [
        "value issuer on Account: write sh:maxCount in its shape or og:many",
        "value subject on Account: no shape tests it; write a property shape",
    ]
