"""No request is placed on a node that the handling of its facts forbids; a refusal says why."""

from datetime import UTC, datetime

import pytest

from graph.handling import FORBIDDEN, UNRESTRICTED, Handling
from inference.mesh import MeshSnapshot, snapshot_of
from inference.nodes import NOT_PROBED, Load, MeshNode, NodeState, Status, certifications
from inference.placement import place
from inference.requirement import Requirement

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
UP = NodeState(Status.READY, "", Load(0, 0))
DOWN = NodeState(Status.DOWN, "connection refused")


def node(name: str = "eu-frankfurt", **fields: object) -> MeshNode:
    declared: dict[str, object] = {
        "id": f"mesh_node:{name}",
        "name": name,
        "jurisdiction": "EU",
        "region": "eu-central",
        "certifications": certifications("ISO 27001", "SOC 2"),
        "clearance": 2,
        "silicon": "CPU",
        "endpoint": "http://127.0.0.1:1",
        "models": ("smollm2",),
        "capabilities": frozenset({"chat"}),
    }
    return MeshNode(**declared | fields)  # type: ignore[arg-type]


def snapshot(*members: tuple[MeshNode, NodeState]) -> MeshSnapshot:
    return snapshot_of(members, NOW)


def chat(handling: Handling = UNRESTRICTED, model: str | None = None) -> Requirement:
    return Requirement(handling, "chat", model)


def law(*codes: str) -> Handling:
    return Handling(jurisdictions=frozenset(codes))


@pytest.mark.parametrize(
    ("handling", "permitted", "reason"),
    [
        (UNRESTRICTED, True, None),
        (FORBIDDEN, False, "no jurisdiction is permitted"),
        (law("EU"), True, None),
        (law("US", "EU"), True, None),
        (law("US"), False, "under the law of EU, not of US"),
        (law("eu"), False, "under the law of EU, not of eu"),
        (Handling(residency=frozenset({"eu-central"})), True, None),
        (Handling(residency=frozenset({"eu-west"})), False, "stands in eu-central, not in eu-west"),
        (Handling(residency=frozenset()), False, "no region is permitted"),
        (Handling(certifications=frozenset({"SOC 2"})), True, None),
        (Handling(certifications=frozenset({"SOC 2", "ISO 27001"})), True, None),
        (Handling(certifications=frozenset({"SOC 2", "HITRUST"})), False, "not certified for HITRUST"),
        (Handling(clearance=2), True, None),
        (Handling(clearance=3), False, "has clearance 2, not 3"),
    ],
)
def test_each_dimension_of_handling_is_a_hard_filter(handling, permitted, reason):
    placed = place(chat(handling), snapshot((node(), UP)))
    [verdict] = placed.verdicts
    assert verdict.permitted is permitted
    assert (placed.node is not None) is permitted
    if reason is not None:
        assert any(r.startswith(reason) for r in verdict.reasons)


@pytest.mark.parametrize(
    ("fields", "model", "reason"),
    [
        ({"capabilities": frozenset({"embedding"})}, None, "does not offer chat"),
        ({"capabilities": frozenset()}, None, "does not offer chat"),
        ({"models": ()}, None, "serves no model"),
        ({}, "granite", "does not serve the model granite"),
    ],
)
def test_a_node_without_the_capability_or_the_model_is_not_permitted(fields, model, reason):
    placed = place(chat(model=model), snapshot((node(**fields), UP)))
    assert placed.node is None
    assert placed.verdicts[0].reasons == (reason,)


@pytest.mark.parametrize("state", [DOWN, NOT_PROBED])
def test_what_is_not_known_to_be_up_gets_nothing(state):
    placed = place(chat(), snapshot((node(), state)))
    assert placed.node is None
    assert placed.verdicts[0].permitted
    assert placed.verdicts[0].reasons == (state.why,)


def test_a_forbidden_node_is_not_taken_however_idle_when_the_permitted_one_is_down():
    mesh = snapshot((node("us-east", jurisdiction="US"), UP), (node(), DOWN))
    assert place(chat(law("EU")), mesh).node is None


def test_the_less_loaded_node_is_taken_and_unknown_load_counts_as_busy():
    loads = {"idle": (0, 0), "busy": (3, 1), "unknown": (None, None), "flooded": (8, 30)}
    mesh = snapshot(
        *((node(name), NodeState(Status.READY, "", Load(r, w))) for name, (r, w) in loads.items())
    )
    placed = place(chat(), mesh)
    assert [n.name for n in placed.candidates] == ["idle", "busy", "unknown", "flooded"]
    assert placed.node == placed.candidates[0]


@pytest.mark.parametrize(("running", "waiting"), [(None, 0), (0, None)])
def test_a_missing_figure_is_not_zero(running, waiting):
    mesh = snapshot((node("a"), NodeState(Status.READY, "", Load(running, waiting))), (node("b"), UP))
    assert place(chat(), mesh).candidates[0].name == "b"


def test_equal_nodes_are_ordered_by_id_whatever_the_order_of_the_mesh():
    members = [(node("b"), UP), (node("a"), UP)]
    for order in (members, members[::-1]):
        assert [n.name for n in place(chat(), snapshot(*order)).candidates] == ["a", "b"]


def test_a_refusal_names_the_unmet_requirement_and_the_permitted_node_that_is_down():
    mesh = snapshot((node("us-east", jurisdiction="US"), UP), (node(), DOWN))
    assert place(chat(law("EU")), mesh).refusal() == (
        "No live node that offers chat is under the law of EU. "
        "The only permitted node, eu-frankfurt, is down: connection refused."
    )


def test_a_requirement_is_not_met_by_a_live_node_that_offers_something_else():
    embeds = node("orgraph", capabilities=frozenset({"embedding"}))
    mesh = snapshot((embeds, UP), (node("us-east", jurisdiction="US", clearance=1), UP), (node(), DOWN))
    assert place(chat(Handling(law("EU").jurisdictions, clearance=2)), mesh).refusal() == (
        "No live node that offers chat is under the law of EU, and none has clearance 2. "
        "The only permitted node, eu-frankfurt, is down: connection refused."
    )


def test_a_refusal_says_when_no_live_node_offers_what_is_needed():
    mesh = snapshot((node("orgraph", capabilities=frozenset({"embedding"})), UP), (node(), DOWN))
    assert place(chat(law("EU"), "smollm2"), mesh).refusal() == (
        "There is no live node that offers chat and serves the model smollm2. "
        "The only permitted node, eu-frankfurt, is down: connection refused."
    )


def test_a_refusal_names_all_permitted_nodes_that_are_down():
    mesh = snapshot((node("a"), DOWN), (node("b"), NOT_PROBED))
    text = place(chat(law("EU")), mesh).refusal()
    assert text.endswith("All permitted nodes are down: a (connection refused); b (not probed yet).")


def test_a_refusal_says_of_each_node_why_it_is_not_permitted():
    mesh = snapshot((node("us-east", jurisdiction="US"), UP), (node("cheap", clearance=0), UP))
    text = place(chat(Handling(law("EU").jurisdictions, clearance=2)), mesh).refusal()
    assert text == (
        "No single live node that offers chat is under the law of EU and has clearance 2. "
        "No node is permitted: us-east (under the law of US, not of EU); cheap (has clearance 0, not 2)."
    )


def test_facts_that_nobody_may_process_are_refused_and_it_says_so():
    assert place(chat(FORBIDDEN), snapshot((node(), UP))).refusal() == (
        "No live node that offers chat may process these facts, whose handling permits no jurisdiction. "
        "No node is permitted: eu-frankfurt (no jurisdiction is permitted)."
    )


def test_an_empty_mesh_is_refused():
    assert place(chat(), snapshot()).refusal() == (
        "There is no live node that offers chat and serves any model. The mesh has no nodes."
    )


def test_a_placed_request_has_no_refusal():
    assert place(chat(), snapshot((node(), UP))).refusal() == ""


def test_a_refusal_names_no_node_that_the_asker_may_not_see_and_still_says_what_is_not_met():
    mesh = snapshot((node("us-east", jurisdiction="US"), UP), (node(), DOWN))
    placed = place(chat(law("EU")), mesh)
    unmet = "No live node that offers chat is under the law of EU."
    assert placed.refusal(frozenset()) == unmet
    seen = placed.refusal({"mesh_node:us-east"})
    assert seen == f"{unmet} Of the nodes that you may see: us-east (under the law of US, not of EU)."
    assert "frankfurt" not in seen
    assert placed.refusal({"mesh_node:eu-frankfurt"}) == (
        f"{unmet} Of the nodes that you may see: eu-frankfurt (connection refused)."
    )
