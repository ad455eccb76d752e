"""A question from end to end: visible facts, their handling, a permitted node, a checked answer."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from context_manager.answer import FORM, prompt
from context_manager.answer_cache import AnswerCache, CachedAnswer, cache_key
from context_manager.audit import AuditError, AuditLog
from context_manager.context import Context, Retrieval, assemble, find
from context_manager.drafting import Draft, Outcome, draft
from context_manager.facts import Fact
from context_manager.grounding import Sentence
from context_manager.handling import Handlings
from context_manager.holding import Holder
from context_manager.mesh_operations import MeshOperations
from context_manager.placement_log import PlacementLog
from context_manager.prior_answers import PriorAnswers
from context_manager.relevance import Match, question_of
from context_manager.standings import Standings
from graph.handling import Handling
from graph.joined import joined
from graph.past import PRESENT, When
from graph.reads import Asker, EntityView, Reader, View
from inference.embeddings import Embedder
from inference.mesh import Mesh
from inference.nodes import CHAT, EMBEDDING, LOCAL_NODE_ID
from inference.placement import Placement, place
from inference.requirement import Requirement
from inference.serving import Gateway, Job, cache_salt
from ontologies import Ontology

MAX_QUESTION = 2_000
"""Characters of a question."""
LEFT = "left by the client"
_MAX_TOKENS = 300
_CHARACTERS_A_TOKEN = 4
_NOT_KNOWN = "Not known: no fact that you may see answers this."


class QuestionRefused(Exception):  # noqa: N818  named for what happened
    """The question cannot be asked as it is; the message says what was expected."""


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
    gateway: Gateway
    holder: Holder
    audit: AuditLog
    deadline_s: float
    """For the models' answer."""
    operations: MeshOperations
    salt_key: bytes
    """Makes what separates the askers in an engine's prefix cache."""
    standings: Standings
    placements: PlacementLog
    prior: PriorAnswers
    marks_ungrounded: bool = False
    """Whether a sentence that no fact says is marked; else it is dropped."""
    answers: AnswerCache = field(default_factory=AnswerCache)

    @property
    def handlings(self) -> Handlings:
        return self.holder.handlings

    @property
    def mesh(self) -> Mesh:
        return self.gateway.mesh


async def embed(service: Asking, text: str) -> tuple[list[float] | None, Placement]:
    """The embedding of an asker's text; None where this process may not make it, whose vectors the index has.

    Raises QuestionRefused for a text that is empty or too long.
    """
    if not text.strip():
        raise QuestionRefused("the text is empty; write a question or words to look for")
    if len(text) > MAX_QUESTION:
        raise QuestionRefused(
            f"the text has {len(text):,} characters; at most {MAX_QUESTION:,} are read: shorten it"
        )
    own = service.mesh.snapshot().only(LOCAL_NODE_ID)
    placement = place(Requirement(service.handlings.of_question, EMBEDDING), own)
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

    async def work(view: View) -> tuple[tuple[Match, ...], frozenset[str], Handling, frozenset[str], bytes]:
        facts, barred = await assemble(
            view, service.ontology, question, service.embedder, service.holder.barred, about
        )
        handling = await service.handlings.of_facts(view, [match.fact for match in facts])
        return facts, barred, handling.meet(own), await view.present(service.mesh.ids()), view.visible

    (facts, barred, handling, nodes, visible), revision = await service.reader.run(asker, work, when)
    salt = cache_salt(service.salt_key, visible, handling)
    return Retrieval(Context(facts, revision), handling, embedding, question, nodes, salt, when, barred)


async def handling_now(
    service: Asking, asker: Asker, facts: Sequence[Fact], when: When = PRESENT
) -> Handling:
    """Of the same facts, by the rules and classifications that hold now."""
    handling, _ = await service.reader.run(asker, lambda view: service.handlings.of_facts(view, facts), when)
    return handling


async def ask(
    service: Asking, asker: Asker, text: str, about: str | None = None, when: When = PRESENT
) -> Answer:
    """The whole answer to a question. Raises as `stream`."""
    async with aclosing(stream(service, asker, text, about, when)) as events:
        async for event in events:
            if isinstance(event, Answer):
                return event
    raise AssertionError("a stream ends with an answer")


async def stream(
    service: Asking, asker: Asker, text: str, about: str | None = None, when: When = PRESENT
) -> AsyncGenerator[Retrieval | Sentence | Answer, None]:
    """Answer a question: what was found, each sentence as soon as it holds, and the whole.

    Intent, facts and placement are on record before the first of these, and before a byte goes to a node;
    the outcome before the last. Raises as `retrieve`, Overloaded, and AuditError when a record cannot be
    written: without the intent nothing is sent, without the closing there is no answer. Closing the
    generator ends the request at the engine.
    """
    retrieval = await retrieve(service, asker, text, about, when)
    service.answers.at(retrieval.context.revision)
    made = _Made(service, asker, text, about, retrieval, await _placement(service, retrieval))
    await made.begin()
    try:
        yield retrieval
        if (known := made.known()) is not None:
            for sentence in known.sentences:
                yield sentence
        elif made.draft is None:
            job = await made.job()
            drafting = draft(
                service.gateway, service.embedder, job, retrieval, marks=service.marks_ungrounded
            )
            async with aclosing(drafting) as parts:
                async for part in parts:
                    if isinstance(part, Sentence):
                        made.sentences += (part,)
                        yield part
                    else:
                        made.draft = replace(part, notes=(*made.failed, *part.notes))
    except AuditError:
        raise
    except BaseException as error:
        left = isinstance(error, (asyncio.CancelledError, GeneratorExit))
        await asyncio.shield(made.close(LEFT if left else type(error).__name__))
        raise
    yield await made.close()


@dataclass(slots=True)
class _Made:
    """An ask as far as it has come; it puts itself on record."""

    service: Asking
    asker: Asker
    text: str
    about: str | None
    retrieval: Retrieval
    placement: Placement | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    draft: Draft | None = None
    sentences: tuple[Sentence, ...] = ()
    failed: tuple[str, ...] = ()
    """Of the nodes that were tried before."""
    same_as: str | None = None
    """The ask that it has its answer from."""

    async def begin(self) -> None:
        """The intent; what needs no model is drafted at once."""
        await self._record("intent", await self._intent())
        embedding, placement = self.retrieval.embedding, self.placement
        if placement is None and embedding.node is not None:
            self.draft = Draft(Outcome.NOT_KNOWN, _NOT_KNOWN)
        elif (none := placement or embedding).node is None:
            self.draft = Draft(Outcome.REFUSED, f"Refused: {none.refusal(self.retrieval.nodes)}")

    def known(self) -> CachedAnswer | None:
        """What the same question got lately, on the same grounds."""
        if (key := self._key()) is None or (found := self.service.answers.get(key)) is None:
            return None
        self.draft, self.same_as = found.draft, found.ask
        return found

    async def job(self) -> Job:
        """Raises ValueError where no model is needed."""
        if self.placement is None:
            raise ValueError("nothing was placed")
        facts = self.retrieval.context.facts
        return Job(
            "/v1/chat/completions",
            {
                "messages": prompt(self.text, facts),
                "max_tokens": _MAX_TOKENS,
                "temperature": 0,
                "response_format": FORM,
            },
            self.placement.requirement,
            asyncio.get_running_loop().time() + self.service.deadline_s,
            (await self.service.standings.of(self.asker)).team,
            salt=self.retrieval.salt,
            recheck=lambda: handling_now(
                self.service, self.asker, [match.fact for match in facts], self.retrieval.when
            ),
            placed=self._placed,
        )

    async def close(self, outcome: str | None = None) -> Answer:
        """The closing; `outcome` of what was not drafted to its end."""
        made = self.draft or Draft(Outcome.NOT_KNOWN, "")
        closing = _closing(self.retrieval, made, outcome or made.outcome.value)
        await self._record("closing", {**closing, "same_as": self.same_as})
        if made.cited:
            said = [made.text, *(sentence.text for sentence in self.sentences)]
            await self.service.prior.remember(self.asker, said, self.retrieval.handling)
        key = self._key()
        if key is not None and self.same_as is None and outcome is None and made.outcome is Outcome.ANSWERED:
            kept = CachedAnswer(self.id, self.sentences, made)
            self.service.answers.put(key, kept, self.retrieval.context.revision)
        return Answer(self.id, self.retrieval, self.placement, made)

    async def _placed(self, placement: Placement) -> None:
        """Before a byte leaves for a node: another than the intent's is on record too."""
        before, self.placement = self.placement, placement
        if before is None or before.node != placement.node:
            await self._record("retry", await self._intent())
        self.failed = tuple(
            f"{id_} failed." if id_ in self.retrieval.nodes else "A mesh node failed."
            for id_ in sorted(placement.requirement.failed_on)
        )

    def _key(self) -> str | None:
        """None where no model is needed, or none may be used."""
        if self.placement is None or self.placement.node is None:
            return None
        return cache_key(self.asker, self.text, self.about, self.retrieval, self.placement.node)

    async def _record(self, kind: str, content: dict[str, Any]) -> None:
        await self.service.audit.record(kind, {"ask": self.id, **content})

    async def _intent(self) -> dict[str, Any]:
        asker, retrieval, placement = self.asker, self.retrieval, self.placement
        placements = self.service.placements
        node = placement.node if placement else None
        return {
            "account": asker.account,
            "agent": asker.agent,
            "earlier_agents": list(asker.earlier_agents),
            "scope": str(asker.scope),
            "question": self.text,
            "about": self.about,
            "revision": retrieval.context.revision,
            **retrieval.when.record(),
            "facts": [match.fact.id for match in retrieval.context.facts],
            "decision": {
                "visible_facts": len(retrieval.context.facts),
                "handling": retrieval.handling.record(),
            },
            "embedding": await placements.record(retrieval.embedding),
            "placement": await placements.record(placement),
            "model": node.models[0] if node and node.models else None,
        }


async def _placement(service: Asking, retrieval: Retrieval) -> Placement | None:
    """Where the model may run; what was found dead is looked at once more before it is called so."""
    if not retrieval.context.facts:
        return None
    facts = [match.fact for match in retrieval.context.facts]
    requirement = Requirement(
        retrieval.handling,
        CHAT,
        sites=service.handlings.sites(facts),
        prompt_tokens=sum(len(fact.statement) for fact in facts) // _CHARACTERS_A_TOKEN,
    )
    placement = place(requirement, service.mesh.snapshot())
    if placement.node is None and any(verdict.permitted for verdict in placement.verdicts):
        permitted = [verdict.node_id for verdict in placement.verdicts if verdict.permitted]
        placement = place(requirement, await service.mesh.refresh(permitted))
    return placement


def _closing(retrieval: Retrieval, draft: Draft, outcome: str) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "answer_sha256": hashlib.sha256(draft.text.encode()).hexdigest(),
        "cited": [retrieval.context.facts[i].fact.id for i in draft.cited],
        "node": draft.node,
        "model": draft.model,
        "notes": list(draft.notes),
    }
