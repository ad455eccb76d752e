"""The visible set of an account: a byte for each audience number, computed from the live graph.

Membership, grants and denials are followed here, at each access revision, and nowhere in the
nodes, so that changing them touches none.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import LiteralString

from neo4j import AsyncManagedTransaction

from graph.audiences import Expression, from_tree, rested_on, value_of
from graph.claimed_tuples import load_tuples
from graph.claims import SourcePolicy
from graph.database import Database
from graph.rebac.evaluator import Request, Search
from graph.rebac.relation_tuples import Goal, TupleIndex, type_of
from graph.rebac.rules import Value
from graph.tuples import Scope, Transaction, divide, live_scopes, native
from ontologies.authorization_model import AuthorizationModel
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
    """Whether the account exists and is not disabled, by its source or by hand."""
    completed: Mapping[Scope, datetime]
    """When each scope last completed a crawl; those that never did are left out."""

    @property
    def access(self) -> tuple[int, bool]:
        """What must not have changed between the first and the last query of a read."""
        return self.access_revision, self.enabled


#: Whether the node `account` is an account that may do anything at `$now`.
ENABLED: LiteralString = """account IS NOT NULL AND NOT coalesce(account.disabled, false)
    AND NOT EXISTS { (account)<-[:DISABLES]-(:Organization) }
    AND coalesce(account.validFrom <= $now, true) AND coalesce($now < account.validTo, true)"""


async def standing(tx: Transaction, account: str, now: datetime) -> Standing:
    """Read it all in one query."""
    result = await tx.run(
        """
        OPTIONAL MATCH (meta:_Meta)
        OPTIONAL MATCH (account:Account {id: $account})
        RETURN meta.revision AS revision, meta.accessRevision AS accessRevision,
               meta.nextAudience AS nextAudience,
               """
        + ENABLED
        + """ AS enabled,
               COLLECT {
                   MATCH (s:_Source) WHERE s.completedAt IS NOT NULL
                   RETURN [s.name, s.scope, s.completedAt]
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
        {(name, scope): native(at) for name, scope, at in record["completed"]},
    )


@dataclass(frozen=True, slots=True)
class _State:
    """Who belongs to which audience, as it was loaded; and what tells when to load it again."""

    access_revision: int
    next_audience: int
    completed: Mapping[Scope, datetime | None]
    """Of the scopes that claim tuples."""
    live: frozenset[Scope]
    """Those of them within their age."""
    until: datetime | None
    """The next instant at which a tuple begins or ceases to hold."""
    audiences: Mapping[int, Expression]
    request: Request
    visible: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    """By account, the last used last."""

    def serves(self, at: Standing, live: frozenset[Scope], now: datetime) -> bool:
        return (
            at.access_revision <= self.access_revision
            and at.next_audience <= self.next_audience
            and all(at.completed.get(scope) == when for scope, when in self.completed.items())
            and live & self.completed.keys() == self.live
            and (self.until is None or now < self.until)
        )


class Authorizer:
    """Visible sets, kept while nothing changes that they rest on."""

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
        self._state: _State | None = None
        self._loading = asyncio.Lock()

    async def visible(self, account: str, at: Standing, now: datetime) -> bytes:
        """1 at the numbers of the audiences that the account belongs to.

        At the access revision of `at`, or at a newer one: a read that it overtook repeats anyway.
        """
        if not at.enabled:
            return bytes(at.next_audience)
        live = live_scopes(self._policies, at.completed, now)
        async with self._loading:
            state = self._state
            if state is None or not state.serves(at, live, now):
                state = self._state = await self._database.write_transaction(partial(self._load, now=now))
        if account not in state.visible:
            size = state.next_audience
            state.visible[account] = visible_set(state.request, state.audiences, size, account)
            if len(state.visible) > _KEPT:
                state.visible.popitem(last=False)
        state.visible.move_to_end(account)
        return state.visible[account]

    async def _load(self, tx: AsyncManagedTransaction, now: datetime) -> _State:
        # Neo4j shows a commit piece by piece, and what is read here is kept: take the lock that
        # a writer holds until its commit is whole. Setting and removing leaves no change.
        await (await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")).consume()
        at = await standing(tx, "", now)
        result = await tx.run("MATCH (a:_Audience) RETURN a.number AS number, a.expression AS tree")
        audiences = {record["number"]: from_tree(json.loads(record["tree"])) async for record in result}
        bindings = rested_on(self._ontology, self._model)
        tuples = await load_tuples(tx, bindings)
        scopes = frozenset[Scope]().union(*(entry.claimed_in for entry in tuples))
        live = live_scopes(self._policies, at.completed, now)
        bounds = (bound for entry in tuples for bound in (entry.valid_from, entry.valid_to))
        return _State(
            at.access_revision,
            at.next_audience,
            {scope: at.completed.get(scope) for scope in scopes},
            live & scopes,
            min((bound for bound in bounds if bound is not None and bound > now), default=None),
            audiences,
            Request(self._model, TupleIndex(*divide(tuples, live, now)), now=now),
        )


def visible_set(request: Request, audiences: Mapping[int, Expression], size: int, account: str) -> bytes:
    """1 at the numbers below `size` of the audiences that the account certainly belongs to."""
    search = Search(request, account)

    def value(goal: Goal) -> Value:
        # An audience of a relation that the model no longer has is undetermined: nobody sees it.
        return search.value(*goal) if request.model.has(type_of(goal[0]), goal[1]) else None

    visible = bytearray(size)
    for number, expression in audiences.items():
        visible[number] = value_of(expression, value) is True
    return bytes(visible)
