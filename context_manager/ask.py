"""A question from end to end: visible facts, their handling, a permitted node, a checked answer, on record."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from context_manager.answer import Draft, prompt, settle
from context_manager.audit import AuditLog
from context_manager.context import Context, assemble
from context_manager.handling import Handlings
from context_manager.relevance import Question, question_of
from graph.handling import Handling
from graph.reads import Asker, Reader, View
from inference.embeddings import Embedder
from inference.engine_client import EngineClient
from inference.gateway import NoNodeAnswered, chat_on_first
from inference.mesh import CHAT, EMBEDDING, Mesh
from inference.placement import Placement, Requirement, place
from ontologies import Ontology

MAX_QUESTION = 2_000
"""Characters of a question."""
_MAX_TOKENS = 300
_DEADLINE_S = 60.0
_NOT_KNOWN = "Not known: no fact that you may see answers this."


class QuestionRefused(Exception):
    """The question cannot be asked as it is; the message says what was expected."""


class Outcome(Enum):
    """How an ask ended."""

    ANSWERED = "answered"
    """By sentences of the model, each grounded in the facts it cites."""
    FACTS = "facts"
    """By the best-matching facts in plain words, since no sentence of a model held."""
    NOT_KNOWN = "not known"
    REFUSED = "refused"
    """No node that may process the facts is up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the asker gets. An answer inherits the handling of what it was made from."""

    id: str
    outcome: Outcome
    text: str
    context: Context
    cited: tuple[int, ...]
    """Places in the context's facts, of those that the text rests on."""
    handling: Handling
    embedding: Placement
    placement: Placement | None
    """Of the model; None where none was needed."""
    node: str | None
    model: str | None
    notes: tuple[str, ...]
    """What a reader must know: dropped sentences, nodes that failed."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What an ask needs of the service."""

    ontology: Ontology
    reader: Reader
    embedder: Embedder
    mesh: Mesh
    engines: EngineClient
    handlings: Handlings
    audit: AuditLog


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A question's context and where the question was embedded."""

    context: Context
    handling: Handling
    embedding: Placement


async def retrieve(
    service: Asking, asker: Asker, text: str, about: str | None = None
) -> Retrieval:
    """The facts that the asker may see for a question; about one entity's neighbourhood, if given.

    Raises QuestionRefused for a question that is empty or too long. Where the question may not be
    embedded on any node, the context is empty and the embedding's placement says why.
    """
    if not text.strip():
        raise QuestionRefused("the question is empty; write one")
    if len(text) > MAX_QUESTION:
        raise QuestionRefused(
            f"the question has {len(text):,} characters; at most {MAX_QUESTION:,} are read: shorten it"
        )
    own = service.handlings.of_question
    embedding = place(Requirement(own, EMBEDDING), service.mesh.snapshot())
    if embedding.node is None:
        return Retrieval(Context((), 0), own, embedding)
    question = question_of(text, (await service.embedder.embed([text]))[0])

    async def work(view: View) -> tuple[Context, Handling]:
        matches = await assemble(view, service.ontology, question, service.embedder, about)
        handling = await service.handlings.of_facts(view, [m.fact for m in matches])
        return Context(matches, 0), handling

    (context, handling), revision = await service.reader.run(asker, work)
    return Retrieval(Context(context.facts, revision), handling.meet(own), embedding)


async def ask(service: Asking, asker: Asker, text: str, about: str | None = None) -> Answer:
    """Answer a question. The intent is on record before a byte goes to a node, the outcome after.

    Raises QuestionRefused, and AuditError when the record cannot be written: then nothing is sent.
    """
    retrieval = await retrieve(service, asker, text, about)
    answer_id = str(uuid.uuid4())
    context, handling = retrieval.context, retrieval.handling
    placement = (
        place(Requirement(handling, CHAT), service.mesh.snapshot()) if context.facts else None
    )
    node = placement.node if placement else None
    await _record(
        service.audit,
        "intent",
        {
            "ask": answer_id,
            "account": asker.account,
            "agent": asker.agent,
            "question": text,
            "about": about,
            "revision": context.revision,
            "facts": [match.fact.id for match in context.facts],
            "handling": _handling_record(handling),
            "decision": "visible facts only",
            "embedded_on": retrieval.embedding.node.id if retrieval.embedding.node else None,
            "placement": _placement_record(placement),
            "node": node.id if node else None,
            "model": node.models[0] if node and node.models else None,
        },
    )
    draft = await _draft(service, text, context, placement, retrieval.embedding)
    answer = Answer(
        answer_id,
        draft.outcome,
        draft.text,
        context,
        draft.cited,
        handling,
        retrieval.embedding,
        placement,
        draft.node,
        draft.model,
        draft.notes,
    )
    await _record(
        service.audit,
        "closing",
        {
            "ask": answer_id,
            "outcome": answer.outcome.value,
            "answer_sha256": hashlib.sha256(answer.text.encode()).hexdigest(),
            "cited": [context.facts[i].fact.id for i in answer.cited],
            "node": answer.node,
            "model": answer.model,
            "notes": list(answer.notes),
        },
    )
    return answer
