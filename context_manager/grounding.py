"""The check of an answer: nothing leaves that the cited facts do not say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from context_manager.words import FUNCTION_WORDS, stems

#: A number with its separators, a date in digits, or a word; currency and per cent signs are not part of it.
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a model's answer and the facts it cites, by their place in the context (from 0)."""

    text: str
    cites: tuple[int, ...]


def unsupported(sentence: Sentence, statements: Sequence[str]) -> tuple[str, ...]:
    """Names, numbers, dates and other content words of a sentence that its cited facts do not contain.

    `statements` are the facts of the context, title included. A citation that is not in the context
    supports nothing. A sentence is grounded when it cites something and this is empty. Numbers must agree
    to the digit (1,500 equals 1500, but not 15 or 1,500.50); words agree by their stems.
    """
    cited = " ".join(statements[i] for i in sentence.cites if 0 <= i < len(statements))
    said = _TOKEN.findall(cited)
    numbers = {_number(token) for token in said if token[0].isdigit()}
    words = stems(cited)
    return tuple(
        token
        for token in _TOKEN.findall(sentence.text)
        if (
            _number(token) not in numbers
            if token[0].isdigit()
            else token.lower() not in FUNCTION_WORDS and not stems(token) <= words
        )
    )


def grounded(sentence: Sentence, statements: Sequence[str]) -> bool:
    """True when the sentence cites a fact and everything it says is in the facts it cites."""
    valid = [i for i in sentence.cites if 0 <= i < len(statements)]
    return bool(valid) and bool(sentence.text.strip()) and not unsupported(sentence, statements)


def _number(token: str) -> str:
    return token.replace(",", "")
