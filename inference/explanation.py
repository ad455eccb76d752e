"""Why each node may, or may not, serve a request, in words; told apart from the decision, which is fast."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from graph.handling import Handling, is_under, silicon_names
from inference.compiled import ASSUMED_LOAD
from inference.mesh import MeshSnapshot
from inference.nodes import Certification, MeshNode, NodeState, Status
from inference.requirement import Requirement

_UNKNOWN = "nobody knows what"


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
class Check:
    """One requirement on a node."""

    required: str
    """Completes `no live node ...`."""
    met_by: Callable[[MeshNode], bool]
    found: Callable[[MeshNode], str]
    """Why a node fails it."""


def verdicts(
    requirement: Requirement, snapshot: MeshSnapshot, scores: Mapping[int, float], *, offer: bool = True
) -> tuple[Verdict, ...]:
    """One for each node, in the order of the mesh; of handling alone without `offer`."""
    checks = handling_checks(requirement.handling, snapshot.at)
    if offer:
        checks += offer_checks(requirement)
    return tuple(
        _verdict(node, state, checks, scores.get(i, 0.0)) for i, (node, state) in enumerate(snapshot.members)
    )


def handling_checks(handling: Handling, at: datetime) -> tuple[Check, ...]:
    """What the facts require of a node at a moment."""
    checks = (
        _stated(at),
        _jurisdiction(handling.jurisdictions),
        _excluded_jurisdictions(handling.excluded_jurisdictions),
        _residency(handling.residency),
        *(_certification(name, at) for name in sorted(handling.certifications)),
        _clearance(handling.clearance),
        _silicon(handling.silicon),
        _excluded_silicon(handling.excluded_silicon),
        _excluded_owners(handling.excluded_owners),
        _purposes(handling.purposes),
    )
    return tuple(check for check in checks if check is not None)


def offer_checks(requirement: Requirement) -> tuple[Check, ...]:
    """What the request needs of a node, whatever the facts."""
    checks = (
        _capability(requirement.capability),
        _model(requirement.model),
        _context_length(requirement.least_tokens),
        _not_failed_on(requirement.failed_on),
    )
    return tuple(check for check in checks if check is not None)


def refusal(
    requirement: Requirement,
    snapshot: MeshSnapshot,
    found: Sequence[Verdict],
    visible: Collection[str] | None,
) -> str:
    """Which requirement no live node meets, and, of the visible nodes, why none of them serves."""
    handling, offer = handling_checks(requirement.handling, snapshot.at), offer_checks(requirement)
    live = [node for node, state in snapshot.members if state.up]
    shown = [v for v in found if visible is None or v.node_id in visible]
    return f"{_unmet(handling, offer, live)} {_permitted_text(shown, visible is None)}".strip()


def _stated(at: datetime) -> Check | None:
    return Check(
        "has a statement that still holds",
        lambda node: node.valid_until is None or at < node.valid_until,
        lambda node: f"its statement ended at {node.valid_until:%Y-%m-%d %H:%M}",
    )


def _jurisdiction(allowed: frozenset[str] | None) -> Check | None:
    if allowed is None:
        return None
    if not allowed:
        return _nothing_permitted("jurisdiction")
    return Check(
        f"is under the law of {_either(allowed)}",
        lambda node: bool(node.jurisdiction) and node.jurisdiction in allowed,
        lambda node: f"under the law of {node.jurisdiction or _UNKNOWN}, not of {_either(allowed)}",
    )


def _excluded_jurisdictions(excluded: frozenset[str]) -> Check | None:
    if not excluded:
        return None
    return Check(
        f"is not under the law of {_either(excluded)}",
        lambda node: bool(node.jurisdiction) and not is_under(node.jurisdiction, excluded),
        lambda node: (
            f"under the law of {node.jurisdiction or _UNKNOWN}, where {_either(excluded)} is excluded"
        ),
    )


def _residency(allowed: frozenset[str] | None) -> Check | None:
    if allowed is None:
        return None
    if not allowed:
        return _nothing_permitted("region")
    return Check(
        f"stands in {_either(allowed)}",
        lambda node: bool(node.region) and node.region in allowed,
        lambda node: f"stands in {node.region or _UNKNOWN}, not in {_either(allowed)}",
    )


def _nothing_permitted(dimension: str) -> Check:
    return Check(
        f"may process these facts, whose handling permits no {dimension}",
        lambda _: False,
        lambda _: f"no {dimension} is permitted",
    )


def _certification(name: str, at: datetime) -> Check:
    def found(node: MeshNode) -> str:
        if any(c.name == name for c in node.certifications):
            return f"its certification for {name} does not hold now"
        return f"not certified for {name}"

    return Check(
        f"is certified for {name}",
        lambda node: name in _held(node.certifications, at),
        found,
    )


@lru_cache(maxsize=10_000)
def _held(certifications: frozenset[Certification], at: datetime) -> frozenset[str]:
    """Names of those that hold: asked for each requirement of each node."""
    return frozenset(c.name for c in certifications if c.holds(at))


def _clearance(level: int) -> Check:
    return Check(
        f"has clearance {level}",
        lambda node: node.clearance >= level,
        lambda node: f"has clearance {node.clearance}, not {level}",
    )


def _silicon(allowed: frozenset[str] | None) -> Check | None:
    if allowed is None:
        return None
    if not allowed:
        return _nothing_permitted("silicon")
    names = frozenset(map(str.lower, allowed))
    return Check(
        f"has silicon {_either(allowed)}",
        lambda node: bool(silicon_names(node.silicon) & names),
        lambda node: f"has silicon {node.silicon or _UNKNOWN}, not {_either(allowed)}",
    )


def _excluded_silicon(excluded: frozenset[str]) -> Check | None:
    if not excluded:
        return None
    names = frozenset(map(str.lower, excluded))
    return Check(
        f"has silicon other than {_either(excluded)}",
        lambda node: bool(silicon_names(node.silicon)) and not silicon_names(node.silicon) & names,
        lambda node: f"has silicon {node.silicon or _UNKNOWN}, not other than {_either(excluded)}",
    )


def _excluded_owners(excluded: frozenset[str]) -> Check | None:
    if not excluded:
        return None
    return Check(
        f"is owned by none of {_either(excluded)}",
        lambda node: bool(node.owners) and not node.owners & excluded,
        lambda node: f"owned by {_either(node.owners) or _UNKNOWN}, not other than {_either(excluded)}",
    )


def _purposes(allowed: frozenset[str] | None) -> Check | None:
    if allowed is None:
        return None
    if not allowed:
        return _nothing_permitted("purpose")
    return Check(
        f"is used for {_either(allowed)} only",
        lambda node: bool(node.purposes) and node.purposes <= allowed,
        lambda node: f"used for {_either(node.purposes) or _UNKNOWN}, not only for {_either(allowed)}",
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


def _context_length(tokens: int) -> Check | None:
    if not tokens:
        return None
    return Check(
        f"takes {tokens:,} tokens",
        lambda node: node.context_length is None or node.context_length >= tokens,
        lambda node: (
            f"takes {node.context_length:,} tokens, at least {tokens - (node.context_length or 0):,} too few"
        ),
    )


def _not_failed_on(ids: frozenset[str]) -> Check | None:
    if not ids:
        return None
    return Check(
        "has not failed this request",
        lambda node: node.id not in ids,
        lambda _: "failed this request",
    )


def _verdict(node: MeshNode, state: NodeState, checks: Iterable[Check], score: float) -> Verdict:
    failed = tuple(check.found(node) for check in checks if not check.met_by(node))
    if failed:
        return Verdict(node.id, node.name, False, state.up, failed, 0.0)
    if not state.up:
        return Verdict(node.id, node.name, True, False, (state.why,), 0.0)
    said = [f"degraded: {state.why}"] if state.status is Status.DEGRADED else []
    return Verdict(node.id, node.name, True, True, (*said, _load_text(state)), score)


def _load_text(state: NodeState) -> str:
    if state.load.running is None or state.load.waiting is None:
        return f"load unknown, counted as {ASSUMED_LOAD} requests"
    return f"{state.load.running} requests running, {state.load.waiting} waiting"


def _unmet(handling: Sequence[Check], offer: Sequence[Check], live: Sequence[MeshNode]) -> str:
    """A requirement counts as met only by a node that offers what is needed."""
    offering = [node for node in live if all(check.met_by(node) for check in offer)]
    who = f"live node that {offer[0].required}"
    if not offering:
        return f"There is no {' and '.join([who, *(check.required for check in offer[1:])])}."
    missing = [c.required for c in handling if not any(map(c.met_by, offering))]
    if missing:
        return f"No {who} {', and none '.join(missing)}."
    asked = [c.required for c in handling if not all(map(c.met_by, offering))]
    return f"No single {who} {' and '.join(asked)}."


def _permitted_text(shown: Sequence[Verdict], whole: bool) -> str:
    """The permitted nodes, all of them down; or why each node is not permitted.

    Of a mesh that is not shown `whole` nothing is counted.
    """
    down = [v for v in shown if v.permitted]
    if not whole:
        named = down or shown
        return f"Of the nodes that you may see: {_listed(named)}." if named else ""
    if len(down) == 1:
        return f"The only permitted node, {down[0].name}, is down: {', '.join(down[0].reasons)}."
    if down:
        return f"All permitted nodes are down: {_listed(down)}."
    return f"No node is permitted: {_listed(shown)}." if shown else "The mesh has no nodes."


def _listed(found: Iterable[Verdict]) -> str:
    return "; ".join(f"{v.name} ({', '.join(v.reasons)})" for v in found)


def _either(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))
