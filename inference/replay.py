"""What a placement rests on, as JSON, and back: so that it can be computed again.

The declared nodes of a mesh are apart from how they were found, which changes many times as often.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from inference.mesh import MeshSnapshot, Weights, snapshot_of
from inference.nodes import MeshNode, NodeState
from inference.placement import Placement, place
from inference.requirement import Requirement

_NODES = TypeAdapter(tuple[MeshNode, ...])
_REQUIREMENT = TypeAdapter(Requirement)


@dataclass(frozen=True, slots=True)
class _Moment:
    """How the nodes were found, and what else a placement takes from a snapshot."""

    at: datetime
    states: tuple[NodeState, ...]
    weights: Weights


_MOMENT = TypeAdapter(_Moment)


def requirement_record(requirement: Requirement) -> dict[str, Any]:
    """All of a requirement."""
    found: dict[str, Any] = _REQUIREMENT.dump_python(requirement, mode="json")
    return found


def nodes_record(snapshot: MeshSnapshot) -> list[dict[str, Any]]:
    """The nodes as they are declared, in the order of the snapshot."""
    found: list[dict[str, Any]] = _NODES.dump_python(snapshot.compiled.nodes, mode="json")
    return found


def moment_record(snapshot: MeshSnapshot) -> dict[str, Any]:
    """All of a snapshot but its nodes."""
    moment = _Moment(snapshot.at, snapshot.states, snapshot.weights)
    found: dict[str, Any] = _MOMENT.dump_python(moment, mode="json")
    return found


def replay(requirement: Any, nodes: Any, moment: Any) -> Placement:
    """The placement again, of the records. Raises ValueError for what is none."""
    then = _MOMENT.validate_python(moment)
    members = zip(_NODES.validate_python(nodes), then.states, strict=True)
    snapshot = snapshot_of(members, then.at, then.weights)
    return place(_REQUIREMENT.validate_python(requirement), snapshot)
