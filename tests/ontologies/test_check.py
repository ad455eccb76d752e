"""Parts that do not fit each other are reported, each by a finding that names it."""

from dataclasses import replace

import pytest
from rdflib import SH, Graph, Namespace

from ontologies import Ontology, load, load_authorization
from ontologies.authorization_model import AuthorizationModel, parse_dsl
from ontologies.check import check
from ontologies.loader import shapes_graph
from ontologies.modules import AUTHORIZATION_MODEL
from ontologies.ontology import Binding
from ontologies.shapes import compile_shapes

OG = Namespace("urn:orgraph:ontology:")
SHAPE = Namespace("urn:orgraph:shape:")


def problems(
    ontology: Ontology | None = None,
    model: AuthorizationModel | None = None,
    graph: Graph | None = None,
) -> list[tuple[str, str]]:
    """(term, what was expected) of each finding."""
    ontology = ontology or load()
    shapes, refused = compile_shapes(shapes_graph() if graph is None else graph, ontology)
    assert refused == ()
    return [(one.term, one.expected) for one in check(ontology, model or load_authorization(), shapes)]


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
                ("og:Gateway", "expected an authorization type 'gateway' with 'viewer', found none"),
                ("type gate", "expected the type of a class that entities may have, found no such class"),
                (
                    "binding of IN_COLLECTION to gateway#collection",
                    "expected a relation of the authorization model, found no such",
                ),
                ("gate#collection", "expected a binding that makes the tuples that it takes, found none"),
            ],
        ),
        (
            (" but not denied", " or denied"),
            [("collection#viewer", "expected it to end with 'but not denied', so that a denial wins")],
        ),
        (
            ("define denied: [person#account, group#member]", "define denied: [person#account]"),
            [
                (
                    "binding of DENIED to collection#denied",
                    "expected a user that the relation takes (person#account), found group#member",
                ),
                (
                    "binding of DENIED_VIEW to collection#denied",
                    "expected a user that the relation takes (person#account), found group#member",
                ),
            ],
        ),
    ],
)
def test_a_break_of_the_authorization_model_is_reported(
    model: tuple[str, str], expected: list[tuple[str, str]]
) -> None:
    assert problems(model=changed_model(*model)) == expected


@pytest.mark.parametrize(
    ("ontology", "expected"),
    [
        (
            rebound("MEMBER_OF", relationship="LIKES"),
            ("binding of LIKES to group#member", "expected a relationship type of the ontology, found LIKES"),
        ),
        (
            rebound("INHERITS_FROM", relation="owner"),
            (
                "binding of INHERITS_FROM to collection#owner",
                "expected a relation of the authorization model, found no such",
            ),
        ),
        (
            rebound("MEMBER_OF", object_end="start"),
            ("binding of MEMBER_OF to group#member", "expected Person at the start, found group"),
        ),
        (
            rebound("DENIED", users={"person": "account"}),
            (
                "binding of DENIED to collection#denied",
                "expected a tuple of each group at the other end, found none",
            ),
        ),
        (
            rebound("MAY_VIEW", users={"person": "account", "group": "member", "lane": ""}),
            ("binding of MAY_VIEW to collection#reader", "expected Group or Person as its user, found lane"),
        ),
        (
            rebound("HAS_ACCOUNT", users={"account": "viewer"}),
            (
                "binding of HAS_ACCOUNT to person#account",
                "expected a user that the relation takes (account), found account#viewer",
            ),
        ),
    ],
)
def test_a_break_of_a_binding_is_reported(ontology: Ontology, expected: tuple[str, str]) -> None:
    assert expected in problems(ontology=ontology)


def test_a_direct_relation_that_nothing_feeds_is_reported() -> None:
    def feeds_denied(binding: Binding) -> bool:
        return binding.relation == "denied"

    ontology = replace(load(), bindings=tuple(b for b in load().bindings if not feeds_denied(b)))
    assert problems(ontology=ontology) == [
        ("collection#denied", "expected a binding that makes the tuples that it takes, found none")
    ]


def test_a_class_without_a_shape_is_reported() -> None:
    graph = shapes_graph()
    graph.remove((SHAPE.Lane, None, None))
    assert problems(graph=graph) == [
        ("og:Lane", "expected a node shape with it as sh:targetClass, found none")
    ]


def test_a_value_that_no_shape_bounds_is_reported() -> None:
    graph = shapes_graph()
    issuer, subject = (next(graph.subjects(SH.path, OG[name])) for name in ("issuer", "subject"))
    graph.remove((issuer, SH.maxCount, None))
    graph.remove((None, SH.property, subject))
    assert problems(graph=graph) == [
        ("og:issuer on Account", "expected sh:maxCount in its shape, or og:many, found neither"),
        ("og:subject on Account", "expected a shape that tests it, found none"),
    ]


def rekeyed(name: str, **changes: object) -> Ontology:
    """The ontology with a property or relationship changed."""
    ontology = load()
    values, relationships = dict(ontology.values), dict(ontology.relationships)
    held = values if name in values else relationships
    held[name] = replace(held[name], **changes)  # type: ignore[arg-type,type-var]
    return replace(ontology, values=values, relationships=relationships)


@pytest.mark.parametrize(
    ("ontology", "expected"),
    [
        (
            rekeyed("email", identifies="decides"),
            ("og:email", "expected 'weak' or 'strong', since any source may say a value, found 'decides'"),
        ),
        (
            rekeyed("memory", identifies="weak"),
            ("og:memory", "expected a string to compare as a key, found integer"),
        ),
        (
            rekeyed("HAS_ACCOUNT", identifies="weak"),
            ("og:hasAccount", "expected a relationship that identifies to decide, found 'weak'"),
        ),
        (
            rekeyed("HAS_CONTACT_DETAILS", identifies="decides"),
            (
                "og:hasContactDetails",
                "expected a key that decides to be bound, so that only a source with a grant claims it",
            ),
        ),
        (
            rekeyed("MEMBER_OF", identifies="decides"),
            ("og:memberOf", "expected a key that decides to be an owl:InverseFunctionalProperty"),
        ),
    ],
)
def test_only_what_an_authoritative_source_says_decides_who_is_one(
    ontology: Ontology, expected: tuple[str, str]
) -> None:
    assert problems(ontology) == [expected]
