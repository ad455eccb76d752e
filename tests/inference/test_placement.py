"""No request is placed on a node that the handling of its facts forbids; a refusal says why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.handling import FORBIDDEN, UNRESTRICTED, Handling, meet_all
from inference import placement
from inference.mesh import NOT_PROBED, MeshNode, MeshSnapshot, NodeState
from inference.placement import Requirement, place

UP = NodeState(True, "", running=0, waiting=0)
DOWN = NodeState(False, "connection refused")


def node(name: str = "eu-frankfurt", **fields: object) -> MeshNode:
    declared: dict[str, object] = {
        "id": f"mesh_node:{name}",
        "name": name,
        "jurisdiction": "EU",
        "region": "eu-central",
        "certifications": frozenset({"ISO 27001", "SOC 2"}),
        "clearance": 2,
        "silicon": "CPU",
        "endpoint": "http://127.0.0.1:1",
        "models": ("smollm2",),
        "capabilities": frozenset({"chat"}),
    }
    return MeshNode(**declared | fields)  # type: ignore[arg-type]


def snapshot(*members: tuple[MeshNode, NodeState]) -> MeshSnapshot:
    return MeshSnapshot(members)


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
        *((node(name), NodeState(True, "", running=r, waiting=w)) for name, (r, w) in loads.items())
    )
    placed = place(chat(), mesh)
    assert [n.name for n in placed.candidates] == ["idle", "busy", "unknown", "flooded"]
    assert placed.node == placed.candidates[0]


@pytest.mark.parametrize(("running", "waiting"), [(None, 0), (0, None)])
def test_a_missing_figure_is_not_zero(running, waiting):
    mesh = snapshot((node("a"), NodeState(True, "", running=running, waiting=waiting)), (node("b"), UP))
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


LAWS, REGIONS, CERTIFICATIONS = ["EU", "US", "DE"], ["r1", "r2"], ["c1", "c2"]
some = st.frozensets
handlings = st.builds(
    Handling,
    st.none() | some(st.sampled_from(LAWS)),
    st.none() | some(st.sampled_from(REGIONS)),
    some(st.sampled_from(CERTIFICATIONS)),
    st.integers(0, 3),
)
states = st.builds(
    NodeState,
    st.sampled_from([True, False, None]),
    st.just("down"),
    st.none() | st.integers(0, 20),
    st.none() | st.integers(0, 20),
)
nodes = st.builds(
    node,
    st.just("x"),
    jurisdiction=st.sampled_from(LAWS),
    region=st.sampled_from(REGIONS),
    certifications=some(st.sampled_from(CERTIFICATIONS)),
    clearance=st.integers(0, 3),
    models=st.lists(st.sampled_from(["m1", "m2"]), unique=True).map(tuple),
    capabilities=some(st.sampled_from(["chat", "embedding"])),
)
meshes = st.lists(st.tuples(nodes, states), max_size=6).map(
    lambda members: snapshot(
        *((replace(n, id=f"mesh_node:{i}", name=str(i)), s) for i, (n, s) in enumerate(members))
    )
)
requirements = st.builds(
    Requirement, handlings, st.sampled_from(["chat", "embedding"]), st.none() | st.sampled_from(["m1", "m2"])
)


def permitted(requirement: Requirement, mesh: MeshSnapshot) -> set[str]:
    return {v.node_id for v in place(requirement, mesh).verdicts if v.permitted}


def oracle(requirement: Requirement, n: MeshNode) -> bool:
    """The rule in one breath, written apart from the code."""
    h = requirement.handling
    return (
        (h.jurisdictions is None or n.jurisdiction in h.jurisdictions)
        and (h.residency is None or n.region in h.residency)
        and h.certifications <= n.certifications
        and n.clearance >= h.clearance
        and requirement.capability in n.capabilities
        and len(n.models) > 0
        and (requirement.model is None or requirement.model in n.models)
    )


def check_against_oracle(requirement: Requirement, mesh: MeshSnapshot) -> None:
    placed = place(requirement, mesh)
    allowed = {n.id for n, _ in mesh.members if oracle(requirement, n)}
    live = {n.id for n, s in mesh.members if s.up is True}
    assert permitted(requirement, mesh) == allowed
    assert {n.id for n in placed.candidates} == allowed & live
    assert len(placed.verdicts) == len(mesh.members)
    assert all((v.score > 0) == (v.permitted and v.up) for v in placed.verdicts)
    assert (placed.refusal() == "") == bool(placed.candidates)


@given(requirements, meshes)
def test_placement_is_what_the_rule_says(requirement, mesh):
    check_against_oracle(requirement, mesh)


@given(requirements, handlings, meshes)
def test_one_more_fact_never_permits_another_node(requirement, added, mesh):
    stricter = replace(requirement, handling=meet_all([requirement.handling, added]))
    assert permitted(stricter, mesh) <= permitted(requirement, mesh)


@given(requirements, meshes, st.lists(states, min_size=6, max_size=6))
def test_no_state_of_the_mesh_changes_what_is_permitted(requirement, mesh, others):
    changed = snapshot(*((n, s) for (n, _), s in zip(mesh.members, others, strict=False)))
    assert permitted(requirement, changed) == permitted(requirement, mesh)


REJECTING = {
    "_jurisdiction": (chat(law("US")), node()),
    "_residency": (chat(Handling(residency=frozenset({"r9"}))), node()),
    "_certification": (chat(Handling(certifications=frozenset({"c9"}))), node()),
    "_clearance": (chat(Handling(clearance=9)), node()),
    "_capability": (Requirement(UNRESTRICTED, "embedding"), node()),
    "_model": (chat(model="m9"), node()),
}


@pytest.mark.parametrize("name", REJECTING)
def test_the_oracle_notices_a_filter_that_is_gone(name, monkeypatch):
    requirement, rejected = REJECTING[name]
    check_against_oracle(requirement, snapshot((rejected, UP)))
    monkeypatch.setattr(placement, name, lambda _: None)
    with pytest.raises(AssertionError):
        check_against_oracle(requirement, snapshot((rejected, UP)))


def test_no_filter_is_missing_from_the_list_of_mutants():
    every = Handling(frozenset(), frozenset(), frozenset({"c"}), 1)
    checks = placement.handling_checks(every) + placement.offer_checks(chat(every, "m"))
    assert len(checks) == len(REJECTING)
