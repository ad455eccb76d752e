"""All that decides about access, read at once: for questions of administration, which are rare."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from neo4j import AsyncManagedTransaction

from graph.audiences import VIEWER, Expression, from_tree, value_of
from graph.claimed_tuples import load_tuples
from graph.claims import SourcePolicy
from graph.database import Database
from graph.facts import IN_COLLECTION
from graph.rebac.evaluator import Request, Search
from graph.rebac.relation_tuples import Goal, TupleIndex, TupleKey, type_of
from graph.rebac.rules import Value
from graph.tuples import Scope, divide, live_scopes, native, vouches
from graph.visibility import ENABLED
from ontologies.authorization_model import AuthorizationModel
from ontologies.ontology import Ontology


@dataclass(frozen=True, slots=True)
class AccessSnapshot:
    """Who may what, as it was at one instant. Tuples of placements are left out: audiences tell them."""

    model: AuthorizationModel
    held: Sequence[TupleKey]
    suspended: Sequence[TupleKey]
    vouched_by: Mapping[TupleKey, frozenset[Scope]]
    """Who vouches for each of those that are held."""
    accounts: frozenset[str]
    """Those that are enabled."""
    audiences: Mapping[int, Expression]
    request: Request

    def check(self, account: str, relation: str, object: str) -> bool:
        """Whether the account is enabled and has the relation; False for an object of another type."""
        if account not in self.accounts or not self.model.has(type_of(object), relation):
            return False
        return Search(self.request, account).value(object, relation) is True

    def persons(self, account: str) -> frozenset[str]:
        """Whose account it is."""
        return frozenset(
            entry.object for entry in self.held if entry.relation == "account" and entry.user == account
        )

    def named_persons(self, account: str) -> frozenset[str]:
        """Whose account it is said to be, by anybody, suspended sources too."""
        return frozenset(
            entry.object
            for entry in (*self.held, *self.suspended)
            if entry.relation == "account" and entry.user == account
        )

    def granted(self, account: str, relation: str, kind: str) -> frozenset[str]:
        """The objects of that type to which the account has the relation, among those that tuples name."""
        named = {entry.object for entry in self.held if type_of(entry.object) == kind}
        return frozenset(object for object in named if self.check(account, relation, object))

    def alone(self, scopes: Set[Scope]) -> frozenset[TupleKey]:
        """The tuples that nobody else vouches for."""
        return frozenset(key for key, by in self.vouched_by.items() if by and by <= scopes)

    def with_tuples(self, added: Iterable[TupleKey] = (), removed: Iterable[TupleKey] = ()) -> AccessSnapshot:
        """As it would be with other tuples."""
        gone = set(removed)
        held = [*(entry for entry in self.held if entry not in gone), *added]
        index = TupleIndex(held, self.suspended)
        return replace(self, held=held, request=Request(self.model, index, now=self.request.now))

    def with_model(self, model: AuthorizationModel) -> AccessSnapshot:
        """As it would be under another model."""
        index = TupleIndex(self.held, self.suspended)
        return replace(self, model=model, request=Request(model, index, now=self.request.now))

    def search(self, account: str) -> Search:
        return Search(self.request, account)

    def sees(self, search: Search, expression: Expression) -> bool:
        """Whether who is searched for certainly belongs to the audience."""

        def value(goal: Goal) -> Value:
            return search.value(*goal) if self.model.has(type_of(goal[0]), goal[1]) else None

        return value_of(expression, value) is True

    def inheriting(self, collections: Iterable[str]) -> frozenset[str]:
        """The collections, and those that take over their viewers, at whatever distance."""
        children = defaultdict(set)
        for entry in (*self.held, *self.suspended):
            if entry.relation == "parent":
                children[entry.user].add(entry.object)
        reached: set[str] = set()
        todo = set(collections)
        while todo:
            reached |= todo
            todo = {child for one in todo for child in children[one]} - reached
        return frozenset(reached)


async def access_snapshot(
    database: Database,
    ontology: Ontology,
    model: AuthorizationModel,
    policies: Iterable[SourcePolicy],
    now: datetime,
) -> AccessSnapshot:
    """As it is now. A source that no policy names is never live: what only it claims is suspended."""
    by_name = {policy.name: policy for policy in policies}
    bindings = [binding for binding in ontology.bindings if binding.relationship != IN_COLLECTION]

    async def work(tx: AsyncManagedTransaction) -> AccessSnapshot:
        # Neo4j shows a commit piece by piece: take the lock that a writer holds until its commit is whole.
        await (await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")).consume()
        result = await tx.run("MATCH (s:_Source) WHERE s.completedAt IS NOT NULL RETURN s {.*} AS s")
        completed = {(r["s"]["name"], r["s"]["scope"]): native(r["s"]["completedAt"]) async for r in result}
        result = await tx.run(
            "MATCH (account:Account) WHERE " + ENABLED + " RETURN account.id AS id", now=now
        )
        accounts = frozenset([record["id"] async for record in result])
        result = await tx.run("MATCH (a:_Audience) RETURN a.number AS number, a.expression AS tree")
        audiences = {record["number"]: from_tree(json.loads(record["tree"])) async for record in result}
        tuples = await load_tuples(tx, bindings)
        live = live_scopes(by_name, completed, now)
        held, suspended = divide(tuples, live, now)
        vouching: dict[TupleKey, frozenset[Scope]] = defaultdict(frozenset)
        for entry in tuples:
            if entry.holds(now):
                vouching[entry.tuple] |= {scope for scope in entry.claimed_in if vouches(scope, live)}
        request = Request(model, TupleIndex(held, suspended), now=now)
        return AccessSnapshot(model, held, suspended, vouching, accounts, audiences, request)

    return await database.write_transaction(work)


def viewers(snapshot: AccessSnapshot, audience: int | None) -> list[str]:
    """The enabled accounts that belong to an audience, by name; nobody to one that there is not."""
    expression = None if audience is None else snapshot.audiences.get(audience)
    if expression is None:
        return []
    return sorted(a for a in snapshot.accounts if snapshot.sees(snapshot.search(a), expression))


def can_view(snapshot: AccessSnapshot, account: str, collection: str) -> bool:
    return snapshot.check(account, VIEWER, collection)
