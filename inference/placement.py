"""Where a request may run: a hard filter by handling and by what nodes offer, then liveness, then a score.

Nothing here loosens the filter: no load, no failure and no missing figure makes a node permitted. A
placement is a pure function of a requirement and a snapshot, so that it can be replayed; `explanation`
says the same of every node in words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from graph.handling import is_under
from inference.compiled import Bits, CompiledNodes, Floats, union
from inference.explanation import Verdict, refusal, verdicts
from inference.mesh import MeshSnapshot
from inference.nodes import MeshNode
from inference.requirement import Requirement

Filter = Callable[[Requirement, CompiledNodes], Bits]
"""Who meets one dimension of a requirement."""

_STEP = 32
"""Tokens that a request which is being answered counts as: it shares each step with who reads."""


@dataclass(frozen=True)
class Placement:
    """The permitted nodes that are up, the best first, and what they were chosen from."""

    requirement: Requirement
    snapshot: MeshSnapshot
    permitted: Bits
    """Who meets handling and offers what is needed, up or not."""
    order: tuple[int, ...] = field(repr=False)
    """Positions of the permitted nodes that are up, the best first."""
    seconds: Floats = field(repr=False, compare=False)
    """Expected of all nodes until the first token."""
    scores: Floats = field(repr=False, compare=False)
    """Of all nodes, from 0 to 1; of meaning where the node is permitted and up."""

    @property
    def node(self) -> MeshNode | None:
        """Where the request goes; None is a refusal."""
        return self.snapshot.compiled.nodes[self.order[0]] if self.order else None

    @cached_property
    def candidates(self) -> tuple[MeshNode, ...]:
        nodes = self.snapshot.compiled.nodes
        return tuple(nodes[i] for i in self.order)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Why each node of the mesh may, or may not, serve the request."""
        live = set(self.order)
        scores = {i: float(self.scores[i]) for i in live}
        return verdicts(self.requirement, self.snapshot, scores)

    @property
    def expected_seconds(self) -> float:
        """Until the chosen node's first token; 0 without one."""
        return float(self.seconds[self.order[0]]) if self.order else 0.0

    @property
    def permitted_ids(self) -> frozenset[str]:
        nodes = self.snapshot.compiled.nodes
        return frozenset(nodes[i].id for i in np.flatnonzero(self.snapshot.compiled.array(self.permitted)))

    def refusal(self, visible: Collection[str] | None = None) -> str:
        """Why there is no node, for a person; empty when there is one.

        Only nodes of `visible` ids are named; None names all.
        """
        return "" if self.order else refusal(self.requirement, self.snapshot, self.verdicts, visible)


def place(requirement: Requirement, snapshot: MeshSnapshot) -> Placement:
    """Filter, then rank. Pure: the same arguments give the same placement; ties go by id."""
    compiled, permitted = snapshot.compiled, snapshot.compiled.all
    for meets in FILTERS.values():
        permitted &= meets(requirement, compiled)
    wait = _wait(requirement, snapshot)
    scores = _scores(requirement, snapshot, wait)
    live = np.flatnonzero(compiled.array(permitted) & snapshot.loads.up)
    ranked = live[np.lexsort((compiled.ids[live], -scores[live]))]
    return Placement(
        requirement, snapshot, permitted, tuple(ranked.tolist()), wait.queue + wait.reading, scores
    )


def _any_of(sets: Mapping[str, Bits], names: Collection[str] | None, compiled: CompiledNodes) -> Bits:
    return compiled.all if names is None else union(sets, names)


def _lower(names: Collection[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _jurisdiction(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    return _any_of(compiled.jurisdiction, requirement.handling.jurisdictions, compiled)


def _excluded_jurisdictions(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    excluded = requirement.handling.excluded_jurisdictions
    if not excluded:
        return compiled.all
    others = [law for law in compiled.jurisdiction if not is_under(law, excluded)]
    return union(compiled.jurisdiction, others)


def _residency(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    return _any_of(compiled.region, requirement.handling.residency, compiled)


def _certifications(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    bits = compiled.all
    for name in requirement.handling.certifications:
        bits &= compiled.certification.get(name, 0)
    return bits


def _clearance(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    return compiled.clearance.reaching(requirement.handling.clearance)


def _silicon(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    allowed = requirement.handling.silicon
    return _any_of(compiled.silicon, None if allowed is None else _lower(allowed), compiled)


def _excluded_silicon(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    excluded = requirement.handling.excluded_silicon
    if not excluded:
        return compiled.all
    return union(compiled.silicon, compiled.silicon) & ~union(compiled.silicon, _lower(excluded))


def _excluded_owners(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    excluded = requirement.handling.excluded_owners
    if not excluded:
        return compiled.all
    return union(compiled.owner, compiled.owner) & ~union(compiled.owner, excluded)


def _purposes(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    purposes = requirement.handling.purposes
    if purposes is None:
        return compiled.all
    others = [name for name in compiled.purpose if name not in purposes]
    return union(compiled.purpose, purposes) & ~union(compiled.purpose, others)


def _stated(_requirement: Requirement, compiled: CompiledNodes) -> Bits:
    return compiled.stated


def _capability(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    return compiled.capability.get(requirement.capability, 0)


def _model(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    """Without a name any will do, but one it must have."""
    if requirement.model is None:
        return union(compiled.model, compiled.model)
    return compiled.model.get(requirement.model, 0)


def _context_length(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    return compiled.unlimited | compiled.context_length.reaching(requirement.least_tokens)


def _unexcluded(requirement: Requirement, compiled: CompiledNodes) -> Bits:
    """Nodes that failed this very request are not asked again."""
    if not requirement.failed_on:
        return compiled.all
    gone = (compiled.position[id_] for id_ in requirement.failed_on if id_ in compiled.position)
    return compiled.all & ~sum(1 << i for i in gone)


FILTERS: dict[str, Filter] = {
    "jurisdiction": _jurisdiction,
    "excluded_jurisdictions": _excluded_jurisdictions,
    "residency": _residency,
    "certifications": _certifications,
    "clearance": _clearance,
    "silicon": _silicon,
    "excluded_silicon": _excluded_silicon,
    "excluded_owners": _excluded_owners,
    "purposes": _purposes,
    "stated": _stated,
    "capability": _capability,
    "model": _model,
    "context_length": _context_length,
    "failed_on": _unexcluded,
}
"""All that a permitted node must meet, each by its own. Tests take each away and must fail."""


def _scores(requirement: Requirement, snapshot: MeshSnapshot, wait: _Wait) -> Floats:
    """1 / (1 + cost), the cost in seconds to the first token and what its weights count as such.

    A degraded node has the lower half of the scale: it is taken when no ready one is there.
    """
    compiled, weights = snapshot.compiled, snapshot.weights
    total = sum(requirement.sites.values())
    cost = wait.queue + (1 + weights.affinity) * wait.reading + weights.price * compiled.price
    if total:
        near = np.zeros(len(compiled.nodes))
        for site, facts in requirement.sites.items():
            near += compiled.array(compiled.site.get(site, 0)) * (facts / total)
        cost += weights.locality * (1 - near)
    share: Floats = 0.5 / (1 + cost)
    return share + 0.5 * ~snapshot.loads.degraded


@dataclass(frozen=True, slots=True)
class _Wait:
    """Seconds of each node until those ahead are read, and then for the prompt itself."""

    queue: Floats
    reading: Floats


def _wait(requirement: Requirement, snapshot: MeshSnapshot) -> _Wait:
    """What this service sent it knows; of others a prompt in the queue is taken to be as long as this one."""
    compiled, loads = snapshot.compiled, snapshot.loads
    prompt = max(requirement.prompt_tokens, 1)
    ahead: Floats = loads.waiting * prompt + loads.running * _STEP
    for id_, sent in requirement.sent.items():
        if (i := compiled.position.get(id_)) is not None:
            others = max(0.0, loads.running[i] + loads.waiting[i] - sent.requests)
            waiting = min(others, loads.waiting[i])
            ahead[i] = waiting * prompt + (others - waiting + sent.requests) * _STEP + sent.unread
    unread = np.full(len(compiled.nodes), float(prompt))
    for id_, share in requirement.warm.items():
        if (i := compiled.position.get(id_)) is not None:
            unread[i] *= 1 - share
    return _Wait(ahead / loads.prefill_rate, unread / loads.prefill_rate)
