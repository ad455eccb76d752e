"""Entity resolution: which entities of several sources may be one, by what they have in common.

Keys that the ontology declares as deciding decide. Of the others each is evidence with a weight, and
what speaks together is put together as independent chances are, 1 - prod(1 - weight * similarity); what
only one source can say of one entity, and differs, takes some of it away. It is a function of the two
descriptions alone: no other entity, and no order of crawls, changes a score.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graph.proposals import Described, Proposal
from graph.rebac.relation_tuples import type_of
from ontologies.ontology import Ontology

#: How much it says to have the same value.
WEIGHTS: Mapping[str, float] = {"strong": 0.9, "weak": 0.6}
#: The score from which two are proposed: a name that is nearly the same is enough.
PROPOSED = 0.55
#: What is left of a score for each property of one value that both have, and have quite differently.
DIFFERENT = 0.7
#: Similarity below which values do not speak for anything, and below which they speak against.
_ALIKE, _UNLIKE = 0.85, 0.6
#: Of names where one has words that the other lacks.
_SHORTER = 0.95
_NAME = "name"
#: Beyond so many that share a word and a first letter, these are no reason to compare two; whole values are.
_CROWD = 200
_PART = "part of name"


@dataclass(frozen=True, slots=True)
class Compared:
    """A property that both have."""

    property: str
    similarity: float
    values: tuple[str, str]
    """The most similar ones."""


def compare(ontology: Ontology, one: Described, other: Described) -> list[Compared]:
    """The properties that identify and that both have. A name that is only an account's says nothing more."""
    found = []
    for name in sorted(one.values.keys() & other.values.keys()):
        pairs = [
            (alike(name, a, b), a, b)
            for a in _telling(ontology, one, name)
            for b in _telling(ontology, other, name)
        ]
        if pairs:
            best, a, b = max(pairs)
            found.append(Compared(name, best, (a, b)))
    return found


def propose(ontology: Ontology, one: Described, other: Described) -> Proposal | None:
    """What is proposed of two of one class, or None.

    A source knows its own: what it calls two are two, unless a key decides.
    """
    first, second = sorted((one, other), key=lambda each: each.id)
    shared = sorted(first.keys & second.keys)
    if not shared and first.sources & second.sources:
        return None
    told = [f"decides: {key.split(' ')[0]}" for key in shared]
    doubt, factor, matched = 1.0, 1.0, []
    for compared in compare(ontology, first, second):
        known = ontology.values[compared.property]
        if compared.similarity >= _ALIKE:
            doubt *= 1 - WEIGHTS[known.identifies] * compared.similarity
            matched.append((compared.property, *compared.values))
            told.append(f"{known.identifies}: {known.label} {compared.similarity:.2f}")
        elif compared.similarity < _UNLIKE and not known.many:
            factor *= DIFFERENT
            told.append(f"against: {known.label} {compared.similarity:.2f}")
    score = 1.0 if shared else round((1 - doubt) * factor, 4)
    if score < PROPOSED:
        return None
    digest = hashlib.sha256(json.dumps([shared, matched]).encode()).hexdigest()
    return Proposal(first.id, second.id, score, tuple(told), digest)


@dataclass(slots=True)
class Resolver:
    """The entities as they stand, by what they are looked for by."""

    ontology: Ontology
    _known: dict[str, Described] = field(default_factory=dict)
    _blocks: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))

    def update(self, ids: Iterable[str], found: Mapping[str, Described]) -> set[str]:
        """The entities are as found now; those that were not are gone. Returns the ids of all others that
        are compared with more, or fewer, because a crowd came together or thinned out."""
        sizes: dict[tuple[str, str], int] = {}
        changed = set(ids)
        for id in changed:
            before, after = self._known.pop(id, None), found.get(id)
            for block in _blocks(self.ontology, before) if before else ():
                sizes.setdefault(block, len(self._blocks[block]))
                self._blocks[block].discard(id)
            for block in _blocks(self.ontology, after) if after else ():
                sizes.setdefault(block, len(self._blocks[block]))
                self._blocks[block].add(id)
            if after is not None:
                self._known[id] = after
        crossed = {block for block, size in sizes.items() if _crowded(block, size) != self._is_crowded(block)}
        others = {id for block in crossed for id in self._blocks[block]} - changed
        for block in [block for block in sizes if not self._blocks[block]]:
            del self._blocks[block]
        return others

    def proposals(self, ids: Collection[str] | None = None) -> Iterator[Proposal]:
        """Those about the entities, each once, by pair; all of them without `ids`."""
        pairs = {
            (id, other) if id < other else (other, id)
            for id in (self._known if ids is None else ids)
            if (one := self._known.get(id)) is not None
            for other in self._candidates(one)
        }
        for id, other in sorted(pairs):
            proposal = propose(self.ontology, self._known[id], self._known[other])
            if proposal is not None:
                yield proposal

    def one_by_key(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, str, str]]:
        """Keys that decide and that several have: the key, the first by id, and each other one."""
        for id in sorted(self._known if ids is None else ids):
            for key in sorted(self._known[id].keys) if id in self._known else ():
                first, *others = sorted(self._blocks[type_of(id), key])
                yield from ((key, first, other) for other in others)

    def share_a_key(self, one: str, other: str) -> bool:
        """Whether a key decides that the two are one."""
        return (
            one in self._known
            and other in self._known
            and bool(self._known[one].keys & self._known[other].keys)
        )

    def _candidates(self, one: Described) -> set[str]:
        found: set[str] = set()
        for block in _blocks(self.ontology, one):
            if not self._is_crowded(block):
                found |= self._blocks[block]
        return found - {one.id}

    def _is_crowded(self, block: tuple[str, str]) -> bool:
        return _crowded(block, len(self._blocks[block]))


def alike(property: str, one: str, other: str) -> float:
    """How alike two values are, from 0 to 1: names by their words, others are the same or not, whatever the
    case of their letters."""
    if property != _NAME:
        return float(one.strip().casefold() == other.strip().casefold())
    return similarity(one, other)


def similarity(one: str, other: str) -> float:
    """Of two names, from 0 to 1. In any order, the words of the shorter one find their like in the other; a
    letter alone stands for a word that begins with it. A single word is the same or not."""
    a, b = words(one), words(other)
    if a == b:
        return 1.0 if a else float(one == other)
    if min(len(a), len(b)) < 2:
        return 0.0
    shorter, longer = sorted((a, b), key=lambda parts: (len(parts), parts))
    left, total = list(longer), 0.0
    for word in sorted(shorter, key=len, reverse=True):
        best = max(left, key=lambda candidate: _word_similarity(word, candidate))
        total += _word_similarity(word, best)
        left.remove(best)
    return total / len(shorter) * (_SHORTER if left else 1.0)


def words(text: str) -> list[str]:
    """In lower case, without accents, sorted."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return sorted(re.findall(r"\w+", plain.casefold()))


def jaro_winkler(one: str, other: str) -> float:
    """Winkler's similarity of two words (1990), with a prefix of up to 4 letters weighing 0.1 each."""
    if one == other:
        return 1.0
    reach = max(max(len(one), len(other)) // 2 - 1, 0)
    taken = [False] * len(other)
    matched = []
    for i, letter in enumerate(one):
        for j in range(max(0, i - reach), min(len(other), i + reach + 1)):
            if not taken[j] and other[j] == letter:
                taken[j] = True
                matched.append(letter)
                break
    if not matched:
        return 0.0
    turned = [letter for letter, is_taken in zip(other, taken, strict=True) if is_taken]
    transposed = sum(a != b for a, b in zip(matched, turned, strict=True)) / 2
    m = len(matched)
    jaro = (m / len(one) + m / len(other) + (m - transposed) / m) / 3
    prefix = next((i for i, (a, b) in enumerate(zip(one[:4], other[:4], strict=False)) if a != b), 4)
    return jaro + min(prefix, len(one), len(other)) * 0.1 * (1 - jaro)


def _word_similarity(one: str, other: str) -> float:
    if 1 in {len(one), len(other)}:
        return 0.9 if one[0] == other[0] and one != other else float(one == other)
    found = jaro_winkler(*sorted((one, other)))
    return found if found >= _ALIKE else 0.0


def _telling(ontology: Ontology, one: Described, name: str) -> tuple[str, ...]:
    if name != _NAME:
        return one.values[name]
    logins = {
        value.casefold()
        for other, values in one.values.items()
        if other != name and ontology.values[other].many
        for value in values
    }
    return tuple(value for value in one.values[name] if value.casefold() not in logins)


def _crowded(block: tuple[str, str], size: int) -> bool:
    return size > _CROWD and block[1].startswith(_PART)


def _blocks(ontology: Ontology, one: Described) -> set[tuple[str, str]]:
    """What those share that are compared: a key, a value, or a word of a name and how another begins."""
    kind = type_of(one.id)
    found = {(kind, key) for key in one.keys}
    for name in one.values:
        for value in _telling(ontology, one, name):
            if name != _NAME:
                found.add((kind, f"{name} {value.strip().casefold()}"))
                continue
            parts = words(value)
            found.add((kind, f"{name} {' '.join(parts)}"))
            found |= {
                (kind, f"{_PART} {word} {other[0]}")
                for at, word in enumerate(parts)
                if len(word) > 1
                for other in (*parts[:at], *parts[at + 1 :])
            }
    return found
