"""Random meshes and handlings, and the rule of placement written in one breath, apart from the code."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from graph.handling import Handling
from inference.mesh import MeshSnapshot, snapshot_of
from inference.nodes import Certification, Load, MeshNode, NodeState, Status
from inference.requirement import Requirement, Sent

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LAWS, REGIONS, CERTIFICATIONS = ["EU", "US", "US-CA", "DE", ""], ["r1", "r2", ""], ["c1", "c2"]
SILICON, OWNERS, PURPOSES = (
    ["cpu", "nvidia", "nvidia-l40s", "NVIDIA-H100", ""],
    ["o:1", "o:2"],
    ["care", "ads"],
)
#: By law, the lands that it holds in: who is under it may be in any of them.
LANDS = {
    "EU": {"berlin", "hesse", "paris", "malta"},
    "DE": {"berlin", "hesse"},
    "DE-BE": {"berlin"},
    "FR": {"paris"},
    "US": {"california", "ohio"},
    "US-CA": {"california"},
    "CH": {"bern"},
}
some = st.frozensets
moments = st.none() | st.sampled_from([NOW + timedelta(days=days) for days in (-1, 0, 1)])


def any_or(values: list[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | some(st.sampled_from(values))


handlings = st.builds(
    Handling,
    any_or(LAWS),
    any_or(REGIONS),
    some(st.sampled_from(CERTIFICATIONS)),
    st.integers(0, 3),
    any_or(SILICON),
    some(st.sampled_from(SILICON)),
    some(st.sampled_from(OWNERS)),
    any_or(PURPOSES),
    some(st.sampled_from(["EU", "US", "US-CA", "DE", "CH"])),
)
counts = st.none() | st.integers(0, 20)
states = st.builds(NodeState, st.sampled_from(Status), st.just("why"), st.builds(Load, counts, counts))
nodes = st.builds(
    MeshNode,
    st.just("x"),
    st.just("x"),
    jurisdiction=st.sampled_from(LAWS),
    region=st.sampled_from(REGIONS),
    site=st.sampled_from(["s1", "s2", ""]),
    certifications=some(st.builds(Certification, st.sampled_from(CERTIFICATIONS), moments, moments)),
    clearance=st.integers(0, 3),
    owners=some(st.sampled_from(OWNERS)),
    purposes=some(st.sampled_from(PURPOSES)),
    silicon=st.sampled_from(SILICON),
    models=st.lists(st.sampled_from(["m1", "m2"]), unique=True).map(tuple),
    context_length=st.none() | st.integers(1, 9),
    capabilities=some(st.sampled_from(["chat", "embedding"])),
    price=st.none() | st.integers(0, 9),
    valid_until=moments,
)


def mesh_of(members: list[tuple[MeshNode, NodeState]]) -> MeshSnapshot:
    numbered = ((replace(n, id=f"mesh_node:{i}", name=str(i)), s) for i, (n, s) in enumerate(members))
    return snapshot_of(numbered, NOW)


meshes = st.lists(st.tuples(nodes, states), max_size=6).map(mesh_of)
node_ids = st.sampled_from([f"mesh_node:{i}" for i in range(6)])
ids = some(node_ids)
requirements = st.builds(
    Requirement,
    handlings,
    st.sampled_from(["chat", "embedding"]),
    st.none() | st.sampled_from(["m1", "m2"]),
    least_tokens=st.integers(0, 9),
    failed_on=ids,
    sites=st.dictionaries(st.sampled_from(["s1", "s2", "s3"]), st.integers(1, 3)),
    warm=st.dictionaries(node_ids, st.floats(0, 1)),
    sent=st.dictionaries(node_ids, st.builds(Sent, st.integers(1, 9), st.integers(0, 9))),
    prompt_tokens=st.integers(0, 9),
)


def allowed(requirement: Requirement, n: MeshNode, at: datetime = NOW) -> bool:
    """The oracle."""
    h = requirement.handling
    silicon = {n.silicon.lower(), n.silicon.lower().split("-")[0]} - {""}
    return (
        (h.jurisdictions is None or (n.jurisdiction and n.jurisdiction in h.jurisdictions))
        and (
            not h.excluded_jurisdictions
            or (
                n.jurisdiction and not any(LANDS[n.jurisdiction] & LANDS[x] for x in h.excluded_jurisdictions)
            )
        )
        and (h.residency is None or (n.region and n.region in h.residency))
        and all(
            any(
                c.name == name and (c.starts is None or c.starts <= at) and (c.ends is None or at < c.ends)
                for c in n.certifications
            )
            for name in h.certifications
        )
        and n.clearance >= h.clearance
        and (h.silicon is None or any(s.lower() in silicon for s in h.silicon))
        and (
            not h.excluded_silicon or (silicon and not any(s.lower() in silicon for s in h.excluded_silicon))
        )
        and (not h.excluded_owners or (n.owners and not any(o in n.owners for o in h.excluded_owners)))
        and (h.purposes is None or (n.purposes and all(p in h.purposes for p in n.purposes)))
        and (n.valid_until is None or at < n.valid_until)
        and requirement.capability in n.capabilities
        and len(n.models) > 0
        and (requirement.model is None or requirement.model in n.models)
        and (n.context_length is None or n.context_length >= requirement.least_tokens)
        and n.id not in requirement.failed_on
    )
