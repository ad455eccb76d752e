"""References to documents by their titles: `as the Data Location Policy says`.

A title counts where it is written as one (`Code of Conduct`, not `the conduct of a plan`) and ends in what
documents are called: pages named `Customer Support` would be found wherever that team is spoken of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

#: What documents are called, as the last word of their titles.
CALLED = frozenset({
    "Agreement", "Charter", "Checklist", "Code", "Conduct", "Framework", "Guide", "Guideline", "Guidelines",
    "Handbook", "Manual", "Notice", "Plan", "Playbook", "Policy", "Principles", "Procedure", "Procedures",
    "Report", "Runbook", "Standard", "Standards", "Summary", "Terms",
})  # fmt: skip
_SMALL = r"(?:of|and|the|for|in|on|to|a|an|with)"
_CAPITAL = r"[A-Z][\w'’-]*"
_PHRASE = re.compile(rf"{_CAPITAL}(?:[^\S\n]+(?:&|(?:{_SMALL}[^\S\n]+)*{_CAPITAL}))+")


def is_title(name: str) -> bool:
    """Whether a document of that name is referred to by it."""
    return _PHRASE.fullmatch(name) is not None and name.rsplit(maxsplit=1)[-1] in CALLED


def referred(text: str) -> Sequence[tuple[str, ...]]:
    """What may be titles in a text: for each place all that may be meant there, the longest first."""
    return tuple(dict.fromkeys(_places(text)))


def documents_of(places: Iterable[tuple[str, ...]], titles: Mapping[str, str]) -> frozenset[str]:
    """Ids of the documents that are referred to; `titles`: ids by title."""
    found = (next((title for title in place if title in titles), None) for place in places)
    return frozenset(titles[title] for title in found if title is not None)


def _places(text: str) -> Iterator[tuple[str, ...]]:
    for phrase in _PHRASE.finditer(text):
        words = phrase[0].split()
        for end, word in enumerate(words, start=1):
            if word in CALLED:
                place = tuple(
                    " ".join(words[begin:end]) for begin in range(end - 1) if words[begin][0].isupper()
                )
                if place:
                    yield place
