"""What a transaction of the store is to do, what it finds, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Any

import orjson
from neo4j import AsyncManagedTransaction

from graph.bulk import Plain, counted, needy
from graph.claims import EntityClaim, Violation
from graph.facts import (
    IN_COLLECTION,
    Stated,
)
from graph.reasoning import compile_rules
from graph.tuples import Scope
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import Shapes

Transaction = AsyncManagedTransaction

#: Facts of an order that may share its transaction.
_SMALL = 50


class Schema:
    """What is allowed to be written, and what access means."""

    def __init__(self, shapes: Shapes, model: AuthorizationModel) -> None:
        self.shapes = shapes
        self.model = model
        self.counted = counted(shapes) - {IN_COLLECTION}
        self.counting = {
            name
            for name, of_class in shapes.by_class.items()
            if any(shape.path in self.counted for shape in of_class)
        }
        """Classes that have shapes of those types."""
        self.needy = needy(shapes, model)
        self.bound = frozenset(one.relationship for one in shapes.ontology.bindings)
        """Relationship types that make tuples."""
        self.inferable = compile_rules(shapes.ontology).relevant
        """Relationship types of which some may stand that nobody claims."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim that stays out, under the key of its `_Quarantined` node."""

    key: str
    stated: Stated
    violation: Violation
    displaces: bool = True
    """Whether it comes in place of what its source claimed before of the fact."""

    def to_row(self) -> dict[str, Any]:
        return self._told() | {"key": self.key, "scope": self.stated.scope, "digest": self.digest()}

    def digest(self) -> bytes:
        """Of what is recorded of it."""
        return blake2b(orjson.dumps(self._told(), option=orjson.OPT_SORT_KEYS), digest_size=8).digest()

    def _told(self) -> dict[str, Any]:
        claim = self.stated.claim
        ends = [claim.id] if isinstance(claim, EntityClaim) else [claim.start, claim.end]
        return asdict(self.violation) | {
            "evidence": _text(claim.evidence),
            "ends": [_text(end) for end in ends],
            "collection": _text(claim.collection) if isinstance(claim, EntityClaim) else None,
        }


@dataclass(frozen=True, slots=True)
class Order:
    """What one transaction is to do for a source and scope."""

    source: str
    scope: str
    lease: str = ""
    """Of the crawl that orders it; none for the store itself."""
    new: Mapping[str, Stated] = field(default_factory=dict)
    """By fact: claims that passed the gate alone, and are not held as they are."""
    plain: Mapping[str, Plain] = field(default_factory=dict)
    """Those of them on which the state around has no say."""
    entries: Mapping[str, bytes] = field(default_factory=dict)
    """By fact of `new`: its entry in the index of its page."""
    rows: Mapping[str, orjson.Fragment] = field(default_factory=dict)
    """By fact of `new`: its claim, as its page holds it (`Stated.to_row`)."""
    refused: Sequence[Refused] = ()
    withdrawn: Mapping[int, Collection[bytes]] = field(default_factory=dict)
    """By page: digests of the facts whose claims are no longer made."""
    held: Mapping[str, int] = field(default_factory=dict)
    """The pages where the scope holds claims on facts of `new` and `refused`."""
    last: tuple[int, int] | None = None
    """The scope's last page, and how many claims are in it."""
    passed: Collection[str] = ()
    """Keys of quarantined claims that have passed, or are no longer made."""
    recheck: Collection[str] = ()
    """Facts that may begin or cease to hold, as time has passed."""
    quarantined: Mapping[str, bytes] = field(default_factory=dict)
    """By key: digests of what is quarantined already."""
    reached: Mapping[str, str] = field(default_factory=dict)
    """What is kept of how far the scope is read with this."""

    @property
    def by(self) -> Scope:
        return self.source, self.scope

    def size(self) -> int:
        """How many facts it may change."""
        return len(self.new) + sum(map(len, self.withdrawn.values())) + len(self.recheck) + len(self.refused)

    def is_small(self) -> bool:
        """Whether it may share a transaction, or needs none."""
        return self.size() <= _SMALL or self.is_done()

    def is_done(self) -> bool:
        """Whether all is as ordered."""
        return not (self.new or self.withdrawn or self.passed or self.recheck or self.reached) and all(
            self.quarantined.get(one.key) == one.digest() for one in self.refused
        )

    def done(self, revision: int) -> Outcome:
        """What became of it where all is as ordered."""
        return Outcome(revision, refused=self.refused, last=self.last)


@dataclass(frozen=True, slots=True)
class Outcome:
    revision: int
    added: int = 0
    changed: int = 0
    retracted: int = 0
    refused: Sequence[Refused] = ()
    pages: Mapping[str, int] = field(default_factory=dict)
    """By fact of the order's `new`: where its claim is now; those that were refused are left out."""
    gone: Collection[str] = ()
    """Facts on which the scope holds no claim any more."""
    passed: Collection[str] = ()
    """Keys of what is no longer quarantined."""
    last: tuple[int, int] | None = None
    access: bool = False
    """Whether what somebody may see can have changed."""
    moving: bool = False
    """Whether entities lost an audience that the next revision replaces."""


def joined(orders: Sequence[Order]) -> Order:
    """What independent orders are to do, as one; whose they are stands in their claims alone."""
    if len(orders) == 1:
        return orders[0]
    return Order("", "", new={fact: one for order in orders for fact, one in order.new.items()})


Orders = Callable[[Sequence[Outcome]], Iterable[Order]]
"""Orders, each made when what became of those before it is known."""


@dataclass(frozen=True, slots=True)
class State:
    """What a transaction finds once it has the lock, and leaves to the next order that it carries out."""

    revision: int
    next_page: int
    now: datetime
    """Never before the instant of the last revision, whatever the clock says."""
    aside: bool
    """Whether there are facts aside."""
    kinds: Mapping[Scope, frozenset[str]]
    """By scope of an order: the kinds (`graph.facts.kind`) of which it has claimed some."""
    others: frozenset[str]
    """Those of which scopes have that no order is of."""

    def kinds_of(self, by: Scope) -> frozenset[str]:
        return self.kinds.get(by, frozenset())

    def shared(self, by: Scope) -> frozenset[str]:
        """Kinds of which other scopes have claimed some."""
        return self.others.union(*(kinds for scope, kinds in self.kinds.items() if scope != by))


def quarantine_key(stated: Stated, *, again: bool = False) -> str:
    """Of the claim's `_Quarantined` node; `again` where it contradicts an earlier one of its crawl."""
    parts = [stated.source, stated.scope, stated.fact, *(["again"] if again else [])]
    return sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _text(text: str) -> str:
    """What Neo4j can hold of it."""
    return text.encode(errors="replace").decode()
