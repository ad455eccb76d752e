"""What follows from asserted relationships by the ontology's axioms, kept up as they change. Pure.

A conclusion follows from one relationship (rdfs:subPropertyOf, owl:inverseOf, owl:SymmetricProperty)
or from a path of them (owl:TransitiveProperty). Conclusions of conclusions are worked out when the
rules are compiled, so a derivation rests on asserted relationships alone, and a retraction needs no
more than the derivations of the pairs whose paths it lay on.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product
from typing import NamedTuple

from ontologies.ontology import Ontology

#: Derivations kept of one conclusion, the shortest; who sees only others does not see the conclusion.
DERIVATIONS = 8
#: Partial paths looked at for the derivations of one conclusion; the shortest is always found.
_STEPS = 1_000


class Link(NamedTuple):
    """A relationship: `(start)-[:type]->(end)`."""

    start: str
    type: str
    end: str

    def __str__(self) -> str:
        return f"{self.start} {self.type} {self.end}"


Derivation = tuple[Link, ...]
"""Asserted relationships that the conclusion follows from, in the order of the path."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What follows from what, as compiled from the axioms."""

    follows: Mapping[str, Sequence[tuple[str, bool]]]
    """Type -> types that follow from one relationship of it, itself among them; True: turned round."""
    rests_on: Mapping[str, Sequence[tuple[str, bool]]]
    """The inverse: type -> types that it follows from, itself among them."""
    transitive: frozenset[str]
    forbidden: frozenset[str]
    """Types that are never concluded, since access rests on them."""
    relevant: frozenset[str]
    """Types from which something follows, or which follow from something."""


def compile_rules(ontology: Ontology) -> Rules:
    """The rules that the ontology's relationships declare."""
    types = ontology.relationships
    at_once = {
        name: {
            *((broader, False) for broader in one.broader),
            *((inverse, True) for inverse in one.inverses),
            *([(name, True)] if one.symmetric else []),
        }
        for name, one in types.items()
    }
    follows: dict[str, Sequence[tuple[str, bool]]] = {}
    rests_on: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name in types:
        found = [(name, False)]
        for type_, turned in found:  # grows as it is walked
            following = ((other, turned != again) for other, again in sorted(at_once.get(type_, ())))
            found += [one for one in following if one not in found]
        follows[name] = found
        for type_, turned in found:
            rests_on[type_].append((name, turned))
    transitive = frozenset(name for name, one in types.items() if one.transitive)
    premises = {name for name in types if name in transitive or len(follows[name]) > 1}
    return Rules(
        follows,
        rests_on,
        transitive,
        frozenset(name for name, one in types.items() if one.access_bearing),
        frozenset(premises | {type_ for name in premises for type_, _ in follows[name]}),
    )


class Closure:
    """The conclusions of a set of asserted relationships. The same set has the same conclusions."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._asserted: set[Link] = set()
        self._steps: dict[str, _Steps] = {type_: _Steps() for type_ in rules.transitive}
        self.inferred: dict[Link, Sequence[Derivation]] = {}
        """Each conclusion that nobody asserts, with its derivations, shortest first."""

    def change(
        self, added: Iterable[Link], removed: Iterable[Link] = ()
    ) -> Mapping[Link, Sequence[Derivation]]:
        """Assert and retract; the conclusions whose derivations changed, with none where they go."""
        gone = {link for link in removed if link in self._asserted}
        new = {link for link in added if link.type in self._rules.relevant}
        gone, new = gone - new, new - self._asserted
        affected = set(self._affected(gone))
        for link in gone:
            self._asserted.remove(link)
            for type_, step in steps_of(self._rules, link):
                self._steps[type_].remove(step, link)
        self._assert(new)
        affected.update(self._affected(new))
        changed: dict[Link, Sequence[Derivation]] = {}
        distances: dict[tuple[str, str], Mapping[str, int]] = {}
        for link in sorted(affected):
            derivations = self._derivations(link, distances)
            if derivations != self.inferred.get(link, ()):
                changed[link] = derivations
            if derivations:
                self.inferred[link] = derivations
            else:
                self.inferred.pop(link, None)
        return changed

    def _assert(self, new: Iterable[Link]) -> None:
        for link in new:
            self._asserted.add(link)
            for type_, step in steps_of(self._rules, link):
                self._steps[type_].add(step, link)

    def _affected(self, links: Iterable[Link]) -> Iterator[Link]:
        """Conclusions that may rest on the relationships, by the steps as they stand."""
        for link in links:
            yield link
            for type_, turned in self._rules.follows[link.type]:
                yield _link(link.start, type_, link.end, turned)
            for type_, (start, end) in steps_of(self._rules, link):
                steps = self._steps[type_]
                befores, afters = steps.reaching(start), steps.reached(end)
                for pair in product(befores, afters):
                    for other, turned in self._rules.follows[type_]:
                        yield _link(pair[0], other, pair[1], turned)

    def _derivations(
        self, link: Link, distances: dict[tuple[str, str], Mapping[str, int]]
    ) -> Sequence[Derivation]:
        if link in self._asserted or link.start == link.end or link.type in self._rules.forbidden:
            return ()
        found: list[Derivation] = []
        for type_, turned in self._rules.rests_on[link.type]:
            premise = _link(link.start, type_, link.end, turned)
            if premise in self._asserted:
                found.append((premise,))
            if type_ in self._rules.transitive:
                steps, end = self._steps[type_], premise.end
                if (type_, end) not in distances:
                    distances[type_, end] = steps.distances_to(end)
                found += steps.paths(premise.start, end, distances[type_, end])
        return tuple(sorted(set(found), key=lambda one: (len(one), one))[:DERIVATIONS])


def conclusions_about(
    rules: Rules, asserted: Iterable[Link], ids: Collection[str]
) -> Mapping[Link, Sequence[Derivation]]:
    """What follows from the relationships and has one of the entities at an end: as `Closure` concludes."""
    closure = Closure(rules)
    closure._assert(link for link in asserted if link.type in rules.relevant)
    wanted = {
        _link(link.start, type_, link.end, turned)
        for link in closure._asserted
        if not {link.start, link.end}.isdisjoint(ids)
        for type_, turned in rules.follows[link.type]
    }
    for type_, steps in closure._steps.items():
        pairs = {(start, end) for start in ids for end in steps.reached(start)}
        pairs |= {(start, end) for end in ids for start in steps.reaching(end)}
        wanted |= {
            _link(start, other, end, turned) for start, end in pairs for other, turned in rules.follows[type_]
        }
    distances: dict[tuple[str, str], Mapping[str, int]] = {}
    found = {link: closure._derivations(link, distances) for link in sorted(wanted)}
    return {link: derivations for link, derivations in found.items() if derivations}


class _Steps:
    """The steps of one transitive type, each with the asserted relationships that it is."""

    def __init__(self) -> None:
        self._after: dict[str, dict[str, set[Link]]] = defaultdict(dict)
        self._before: dict[str, set[str]] = defaultdict(set)

    def add(self, step: tuple[str, str], link: Link) -> None:
        start, end = step
        self._after[start].setdefault(end, set()).add(link)
        self._before[end].add(start)

    def remove(self, step: tuple[str, str], link: Link) -> None:
        start, end = step
        links = self._after[start][end]
        links.discard(link)
        if not links:
            del self._after[start][end]
            self._before[end].discard(start)

    def reaching(self, end: str) -> Collection[str]:
        """Where a path to it begins, itself among them."""
        return self.distances_to(end).keys()

    def reached(self, start: str) -> Collection[str]:
        """Where a path from it ends, itself among them."""
        found = {start: None}
        todo = [start]
        for node in todo:  # grows as it is walked
            for other in self._after.get(node, ()):
                if other not in found:
                    found[other] = None
                    todo.append(other)
        return found.keys()

    def distances_to(self, end: str) -> Mapping[str, int]:
        """The number of steps of the shortest path, from each that has one."""
        found = {end: 0}
        todo = [end]
        for node in todo:  # grows as it is walked
            for other in self._before.get(node, ()):
                if other not in found:
                    found[other] = found[node] + 1
                    todo.append(other)
        return found

    def paths(self, start: str, end: str, distances: Mapping[str, int]) -> Iterator[Derivation]:
        """The shortest paths of two steps or more that visit nothing twice, by A* search."""
        if start not in distances:
            return
        heap: list[tuple[int, tuple[str, ...]]] = [(distances[start], (start,))]
        left = DERIVATIONS
        for _ in range(_STEPS):
            if not heap or not left:
                return
            _, path = heapq.heappop(heap)
            if path[-1] == end:
                if len(path) > 2:
                    links = [sorted(self._after[a][b]) for a, b in pairwise(path)]
                    found = list(islice(product(*links), left))
                    left -= len(found)
                    yield from found
                continue
            for other in self._after.get(path[-1], ()):
                if other in distances and other not in path:
                    heapq.heappush(heap, (len(path) + distances[other], (*path, other)))


def steps_of(rules: Rules, link: Link) -> Iterator[tuple[str, tuple[str, str]]]:
    """The steps of transitive types that an asserted relationship is: type, from where and where to."""
    for type_, turned in rules.follows[link.type]:
        if type_ in rules.transitive and link.start != link.end:
            yield type_, _turned(link.start, link.end, turned)


def _link(start: str, type_: str, end: str, turned: bool) -> Link:
    start, end = _turned(start, end, turned)
    return Link(start, type_, end)


def _turned(start: str, end: str, turned: bool) -> tuple[str, str]:
    return (end, start) if turned else (start, end)
