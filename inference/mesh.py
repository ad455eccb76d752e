"""The mesh: the nodes where models run, and what is known of each one's liveness and load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from inference.breaker import Breaker
from inference.compiled import CompiledNodes, Loads, compile_loads, compile_nodes
from inference.nodes import NOT_PROBED, MeshNode, NodeState, Status


@dataclass(frozen=True, slots=True)
class Weights:
    """What a second of waiting is worth; a setting."""

    locality: float = 0.5
    """Seconds that a node at none of the facts' sites counts as later."""
    affinity: float = 2.0
    """How often what a node would have to read of a prompt counts again: those behind wait for it too, and
    it drops what others come back to."""
    price: float = 0.2
    """Seconds that the dearest node counts as later than one for nothing."""


@dataclass(frozen=True, slots=True)
class MeshSnapshot:
    """Nodes with their states at one moment; the local node first. All that a placement rests on."""

    compiled: CompiledNodes
    states: tuple[NodeState, ...]
    """One for each of the nodes, in their order."""
    loads: Loads
    weights: Weights

    @property
    def members(self) -> tuple[tuple[MeshNode, NodeState], ...]:
        return tuple(zip(self.compiled.nodes, self.states, strict=True))

    @property
    def at(self) -> datetime:
        """The moment at which certifications and statements must hold."""
        return self.compiled.at

    def only(self, node_id: str) -> MeshSnapshot:
        """As if the mesh had this node alone."""
        alone = [member for member in self.members if member[0].id == node_id]
        return snapshot_of(alone, self.at, self.weights)

    def state(self, node_id: str) -> NodeState:
        """Raises KeyError for a node that is not of the mesh."""
        return self.states[self.compiled.position[node_id]]


def snapshot_of(
    members: Iterable[tuple[MeshNode, NodeState]], at: datetime, weights: Weights | None = None
) -> MeshSnapshot:
    """A snapshot of these nodes, each with its state."""
    listed = tuple(members)
    states = tuple(state for _, state in listed)
    compiled = compile_nodes(tuple(node for node, _ in listed), at)
    return MeshSnapshot(compiled, states, compile_loads(states), weights or Weights())


Probe = Callable[[MeshNode], Awaitable[NodeState]]
"""Looks at a declared node; whatever is wrong with the node is in the state, not raised."""


class Mesh:
    """The local node and the declared ones. Used from one event loop."""

    def __init__(
        self,
        local: MeshNode,
        probe: Probe,
        *,
        interval: timedelta = timedelta(seconds=30),
        weights: Weights | None = None,
        draining: Collection[str] = (),
    ) -> None:
        """`interval` is how often `watch` probes; a load figure older than two of them is unknown.

        `draining` are ids of nodes that are drained from the start.
        """
        self._local = local
        self._probe = probe
        self._interval = interval
        self._weights = weights or Weights()
        self._declared: Mapping[str, MeshNode] = {}
        self._states: dict[str, NodeState] = {}
        self._breakers: dict[str, Breaker] = {}
        self._draining = set(draining)
        self._probing = asyncio.Lock()
        self._compiled = compile_nodes((local,), datetime.now(UTC))
        self._kept: tuple[MeshSnapshot, datetime] | None = None

    def declare(self, nodes: Iterable[MeshNode]) -> None:
        """Make these the declared nodes; what is known stays only of nodes that did not change.

        Raises ValueError, changing nothing, when two nodes have one id.
        """
        declared: dict[str, MeshNode] = {}
        for node in nodes:
            if node.id in declared or node.id == self._local.id:
                raise ValueError(f"two mesh nodes have the id {node.id!r}: give each its own")
            declared[node.id] = node
        same = {id_ for id_, node in declared.items() if node == self._declared.get(id_)}
        self._states = {id_: state for id_, state in self._states.items() if id_ in same}
        self._breakers = {id_: breaker for id_, breaker in self._breakers.items() if id_ in same}
        if same != declared.keys() or same != self._declared.keys():
            self._compiled = compile_nodes((self._local, *declared.values()), datetime.now(UTC))
        self._declared = declared
        self._kept = None

    def ids(self) -> tuple[str, ...]:
        """Of the declared nodes."""
        return tuple(self._declared)

    def snapshot(self) -> MeshSnapshot:
        """What is known now. The local node is ready, since it is this process."""
        now = datetime.now(UTC)
        if not self._compiled.stands(now):  # a certification began or ended
            self._compiled = compile_nodes(self._compiled.nodes, now)
            self._kept = None
        if self._kept is None or now >= self._kept[1]:
            states = (
                self._state(self._local, NodeState(Status.READY, at=now)),
                *(self._current(node, now) for node in self._declared.values()),
            )
            # Loads grow old without an event; half an interval more or less does not matter.
            kept = MeshSnapshot(self._compiled, states, compile_loads(states), self._weights)
            self._kept = kept, now + self._interval / 2
        return self._kept[0]

    async def refresh(
        self, ids: Collection[str] | None = None, older_than: timedelta = timedelta(0)
    ) -> MeshSnapshot:
        """Probe the declared nodes (or those of `ids`) whose state is older than that, all at once."""
        async with self._probing:
            now = datetime.now(UTC)
            due = [
                node
                for node in self._declared.values()
                if (ids is None or node.id in ids)
                and ((at := self._states.get(node.id, NOT_PROBED).at) is None or now - at >= older_than)
            ]
            await asyncio.gather(*(self._look(node) for node in due))
        return self.snapshot()

    def failed(self, node: MeshNode, why: str, *, answered: bool) -> None:
        """It failed a request, though it may have `answered`: the breaker counts it, or opens."""
        if self._declared.get(node.id) == node:
            breaker = self._breakers.get(node.id, Breaker())
            now = datetime.now(UTC)
            after = breaker.after_bad_answer if answered else breaker.after_silence
            self._breakers[node.id], state = after(why, now)
            self._set(node, replace(state, load=self._states.get(node.id, NOT_PROBED).load))

    @property
    def draining(self) -> frozenset[str]:
        """Ids of the nodes that get nothing new."""
        return frozenset(self._draining)

    def drain(self, node_id: str) -> None:
        """Send it nothing new. Raises KeyError for a node that is not of the mesh."""
        self._known(node_id)
        self._draining.add(node_id)
        self._kept = None

    def resume(self, node_id: str) -> None:
        """Send it requests again. Raises KeyError for a node that is not of the mesh."""
        self._known(node_id)
        self._draining.discard(node_id)
        self._kept = None

    async def watch(self) -> None:
        """Probe every node again and again, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval.total_seconds())

    async def _look(self, node: MeshNode) -> None:
        found = await self._probe(node)
        if self._declared.get(node.id) == node:  # it may have been declared anew meanwhile
            breaker = self._breakers.get(node.id, Breaker())
            self._breakers[node.id], state = breaker.after_look(found, datetime.now(UTC))
            self._set(node, state)

    def _set(self, node: MeshNode, state: NodeState) -> None:
        self._states[node.id] = state
        self._kept = None

    def _known(self, node_id: str) -> None:
        if node_id != self._local.id and node_id not in self._declared:
            raise KeyError(node_id)

    def _current(self, node: MeshNode, now: datetime) -> NodeState:
        state = self._states.get(node.id, NOT_PROBED)
        if state.at is not None and now - state.at > 2 * self._interval:
            state = replace(state, load=replace(state.load, running=None, waiting=None, kv_use=None))
        return self._state(node, state)

    def _state(self, node: MeshNode, state: NodeState) -> NodeState:
        """Draining is the operator's word; a node that is down stays that."""
        if node.id in self._draining and state.status is not Status.DOWN:
            return replace(state, status=Status.DRAINING, why="it is being drained")
        return state
