"""How well a fact matches a question. A score of two texts alone: no corpus takes part in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from context_manager.expectation import Expectation, expected, offers
from context_manager.facts import Fact
from context_manager.words import stem, stems, telling_words

# These three were fixed on the 60 questions of tests/handbook/tuning.yaml and tuning-more.yaml, not on those
# that are reported; docs/benchmarks.md has their figures by leave-one-out.
#: Share of the meaning (cosine of embeddings) in the score; the rest is coverage of the question's words.
_MEANING = 0.8
#: Added for a fact that lacks the kind of answer that is asked for.
_NOT_OFFERED = -0.05
#: Below it a fact is no answer.
BOUND = 0.53
#: The same for what the graph holds of somebody whom the question calls by name, and is to the point.
CALLED_BOUND = 0.35
#: A fact that is worse than the best by more than this is left out.
_SPREAD = 0.15
#: Kinds of answer that a fact from the graph holds or does not.
_EXACT = frozenset({Expectation.TIME, Expectation.ADDRESS})
#: Characters beyond which a fact is a text: it is quoted by its best lines.
LONG = 200


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is matched: its embedding, and its telling words with the weights of their stems."""

    text: str
    vector: Sequence[float]
    telling: tuple[str, ...]
    """The words that tell most, the rarest first."""
    weights: Mapping[str, float]
    expects: Expectation

    def meaning(self, vector: Sequence[float]) -> float:
        """Cosine with an embedding of length 1, not below 0."""
        return max(0.0, sum(a * b for a, b in zip(self.vector, vector, strict=True)))

    def coverage(self, text: str) -> float:
        """Weighted share of the question's telling words that occur in a text, 0..1; 0 when it has none."""
        total = sum(self.weights.values())
        found = self.weights.keys() & stems(text)
        return sum(self.weights[word] for word in found) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """How well a fact matches a question: `meaning` and `coverage` in 0..1, `score` in -0.05..1."""

    fact: Fact
    score: float
    meaning: float
    coverage: float
    excerpt: str
    """The fact's statement, or the lines of a long one that match best."""


def question_of(text: str, vector: Sequence[float]) -> Question:
    """A question ready to be matched; `vector` is its embedding."""
    told = telling_words(text)
    telling = tuple(sorted(told, key=lambda word: (-told[word], word)))
    return Question(
        text, vector, telling, {stem(word): weight for word, weight in told.items()}, expected(text)
    )


def match(question: Question, fact: Fact, meaning: float) -> Match:
    """Score one fact. `meaning` is the cosine of the question with the fact's text."""
    coverage = question.coverage(f"{fact.title} {fact.statement} {fact.synonyms}")
    lacking = _NOT_OFFERED if offers(fact, question.expects) is False else 0.0
    score = _MEANING * meaning + (1 - _MEANING) * coverage + lacking
    return Match(fact, score, meaning, coverage, fact.statement)


def to_the_point(question: Question, fact: Fact) -> bool:
    """Whether a fact says something of what is asked, beside the names that both hold.

    Another property of a person is no answer to a question for their phone number, however near the two
    sentences are, nor is one without a date to a question for when. A passage is always to the point: it may
    say what is asked in other words.
    """
    if not fact.names:
        return True
    if question.expects in _EXACT and offers(fact, question.expects) is False:
        return False
    asked = question.weights.keys() - stems(" ".join(fact.names))
    return not asked or bool(asked & stems(f"{fact.statement} {fact.synonyms}"))


def speaks_of(fact: Fact, called: Collection[frozenset[str]]) -> bool:
    """Whether a fact names one of those whom a question calls, each given by the stems of the name.

    What is said of others is no answer, however alike. A text may call somebody by a part of the name.
    """
    if fact.names:
        told = stems(fact.statement)
        return any(name <= told for name in called)
    told = stems(f"{fact.title} {fact.statement}")
    return any(name & told for name in called)


def best_first(matches: Iterable[Match]) -> list[Match]:
    """By score; ties go by id."""
    return sorted(matches, key=lambda m: (-m.score, m.fact.id))


def relevant(matches: Iterable[Match], budget: int, *, called: bool = False) -> tuple[Match, ...]:
    """The best matches, best first, from the first on that is not below its bound; none when all are.

    `called`: the matches are all of those whom the question calls by name.
    """
    ranked = best_first(matches)
    first = next((i for i, m in enumerate(ranked) if m.score >= _bound(m.fact, called=called)), None)
    if first is None:
        return ()
    least = ranked[first].score - _SPREAD
    return tuple(m for m in ranked[first : first + budget] if m.score >= least)


def _bound(fact: Fact, *, called: bool) -> float:
    return CALLED_BOUND if called and fact.names and len(fact.statement) <= LONG else BOUND
