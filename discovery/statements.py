"""What the documents of a scope say, kept by document: a change of a few is a change of few claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from discovery.connector import Change, Problem
from graph.claims import Claim, EntityClaim

Fact = str | tuple[str, str, str]
"""The id of an entity, or the start, type and end of a relationship."""


def fact_of(claim: Claim) -> Fact:
    return claim.id if isinstance(claim, EntityClaim) else (claim.start, claim.type, claim.end)


def alike(one: Claim, other: Claim) -> bool:
    """Whether they say the same, from whatever place."""
    return replace(one, evidence=other.evidence) == other


class Statements:
    """Of several documents that state one fact, the first by name holds; two that describe one entity
    differently are a problem."""

    def __init__(self) -> None:
        self._stated: dict[Fact, dict[str, Claim]] = {}
        self._facts: dict[str, Sequence[Fact]] = {}
        self._problems: dict[str, Sequence[Problem]] = {}
        self._conflicts: dict[Fact, Problem] = {}
        self._held: dict[Fact, Claim] = {}
        """What was told by `claims` and `change`."""
        self._touched: set[Fact] = set()

    def state(self, document: str, items: Iterable[Claim | Problem]) -> None:
        """The document says this now and nothing else; nothing at all when it is gone."""
        before = self._facts.pop(document, ())
        for fact in before:
            self._stated[fact].pop(document, None)
        self._touched.update(before)
        facts: dict[Fact, None] = {}
        problems = []
        for item in items:
            if isinstance(item, Problem):
                problems.append(item)
            else:
                fact = fact_of(item)
                facts[fact] = None
                self._stated.setdefault(fact, {}).setdefault(document, item)
        self._touched.update(facts)
        self._facts[document] = tuple(facts)
        self._problems[document] = problems

    def problems(self) -> list[Problem]:
        return [*(one for several in self._problems.values() for one in several), *self._conflicts.values()]

    def claims(self) -> Iterator[Claim | Problem]:
        """All that holds, and the problems; afterwards `change` tells what differs from it."""
        self.change("")
        yield from self._held.values()
        yield from self.problems()

    def change(self, position: str) -> Change:
        """What differs from what was told before.

        Under problems nothing is withdrawn and the position is not taken; what was withheld so comes
        with the first change that has none.
        """
        standing = len(self._held)
        told, gone = list[Claim](), list[Claim]()
        for fact in self._touched:
            claim, before = self._holding(fact), self._held.get(fact)
            if claim is None:
                gone += [before] if before is not None else []
            elif claim != before:
                self._held[fact] = claim
                told.append(claim)
        if problems := self.problems():
            self._touched = {fact_of(claim) for claim in gone}
            return Change(None, told, (), problems, standing)
        self._touched = set()
        for claim in gone:
            del self._held[fact_of(claim)]
        return Change(position, told, gone, (), standing)

    def _holding(self, fact: Fact) -> Claim | None:
        stated = self._stated.get(fact)
        self._conflicts.pop(fact, None)
        if not stated:
            self._stated.pop(fact, None)
            return None
        first, *others = sorted(stated)
        holds = stated[first]
        other = next((stated[name] for name in others if not alike(stated[name], holds)), None)
        if other is not None and isinstance(holds, EntityClaim):
            self._conflicts[fact] = Problem(
                other.evidence, f"{fact} is also the record at {holds.evidence}; keep one"
            )
        return holds
