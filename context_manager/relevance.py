"""How well a fact matches a question. A score of two texts alone: no corpus takes part in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from context_manager.expectation import Expectation, expected, offers
from context_manager.facts import Fact
from context_manager.words import stem, stems, telling_words

# These four were fixed on tests/handbook/tuning.yaml, not on the questions that are reported.
#: Share of the meaning (cosine of embeddings) in the score; the rest is coverage of the question's words.
_MEANING = 0.7
#: Added for a fact that offers the kind of answer that is asked for, and for one that does not.
_OFFERED, _NOT_OFFERED = 0.05, -0.15
#: Below it a fact is no answer.
BOUND = 0.63
#: A fact that is worse than the best by more than this is left out.
_SPREAD = 0.15


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
    """How well a fact matches a question: `meaning` and `coverage` in 0..1, `score` in -0.15..1.05."""

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
    offered = offers(fact, question.expects)
    bonus = 0.0 if offered is None else _OFFERED if offered else _NOT_OFFERED
    return Match(
        fact, _MEANING * meaning + (1 - _MEANING) * coverage + bonus, meaning, coverage, fact.statement
    )


def best_first(matches: Iterable[Match]) -> list[Match]:
    """By score; ties go by id."""
    return sorted(matches, key=lambda m: (-m.score, m.fact.id))


def relevant(matches: Iterable[Match], budget: int) -> tuple[Match, ...]:
    """The best matches, best first; none when even the best is below the bound."""
    ranked = best_first(matches)
    if not ranked or ranked[0].score < BOUND:
        return ()
    return tuple(m for m in ranked[:budget] if m.score >= ranked[0].score - _SPREAD)
