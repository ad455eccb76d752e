"""The mesh: the nodes where models run, and what is known of each one's liveness and load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

CHAT = "chat"
EMBEDDING = "embedding"
LOCAL_NODE_ID = "mesh_node:orgraph"


@dataclass(frozen=True, slots=True)
class MeshNode:
    """A place where models run, as declared by who vouches for it."""

    id: str
    name: str
    jurisdiction: str
    """Whose law it is under: an ISO 3166 code or `EU`."""
    region: str
    """Where its machines stand."""
    certifications: frozenset[str]
    clearance: int
    silicon: str
    endpoint: str | None
    """Root of its OpenAI-compatible server, without `/v1`: `http://127.0.0.1:8001`. Only this is called."""
    models: tuple[str, ...]
    """Served names, the preferred one first."""
    capabilities: frozenset[str]
    """`chat`, `embedding`."""


def local_node(  # noqa: PLR0913  keywords, one for each declared field
    *,
    jurisdiction: str,
    region: str,
    certifications: frozenset[str],
    clearance: int,
    silicon: str,
    models: tuple[str, ...],
) -> MeshNode:
    """Orgraph's own process: it has no endpoint and offers embeddings."""
    return MeshNode(
        id=LOCAL_NODE_ID,
        name="orgraph",
        jurisdiction=jurisdiction,
        region=region,
        certifications=certifications,
        clearance=clearance,
        silicon=silicon,
        endpoint=None,
        models=models,
        capabilities=frozenset({EMBEDDING}),
    )


@dataclass(frozen=True, slots=True)
class NodeState:
    """What the last probe found. None is unknown, never zero."""

    up: bool | None
    why: str
    """The reason, for a person, when it is not up."""
    running: int | None = None
    """Requests being computed."""
    waiting: int | None = None
    """Requests in its queue."""
    at: datetime | None = None
    """When it was probed; the mesh writes this."""


NOT_PROBED = NodeState(None, "not probed yet")


@dataclass(frozen=True, slots=True)
class MeshSnapshot:
    """Nodes with their states at one moment; the local node first."""

    members: tuple[tuple[MeshNode, NodeState], ...]

    def state(self, node_id: str) -> NodeState:
        """Raises KeyError for a node that is not of the mesh."""
        return {node.id: state for node, state in self.members}[node_id]


Probe = Callable[[MeshNode], Awaitable[NodeState]]
"""Looks at a declared node; whatever is wrong with the node is in the state, not raised."""


class Mesh:
    """The local node and the declared ones. Used from one event loop."""

    def __init__(self, local: MeshNode, probe: Probe, *, interval: timedelta = timedelta(seconds=30)) -> None:
        """`interval` is how often `watch` probes; a load figure older than two of them is unknown."""
        self._local = local
        self._probe = probe
        self._interval = interval
        self._declared: Mapping[str, MeshNode] = {}
        self._states: dict[str, NodeState] = {}
        self._probing = asyncio.Lock()

    def declare(self, nodes: Iterable[MeshNode]) -> None:
        """Make these the declared nodes; what is known stays only of nodes that did not change.

        Raises ValueError, changing nothing, when two nodes have one id.
        """
        declared: dict[str, MeshNode] = {}
        for node in nodes:
            if node.id in declared or node.id == self._local.id:
                raise ValueError(f"two mesh nodes have the id {node.id!r}: give each its own")
            declared[node.id] = node
        self._states = {
            id_: state for id_, state in self._states.items() if declared.get(id_) == self._declared.get(id_)
        }
        self._declared = declared

    def snapshot(self) -> MeshSnapshot:
        """What is known now. The local node is up, since it is this process."""
        now = datetime.now(UTC)
        local = (self._local, NodeState(True, "", at=now))
        return MeshSnapshot((local, *((node, self._current(node, now)) for node in self._declared.values())))

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
            states = await asyncio.gather(*(self._probe(node) for node in due))
            for node, state in zip(due, states, strict=True):
                if self._declared.get(node.id) == node:  # it may have been declared anew meanwhile
                    self._states[node.id] = replace(state, at=datetime.now(UTC))
        return self.snapshot()

    def mark_down(self, node: MeshNode, why: str) -> None:
        """It failed a request: it counts as down until a probe finds it up again."""
        if self._declared.get(node.id) == node:
            self._states[node.id] = NodeState(False, why, at=datetime.now(UTC))

    async def watch(self) -> None:
        """Probe every node again and again, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval.total_seconds())

    def _current(self, node: MeshNode, now: datetime) -> NodeState:
        state = self._states.get(node.id, NOT_PROBED)
        if state.at is not None and now - state.at > 2 * self._interval:
            return replace(state, running=None, waiting=None)
        return state
