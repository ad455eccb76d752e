"""The tuples of the organization's own graph, for questions that are asked in OpenFGA's form.

Grants and memberships are kept in memory until access changes; where an entity is placed is read
with each question, since there is a placement for every entity and few are asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from neo4j import AsyncManagedTransaction

from graph.claimed_tuples import load_tuples
from graph.claims import SourcePolicy
from graph.database import Database
from graph.facts import IN_COLLECTION
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.tuples import Scope, divide, live_scopes, tuples_of
from graph.visibility import Standing, standing
from ontologies.ontology import Ontology


@dataclass(frozen=True, slots=True)
class _Grants:
    """As they were loaded, and what tells when to load them again."""

    access_revision: int
    completed: Mapping[Scope, datetime | None]
    live: frozenset[Scope]
    until: datetime | None
    index: TupleIndex
    held: Sequence[TupleKey]

    def serves(self, at: Standing, live: frozenset[Scope], now: datetime) -> bool:
        return (
            at.access_revision == self.access_revision
            and all(at.completed.get(scope) == when for scope, when in self.completed.items())
            and live & self.completed.keys() == self.live
            and (self.until is None or now < self.until)
        )


class OrganizationTuples:
    """Reads the tuples; nobody's rights are looked at here."""

    def __init__(self, database: Database, ontology: Ontology, policies: Mapping[str, SourcePolicy]) -> None:
        """A source that no policy names vouches for nothing."""
        self._database = database
        self._policies = policies
        self._placing = [one for one in ontology.bindings if one.relationship == IN_COLLECTION]
        self._granting = [one for one in ontology.bindings if one.relationship != IN_COLLECTION]
        self._grants: _Grants | None = None
        self._loading = asyncio.Lock()

    async def index(self) -> TupleIndex:
        """All tuples but placements, those that nobody vouches for at present as suspended."""
        return (await self._current()).index

    async def held(self) -> Sequence[TupleKey]:
        """All tuples but placements and suspended ones."""
        return (await self._current()).held

    async def _current(self) -> _Grants:
        now = datetime.now(UTC)
        async with self._loading:
            at = await self._database.read_transaction(partial(standing, account="", now=now))
            live = live_scopes(self._policies, at.completed, now)
            if self._grants is None or not self._grants.serves(at, live, now):
                self._grants = await self._database.write_transaction(partial(self._load, now=now))
            return self._grants

    async def placements(self, ids: Iterable[str]) -> Sequence[TupleKey]:
        """Where these entities are placed."""

        return await self._database.read_transaction(partial(tuples_of, bindings=self._placing, ids=ids))

    async def ids(self, type_name: str) -> Sequence[str]:
        """All entities of an OpenFGA type."""
        found = await self._database.read(
            "MATCH (n:Entity) WHERE n.id STARTS WITH $prefix RETURN n.id AS id ORDER BY id",
            prefix=f"{type_name}:",
        )
        return [record["id"] for record in found]

    async def _load(self, tx: AsyncManagedTransaction, now: datetime) -> _Grants:
        # As for visible sets: take the lock that a writer holds until its commit is whole.
        await (await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")).consume()
        at = await standing(tx, "", now)
        tuples = await load_tuples(tx, self._granting)
        scopes = frozenset[Scope]().union(*(entry.claimed_in for entry in tuples))
        live = live_scopes(self._policies, at.completed, now)
        held, suspended = divide(tuples, live, now)
        bounds = (bound for entry in tuples for bound in (entry.valid_from, entry.valid_to))
        return _Grants(
            at.access_revision,
            {scope: at.completed.get(scope) for scope in scopes},
            live & scopes,
            min((bound for bound in bounds if bound is not None and bound > now), default=None),
            TupleIndex(held, suspended),
            held,
        )
