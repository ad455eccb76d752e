"""The visible set of an account: a byte for each audience number, computed from the live graph.

Membership, grants and denials are followed here, at each access revision, and nowhere in the
nodes, so that changing them touches none.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from neo4j import AsyncManagedTransaction

from graph.audiences import Expression, from_tree, usersets, value_of
from graph.authorization import Authorization, Goal, Subject, leaves, type_of
from graph.claims import SourcePolicy
from graph.database import Database
from graph.tuples import ClaimedTuple, Transaction, divide, live_sources, load_tuples, native
from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    TupleToUserset,
    direct_restrictions,
)
from ontologies.ontology import Ontology

#: Accounts whose visible set is kept.
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What a read transaction sees of the counters, the sources and the account that asks."""

    revision: int
    access_revision: int
    next_audience: int
    enabled: bool
    """Whether the account exists and is not disabled."""
    completed: Mapping[str, datetime]
    """When each source last completed a crawl of all its scopes; those that never did are left out."""

    @property
    def access(self) -> tuple[int, bool]:
        """What must not have changed between the first and the last query of a read."""
        return self.access_revision, self.enabled


async def standing(tx: Transaction, account: str, now: datetime) -> Standing:
    """Read it all in one query."""
    result = await tx.run(
        """
        OPTIONAL MATCH (meta:_Meta)
        OPTIONAL MATCH (account:Account {id: $account})
        RETURN meta.revision AS revision, meta.accessRevision AS accessRevision,
               meta.nextAudience AS nextAudience,
               account IS NOT NULL AND NOT coalesce(account.disabled, false)
                 AND coalesce(account.validFrom <= $now, true) AND coalesce($now < account.validTo, true)
                 AS enabled,
               COLLECT {
                   MATCH (s:_Source)
                   WITH s.name AS name, min(s.completedAt) AS at, count(*) - count(s.completedAt) AS never
                   WHERE never = 0
                   RETURN [name, at]
               } AS completed
        """,
        account=account,
        now=now,
    )
    record = await result.single(strict=True)
    return Standing(
        record["revision"] or 0,
        record["accessRevision"] or 0,
        record["nextAudience"] or 0,
        record["enabled"],
        {name: native(at) for name, at in record["completed"]},
    )


def reachable(model: AuthorizationModel, start: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The (type, relation) pairs on whose tuples the given ones rest, themselves included."""
    reached: set[tuple[str, str]] = set()
    todo = list(start)
    while todo:
        kind, relation = todo.pop()
        if (kind, relation) in reached or not model.has(kind, relation):
            continue
        reached.add((kind, relation))
        for leaf in leaves(model.rewrite(kind, relation)):
            match leaf:
                case Direct(restrictions):
                    todo += [(r.type, r.relation) for r in restrictions]
                case Computed(other):
                    todo.append((kind, other))
                case TupleToUserset(other, tupleset):
                    todo.append((kind, tupleset))
                    parents = direct_restrictions(model.rewrite(kind, tupleset))
                    todo += [(parent.type, other) for parent in parents]
    return frozenset(reached)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Tuples and audiences as of an access revision."""

    access_revision: int
    next_audience: int
    tuples: Sequence[ClaimedTuple]
    audiences: Mapping[int, Expression]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What was loaded, as it stands with these sources live, from an instant until the next bound."""

    loaded: _Loaded
    live: frozenset[str]
    since: datetime
    until: datetime | None
    authorization: Authorization
    visible: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    def current(self, loaded: _Loaded, live: frozenset[str], now: datetime) -> bool:
        return (
            self.loaded is loaded
            and self.live == live
            and self.since <= now
            and (self.until is None or now < self.until)
        )


class Authorizer:
    """Visible sets, kept for the last access revision and the sources live at present."""

    def __init__(
        self,
        database: Database,
        ontology: Ontology,
        model: AuthorizationModel,
        policies: Iterable[SourcePolicy],
    ) -> None:
        """A source that no policy names is never live: what only it claims is suspended."""
        self._database = database
        self._ontology = ontology
        self._model = model
        self._policies = {policy.name: policy for policy in policies}
        self._loaded: _Loaded | None = None
        self._compiled: _Compiled | None = None
        self._loading = asyncio.Lock()

    async def visible(self, account: str, at: Standing, now: datetime) -> bytes:
        """1 at the numbers of the audiences that the account belongs to.

        At the access revision of `at`, or at a newer one: a read that it overtook repeats anyway.
        """
        loaded = await self._load(at)
        if not at.enabled:
            return bytes(loaded.next_audience)
        live = live_sources(self._policies, at.completed, now)
        compiled = self._compiled
        if compiled is None or not compiled.current(loaded, live, now):
            compiled = self._compiled = self._compile(loaded, live, now)
        if account not in compiled.visible:
            compiled.visible[account] = visible_set(
                compiled.authorization, loaded.audiences, loaded.next_audience, account
            )
            if len(compiled.visible) > _KEPT:
                compiled.visible.popitem(last=False)
        compiled.visible.move_to_end(account)
        return compiled.visible[account]

    def _compile(self, loaded: _Loaded, live: frozenset[str], now: datetime) -> _Compiled:
        held, suspended = divide(loaded.tuples, live, now)
        bounds = (bound for entry in loaded.tuples for bound in (entry.valid_from, entry.valid_to))
        until = min((bound for bound in bounds if bound is not None and bound > now), default=None)
        return _Compiled(loaded, live, now, until, Authorization(self._model, held, suspended))

    async def _load(self, at: Standing) -> _Loaded:
        async with self._loading:
            loaded = self._loaded
            if (
                loaded is None
                or loaded.access_revision < at.access_revision
                or loaded.next_audience < at.next_audience
            ):
                loaded = self._loaded = await self._database.write_transaction(self._read)
            return loaded

    async def _read(self, tx: AsyncManagedTransaction) -> _Loaded:
        # Neo4j shows a commit piece by piece, and what is read here is kept: take the lock that
        # a writer holds until its commit is whole. Setting and removing leaves no change.
        await (await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")).consume()
        result = await tx.run(
            """
            OPTIONAL MATCH (meta:_Meta)
            RETURN coalesce(meta.accessRevision, 0) AS accessRevision,
                   coalesce(meta.nextAudience, 0) AS nextAudience,
                   COLLECT { MATCH (a:_Audience) RETURN [a.number, a.expression] } AS audiences
            """
        )
        record = await result.single(strict=True)
        audiences = {number: from_tree(json.loads(tree)) for number, tree in record["audiences"]}
        wanted = reachable(
            self._model,
            {
                (type_of(userset.object), userset.relation)
                for expression in audiences.values()
                for userset in usersets(expression)
            },
        )
        bindings = [b for b in self._ontology.bindings if (b.object_type, b.relation) in wanted]
        tuples = await load_tuples(tx, bindings)
        return _Loaded(record["accessRevision"], record["nextAudience"], tuples, audiences)


def visible_set(
    authorization: Authorization, audiences: Mapping[int, Expression], size: int, account: str
) -> bytes:
    """1 at the numbers below `size` of the audiences that the account certainly belongs to."""
    subject = Subject(authorization, account)

    def value(goal: Goal) -> bool | None:
        # An audience of a relation that the model no longer has is undetermined: nobody sees it.
        return subject.value(goal) if authorization.model.has(type_of(goal[0]), goal[1]) else None

    visible = bytearray(size)
    for number, expression in audiences.items():
        visible[number] = value_of(expression, value) is True
    return bytes(visible)
