"""The fact store: every way in for what sources say.

    async with store.crawl(policy, "directory.ldif") as crawl:
        report = await crawl.write(claims)
        report = await crawl.complete()

A crawl that is left without `complete` retracts nothing. Each write is one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from neo4j import AsyncManagedTransaction

from graph.claims import Claim, SourcePolicy, Violation, WriteReport
from graph.database import Database
from graph.facts import IN_COLLECTION, RelationshipFact, Stated
from graph.gate import refusal, violation
from graph.writer import (
    Order,
    Outcome,
    Refused,
    Schema,
    again_key,
    carry_out,
    current_revision,
    settle,
    stored,
)
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import Shapes

#: Claims retracted, and entities moved, in one transaction.
_BATCH = 1_000


class FactStore:
    """The facts of one organization in one database. Writers take their turns; reads never wait."""

    def __init__(self, database: Database, shapes: Shapes, model: AuthorizationModel) -> None:
        self.database = database
        self.shapes = shapes
        self._schema = Schema(shapes, model)

    @asynccontextmanager
    async def crawl(self, policy: SourcePolicy, scope: str) -> AsyncIterator[Crawl]:
        """A crawl of one scope of a source."""
        yield Crawl(self, policy, scope)

    async def resume(self) -> None:
        """Finish what a killed process left half-way: entities on the move to another audience."""
        await self._settle()

    async def quarantined(self, source: str | None = None) -> Sequence[Violation]:
        """What is kept out, of one source or of all."""
        records = await self.database.read(
            """
            MATCH (q:_Quarantined) WHERE $source IS NULL OR q.source = $source
            RETURN q.source AS source, q.entity AS entity, q.shape AS shape, q.value AS value,
                   q.message AS message
            ORDER BY source, entity, shape
            """,
            source=source,
        )
        return [Violation(**record.data()) for record in records]

    async def carry_out(self, order: Order) -> Outcome:
        """In one transaction, and the second step of entities that move; nothing when all is as ordered."""
        revision = await self.database.read_transaction(partial(_nothing_to_do, order=order))
        if revision is not None:
            return Outcome(revision, refused=order.refused)
        outcome = await self.database.write_transaction(partial(carry_out, schema=self._schema, order=order))
        if outcome.moving:
            await self._settle()
        return outcome

    async def _settle(self) -> None:
        while await self.database.write_transaction(partial(settle, schema=self._schema, limit=_BATCH)):
            pass


class Crawl:
    """One pass over a scope. What it yields is remembered, so that `complete` knows what is gone."""

    def __init__(self, store: FactStore, policy: SourcePolicy, scope: str) -> None:
        self._store = store
        self._policy = policy
        self._scope = scope
        self._yielded: dict[str, bytes] = {}
        """Key -> digest of the claim but for its evidence; refused ones too: they are not gone."""
        self._written: set[str] = set()

    async def write(self, claims: Iterable[Claim], withdrawn: Iterable[Claim] = ()) -> WriteReport:
        """Write the claims in one transaction; those that the gate refuses are quarantined.

        Of claims about one fact the first of the crawl holds; others that say something else are refused.
        `withdrawn`: what the source itself says it no longer claims in this scope, retracted in the same
        transaction but for facts that `claims` are about; what it did not claim is passed over.
        """
        new: dict[str, Stated] = {}
        refused: dict[str, Refused] = {}
        for claim in claims:
            stated = Stated(self._policy.name, self._scope, self._policy.trust, claim)
            key, digest = stated.key, _digest(claim)
            if self._yielded.setdefault(key, digest) != digest:
                key = again_key(key)
                self._yielded[key] = digest
                refused[key] = Refused(key, stated, _contradicts_itself(stated), displaces=False)
            elif key in self._written or key in new or key in refused:
                continue  # said before, in another place
            elif problem := refusal(self._store.shapes, self._policy, claim):
                refused[key] = Refused(key, stated, problem)
            else:
                new[key] = stated
        gone = {Stated(self._policy.name, self._scope, self._policy.trust, claim).key for claim in withdrawn}
        gone -= new.keys() | refused.keys()
        for key in gone:
            self._yielded.pop(key, None)
        self._written -= gone
        order = Order(self._policy.name, self._scope, new, tuple(refused.values()), gone)
        outcome = await self._store.carry_out(order)
        self._written |= new.keys() | refused.keys()
        return _report(outcome, len(new))

    async def complete(self) -> WriteReport:
        """Retract what this source claimed of this scope before and did not yield in this crawl."""
        report = WriteReport(0)
        gone = await self._gone()
        for batch in [gone[i : i + _BATCH] for i in range(0, len(gone), _BATCH)]:
            order = Order(self._policy.name, self._scope, withdrawn=batch)
            done = _report(await self._store.carry_out(order), 0)
            report = WriteReport(
                done.revision,
                changed=report.changed + done.changed,
                retracted=report.retracted + done.retracted,
            )
        revision = await self._store.database.write_transaction(self._mark_complete)
        return replace(report, revision=revision)

    async def gone(self) -> tuple[int, int]:
        """How many claims `complete` would retract now, and how many the source has in the scope."""
        gone = await self._gone()
        return len(gone), len(gone) + len(self._yielded)

    async def confirm(self) -> WriteReport:
        """The source says that nothing else of the scope has changed: it is complete as it stands."""
        return WriteReport(await self._store.database.write_transaction(self._mark_complete))

    async def _gone(self) -> list[str]:
        records = await self._store.database.read(
            """
            MATCH (c:_Claim {source: $source, scope: $scope}) RETURN c.key AS key
            UNION MATCH (q:_Quarantined {source: $source, scope: $scope}) RETURN q.key AS key
            """,
            source=self._policy.name,
            scope=self._scope,
        )
        return sorted(record["key"] for record in records if record["key"] not in self._yielded)

    async def _mark_complete(self, tx: AsyncManagedTransaction) -> int:
        await tx.run(
            "MERGE (s:_Source {name: $name, scope: $scope}) SET s.completedAt = $now",
            name=self._policy.name,
            scope=self._scope,
            now=datetime.now(UTC),
        )
        return await current_revision(tx)


async def _nothing_to_do(tx: AsyncManagedTransaction, order: Order) -> int | None:
    """The current revision when the order is already carried out, else None. Takes no lock."""
    keys = {*order.new, *(one.key for one in order.refused)}
    claims, quarantined = await stored(tx, keys)
    if order.withdrawn or any(claims.get(key) != one.to_row() for key, one in order.new.items()):
        return None
    if quarantined != {one.key: one.to_row() for one in order.refused}:
        return None
    return await current_revision(tx)


def _digest(claim: Claim) -> bytes:
    return hashlib.sha256(repr(replace(claim, evidence="")).encode(errors="replace")).digest()


def _contradicts_itself(stated: Stated) -> Violation:
    message = "the source says something else of it in the same crawl, which holds; make both say the same"
    return violation(stated.source, stated.claim, "og:claimedTwice", stated.fact, message)


def _report(outcome: Outcome, claims: int) -> WriteReport:
    """Placements are counted with their entities."""
    counted = [
        change
        for change in outcome.changes
        if not (isinstance(change.fact, RelationshipFact) and change.fact.type == IN_COLLECTION)
    ]
    added = sum(change.before is None for change in counted)
    retracted = sum(change.after is None for change in counted)
    return WriteReport(
        outcome.revision,
        added,
        len(counted) - added - retracted,
        retracted,
        claims - outcome.new,
        tuple(one.violation for one in outcome.refused),
    )
