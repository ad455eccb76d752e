"""Which orders may be carried out side by side: those of which none reads or writes what another writes.

One look and one write then serve them all, and each still has a revision of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graph.bulk import Plain, Written
from graph.claims import EntityClaim
from graph.facts import IN_COLLECTION, Fact, RelationshipFact, Stated
from graph.live import Transition
from graph.order import Order
from graph.tuples import Scope


class ApartError(Exception):
    """Orders that were taken for independent are not: they are to be carried out each alone."""


def independent(orders: Sequence[Order], needy: Collection[str]) -> Iterator[Sequence[Order]]:
    """The orders in their order, those that follow one another and are independent as one group.

    `needy`: classes and relationship types of claims on which more of the graph has a say than their ends
    and their collection; an order with one of them is alone, and so is one that takes something back.
    """
    if len(orders) == 1:  # however large it is
        yield orders
        return
    group: list[Order] = []
    reads: set[str] = set()
    writes: set[str] = set()
    for order in orders:
        read, written = _sets(order)
        alone = not _is_simple(order, needy)
        if group and (alone or written & (reads | writes) or read & writes):
            yield group
            group, reads, writes = [], set(), set()
        if alone:
            yield [order]
        else:
            group.append(order)
            reads |= read
            writes |= written
    if group:
        yield group


def _sets(order: Order) -> tuple[set[str], set[str]]:
    """What it reads and what it writes: facts, ends, collections, and its scope."""
    reads, writes = set[str](), {"\0".join(order.by)}
    for fact, stated in order.new.items():
        writes.add(fact)
        claim = stated.claim
        reads |= {claim.collection} if isinstance(claim, EntityClaim) else {claim.start, claim.end}
    return reads, writes


def _is_simple(order: Order, needy: Collection[str]) -> bool:
    kinds = {
        claim.class_name if isinstance(claim, EntityClaim) else claim.type
        for claim in (stated.claim for stated in order.new.values())
    }
    return bool(kinds) and kinds.isdisjoint(needy) and not (order.refused or order.withdrawn or order.recheck)


@dataclass(slots=True)
class Part:
    """What of that which became of a group is of one of its orders."""

    written: Written = field(default_factory=Written)
    transitions: list[Transition] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    """What the feed tells of them."""
    vouched: bool = False
    """Whether of some only those who vouch for them changed."""
    superseded: dict[str, Collection[Stated]] = field(default_factory=dict)
    """By fact of which something else is claimed than before: what was."""

    @property
    def is_quick(self) -> bool:
        """Whether some of it was written at once."""
        return bool(self.written.entities or self.written.relationships)

    def appeared(self, plain: Mapping[str, Plain]) -> list[Any]:
        """What the feed tells of what was written at once."""
        return [plain[fact].told for fact in self.written.facts()]

    @property
    def known(self) -> list[Transition]:
        """Those by which something else is known than before."""
        return [one for one in self.transitions if one.was_known != one.is_known]

    def counts(self) -> tuple[int, int, int]:
        """Facts added, changed and retracted; of placements their entities tell."""
        told = [one for one in self.known if not _is_placement(one.fact)]
        added = sum(one.was_known is None for one in told)
        retracted = sum(one.is_known is None for one in told)
        at_once = len(self.written.entities) + len(self.written.relationships)
        return added + at_once, len(told) - added - retracted, retracted

    @property
    def commits(self) -> bool:
        """Whether it comes to a revision."""
        return bool(self.is_quick or self.changes or self.known or self.superseded)


def divided(  # noqa: PLR0913, PLR0917  all that became of them
    orders: Sequence[Order],
    written: Written,
    transitions: Iterable[Transition],
    changes: Mapping[str, Mapping[str, Any]],
    vouched: Collection[str],
    superseded: Mapping[str, Collection[Stated]],
) -> Mapping[Scope, Part]:
    """By scope of an order. Raises ApartError for what is of none of them, or of several."""
    if len(orders) == 1:
        transitions = list(transitions)
        told = [changes[one.id] for one in transitions if one.id in changes]
        of_access = any(one.id in vouched for one in transitions)
        return {orders[0].by: Part(written, transitions, told, of_access, dict(superseded))}
    found = {order.by: Part() for order in orders}
    whose = {fact: order.by for order in orders for fact in order.new}

    def part(fact: str) -> Part:
        by = {whose[fact]} if fact in whose else {whose[end] for end in fact.split(" ")[::2] if end in whose}
        if len(by) != 1:
            raise ApartError(f"{fact} is changed by several orders at once")
        return found[by.pop()]

    for stated in written.entities:
        part(stated.fact).written.entities.append(stated)
    for stated in written.relationships:
        part(stated.fact).written.relationships.append(stated)
    for one in transitions:
        mine = part(one.id)
        mine.transitions.append(one)
        if one.id in changes:
            mine.changes.append(changes[one.id])
        mine.vouched = mine.vouched or one.id in vouched
    for fact, claims in superseded.items():
        part(fact).superseded[fact] = claims
    return found


def _is_placement(fact: Fact) -> bool:
    return isinstance(fact, RelationshipFact) and fact.type == IN_COLLECTION
