"""Where a request may run: a hard filter by handling and by what nodes offer, then liveness, then a score.

Nothing here loosens the filter: no load, no failure and no missing figure makes a node permitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from graph.handling import Handling
from inference.mesh import MeshNode, MeshSnapshot, NodeState

ASSUMED_LOAD = 8
"""Requests that a node of unknown load counts as having."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a request needs: the handling of its whole context, a capability, perhaps one model."""

    handling: Handling
    capability: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a node may, or may not, serve the request."""

    node_id: str
    name: str
    permitted: bool
    """It meets handling and offers what is needed, up or not."""
    up: bool
    reasons: tuple[str, ...]
    """What it fails; or else why it is down; or else its load."""
    score: float
    """From 0 to 1, the highest is taken; 0 unless permitted and up."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The permitted nodes that are up, the best first, and a verdict on every node of the mesh."""

    candidates: tuple[MeshNode, ...]
    verdicts: tuple[Verdict, ...]
    unmet: str
    """The sentence that says which requirements no live node meets; empty when one meets all."""

    @property
    def node(self) -> MeshNode | None:
        """Where the request goes; None is a refusal."""
        return self.candidates[0] if self.candidates else None

    def refusal(self) -> str:
        """Why there is no node, for a person; empty when there is one."""
        if self.candidates:
            return ""
        return f"{self.unmet} {_permitted_text(self.verdicts)}".strip()


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement on a node."""

    required: str
    """Completes `no live node ...`."""
    met_by: Callable[[MeshNode], bool]
    found: Callable[[MeshNode], str]
    """Why a node fails it."""


def place(requirement: Requirement, snapshot: MeshSnapshot) -> Placement:
    """Filter, then rank. Pure: the same arguments give the same placement; ties go by id."""
    handling, offer = handling_checks(requirement.handling), offer_checks(requirement)
    verdicts = tuple(_verdict(node, state, handling + offer) for node, state in snapshot.members)
    ranked = sorted((v for v in verdicts if v.permitted and v.up), key=lambda v: (-v.score, v.node_id))
    nodes = {node.id: node for node, _ in snapshot.members}
    live = [node for node, state in snapshot.members if state.up]
    return Placement(
        tuple(nodes[v.node_id] for v in ranked), verdicts, "" if ranked else _unmet(handling, offer, live)
    )


def handling_checks(handling: Handling) -> tuple[Check, ...]:
    """What the facts require of a node."""
    checks = (
        _jurisdiction(handling.jurisdictions),
        _residency(handling.residency),
        *(_certification(name) for name in sorted(handling.certifications)),
        _clearance(handling.clearance),
    )
    return tuple(check for check in checks if check is not None)


def offer_checks(requirement: Requirement) -> tuple[Check, ...]:
    """What the request needs of a node, whatever the facts."""
    checks = (_capability(requirement.capability), _model(requirement.model))
    return tuple(check for check in checks if check is not None)


def _jurisdiction(allowed: frozenset[str] | None) -> Check | None:
    if allowed is None:
        return None
    if not allowed:
        return _nothing_permitted("jurisdiction")
    return Check(
        f"is under the law of {_either(allowed)}",
        lambda node: node.jurisdiction in allowed,
        lambda node: f"under the law of {node.jurisdiction}, not of {_either(allowed)}",
    )


def _residency(allowed: frozenset[str] | None) -> Check | None:
    if allowed is None:
        return None
    if not allowed:
        return _nothing_permitted("region")
    return Check(
        f"stands in {_either(allowed)}",
        lambda node: node.region in allowed,
        lambda node: f"stands in {node.region}, not in {_either(allowed)}",
    )


def _nothing_permitted(dimension: str) -> Check:
    return Check(
        f"may process these facts, whose handling permits no {dimension}",
        lambda _: False,
        lambda _: f"no {dimension} is permitted",
    )


def _certification(name: str) -> Check:
    return Check(
        f"is certified for {name}",
        lambda node: name in node.certifications,
        lambda node: f"not certified for {name}",
    )


def _clearance(level: int) -> Check:
    return Check(
        f"has clearance {level}",
        lambda node: node.clearance >= level,
        lambda node: f"has clearance {node.clearance}, not {level}",
    )


def _capability(name: str) -> Check:
    return Check(
        f"offers {name}",
        lambda node: name in node.capabilities,
        lambda node: f"does not offer {name}",
    )


def _model(name: str | None) -> Check:
    """Without a name any will do, but one it must have."""
    return Check(
        f"serves the model {name}" if name else "serves any model",
        lambda node: name in node.models if name else bool(node.models),
        lambda node: f"does not serve the model {name}" if name else "serves no model",
    )


def _verdict(node: MeshNode, state: NodeState, checks: Iterable[Check]) -> Verdict:
    failed = tuple(check.found(node) for check in checks if not check.met_by(node))
    up = state.up is True
    if failed:
        return Verdict(node.id, node.name, False, up, failed, 0.0)
    if not up:
        return Verdict(node.id, node.name, True, False, (state.why,), 0.0)
    return Verdict(node.id, node.name, True, True, (_load_text(state),), _score(state))


def _score(state: NodeState) -> float:
    """1 / (1 + requests at the node): an equal share of a node that works on all at once."""
    if state.running is None or state.waiting is None:
        return 1 / (1 + ASSUMED_LOAD)
    return 1 / (1 + state.running + state.waiting)


def _load_text(state: NodeState) -> str:
    if state.running is None or state.waiting is None:
        return f"load unknown, counted as {ASSUMED_LOAD} requests"
    return f"{state.running} requests running, {state.waiting} waiting"


def _unmet(handling: Sequence[Check], offer: Sequence[Check], live: Sequence[MeshNode]) -> str:
    """A requirement counts as met only by a node that offers what is needed."""
    offering = [node for node in live if all(check.met_by(node) for check in offer)]
    who = f"live node that {offer[0].required}"
    if not offering:
        return f"There is no {' and '.join([who, *(check.required for check in offer[1:])])}."
    missing = [c.required for c in handling if not any(map(c.met_by, offering))]
    if missing:
        return f"No {who} {', and none '.join(missing)}."
    return f"No single {who} {' and '.join(check.required for check in handling)}."


def _permitted_text(verdicts: tuple[Verdict, ...]) -> str:
    """The permitted nodes, all of them down; or why each node is not permitted."""
    down = [v for v in verdicts if v.permitted]
    if len(down) == 1:
        return f"The only permitted node, {down[0].name}, is down: {', '.join(down[0].reasons)}."
    if down:
        return f"All permitted nodes are down: {_listed(down)}."
    return f"No node is permitted: {_listed(verdicts)}." if verdicts else "The mesh has no nodes."


def _listed(verdicts: Iterable[Verdict]) -> str:
    return "; ".join(f"{v.name} ({', '.join(v.reasons)})" for v in verdicts)


def _either(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))
