"""Which systems a text means: data sets, repositories, processes, machines and agents that the graph knows.

A name that nobody writes by chance (`quoting-service`, `rust-lang/rust`, `billingDb`) is looked up as it is
written, one of several words whatever its case. A plain word means a system only between an article and its
kind: `the chinook database`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

Name = TypeVar("Name")

#: What may follow a name of one plain word, by the type of what it means.
_KINDS = {
    "dataset:": {"database", "dataset", "warehouse", "schema"},
    "repository:": {"repository", "repo", "codebase"},
    "process:": {"process", "workflow"},
    "mesh_node:": {"node", "machine", "server"},
    "software_agent:": {"agent", "assistant", "bot"},
}
#: Types whose names are prose, where a hyphen tells nothing: `follow-up`.
_PROSE = ("process:", "software_agent:")
#: Before a plain name.
_ARTICLES = {"the", "our", "this", "that", "its", "their", "your", "a", "an"}
#: A channel (`#quoting-service`) or a login is no system.
_TOKEN = re.compile(r"(?<![#@\w])\w+(?:[-./+]\w+)*")
_CODED = re.compile(r"[-./+_]|[a-z][A-Z]")
_CODED_IN_PROSE = re.compile(r"[./_]|[a-z][A-Z]")
_DATA_SET = re.compile(r"\bdata[ -](?=sets?\b)", re.IGNORECASE)
_LEAST = 3


def is_system(id: str) -> bool:
    """Whether an id is of a type that is looked for here."""
    return id.startswith(tuple(_KINDS))


@dataclass(frozen=True)
class Systems:
    """What is known by which name; a name that several have means none of them."""

    coded: dict[str, str] = field(default_factory=dict)
    """As it is written."""
    phrases: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Names of several words, in lower case."""
    plain: dict[str, str] = field(default_factory=dict)
    """Names of one word, in lower case."""

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.phrases), default=0)

    def meant_in(self, text: str) -> frozenset[str]:
        """Ids of those that the text means."""
        return frozenset(self._found(text)) if self.coded or self.phrases or self.plain else frozenset()

    def _found(self, text: str) -> Iterator[str]:
        tokens = _TOKEN.findall(_DATA_SET.sub("data", text))
        lower = [token.casefold() for token in tokens]
        for at, token in enumerate(tokens):
            if id := self.coded.get(token):
                yield id
            for length in range(2, min(self._longest, len(lower) - at) + 1):
                if id := self.phrases.get(tuple(lower[at : at + length])):
                    yield id
        for article, name, kind in zip(lower, lower[1:], lower[2:], strict=False):
            id = self.plain.get(name)
            if id and article in _ARTICLES and kind in _KINDS[f"{id.partition(':')[0]}:"]:
                yield id


def systems(known: Mapping[str, str]) -> Systems:
    """Of ids by name; other than systems' are passed over."""
    coded, plain = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    phrases = defaultdict[tuple[str, ...], set[str]](set)
    for name, id in known.items():
        if not is_system(id):
            continue
        tokens = _TOKEN.findall(_DATA_SET.sub("data", name))
        is_coded = _CODED_IN_PROSE if id.startswith(_PROSE) else _CODED
        if len(tokens) > 1:
            phrases[tuple(token.casefold() for token in tokens)].add(id)
        elif not tokens or len(tokens[0]) < _LEAST:
            continue
        elif is_coded.search(tokens[0]):
            coded[tokens[0]].add(id)
        else:
            plain[tokens[0].casefold()].add(id)
    return Systems(of_one(coded), of_one(phrases), of_one(plain))


def of_one(found: Mapping[Name, set[str]]) -> dict[Name, str]:
    """The id of each name that one alone has."""
    return {name: next(iter(ids)) for name, ids in found.items() if len(ids) == 1}
