"""The fact store: every way in for what sources say.

    async with store.crawl(policy, "directory.ldif") as crawl:
        report = await crawl.write(claims)
        report = await crawl.complete()

A crawl that is left without `complete` retracts nothing. Each write is one revision in one transaction,
which small ones share that come at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from neo4j import AsyncManagedTransaction

from graph.claims import SourcePolicy
from graph.crawl import Crawl, load
from graph.database import Database
from graph.gate import Gate
from graph.lease import lease
from graph.live import due
from graph.order import Order, Orders, Outcome, Schema
from graph.service_lease import acknowledged
from graph.together import Together
from graph.tombstones import Pseudonyms, Tombstones, tombstones
from graph.tuples import ADMINISTRATION
from graph.turns import Turn
from graph.writer import carry_out, carry_out_each, carry_out_turn, current_revision, lock, settle
from ontologies.authorization_model import AuthorizationModel
from ontologies.shapes import Shapes

#: How many small orders may share a transaction.
_TOGETHER = 50
#: Entities moved, and facts looked at as time passes, in one transaction.
_BATCH = 1_000


def utc_now() -> datetime:
    return datetime.now(UTC)


class FactStore:
    """The facts of one organization in one database. Writers take their turns; reads never wait."""

    def __init__(
        self,
        database: Database,
        shapes: Shapes,
        model: AuthorizationModel,
        clock: Callable[[], datetime] = utc_now,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """`pseudonyms`: by which erased persons are known; none where nobody was ever erased."""
        self.database = database
        self.shapes = shapes
        self._schema = Schema(shapes, model)
        self._clock = clock
        self._together = Together(self._transaction, _TOGETHER)
        self._pseudonyms = pseudonyms

    @asynccontextmanager
    async def crawl(self, policy: SourcePolicy, scope: str) -> AsyncIterator[Crawl]:
        """A crawl of one scope of a source. Raises CrawlBusyError while there is another."""
        async with lease(self.database, policy.name, scope) as token:
            held = await self.database.read_transaction(partial(load, policy=policy, scope=scope))
            erased = Tombstones()  # what is decided by hand is said of pseudonyms
            if policy.name != ADMINISTRATION:
                work = partial(tombstones, pseudonyms=self._pseudonyms)
                erased = await self.database.read_transaction(work)
            gate = Gate(self.shapes, policy, self._schema.needy)
            yield Crawl(
                gate,
                policy,
                scope,
                token,
                held,
                self.carry_out,
                self.carry_out_each,
                self.carry_out_turn,
                self._mark_complete,
                erased,
            )

    async def resume(self) -> None:
        """Finish what a killed process left half-way: entities on the move to another audience."""
        await self._settle()

    async def tick(self) -> int:
        """Commit the bounds of intervals that have passed; the current revision."""
        while facts := await self.database.read_transaction(partial(due, now=self._clock(), limit=_BATCH)):
            await self.carry_out(Order("", "", recheck=facts))
        return await self.database.read_transaction(current_revision)

    async def carry_out(self, order: Order) -> Outcome:
        """In one transaction, and the second step of entities that move; nothing when all is as ordered.

        What it takes away is gone, in every process that answers, once this returns.
        """
        if order.is_done():
            revision = await self.database.read_transaction(current_revision)
            return order.done(revision)
        if order.is_small():
            outcome = await self._together(order)
        else:
            [outcome] = await self._transaction([order])
        await self._follow_up([outcome])
        return outcome

    async def carry_out_turn(self, turn: Turn) -> Outcome:
        """As `carry_out` of what is not done yet, in a row of them (`graph.turns`)."""

        async def commit(turn: Turn) -> Outcome:
            async def work(tx: AsyncManagedTransaction) -> Outcome:
                return await carry_out_turn(tx, self._schema, turn, self._clock())

            [outcome] = self._told([await self.database.write_transaction(work)])
            return outcome

        outcome = await turn.take(commit)
        await self._follow_up([outcome])
        return outcome

    async def carry_out_each(
        self, of: Order, begin: Callable[[AsyncManagedTransaction], Awaitable[None]], orders: Orders
    ) -> Sequence[Outcome]:
        """As `carry_out`, of several orders in one transaction, each in a revision of its own.

        `of`: whose they are. `begin`: done before the first of them, whenever the transaction is begun.
        """

        async def work(tx: AsyncManagedTransaction) -> Sequence[Outcome]:
            await begin(tx)
            return await carry_out_each(tx, self._schema, [of], orders, self._clock())

        outcomes = self._told(await self.database.write_transaction(work))
        await self._follow_up(outcomes)
        return outcomes

    async def _transaction(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """All of them or none, each in a revision of its own."""

        async def work(tx: AsyncManagedTransaction) -> Sequence[Outcome]:
            return await carry_out(tx, self._schema, orders, self._clock())

        return self._told(await self.database.write_transaction(work))

    def _told(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The same, once all here who wait for revisions know of them."""
        self.database.latest.told(max(one.revision for one in outcomes), _access(outcomes))
        return outcomes

    async def _follow_up(self, outcomes: Sequence[Outcome]) -> None:
        """What follows a commit before it is told: all processes know of it, and entities have moved."""
        if access := _access(outcomes):
            await acknowledged(self.database, access)
        if any(one.moving for one in outcomes):
            await self._settle()

    async def _settle(self) -> None:
        while await self.database.write_transaction(
            partial(settle, schema=self._schema, limit=_BATCH, now=self._clock())
        ):
            pass

    async def _mark_complete(self, order: Order) -> int:
        async def work(tx: AsyncManagedTransaction) -> int:
            state = await lock(tx, self._clock(), [order])
            await tx.run(
                "MATCH (s:_Source {name: $source, scope: $scope}) SET s.completedAt = $now",
                source=order.source,
                scope=order.scope,
                now=self._clock(),
            )
            return state.revision

        return await self.database.write_transaction(work)


def _access(outcomes: Sequence[Outcome]) -> int:
    """The last revision of them that may have changed what somebody may see; 0 where none has."""
    return max((one.revision for one in outcomes if one.access), default=0)
