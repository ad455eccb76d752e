"""Words and how much each tells, without statistics of a corpus: those tell of invisible documents."""

from __future__ import annotations

import math
import re
from functools import cache

import snowballstemmer

from inference.vocabulary import ranks

_COMMON, _RAREST = 2_000, 30_000
"""Places in the vocabulary between which a word tells more and more."""
_ASKING = {"tell", "give", "list", "know", "many", "much", "long", "find", "mean", "means"}
#: What a question asks for without a word that tells it, and the word.
_ASKED_FOR = (
    (re.compile(r"\bwhat (?:do|does|did) .+ do\b"), "role"),
    (re.compile(r"\bwhat (?:is|are) .+ for\W*$"), "purpose"),
    (re.compile(r"\b(?:he or she|she or he)\b"), "pronouns"),
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_STEMMER = snowballstemmer.stemmer("english")

#: Among spaCy's stop words, but a sentence means something else without them.
_TELLING = frozenset(
    """
    no not never none neither nor nobody nothing nowhere without cannot
    one two three four five six eight nine ten eleven twelve fifteen twenty forty fifty sixty hundred
    first third last least most only
    """.split()  # noqa: SIM905  words, as a list of words reads
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order, possessives cut off."""
    return [re.sub(r"['’].*", "", word) for word in _WORD.findall(text.lower())]


@cache
def function_words() -> frozenset[str]:
    """Words that only hold a sentence together."""
    from spacy.lang.en.stop_words import STOP_WORDS  # noqa: PLC0415  spaCy takes seconds to import

    return frozenset(STOP_WORDS) - _TELLING


@cache
def stem(word: str) -> str:
    """The stem by Porter's second algorithm (Snowball English)."""
    return str(_STEMMER.stemWord(word))


def content_words(text: str) -> list[str]:
    """The words of a text that hold more than a sentence together."""
    return [word for word in words(text) if word not in function_words()]


def stems(text: str) -> frozenset[str]:
    """Stems of the content words of a text."""
    return frozenset(map(stem, content_words(text)))


def telling_words(text: str) -> dict[str, float]:
    """The content words of a question, each with how much it tells: 0.5 for the commonest, 2 for the rarest.

    The measure is the word's place in a fixed vocabulary of English (`inference.vocabulary`), on a
    logarithmic scale; question words and the like tell nothing. What a question asks for in such words alone
    (what somebody does) is told by the word for it.
    """
    meant = [word for pattern, word in _ASKED_FOR if pattern.search(text.lower())]
    return {word: _weight(word) for word in (*content_words(text), *meant) if word not in _ASKING}


def _weight(word: str) -> float:
    place = ranks().get(word, _RAREST)
    return min(
        2.0, max(0.5, 0.5 + 1.5 * math.log(max(place, _COMMON) / _COMMON) / math.log(_RAREST / _COMMON))
    )
