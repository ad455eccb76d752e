"""Tuples of the live graph: what its access-bearing relationships mean, and which of them count.

Only asserted relationships make tuples (those that carry sources), never inferred ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString, NamedTuple

from neo4j import AsyncManagedTransaction, AsyncTransaction
from neo4j.time import DateTime

from graph.claims import SourcePolicy
from graph.rebac.relation_tuples import TupleKey, type_of
from ontologies.ontology import Binding

#: What the organization's configuration claims never ages.
CONFIGURATION = "configuration"

#: What is granted and denied by hand; it is no crawl that could age.
ADMINISTRATION = "administration"
#: The relationships that only it claims.
BY_HAND = frozenset({"GRANTED_VIEW", "DENIED_VIEW", "DISABLES", "LINKED_ACCOUNT"})

#: From a person to an account. An issuer's authoritative source alone says it.
HAS_ACCOUNT = "HAS_ACCOUNT"

#: Mesh nodes that the administrator declares.
NODES_BY_HAND = "nodes-by-hand"

#: How the names of sources end that claim what people accepted of what was read out of texts.
REVIEWED = "/reviewed"

#: What was decided of two entities that are one; as a source, it alone claims `SAME_AS`.
IDENTITY = "identity"

Scope = tuple[str, str]
"""A source and one of its crawl scopes: what completes, and ages, as one."""
Transaction = AsyncTransaction | AsyncManagedTransaction


class Voucher(NamedTuple):
    """Who claims a relationship, from when until when; an empty source is nobody that could be made out."""

    source: str
    scope: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClaimedTuple:
    """A tuple with who claims it, and when it holds (None: open).

    Where sources say different instants, there is one for each of them.
    """

    tuple: TupleKey
    claimed_in: frozenset[Scope]
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def holds(self, now: datetime) -> bool:
        return (self.valid_from is None or self.valid_from <= now) and (
            self.valid_to is None or now < self.valid_to
        )


def bound(binding: Binding, start: str, end: str) -> TupleKey | None:
    """The tuple that the binding makes of `(start)-[:relationship]->(end)`; None when it makes none."""
    object, user = (start, end) if binding.object_end == "start" else (end, start)
    userset = binding.users.get(type_of(user))
    if type_of(object) != binding.object_type or userset is None:
        return None
    return TupleKey(f"{user}#{userset}" if userset else user, binding.relation, object)


_OBJECT_AT: Mapping[str, LiteralString] = {
    "start": """
        UNWIND $ids AS id
        MATCH (:Entity {id: id})-[r:$($type)]->(user:Entity)
        WHERE size(r.sources) > 0
        RETURN id AS start, user.id AS end
        """,
    "end": """
        UNWIND $ids AS id
        MATCH (:Entity {id: id})<-[r:$($type)]-(user:Entity)
        WHERE size(r.sources) > 0
        RETURN user.id AS start, id AS end
        """,
}


async def tuples_of(tx: Transaction, bindings: Iterable[Binding], ids: Iterable[str]) -> Sequence[TupleKey]:
    """The tuples that the bindings make whose object is one of the entities."""
    by_type: dict[str, list[str]] = defaultdict(list)
    for id in ids:
        by_type[type_of(id)].append(id)
    found = []
    for binding in bindings:
        objects = by_type.get(binding.object_type)
        if not objects:
            continue
        result = await tx.run(_OBJECT_AT[binding.object_end], ids=objects, type=binding.relationship)
        found += [bound(binding, record["start"], record["end"]) async for record in result]
    return [entry for entry in found if entry is not None]


def native(value: DateTime | datetime) -> datetime:
    """Neo4j's instant as Python's, timezone-aware."""
    instant = value.to_native() if isinstance(value, DateTime) else value
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def live_scopes(
    policies: Mapping[str, SourcePolicy], completed: Mapping[Scope, datetime], now: datetime
) -> frozenset[Scope]:
    """The scopes that completed a crawl within their source's maximum age.

    A source that no policy names is not live, whatever it completed.
    """
    return frozenset(
        (source, scope)
        for (source, scope), at in completed.items()
        if source in policies and now <= at + policies[source].max_age
    )


def vouches(scope: Scope, live: Collection[Scope]) -> bool:
    """Whether what a scope claims counts while these are live."""
    return scope[0] == CONFIGURATION or scope in live


def divide(
    tuples: Iterable[ClaimedTuple], live: Collection[Scope], now: datetime
) -> tuple[list[TupleKey], list[TupleKey]]:
    """The tuples that hold now: those that a live scope or the configuration claims; the suspended others."""
    held: list[TupleKey] = []
    suspended: list[TupleKey] = []
    for entry in tuples:
        if entry.holds(now):
            vouched = any(vouches(scope, live) for scope in entry.claimed_in)
            (held if vouched else suspended).append(entry.tuple)
    return held, suspended
