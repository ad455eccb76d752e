"""What kind of answer a question wants, by its words, and whether a fact offers one."""

from __future__ import annotations

import re
from enum import Enum

from context_manager.facts import Fact

_COUNT = "one two three four five six seven eight nine ten twelve half once twice unlimited"
_PERIOD = "daily weekly monthly quarterly annually yearly"
_MONTH = "January February March April May June July August September October November December"
_DATE = r"\b(?:19|20)\d\d\b|\b\d{1,2}(?:st|nd|rd|th)\b|\b\d{1,2}(?:[:/.-]\d\d| ?[ap]m\b)"
_DAY = "monday tuesday wednesday thursday friday saturday sunday"


#: Unless they are written as such, two are verbs: who may, in march.
_MONTHS = rf"(?-i:\b(?:{'|'.join(_MONTH.split())})\b)"


def _any(*words: str) -> str:
    return rf"\b(?:{'|'.join(' '.join(words).split())})\b"


class Expectation(Enum):
    """A kind of answer."""

    NUMBER = "number"
    TIME = "time"
    ADDRESS = "address"
    PERSON = "person"
    ANYTHING = "anything"


_ASKED = (
    (
        Expectation.NUMBER,
        r"\bhow (?:many|much|long|often|soon|old|far|big|large|high)\b"
        r"|\bper ?cent(?:age)?\b|\bdiscount\b|\blimit\b",
    ),
    (
        Expectation.TIME,
        r"\bwhen\b|\b(?:which|what) (?:date|day|month|year|time|week)\b|\bdate\b",
    ),
    (Expectation.PERSON, r"\bwho(?:m|se)?\b"),
    (Expectation.ADDRESS, r"\be-?mail\b"),
)
_OFFERED = {
    Expectation.NUMBER: re.compile(rf"\d|{_any(_COUNT, _PERIOD)}", re.IGNORECASE),
    Expectation.TIME: re.compile(rf"{_DATE}|{_MONTHS}|{_any(_DAY, _PERIOD)}", re.IGNORECASE),
    Expectation.ADDRESS: re.compile(r"\S@\S"),
}


def expected(question: str) -> Expectation:
    """The kind of answer that a question's wording asks for."""
    lowered = question.lower()
    return next((kind for kind, pattern in _ASKED if re.search(pattern, lowered)), Expectation.ANYTHING)


def offers(fact: Fact, kind: Expectation) -> bool | None:
    """Whether a fact offers that kind of answer; None where its form cannot tell.

    A person is offered by a fact about one; a text may name others.
    """
    if kind is Expectation.PERSON:
        if fact.entities[0].startswith("passage:"):
            return None
        return any(id_.startswith("person:") for id_ in fact.entities)
    if kind is Expectation.ANYTHING:
        return None
    return _OFFERED[kind].search(fact.statement) is not None
