"""A look at a mesh node: one real token, since an engine that hangs still calls itself healthy."""

from __future__ import annotations

import asyncio
import math
import re

from inference.engine_client import EngineClient, NodeAnsweredGarbage, NodeError
from inference.mesh import CHAT, MeshNode, NodeState

_SAMPLE = re.compile(
    r"""^(?P<name>[A-Za-z_:][\w:]*)
        (?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?
        \s+(?P<value>\S+)(?:\s+-?\d+)?\s*$""",
    re.VERBOSE | re.ASCII,
)


class EngineProbe:
    """Probes nodes over their OpenAI-compatible endpoint, each within `seconds`."""

    def __init__(self, client: EngineClient, *, seconds: float = 10.0) -> None:
        self._client = client
        self._seconds = seconds

    async def __call__(self, node: MeshNode) -> NodeState:
        """Up when it completed one token. Raises nothing for what is wrong with the node."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            await complete_one_token(self._client, node, deadline)
        except NodeError as error:
            return NodeState(False, error.what)
        try:
            metrics = await self._client.get_text(node, "/metrics", deadline)
        except NodeError:
            metrics = ""  # not every engine has them: the load is unknown
        return NodeState(
            True,
            "",
            running=_total(metrics, "vllm:num_requests_running"),
            waiting=_total(metrics, "vllm:num_requests_waiting"),
        )


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


def _total(metrics: str, name: str) -> int | None:
    """The sum of a gauge over its labels; None when it is absent or not a count."""
    values = []
    for line in metrics.splitlines():
        if (sample := _SAMPLE.match(line)) and sample["name"] == name:
            try:
                values.append(float(sample["value"]))
            except ValueError:
                return None
    if not values or not all(math.isfinite(v) and v >= 0 for v in values):
        return None
    return round(sum(values))
