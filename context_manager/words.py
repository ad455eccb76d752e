"""Words and how much each tells, without statistics of any corpus: those would tell of invisible documents."""

from __future__ import annotations

import math
import re
from functools import cache

import snowballstemmer
from spacy.lang.en.stop_words import STOP_WORDS

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_STEMMER = snowballstemmer.stemmer("english")

#: Among spaCy's stop words, but a sentence means something else without them.
_TELLING = frozenset(
    "no not never none neither nor nobody nothing nowhere without cannot "
    "one two three four five six eight nine ten eleven twelve fifteen twenty forty fifty sixty hundred "
    "first third last least most only".split()
)
#: Words that only hold a sentence together.
FUNCTION_WORDS = frozenset(STOP_WORDS) - _TELLING


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order, possessives cut off."""
    return [re.sub(r"['’].*", "", word) for word in _WORD.findall(text.lower())]


@cache
def stem(word: str) -> str:
    """The stem by Porter's second algorithm (Snowball English)."""
    return str(_STEMMER.stemWord(word))


def stems(text: str) -> frozenset[str]:
    """Stems of the content words of a text."""
    return frozenset(stem(word) for word in words(text) if word not in FUNCTION_WORDS)
