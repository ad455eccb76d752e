"""The OpenAI-compatible API: chat and embeddings for applications, with the person's token.

What is in the prompt decides where it runs, as everywhere: facts of the graph by their handling, what the
application sends by that of questions. Facts are named or asked for in the field `orgraph` of a request;
the same field of the answer tells which they were, and where the answer was made.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from context_manager.ask import LEFT, Asking, handling_now
from context_manager.openai_body import Bodies, read_json
from context_manager.openai_context import Grounds, grounds
from context_manager.openai_errors import UNSERVED, ApiError, in_openais_form
from context_manager.openai_request import (
    ChatBody,
    EmbeddingsBody,
    check_schemas,
    read_chat,
    read_embeddings,
)
from context_manager.prior_answers import gathered, said_in
from graph.reads import Asker
from inference.admission import Priority
from inference.embeddings import MAX_WORD_PIECES
from inference.nodes import CHAT, EMBEDDING, LOCAL_NODE_ID, MeshNode
from inference.placement import Placement, place
from inference.requirement import Requirement
from inference.serving import CutShort, Job, Refused, cache_salt

_CHARACTERS_A_TOKEN = 4
_TURNS = frozenset({"assistant", "tool"})
"""Who says what was answered before."""
_NOTHING: Mapping[str, Any] = {}
"""The message of what gave no answer."""


@dataclass(slots=True)
class OpenAIApi:
    """What the API needs of the service."""

    asking: Asking
    _bodies: Bodies = field(init=False)

    def __post_init__(self) -> None:
        self._bodies = Bodies(self.asking.mesh)

    async def chat(self, request: web.Request, asker: Asker) -> web.StreamResponse:
        _require(asker, "ask")
        with self._bodies.room(request) as most:
            body = read_chat(await read_json(request, most))
            if schemas := body.schemas():
                await asyncio.to_thread(check_schemas, schemas)
            made = await self._prepare(asker, body)
            with in_openais_form(made.grounds.nodes):
                try:
                    return await (self._stream(request, body, made) if body.stream else self._whole(made))
                except UNSERVED as error:
                    await made.unserved(error)
                    raise

    async def _whole(self, made: _Made) -> web.StreamResponse:
        try:
            served = await self.asking.gateway.complete(made.job)
        except asyncio.CancelledError:
            await asyncio.shield(made.close(LEFT, _NOTHING, None, []))
            raise
        notes = [failure.told(made.grounds.nodes) for failure in served.failures]
        message = _message(served.answer)
        await made.close("answered" if message else "bad answer", message, served.node, notes)
        if not message:
            raise ApiError(502, "bad_answer", "the node gave no chat completion")
        return web.json_response({**served.answer, "orgraph": made.told(served.node)})

    async def embeddings(self, request: web.Request, asker: Asker) -> web.StreamResponse:
        _require(asker, "search")
        with self._bodies.room(request) as most:
            return await self._embeddings(asker, read_embeddings(await read_json(request, most)))

    async def _embeddings(self, asker: Asker, body: EmbeddingsBody) -> web.StreamResponse:
        texts = body.texts()
        found = await grounds(self.asking, asker, body.orgraph, (), texts)
        requirement = Requirement(
            found.handling,
            EMBEDDING,
            self._model(body.model, EMBEDDING),
            least_tokens=max(len(text.split()) for text in texts),
        )
        ask_id = str(uuid.uuid4())
        placement = place(requirement, self.asking.gateway.mesh.snapshot())
        if placement.node is not None and placement.node.id == LOCAL_NODE_ID:
            tokens, node = await self._tokens(texts), placement.node
            record = {"door": "embeddings", **await self._intent(asker, texts, found, placement)}
            await self._record("intent", ask_id, record)
            vectors = await self.asking.embedder.embed(texts)
        else:
            vectors, tokens, node = await self._embed_elsewhere(asker, ask_id, body, found, requirement)
        await self._record("closing", ask_id, {"outcome": "embedded", "node": node.name})
        if body.dimensions is not None and body.dimensions != len(vectors[0]):
            raise ApiError(
                400, "invalid_request", f"the model has {len(vectors[0])} dimensions", param="dimensions"
            )
        as_asked = _base64 if body.encoding_format == "base64" else list
        return web.json_response(
            {
                "object": "list",
                "model": requirement.model or node.models[0],
                "data": [
                    {"object": "embedding", "index": i, "embedding": as_asked(vector)}
                    for i, vector in enumerate(vectors)
                ],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
                "orgraph": {"id": ask_id, "node": node.name, "handling": found.handling.record()},
            }
        )

    async def _tokens(self, texts: Sequence[str]) -> int:
        """Of all texts, for this process's model. Raises ApiError for one that it would cut."""
        lengths = await self.asking.embedder.word_pieces(texts)
        for i, length in enumerate(lengths):
            if length > MAX_WORD_PIECES:
                over = f"{length - MAX_WORD_PIECES:,} too many; split the text"
                message = f"input.{i} has {length:,} tokens, the model reads {MAX_WORD_PIECES}: {over}"
                raise ApiError(400, "context_length_exceeded", message, param=f"input.{i}")
        return sum(lengths)

    async def models(self, request: web.Request, _asker: Asker) -> web.StreamResponse:
        """Models of nodes that may process a question at all."""
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "orgraph"} for name in self._models()
        ]
        name = request.match_info.get("model")
        if name is None:
            return web.json_response({"object": "list", "data": listed})
        for one in listed:
            if one["id"] == name:
                return web.json_response(one)
        raise self._unknown_model(name)

    async def _prepare(self, asker: Asker, body: ChatBody) -> _Made:
        model = self._model(body.model, CHAT)
        said_by: dict[bool, list[str]] = {True: [], False: []}
        for message in body.messages:
            said_by[message.role in _TURNS] += message.said()
        found = await grounds(self.asking, asker, body.orgraph, said_by[False], said_by[True])
        engine_body = body.for_engine()
        engine_body["messages"] = [*found.messages(), *engine_body["messages"]]
        said = [str(message.get("content", "")) for message in engine_body["messages"]]
        requirement = Requirement(
            found.handling,
            CHAT,
            model,
            least_tokens=sum(len(text.split()) for text in said) + body.answer_tokens(),
            sites=self.asking.handlings.sites(found.facts),
            prompt_tokens=sum(map(len, said)) // _CHARACTERS_A_TOKEN,
        )
        made = _Made(self, asker, str(uuid.uuid4()), body, found)
        made.job = Job(
            "/v1/chat/completions",
            engine_body,
            requirement,
            asyncio.get_running_loop().time() + self.asking.deadline_s,
            (await self.asking.standings.of(asker)).team,
            Priority[body.orgraph.priority.upper()],
            cache_salt(self.asking.salt_key, found.visible, found.handling),
            partial(handling_now, self.asking, asker, found.facts) if found.facts else None,
            made.placed,
        )
        return made

    async def _stream(self, request: web.Request, body: ChatBody, made: _Made) -> web.StreamResponse:
        """Events as they come. The response begins with the first: until then an error has its own status."""
        job = replace(made.job, body={**made.job.body, "stream_options": {"include_usage": True}})
        wants_usage = body.stream_options is not None and body.stream_options.include_usage
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        came: list[dict[str, Any]] = []
        node: MeshNode | None = None
        try:
            async with aclosing(self.asking.gateway.bursts(job)) as bursts:
                async for events, node in bursts:
                    if not response.prepared:
                        await response.prepare(request)
                        events[0]["orgraph"] = made.told(node)
                    came += events
                    shown = events if wants_usage else _without_usage(events)
                    if shown:
                        await response.write(b"".join(map(_event, shown)))
        except CutShort as error:
            await made.close("cut short", gathered(came), node, [error.failure.told(made.grounds.nodes)])
            message = f"the answer broke off: {error.failure.told(made.grounds.nodes)}; it is not whole"
            await response.write_eof(_event(ApiError(502, "cut_short", message).body()))
            return response
        except (asyncio.CancelledError, ConnectionError):
            await asyncio.shield(made.close(LEFT, gathered(came), node, []))
            raise
        await made.closed("answered", gathered(came), node)
        await response.write_eof(b"data: [DONE]\n\n")
        return response

    async def _embed_elsewhere(
        self, asker: Asker, ask_id: str, body: EmbeddingsBody, found: Grounds, requirement: Requirement
    ) -> tuple[list[list[float]], int, MeshNode]:
        texts = body.texts()

        async def placed(placement: Placement) -> None:
            record = {"door": "embeddings", **await self._intent(asker, texts, found, placement)}
            await self._record("intent", ask_id, record)

        job = Job(
            "/v1/embeddings",
            {"input": texts, "encoding_format": "float"},
            replace(requirement, failed_on=frozenset({LOCAL_NODE_ID})),
            asyncio.get_running_loop().time() + self.asking.deadline_s,
            (await self.asking.standings.of(asker)).team,
            Priority[body.orgraph.priority.upper()],
            placed=placed,
        )
        with in_openais_form(found.nodes):
            try:
                served = await self.asking.gateway.complete(job)
            except UNSERVED as error:
                if isinstance(error, Refused):
                    await placed(error.placement)
                await self._record("closing", ask_id, {"outcome": type(error).__name__, "node": None})
                raise
        try:
            rows = sorted(served.answer["data"], key=lambda row: int(row["index"]))
            vectors = [[float(x) for x in row["embedding"]] for row in rows]
            tokens = int(served.answer["usage"]["prompt_tokens"])
        except (LookupError, TypeError, ValueError):
            vectors, tokens = [], 0
        if len(vectors) != len(texts) or not all(vectors):
            raise ApiError(502, "bad_answer", "the node gave no embedding for each text")
        return vectors, tokens, served.node

    def _model(self, name: str, capability: str) -> str | None:
        """A model, or with the name of a capability any that has it. Raises ApiError for neither."""
        if name == capability:
            return None
        if not any(name in node.models for node, _ in self.asking.gateway.mesh.snapshot().members):
            raise self._unknown_model(name)
        return name

    def _models(self) -> list[str]:
        snapshot, names = self.asking.gateway.mesh.snapshot(), {CHAT, EMBEDDING}
        for capability in (CHAT, EMBEDDING):
            placed = place(Requirement(self.asking.handlings.of_question, capability), snapshot)
            names |= {
                name
                for id_ in placed.permitted_ids
                for name in snapshot.compiled.nodes[snapshot.compiled.position[id_]].models
            }
        return sorted(names)

    def _unknown_model(self, name: str) -> ApiError:
        known = ", ".join(self._models())
        return ApiError(
            404, "model_not_found", f"there is no model {name[:80]!r}; there are: {known}", param="model"
        )

    async def _intent(
        self, asker: Asker, said: Sequence[str], found: Grounds, placement: Placement
    ) -> dict[str, Any]:
        placements = self.asking.placements
        return {
            "account": asker.account,
            "agent": asker.agent,
            "earlier_agents": list(asker.earlier_agents),
            "scope": str(asker.scope),
            "said_sha256": [hashlib.sha256(text.encode()).hexdigest() for text in said],
            "revision": found.revision,
            "facts": [fact.id for fact in found.facts],
            "decision": {"visible_facts": len(found.facts), "handling": found.handling.record()},
            "embedding": await placements.record(found.embedding),
            "placement": await placements.record(placement),
            "model": placement.requirement.model,
        }

    async def _record(self, kind: str, ask_id: str, record: Mapping[str, Any]) -> None:
        await self.asking.audit.record(kind, {"ask": ask_id, **record})


@dataclass(slots=True)
class _Made:
    """A chat request with what it rests on; it puts itself on record."""

    api: OpenAIApi
    asker: Asker
    id: str
    body: ChatBody
    grounds: Grounds
    job: Job = field(init=False)
    _begun: bool = False

    async def placed(self, placement: Placement) -> None:
        """The intent, before a byte leaves; each further attempt likewise."""
        said = [message.text() for message in self.body.messages]
        record = {"door": "chat", **await self.api._intent(self.asker, said, self.grounds, placement)}
        await self.api._record("retry" if self._begun else "intent", self.id, record)
        self._begun = True

    async def unserved(self, error: Exception) -> None:
        """That nothing came of it, with the placement that refused it."""
        if isinstance(error, Refused):
            await self.placed(error.placement)
        await self.close(type(error).__name__, _NOTHING, None, [])

    async def close(
        self, outcome: str, message: Mapping[str, Any], node: MeshNode | None, notes: Sequence[str]
    ) -> None:
        """The closing, before the answer leaves."""
        record = await self._closing(outcome, message, node, notes)
        await self.api.asking.audit.record("closing", record)

    async def closed(self, outcome: str, message: Mapping[str, Any], node: MeshNode | None) -> None:
        """The closing of an answer that has left as it came: its end does not wait for the disk."""
        self.api.asking.audit.follow("closing", await self._closing(outcome, message, node, ()))

    async def _closing(
        self, outcome: str, message: Mapping[str, Any], node: MeshNode | None, notes: Sequence[str]
    ) -> dict[str, Any]:
        said = said_in(message)
        await self.api.asking.prior.remember(self.asker, said, self.grounds.handling)
        return {
            "ask": self.id,
            "outcome": outcome,
            "answer_sha256": hashlib.sha256("\n".join(said).encode()).hexdigest(),
            "node": node.name if node else None,
            "notes": list(notes),
        }

    def told(self, node: MeshNode) -> dict[str, Any]:
        """What the answer tells of itself."""
        return {
            "id": self.id,
            "node": node.name,
            "handling": self.grounds.handling.record(),
            "facts": [
                {"number": i, "id": fact.id, "statement": fact.statement, "sources": list(fact.sources)}
                for i, fact in enumerate(self.grounds.facts, 1)
            ],
        }


def _require(asker: Asker, action: str) -> None:
    if action not in asker.scope.actions:
        raise ApiError(403, "insufficient_scope", f"the token is not for this: its scope lacks {action!r}")


def _message(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message of a chat completion; nothing where it is none."""
    match answer.get("choices"):
        case [{"message": dict(message)}, *_]:
            return message
    return _NOTHING


def _without_usage(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [event for event in events if event.get("choices")]
    for event in kept:
        event.pop("usage", None)
    return kept


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(content)


def _base64(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI's client reads them."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
