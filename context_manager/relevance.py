"""How well a fact matches a question. A score of two texts alone: no corpus takes part in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from context_manager.facts import Fact
from context_manager.words import stem, telling_words

#: Share of the meaning (cosine of embeddings) in the score; the rest is coverage of the question's words.
_MEANING = 0.6


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is matched: its embedding and the stems of its telling words with their weights."""

    text: str
    vector: Sequence[float]
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Match:
    """A fact with its score for a question; all figures lie in 0..1."""

    fact: Fact
    score: float
    meaning: float
    coverage: float


def ask_for(text: str, vector: Sequence[float]) -> Question:
    """A question ready to be matched."""
    return Question(text, vector, {stem(word): weight for word, weight in telling_words(text).items()})


def match(question: Question, fact: Fact, vector: Sequence[float]) -> Match:
    """Score one fact. `vector` is the fact's embedding; both vectors have length 1."""
    meaning = max(0.0, sum(a * b for a, b in zip(question.vector, vector, strict=True)))
    coverage = _coverage(question, fact)
    return Match(fact, _MEANING * meaning + (1 - _MEANING) * coverage, meaning, coverage)
