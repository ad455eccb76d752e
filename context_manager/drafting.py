"""A model's answer while it is written: each sentence leaves once it is whole, grounded and to the point."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from context_manager.answer import check, in_plain_words, written_so_far
from context_manager.context import Context, Meaning, Retrieval
from context_manager.grounding import Sentence
from context_manager.relevance import match
from inference.embeddings import Embedder
from inference.engine_client import NodeAnsweredGarbage
from inference.nodes import MeshNode
from inference.serving import CutShort, Gateway, Job, NoNodeAnswered, Refused, TooLong, text_of

_LONGEST = 4_000
"""Characters of a model's answer that are read."""


class Outcome(Enum):
    """How an ask ended."""

    ANSWERED = "answered"
    """By sentences of the model, each grounded in the facts it cites."""
    CUT_SHORT = "cut short"
    """Likewise, but the node failed in the middle: the answer is not whole."""
    FACTS = "facts"
    """By the best-matching facts in plain words, since no sentence of a model held."""
    NOT_KNOWN = "not known"
    REFUSED = "refused"
    """No node that may process the facts is up."""


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


async def draft(
    gateway: Gateway, embedder: Embedder, job: Job, found: Retrieval, *, marks: bool = False
) -> AsyncGenerator[Sentence | Draft, None]:
    """The sentences as they hold, then the whole. Of nodes only those that the asker may see are named.

    A sentence that no fact says is dropped, or marked if it `marks` such. Raises Overloaded, and what
    `job.placed` raises. Closing the generator ends the request at the engine.
    """
    context, visible = found.context, found.nodes
    facts = [match.fact for match in context.facts]
    text, read, cut = "", 0, False
    node: MeshNode | None = None
    kept: list[Sentence] = []
    notes: list[str] = []
    try:
        async with aclosing(gateway.stream(job)) as events:
            async for event, node in events:
                text += text_of(event)
                whole = written_so_far(text)
                for one in whole[read:]:
                    checked = check([one], facts, marks=marks)
                    notes += checked.lacking
                    for sentence in checked.sentences:
                        if not sentence.cites or await _to_the_point(embedder, found, sentence):
                            kept.append(sentence)
                            yield sentence
                        else:
                            notes.append("A sentence was dropped: it is beside the question.")
                read = len(whole)
                if _ends_early(event) or len(text) > _LONGEST:
                    notes.append(f"{_named(node, visible)} did not finish its answer.")
                    break
    except CutShort as error:
        cut = True
        notes.append(f"The answer broke off: {error.failure.told(visible)}.")
    except NoNodeAnswered as error:
        told = "; ".join(failure.told(visible) for failure in error.failures)
        notes.append(f"No model answered: {told}.")
    except Refused as error:  # what changed while it waited
        yield Draft(Outcome.REFUSED, f"Refused: {error.placement.refusal(visible)}")
        return
    except TooLong as error:
        notes.append(f"No model answered: {error}.")
    if node is not None and not read and not cut:
        what, todo = "wrote nothing in the form that it was asked for", "check that it enforces JSON schemas"
        notes.append(f"No sentence is a model's: {NodeAnsweredGarbage(node, what, todo).told(visible)}.")
    grounded = any(sentence.cites for sentence in kept)
    made = _of_sentences(kept) if grounded else _of_facts(context, kept)
    if node is not None:
        made = replace(made, node=node.name, model=job.model_on(node))
    outcome = Outcome.CUT_SHORT if grounded and cut else made.outcome
    yield replace(made, outcome=outcome, notes=tuple(notes))


def _of_sentences(kept: list[Sentence]) -> Draft:
    cited = tuple(dict.fromkeys(i for sentence in kept for i in sentence.cites))
    return Draft(Outcome.ANSWERED, " ".join(sentence.text for sentence in kept), cited)


def _of_facts(context: Context, marked: Iterable[Sentence]) -> Draft:
    best = context.best()
    said = [*(sentence.text for sentence in marked), in_plain_words([context.facts[i] for i in best])]
    return Draft(Outcome.FACTS, "\n".join(said), best)


async def _to_the_point(embedder: Embedder, found: Retrieval, sentence: Sentence) -> bool:
    """Whether it matches the question about as well as the facts that it would stand for."""
    context, question = found.context, found.question
    if question is None:
        return False
    cited = [context.facts[i].fact for i in sentence.cites]
    entities = {id_ for fact in cited for id_ in fact.entities}
    [meaning] = await Meaning(question, embedder, found.barred).of([(entities, sentence.text)])
    return match(question, replace(cited[0], statement=sentence.text), meaning).score >= context.bar()


def _ends_early(event: Mapping[str, Any]) -> bool:
    choices = event.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") == "length" for choice in choices
    )


def _named(node: MeshNode, visible: Collection[str]) -> str:
    return f"Mesh node {node.name}" if node.id in visible else "A mesh node"
