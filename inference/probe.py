"""A look at a mesh node: one real token, since an engine that hangs still calls itself healthy."""

from __future__ import annotations

import asyncio

from inference.engine_client import EngineClient, NodeAnsweredGarbage, NodeError
from inference.nodes import CHAT, UNKNOWN_LOAD, Load, MeshNode, NodeState, Status
from inference.telemetry import Totals, load, totals


class EngineProbe:
    """Probes nodes over their OpenAI-compatible endpoint, each within `seconds`."""

    def __init__(self, client: EngineClient, *, seconds: float = 10.0) -> None:
        self._client = client
        self._seconds = seconds
        self._before: dict[str, tuple[MeshNode, Totals, Load]] = {}

    async def __call__(self, node: MeshNode) -> NodeState:
        """Up when it completed one token. Raises nothing for what is wrong with the node."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            await complete_one_token(self._client, node, deadline)
        except NodeError as error:
            self._before.pop(node.id, None)
            return NodeState(Status.DOWN, error.what)
        try:
            now = totals(await self._client.get_text(node, "/metrics", deadline))
        except NodeError:
            now = {}  # not every engine has them: the load is unknown
        looked_at, before, known = self._before.get(node.id, (node, {}, UNKNOWN_LOAD))
        if looked_at != node:  # it was declared anew: these are another engine's counters
            before, known = {}, UNKNOWN_LOAD
        if before and not now:
            return NodeState(Status.DEGRADED, "it no longer tells its load")
        found = load(now, before, known)
        self._before[node.id] = (node, now, found)
        return NodeState(Status.READY, "", found)


async def complete_one_token(client: EngineClient, node: MeshNode, deadline: float) -> None:
    """Have the node complete one token with its preferred model; raises NodeError.

    It is asked by what it offers: a chat completion, or else an embedding.
    """
    model = node.models[0] if node.models else ""
    if CHAT in node.capabilities:
        body = {"model": model, "messages": [{"role": "user", "content": "."}], "max_tokens": 1}
        answer = await client.post_json(node, "/v1/chat/completions", body, deadline)
        made = answer.get("choices")
    else:
        answer = await client.post_json(node, "/v1/embeddings", {"model": model, "input": "."}, deadline)
        made = answer.get("data")
    if not (isinstance(made, list) and made):
        raise NodeAnsweredGarbage(
            node, "answered a probe with no completion", "check that its endpoint is an engine"
        )
