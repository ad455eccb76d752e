"""A request from its admission to its last byte: placed, tried, retried, streamed, and never elsewhere.

Until the first byte of an answer has left, a request that fails is placed again, on a permitted node on
which it has not failed. From then on a failure ends it with an error, and nothing is switched.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from graph.handling import Handling
from inference.admission import Admission, Priority
from inference.engine_client import EngineClient, NodeAnsweredGarbage, NodeError
from inference.mesh import Mesh
from inference.nodes import VLLM, MeshNode
from inference.placement import Placement, place
from inference.prefixes import Prefixes, blocks_of
from inference.requirement import Requirement, Sent

_PREFILL_S = 5.0
_PREFILL_FACTOR = 4.0
"""A node has missed its prefill deadline after this many seconds and this many times what was expected."""
_JUST_SEEN = timedelta(seconds=1)
"""A look that old is as good as another: many requests that find nobody share one."""
_REFUSED_BY_ENGINE = frozenset({400, 413, 422})


class Refused(Exception):  # noqa: N818  named for what happened
    """No permitted node is up; nothing was sent."""

    def __init__(self, placement: Placement) -> None:
        super().__init__("no permitted node is up")
        self.placement = placement


class NoNodeAnswered(Exception):  # noqa: N818  named for what happened
    """Every permitted node that is up was tried once; `failures` says what each did."""

    def __init__(self, failures: Sequence[NodeError]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = tuple(failures)


class CutShort(Exception):  # noqa: N818  named for what happened
    """The node failed after a part of its answer had left; the rest does not come from elsewhere."""

    def __init__(self, failure: NodeError) -> None:
        super().__init__(f"the answer broke off: {failure}; what came of it is not whole")
        self.failure = failure


class TooLong(Exception):  # noqa: N818  named for what happened
    """No permitted node's context is long enough."""

    def __init__(self, least: int, longest: int) -> None:
        super().__init__(
            f"prompt and answer take at least {least:,} tokens, the longest context of a permitted node "
            f"is {longest:,}: at least {least - longest:,} too many; shorten the prompt or `max_tokens`"
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One request to an engine, and all that decides where it may go."""

    path: str
    """As `/v1/chat/completions`."""
    body: Mapping[str, Any]
    """Without `model`, `stream` and `cache_salt`, which the node decides."""
    requirement: Requirement
    deadline: float
    """On the clock of the running loop, for the whole."""
    team: str
    priority: Priority = Priority.INTERACTIVE
    salt: str = ""
    """What may share a prefix cache with it; empty shares with nobody."""
    recheck: Callable[[], Awaitable[Handling]] | None = None
    """The handling as it is now: asked again before each further attempt, and can only narrow."""
    placed: Callable[[Placement], Awaitable[None]] | None = None
    """Called before a byte leaves for a node; what it raises ends the request."""

    def model_on(self, node: MeshNode) -> str:
        """The name of the model that a node is asked for."""
        return self.requirement.model or node.models[0]


@dataclass(frozen=True, slots=True)
class Served:
    """A node's whole answer."""

    answer: dict[str, Any]
    node: MeshNode
    placement: Placement
    failures: tuple[NodeError, ...]
    """Of the nodes that were tried before."""


@dataclass(slots=True)
class Gateway:
    """The way to the engines. Used from one event loop."""

    client: EngineClient
    mesh: Mesh
    admission: Admission = field(default_factory=Admission)
    _prefixes: Prefixes = field(default_factory=Prefixes)
    _sent: dict[str, Sent] = field(default_factory=dict)
    """By id of node."""

    async def complete(self, job: Job) -> Served:
        """The whole answer. Raises Overloaded, Refused, TooLong, NoNodeAnswered."""
        async with self.admission.slot(job.team, job.priority) as waited:
            attempt = await self._first(job, waited)
            while True:
                node = attempt.node
                left = job.deadline - asyncio.get_running_loop().time()
                share = left / max(1, len(attempt.placement.order))
                try:
                    with self._sending(attempt):
                        answer = await self.client.post_json(
                            node, job.path, _body(job, node), asyncio.get_running_loop().time() + share
                        )
                except NodeError as error:
                    attempt = await self._next(job, attempt, error)
                else:
                    return Served(answer, node, attempt.placement, attempt.failures)

    async def stream(self, job: Job) -> AsyncGenerator[tuple[dict[str, Any], MeshNode], None]:
        """The events of the answer one by one, with the node. Raises as `bursts`."""
        async with aclosing(self.bursts(job)) as bursts:
            async for events, node in bursts:
                for event in events:
                    yield event, node

    async def bursts(self, job: Job) -> AsyncGenerator[tuple[list[dict[str, Any]], MeshNode], None]:
        """The events of the answer, those that came at once together. Raises as `complete`, and CutShort.

        Closing the generator ends the request at the engine.
        """
        async with self.admission.slot(job.team, job.priority) as waited:
            attempt = await self._first(job, waited)
            while True:
                started = False
                node = attempt.node
                bursts = self.client.stream_json(
                    node, job.path, _body(job, node) | {"stream": True}, self._first_by(attempt), job.deadline
                )
                try:
                    with self._sending(attempt) as read:
                        async with aclosing(bursts):
                            async for events in bursts:
                                if not started:
                                    started = True
                                    read()
                                yield events, node
                    return
                except NodeError as error:
                    if started:
                        self._count(error)
                        raise CutShort(error) from None
                    attempt = await self._next(job, attempt, error)

    async def _first(self, job: Job, waited: bool) -> _Attempt:
        blocks = blocks_of(job.salt, job.requirement.model, job.body)
        warm = self._prefixes.shares(blocks)
        requirement = replace(job.requirement, warm=warm, sent=dict(self._sent))
        if waited:
            requirement = await _narrowed(job, requirement)
        placement = place(requirement, self.mesh.snapshot())
        if placement.node is None and placement.permitted:  # who was found dead is looked at once more
            placement = place(requirement, await self.mesh.refresh(placement.permitted_ids, _JUST_SEEN))
        return await _attempt(job, placement, blocks, ())

    async def _next(self, job: Job, before: _Attempt, error: NodeError) -> _Attempt:
        self._count(error)
        failures = (*before.failures, error)
        requirement = before.placement.requirement
        failed_on = requirement.failed_on | {error.node.id}
        requirement = replace(requirement, failed_on=failed_on, sent=dict(self._sent))
        requirement = await _narrowed(job, requirement)
        placement = place(requirement, self.mesh.snapshot())
        if placement.node is None or asyncio.get_running_loop().time() >= job.deadline:
            raise NoNodeAnswered(failures)
        return await _attempt(job, placement, before.blocks, failures)

    @contextmanager
    def _sending(self, attempt: _Attempt) -> Iterator[Callable[[], None]]:
        """While a node works on it; to be called once the node has read the prompt."""
        id_, unread = attempt.node.id, attempt.unread
        self._prefixes.has_read(attempt.blocks, id_)
        self._add(id_, 1, unread)

        def read() -> None:
            nonlocal unread
            self._add(id_, 0, -unread)
            unread = 0

        try:
            yield read
        finally:
            self._add(id_, -1, -unread)

    def _add(self, node_id: str, requests: int, unread: int) -> None:
        before = self._sent.pop(node_id, Sent(0, 0))
        if after := before.requests + requests:
            self._sent[node_id] = Sent(after, before.unread + unread)

    def _count(self, error: NodeError) -> None:
        """What an engine refuses of a request is no failing of the engine."""
        answered = isinstance(error, NodeAnsweredGarbage)
        if error.status not in _REFUSED_BY_ENGINE:
            self.mesh.failed(error.node, error.what, answered=answered)
            self._prefixes.forget(error.node.id)

    def _first_by(self, attempt: _Attempt) -> float:
        """When the first token must be there, by what was expected and what time is left."""
        loop = asyncio.get_running_loop()
        expected = attempt.placement.expected_seconds
        return loop.time() + _PREFILL_S + _PREFILL_FACTOR * expected


@dataclass(frozen=True, slots=True)
class _Attempt:
    placement: Placement
    node: MeshNode
    blocks: tuple[bytes, ...]
    """Of the prompt."""
    failures: tuple[NodeError, ...]

    @property
    def unread(self) -> int:
        """Tokens of the prompt that the node has to read."""
        requirement = self.placement.requirement
        return round(requirement.prompt_tokens * (1 - requirement.warm.get(self.node.id, 0.0)))


async def _attempt(
    job: Job, placement: Placement, blocks: tuple[bytes, ...], failures: tuple[NodeError, ...]
) -> _Attempt:
    if placement.node is None:
        _refuse_length(placement)
        raise Refused(placement)
    if job.placed is not None:
        await job.placed(placement)
    return _Attempt(placement, placement.node, blocks, failures)


async def _narrowed(job: Job, requirement: Requirement) -> Requirement:
    if job.recheck is None:
        return requirement
    return replace(requirement, handling=requirement.handling.meet(await job.recheck()))


def _refuse_length(placement: Placement) -> None:
    """Raises TooLong where the context's length alone stands in the way."""
    bare = place(replace(placement.requirement, least_tokens=0), placement.snapshot)
    lengths = [node.context_length for node in bare.candidates if node.context_length is not None]
    if lengths:
        raise TooLong(placement.requirement.least_tokens, max(lengths))


def _body(job: Job, node: MeshNode) -> dict[str, Any]:
    salt = {"cache_salt": job.salt} if job.salt and node.engine == VLLM else {}
    return {**job.body, "model": job.model_on(node), **salt}


def text_of(event: Mapping[str, Any]) -> str:
    """What an event of a streamed chat adds to its text."""
    try:
        return str(event["choices"][0]["delta"].get("content") or "")
    except (LookupError, TypeError, AttributeError):
        return ""


def cache_salt(key: bytes, visible: bytes, handling: Handling) -> str:
    """Equal for those who see the same and whose context is handled the same; else nobody can make it."""
    told = json.dumps(handling.record(), sort_keys=True).encode()
    return hmac.new(key, len(visible).to_bytes(8, "big") + visible + told, hashlib.sha256).hexdigest()
