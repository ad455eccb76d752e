"""Chat completions in a form that the caller gives, over the OpenAI-compatible API of permitted nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypedDict, TypeVar

from pydantic import BaseModel, ValidationError

from inference.engine_client import EngineClient, NodeAnsweredGarbage, NodeError
from inference.nodes import VLLM, MeshNode

Answer = TypeVar("Answer", bound=BaseModel)


class Message(TypedDict):
    """`role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest(Generic[Answer]):
    """What to ask. Bound the lengths in `schema`: a model that goes on ends in the middle of the JSON."""

    messages: tuple[Message, ...]
    schema: type[Answer]
    """The form of the answer; sent as JSON schema and checked here."""
    max_tokens: int
    model: str | None = None
    """None: the node's preferred one."""
    salt: str = ""
    """What may share a prefix cache with it, for engines that know of it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the node counted them; 0 where it did not say."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Completion(Generic[Answer]):
    """What a node answered, already of the form that was asked for."""

    answer: Answer
    text: str
    """The JSON as the model wrote it."""
    node: MeshNode
    model: str
    usage: Usage
    failures: tuple[NodeError, ...] = ()
    """Of the nodes that were tried before."""


class NoNodeAnswered(Exception):  # noqa: N818  named for what happened
    """Every permitted node was tried once, or there was none; `failures` says what each did."""

    def __init__(self, failures: Sequence[NodeError]) -> None:
        super().__init__("; ".join(map(str, failures)) or "no permitted node was given")
        self.failures = tuple(failures)


async def chat(
    client: EngineClient, node: MeshNode, request: ChatRequest[Answer], deadline: float
) -> Completion[Answer]:
    """Ask one node. `deadline` is on the clock of the running loop.

    Raises NodeUnreachable, NodeTimedOut, NodeAnsweredGarbage.
    """
    model = request.model or (node.models[0] if node.models else "")
    schema = request.schema
    answer = await client.post_json(
        node,
        "/v1/chat/completions",
        {
            "model": model,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": schema.__name__,
                    "schema": schema.model_json_schema(),
                    "strict": True,
                },
            },
            **({"cache_salt": request.salt} if request.salt and node.engine == VLLM else {}),
        },
        deadline,
    )
    text = _written(node, answer, request.max_tokens)
    try:
        parsed = schema.model_validate_json(text)
    except ValidationError as error:
        raise NodeAnsweredGarbage(
            node,
            f"wrote no valid {schema.__name__}: {_places(error)}",
            "check that it enforces JSON schemas, or use another model",
        ) from None
    return Completion(parsed, text, node, model, _usage(answer))


async def chat_on_first(
    client: EngineClient, permitted: Sequence[MeshNode], request: ChatRequest[Answer], deadline: float
) -> Completion[Answer]:
    """The answer of the first of `permitted` that gives one; each is tried once, and no other ever.

    A failed node's answer is wholly discarded, so nothing of it was used when the next is tried. A
    node gets an equal share of the time that is left, so that one that hangs leaves time for the
    others. Raises NoNodeAnswered.
    """
    loop = asyncio.get_running_loop()
    nodes = list({node.id: node for node in permitted}.values())
    failures: list[NodeError] = []
    for position, node in enumerate(nodes):
        share = (deadline - loop.time()) / (len(nodes) - position)
        try:
            completion = await chat(client, node, request, loop.time() + share)
            return replace(completion, failures=tuple(failures))
        except NodeError as error:
            failures.append(error)
    raise NoNodeAnswered(failures)


def _written(node: MeshNode, answer: dict[str, Any], max_tokens: int) -> str:
    """What the model wrote, out of the envelope of a chat completion."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        reason = choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError):
        text = reason = None
    if not isinstance(text, str):
        raise NodeAnsweredGarbage(
            node, "answered something that is no chat completion", "check that its endpoint is an engine"
        )
    if reason == "length":
        raise NodeAnsweredGarbage(
            node,
            f"did not finish within {max_tokens} tokens",
            "allow more tokens or ask for a shorter answer",
        )
    return text


def _places(error: ValidationError) -> str:
    """Where and why, without what was written there."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['type']}"
        for e in error.errors(include_input=False, include_url=False, include_context=False)[:3]
    )


def _usage(answer: dict[str, Any]) -> Usage:
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}

    def count(name: str) -> int:
        value = counts.get(name)
        return value if isinstance(value, int) and value >= 0 else 0

    return Usage(count("prompt_tokens"), count("completion_tokens"))
