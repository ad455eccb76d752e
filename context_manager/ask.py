"""A question from end to end: visible facts, their handling, a permitted node, a checked answer."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from context_manager.answer import Written, check, in_plain_words, prompt
from context_manager.audit import AuditLog
from context_manager.context import Context, assemble, find
from context_manager.grounding import Sentence
from context_manager.handling import Handlings
from context_manager.mesh_operations import MeshOperations
from context_manager.relevance import Match, Question, match, question_of
from graph.handling import Handling
from graph.joined import joined
from graph.past import PRESENT, When
from graph.reads import Asker, EntityView, Reader, View
from inference.embeddings import Embedder
from inference.engine_client import EngineClient, NodeAnsweredGarbage, NodeError
from inference.gateway import ChatRequest, NoNodeAnswered, chat_on_first
from inference.mesh import Mesh
from inference.nodes import CHAT, EMBEDDING
from inference.placement import Placement, place
from inference.requirement import Requirement
from inference.serving import cache_salt
from ontologies import Ontology

MAX_QUESTION = 2_000
"""Characters of a question."""
_MAX_TOKENS = 300
_NOT_KNOWN = "Not known: no fact that you may see answers this."


class QuestionRefused(Exception):  # noqa: N818  named for what happened
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
class Retrieval:
    """A question's context, its handling, and where the question was embedded."""

    context: Context
    handling: Handling
    embedding: Placement
    question: Question | None
    """None when it could not be embedded."""
    nodes: frozenset[str] = frozenset()
    """Ids of the mesh nodes that the asker may see: no other is named to them."""
    salt: str = ""
    """What may share an engine's prefix cache with it."""
    when: When = PRESENT
    """What it was asked of."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an answer will say."""

    outcome: Outcome
    text: str
    cited: tuple[int, ...] = ()
    """Places in the context's facts, of those that the text rests on."""
    node: str | None = None
    model: str | None = None
    notes: tuple[str, ...] = ()
    """What a reader must know: dropped sentences, nodes that failed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the asker gets. An answer inherits the handling of what it was made from."""

    id: str
    retrieval: Retrieval
    placement: Placement | None
    """Of the model; None where none was needed."""
    draft: Draft


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
    deadline_s: float
    """For the models' answer."""
    operations: MeshOperations
    salt_key: bytes
    """Makes what separates the askers in an engine's prefix cache."""


async def embed(service: Asking, text: str) -> tuple[list[float] | None, Placement]:
    """The embedding of an asker's text and where it was made; None where no node may make it.

    Raises QuestionRefused for a text that is empty or too long.
    """
    if not text.strip():
        raise QuestionRefused("the text is empty; write a question or words to look for")
    if len(text) > MAX_QUESTION:
        raise QuestionRefused(
            f"the text has {len(text):,} characters; at most {MAX_QUESTION:,} are read: shorten it"
        )
    placement = place(Requirement(service.handlings.of_question, EMBEDDING), service.mesh.snapshot())
    if placement.node is None:
        return None, placement
    return (await service.embedder.embed([text]))[0], placement


async def search(view: View, text: str, vector: Sequence[float], first: int) -> list[EntityView]:
    """The visible entities that match a text by words or meaning, best first; those that are one as one."""
    return (await joined(view, await find(view, question_of(text, vector))))[:first]


async def retrieve(
    service: Asking, asker: Asker, text: str, about: str | None = None, when: When = PRESENT
) -> Retrieval:
    """The facts that the asker may see for a question; those around one entity, if `about` names it.

    Where the question may not be embedded on any node, the context is empty and the placement says why.
    Facts of the past are handled as the stricter of then and now. Raises as `embed` and `Reader.run`.
    """
    own = service.handlings.of_question
    vector, embedding = await embed(service, text)
    if vector is None:
        return Retrieval(Context((), 0), own, embedding, None, when=when)
    question = question_of(text, vector)

    async def work(view: View) -> tuple[tuple[Match, ...], Handling, frozenset[str], bytes]:
        facts = await assemble(view, service.ontology, question, service.embedder, about)
        handling = await service.handlings.of_facts(view, [match.fact for match in facts])
        return facts, handling.meet(own), await view.present(service.mesh.ids()), view.visible

    (facts, handling, nodes, visible), revision = await service.reader.run(asker, work, when)
    salt = cache_salt(service.salt_key, visible, handling)
    return Retrieval(Context(facts, revision), handling, embedding, question, nodes, salt, when)


async def ask(
    service: Asking, asker: Asker, text: str, about: str | None = None, when: When = PRESENT
) -> Answer:
    """Answer a question. The intent is on record before a byte goes to a node, the outcome after.

    Raises as `retrieve`, and AuditError when a record cannot be written: without the intent nothing is sent,
    without the closing nothing is answered.
    """
    retrieval = await retrieve(service, asker, text, about, when)
    placement = await _placement(service, retrieval)
    answer_id = str(uuid.uuid4())
    intent = _intent(asker, text, about, retrieval, placement)
    await asyncio.to_thread(service.audit.append, "intent", {"ask": answer_id, **intent})
    draft = await _draft(service, text, retrieval, placement)
    closing = _closing(retrieval, draft)
    await asyncio.to_thread(service.audit.append, "closing", {"ask": answer_id, **closing})
    return Answer(answer_id, retrieval, placement, draft)


async def _placement(service: Asking, retrieval: Retrieval) -> Placement | None:
    """Where the model may run; what was found dead is looked at once more before it is called so."""
    if not retrieval.context.facts:
        return None
    requirement = Requirement(retrieval.handling, CHAT)
    placement = place(requirement, service.mesh.snapshot())
    if placement.node is None and any(verdict.permitted for verdict in placement.verdicts):
        permitted = [verdict.node_id for verdict in placement.verdicts if verdict.permitted]
        placement = place(requirement, await service.mesh.refresh(permitted))
    return placement


async def _draft(service: Asking, text: str, retrieval: Retrieval, placement: Placement | None) -> Draft:
    if placement is None:
        if retrieval.embedding.node is None:
            return Draft(Outcome.REFUSED, f"Refused: {retrieval.embedding.refusal(retrieval.nodes)}")
        return Draft(Outcome.NOT_KNOWN, _NOT_KNOWN)
    if placement.node is None:
        return Draft(Outcome.REFUSED, f"Refused: {placement.refusal(retrieval.nodes)}")
    facts = [match.fact for match in retrieval.context.facts]
    try:
        completion = await chat_on_first(
            service.engines,
            placement.candidates,
            ChatRequest(prompt(text, retrieval.context.facts), Written, _MAX_TOKENS, salt=retrieval.salt),
            deadline=asyncio.get_running_loop().time() + service.deadline_s,
        )
    except NoNodeAnswered as error:
        _mark_down(service.mesh, error.failures)
        told = "; ".join(failure.told(retrieval.nodes) for failure in error.failures)
        return _in_plain_words(retrieval, notes=(f"No model answered: {told}.",))
    _mark_down(service.mesh, completion.failures)
    checked = check(completion.answer, facts)
    node, model = completion.node.name, completion.model
    answering = await _answering(service, retrieval, checked.sentences)
    aside = len(checked.sentences) - len(answering)
    notes = (
        *(failure.told(retrieval.nodes) for failure in completion.failures),
        *checked.dropped,
        *["A sentence was dropped: it is beside the question."] * aside,
    )
    if not answering:
        return _in_plain_words(retrieval, node, model, notes)
    return Draft(
        Outcome.ANSWERED,
        " ".join(sentence.text for sentence in answering),
        tuple(dict.fromkeys(i for sentence in answering for i in sentence.cites)),
        node,
        model,
        notes,
    )


def _mark_down(mesh: Mesh, failures: Sequence[NodeError]) -> None:
    """A node that gave no whole answer gets no further question before a probe finds it up."""
    for failure in failures:
        if not isinstance(failure, NodeAnsweredGarbage):
            mesh.failed(failure.node, failure.what, answered=False)


async def _answering(service: Asking, retrieval: Retrieval, sentences: Sequence[Sentence]) -> list[Sentence]:
    """The sentences that match the question about as well as the facts that they would stand for."""
    question = retrieval.question
    if question is None or not sentences:
        return []
    vectors = await service.embedder.embed([sentence.text for sentence in sentences])
    bar = retrieval.context.bar()
    answering = []
    for sentence, vector in zip(sentences, vectors, strict=True):
        said = replace(retrieval.context.facts[sentence.cites[0]].fact, statement=sentence.text)
        if match(question, said, question.meaning(vector)).score >= bar:
            answering.append(sentence)
    return answering


def _in_plain_words(
    retrieval: Retrieval, node: str | None = None, model: str | None = None, notes: tuple[str, ...] = ()
) -> Draft:
    best = retrieval.context.best()
    text = in_plain_words([retrieval.context.facts[i] for i in best])
    return Draft(Outcome.FACTS, text, best, node, model, notes)


def _intent(
    asker: Asker, text: str, about: str | None, retrieval: Retrieval, placement: Placement | None
) -> dict[str, Any]:
    node = placement.node if placement else None
    return {
        "account": asker.account,
        "agent": asker.agent,
        "earlier_agents": list(asker.earlier_agents),
        "scope": str(asker.scope),
        "question": text,
        "about": about,
        "revision": retrieval.context.revision,
        **retrieval.when.record(),
        "facts": [match.fact.id for match in retrieval.context.facts],
        "decision": {
            "visible_facts": len(retrieval.context.facts),
            "handling": retrieval.handling.record(),
        },
        "embedding": _placement_record(retrieval.embedding),
        "placement": _placement_record(placement),
        "model": node.models[0] if node and node.models else None,
    }


def _closing(retrieval: Retrieval, draft: Draft) -> dict[str, Any]:
    return {
        "outcome": draft.outcome.value,
        "answer_sha256": hashlib.sha256(draft.text.encode()).hexdigest(),
        "cited": [retrieval.context.facts[i].fact.id for i in draft.cited],
        "node": draft.node,
        "model": draft.model,
        "notes": list(draft.notes),
    }


def _placement_record(placement: Placement | None) -> dict[str, Any] | None:
    if placement is None:
        return None
    return {
        "node": placement.node.id if placement.node else None,
        "verdicts": {
            v.node_id: {"permitted": v.permitted, "up": v.up, "why": list(v.reasons)}
            for v in placement.verdicts
        },
    }
