"""The tuples of the organization's own graph, for questions that are asked in OpenFGA's form.

Grants and memberships are kept in memory, by the change feed; where an entity is placed is read with each
question, since there is a placement for every entity and few are asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from neo4j import AsyncManagedTransaction

from graph.claims import SourcePolicy
from graph.database import Database
from graph.facts import IN_COLLECTION
from graph.following import Following
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.tuples import live_scopes, tuples_of
from graph.visibility import standing
from graph.visible_sets.feeding import by_relationship, load_into
from graph.vouched_tuples import VouchedTuples
from ontologies.ontology import Binding, Ontology


class OrganizationTuples:
    """Reads the tuples; nobody's rights are looked at here."""

    def __init__(self, database: Database, ontology: Ontology, policies: Mapping[str, SourcePolicy]) -> None:
        """A source that no policy names vouches for nothing."""
        self._database = database
        self._policies = policies
        self._placing = [one for one in ontology.bindings if one.relationship == IN_COLLECTION]
        granting = [one for one in ontology.bindings if one.relationship != IN_COLLECTION]
        self._following = Following(database, by_relationship(granting), _load)
        self._clock = datetime.min.replace(tzinfo=UTC)
        self._turn = asyncio.Lock()

    async def index(self) -> TupleIndex:
        """All tuples but placements, those that nobody vouches for at present as suspended."""
        return (await self._current()).index

    async def held(self) -> Sequence[TupleKey]:
        """All tuples but placements and suspended ones."""
        return (await self._current()).held()

    async def _current(self) -> VouchedTuples:
        now = datetime.now(UTC)
        async with self._turn:
            at = await self._database.read_transaction(partial(standing, account="", now=now))
            tuples = self._following.index
            if tuples is None or tuples.revision < at.access_revision:
                tuples = await self._following.reach(at.access_revision)
            self._clock = max(now, self._clock)  # what has ended does not begin again with the clock
            tuples.at(live_scopes(self._policies, at.completed, self._clock), self._clock)
            return tuples

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


async def _load(tx: AsyncManagedTransaction, bindings: Mapping[str, Sequence[Binding]]) -> VouchedTuples:
    tuples = VouchedTuples()
    await load_into(tuples, tx, bindings)
    return tuples
