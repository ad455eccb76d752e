"""The context of a question: visible facts, found by meaning, by words and along relationships."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from context_manager.facts import (
    JOINTS,
    Fact,
    description,
    facts_of,
    named,
    relationship_fact,
    resting_on,
)
from context_manager.grounding import split
from context_manager.relevance import (
    LONG,
    Match,
    Question,
    best_first,
    match,
    relevant,
    speaks_of,
    to_the_point,
)
from context_manager.words import stems
from graph.handling import Handling
from graph.joined import with_members
from graph.past import PRESENT, When
from graph.reads import EntityView, View
from inference.embeddings import Embedder
from inference.placement import Placement
from ontologies import Ontology

_BY_MEANING = 40
"""Entities looked at for their meaning."""
_BY_WORDS = 40
"""Entities looked at for their words."""
_EXPANDED = 12
"""Entities whose neighbours are looked at."""
_NEIGHBOURS = 40
"""Neighbours of each."""
_WEIGHED = 30
"""Short facts, and passages without an embedding, that are weighed by their meaning too."""
BUDGET = 8
"""Facts of a context."""
_BEST, _ABOUT = 3, 0.1
"""How many facts, or lines of one, stand for an answer at most; how much worse than the best they may be."""
_READ = 8
"""Facts that are weighed line by line."""


@dataclass(frozen=True, slots=True)
class Context:
    """Facts, best first, as they stood at a revision."""

    facts: tuple[Match, ...]
    revision: int

    def best(self) -> tuple[int, ...]:
        """Places of the facts that match about as well as the first, which is one of them."""
        return tuple(i for i, m in enumerate(self.facts[:_BEST]) if m.score >= self.bar())

    def bar(self) -> float:
        """The score of what matches about as well as the best fact."""
        return self.facts[0].score - _ABOUT if self.facts else 0.0


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
    barred: frozenset[str] = frozenset()
    """Ids of entities of which nothing may be embedded here."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """How texts match a question by their meaning, 0 of what rests on an entity that is barred."""

    question: Question
    embedder: Embedder
    barred: frozenset[str]

    async def of(self, texts: Sequence[tuple[Collection[str], str]]) -> list[float]:
        """Of each text, given with the ids of the entities that it rests on."""
        told = [i for i, (ids, _) in enumerate(texts) if self.barred.isdisjoint(ids)]
        vectors = await self.embedder.embed([texts[i][1] for i in told])
        found = dict(zip(told, map(self.question.meaning, vectors), strict=True))
        return [found.get(i, 0.0) for i in range(len(texts))]


async def assemble(  # noqa: PLR0913, PLR0917  what facts are found with
    view: View,
    ontology: Ontology,
    question: Question,
    embedder: Embedder,
    barred: Callable[[View, Collection[str]], Awaitable[frozenset[str]]],
    about: str | None,
) -> tuple[tuple[Match, ...], frozenset[str]]:
    """The facts for a question, best first; none when none passes the bound of relevance. And the entities
    of them that are `barred` from being embedded: they match by their words alone.

    `about` is the id of the entity whose own facts and neighbourhood are asked; None for everything.
    """
    seeds = await (find(view, question) if about is None else _around(view, about))
    passages = [seed for seed in seeds if seed.class_name == "Passage"]
    others = [seed for seed in seeds if seed.class_name != "Passage"]
    known = await with_members(view, others)
    called = _called(question, known)
    short = await _short_facts(view, ontology, known)
    untold = await barred(view, {id_ for fact in short for id_ in fact.entities} | {p.id for p in passages})
    meaning = Meaning(question, embedder, untold)
    weighed = await _weigh_passages(view, ontology, meaning, passages)
    weighed = [m for m in weighed if not called or speaks_of(m.fact, called)]
    weighed += await _weigh_short(meaning, [fact for fact in short if not called or speaks_of(fact, called)])
    read = await _read_closely(meaning, best_first(weighed))
    return relevant(read, BUDGET, called=bool(called)), untold


async def find(view: View, question: Question) -> list[EntityView]:
    """Visible entities by meaning and by words, the most promising first."""
    near = await view.by_embedding(question.vector, _BY_MEANING)
    worded = await view.full_text(" ".join(question.telling))
    by_words = sorted(worded, key=lambda e: (-question.coverage(_text(e)), e.id))[:_BY_WORDS]
    return _interleave([entity for entity, _ in near], by_words, _named(question, worded))


def _named(question: Question, entities: Iterable[EntityView]) -> list[EntityView]:
    """The entities that the question calls by their whole name, the longest name first; not passages."""
    asked = stems(question.text)
    names = {e.id: stems(e.name) for e in entities if e.class_name != "Passage"}
    called = [e for e in entities if names.get(e.id) and names[e.id] <= asked]
    return sorted(called, key=lambda e: (-len(names[e.id]), e.id))[:_EXPANDED]


def _called(question: Question, known: Iterable[tuple[EntityView, EntityView]]) -> frozenset[frozenset[str]]:
    """Stems of the names of the people whom the question calls by their whole name: as it does, and as facts
    about them do."""
    asked = stems(question.text)
    people = [
        (stems(entity.name), stems(leading.name))
        for entity, leading in known
        if entity.class_name == "Person"
    ]
    return frozenset(name for names in people if any(n and n <= asked for n in names) for name in names)


async def _around(view: View, about: str) -> list[EntityView]:
    entity = await view.entity(about)
    if entity is None:
        return []
    neighbours = (await view.neighbours([about], _NEIGHBOURS)).get(about, ())
    return [entity, *(neighbour.entity for neighbour in neighbours)]


async def _weigh_passages(
    view: View, ontology: Ontology, meaning: Meaning, passages: Sequence[EntityView]
) -> list[Match]:
    question = meaning.question
    meanings = dict(await view.similarities([p.id for p in passages], question.vector))
    # Of superseded texts no embedding is kept, and what has just come may not have one yet.
    without = [passage for passage in passages if passage.id not in meanings]
    best = sorted(without, key=lambda p: (-question.coverage(_text(p)), p.id))[:_WEIGHED]
    found = await meaning.of([((p.id,), description(ontology, p)) for p in best])
    meanings |= {p.id: one for p, one in zip(best, found, strict=True)}
    return [
        match(question, fact, meanings.get(passage.id, 0.0))
        for passage in passages
        for fact in facts_of(ontology, passage, (passage.id,))
    ]


async def _short_facts(
    view: View, ontology: Ontology, known: Sequence[tuple[EntityView, EntityView]]
) -> list[Fact]:
    found: dict[str, Fact] = {}
    for entity, leading in known:
        for fact in facts_of(ontology, named(entity, leading), (entity.id,)):
            found.setdefault(fact.id, resting_on(fact, leading))
    expanded = known[:_EXPANDED]
    neighbours = await view.neighbours([entity.id for entity, _ in expanded], _NEIGHBOURS)
    for entity, leading in expanded:
        for neighbour in neighbours.get(entity.id, ()):
            # What is inferred has no source to cite, and follows from facts that have one.
            if neighbour.derivations:
                continue
            if neighbour.type not in JOINTS and neighbour.entity.class_name != "Passage":
                path = (entity.id, neighbour.type, neighbour.entity.id)
                fact = relationship_fact(ontology, named(entity, leading), neighbour, path)
                found.setdefault(fact.id, resting_on(fact, leading))
    return list(found.values())


async def _weigh_short(meaning: Meaning, facts: Sequence[Fact]) -> list[Match]:
    question = meaning.question
    telling = [fact for fact in facts if to_the_point(question, fact)]
    best = sorted(telling, key=lambda f: (-question.coverage(f"{f.statement} {f.synonyms}"), f.id))[:_WEIGHED]
    found = await meaning.of([(fact.entities, fact.statement) for fact in best])
    return [match(question, fact, one) for fact, one in zip(best, found, strict=True)]


async def _read_closely(meaning: Meaning, ranked: Sequence[Match]) -> list[Match]:
    """The most promising facts, the long ones by their best line too: it may match better than all."""
    question = meaning.question
    read = ranked[:_READ]
    lines = [
        replace(m.fact, statement=line)
        for m in read
        if len(m.fact.statement) > LONG
        for line in split(m.fact.statement)
    ]
    found = await meaning.of([(line.entities, f"{line.title}: {line.statement}") for line in lines])
    weighed: dict[str, list[Match]] = {}
    for line, one in zip(lines, found, strict=True):
        weighed.setdefault(line.id, []).append(match(question, line, one))
    return [_quoting(question, m, weighed[m.fact.id]) if m.fact.id in weighed else m for m in read]


def _quoting(question: Question, whole: Match, lines: Sequence[Match]) -> Match:
    """A long fact by its best lines; its meaning is halfway between the whole's and its nearest line's."""
    top = max(line.score for line in lines)
    excerpt = "\n".join([line.fact.statement for line in lines if line.score >= top - _ABOUT][:_BEST])
    meaning = (whole.meaning + max(line.meaning for line in lines)) / 2
    return replace(match(question, whole.fact, meaning), excerpt=excerpt)


def _text(entity: EntityView) -> str:
    return " ".join(str(value) for value in entity.values.values())


def _interleave(*ranked: Iterable[EntityView]) -> list[EntityView]:
    """Several rankings as one: the firsts, then the seconds, each entity once."""
    found: dict[str, EntityView] = {}
    rows = [list(one) for one in ranked]
    for i in range(max(map(len, rows), default=0)):
        for row in rows:
            if i < len(row):
                found.setdefault(row[i].id, row[i])
    return list(found.values())
