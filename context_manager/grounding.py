"""The check of an answer: nothing leaves that the cited facts do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from context_manager.words import content_words, stem

#: A number or date in digits, with its inner separators.
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_BREAK = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a fact of the context says, and the name of what it says it of."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a model's answer and the facts it cites, by their place in the context (from 0)."""

    text: str
    cites: tuple[int, ...]


def missing(sentence: Sentence, statements: Sequence[Statement]) -> frozenset[str] | None:
    """What the sentence says that no one line of a fact it cites says; empty when it is grounded.

    Compared are numbers and dates to the digit (1,500 is 1500, not 15 and not 1,500.50), names and all
    other content words by their stems. All of them must occur together, in one sentence or line of one
    cited fact with that fact's title: words put together from here and there say something new.
    Of several lines the one that lacks least is told. None when the sentence says nothing or cites nothing.
    """
    said = _content(sentence.text)
    lines = [
        _content(f"{statements[i].title}\n{line}").keys()
        for i in sentence.cites
        for line in split(statements[i].text)
    ]
    if not said or not lines:
        return None
    return min((frozenset(said[key] for key in said.keys() - line) for line in lines), key=len)


def split(text: str) -> Iterator[str]:
    """The sentences and lines of a text."""
    for part in _BREAK.split(text):
        if part.strip():
            yield part.strip()


def _content(text: str) -> dict[str, str]:
    """The numbers and content words of a text as they are compared, each with how it is written."""
    numbers = {number.replace(",", ""): number for number in _NUMBER.findall(text)}
    return {stem(word): word for word in content_words(_NUMBER.sub(" ", text))} | numbers
