"""From when a document says that it holds: `Effective from: 1 April 2023`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = rf"\d{{4}}-\d\d-\d\d|{_DAY}\s+(?:of\s+)?{_MONTH},?\s+\d{{4}}|{_MONTH}\s+{_DAY},?\s+\d{{4}}"
#: The whole of a sentence or line: `Effective May 1, 2023, sales calls back` is of something else.
_EFFECTIVE = re.compile(
    r"(?:^|(?<=[.;]\s))[^\w\n]*"
    r"(?:this\s+\w+\s+(?:is\s+effective|takes\s+effect|comes\s+into\s+force|applies)|effective|in\s+force)"
    r"(?:\s+date)?(?:\s+and\s+last\s+\w+)?(?:\s+(?:from|since|as\s+of|on))?[^\w\n]{1,4}"
    rf"(?P<date>{_DATE})(?=[^\w\n,]*(?:$|[.;]|\s[A-Z][\w ]{{2,30}}:))",
    re.IGNORECASE | re.MULTILINE,
)


def effective_from(texts: Iterable[str]) -> datetime | None:
    """The one day that the texts of a document name, as its beginning in UTC; None of none or several."""
    found = {day for text in texts for match in _EFFECTIVE.finditer(text) if (day := _day(match["date"]))}
    return found.pop() if len(found) == 1 else None


def _day(words: str) -> datetime | None:
    """None for a day that no calendar has."""
    numbers = [int(number) for number in re.findall(r"\d+", words)]
    month = re.search(_MONTH, words, re.IGNORECASE)
    if month is None:
        year, number, day = numbers
    else:
        day, year = numbers
        number = _MONTHS.index(month[0][:3].lower()) + 1
    try:
        return datetime(year, number, day, tzinfo=UTC)
    except ValueError:
        return None
