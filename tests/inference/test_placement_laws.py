"""Laws that hold of every placement, on random meshes; the oracle is written apart from the code."""

import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graph.handling import meet_all
from inference.mesh import MeshSnapshot
from inference.nodes import Status
from inference.placement import place
from inference.replay import moment_record, nodes_record, replay, requirement_record
from inference.requirement import Requirement
from tests.inference.meshes import NOW, allowed, handlings, mesh_of, meshes, requirements, states


def permitted(requirement: Requirement, mesh: MeshSnapshot) -> frozenset[str]:
    return place(requirement, mesh).permitted_ids


@given(requirements, meshes)
def test_placement_is_what_the_rule_says(requirement, mesh):
    placed = place(requirement, mesh)
    may = {n.id for n, _ in mesh.members if allowed(requirement, n)}
    live = {n.id for n, s in mesh.members if s.status in (Status.READY, Status.DEGRADED)}
    assert placed.permitted_ids == may
    assert {n.id for n in placed.candidates} == may & live
    assert (placed.node is None) == (not may & live)
    assert (placed.refusal() == "") == bool(may & live)


@given(requirements, meshes)
def test_the_explanation_says_the_same_as_the_decision(requirement, mesh):
    placed = place(requirement, mesh)
    assert {v.node_id for v in placed.verdicts if v.permitted} == placed.permitted_ids
    assert {v.node_id for v in placed.verdicts if v.score > 0} == {n.id for n in placed.candidates}
    assert len(placed.verdicts) == len(mesh.members)
    assert all(v.reasons and all(v.reasons) for v in placed.verdicts)
    by_score = sorted((v for v in placed.verdicts if v.score), key=lambda v: (-v.score, v.node_id))
    assert [v.node_id for v in by_score] == [n.id for n in placed.candidates]


@given(requirements, handlings, meshes)
def test_one_more_fact_never_permits_another_node(requirement, added, mesh):
    stricter = replace(requirement, handling=meet_all([requirement.handling, added]))
    assert permitted(stricter, mesh) <= permitted(requirement, mesh)


@given(handlings, handlings, requirements, meshes)
def test_what_a_meet_permits_both_of_its_parts_permit_and_nothing_else_is_lost(a, b, requirement, mesh):
    both, one, other = (
        permitted(replace(requirement, handling=handling), mesh) for handling in (a.meet(b), a, b)
    )
    assert both == one & other


@given(requirements, meshes, st.lists(states, min_size=6, max_size=6))
def test_no_state_of_the_mesh_changes_what_is_permitted(requirement, mesh, others):
    changed = mesh_of([(n, s) for (n, _), s in zip(mesh.members, others, strict=False)])
    assert permitted(requirement, changed) == permitted(requirement, mesh)


@given(requirements, meshes)
def test_no_history_of_failures_reaches_a_node_outside_the_permitted_set_or_one_twice(requirement, mesh):
    """Each attempt fails, until nobody is left."""
    first = permitted(requirement, mesh)
    tried: list[str] = []
    while (node := place(requirement, mesh).node) is not None:
        tried.append(node.id)
        requirement = replace(requirement, failed_on=requirement.failed_on | {node.id})
    assert set(tried) <= first
    assert len(set(tried)) == len(tried)


@given(requirements, meshes)
def test_a_placement_can_be_replayed(requirement, mesh):
    placed, again = place(requirement, mesh), place(requirement, mesh_of(list(mesh.members)))
    assert again.order == placed.order
    assert np.array_equal(again.scores, placed.scores)


@given(requirements, meshes)
def test_a_placement_is_computed_again_from_its_record(requirement, mesh):
    record = requirement_record(requirement), nodes_record(mesh), moment_record(mesh)
    again, placed = replay(*json.loads(json.dumps(record))), place(requirement, mesh)
    assert again.requirement == requirement
    assert again.order == placed.order
    assert again.verdicts == placed.verdicts


@given(requirements, meshes)
def test_what_only_orders_never_filters(requirement, mesh):
    bare = replace(requirement, sites={}, warm={}, sent={}, prompt_tokens=1)
    assert permitted(bare, mesh) == permitted(requirement, mesh)


@given(meshes)
def test_a_compiled_mesh_stands_until_the_next_bound(mesh):
    bounds = [
        b
        for n, _ in mesh.members
        for b in (n.valid_until, *(x for c in n.certifications for x in (c.starts, c.ends)))
        if b is not None and b > NOW
    ]
    assert mesh.compiled.changes == min(bounds, default=None)
