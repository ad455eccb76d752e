"""The law of the fact store where Neo4j is killed at any point of a batch, in a database that is not named as
usual, and where the process that writes ends before each thing that it would send: what was committed is there
whole, what was not is not there at all, and every revision tells what the model in memory tells."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partialmethod
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from neo4j import AsyncManagedTransaction, AsyncSession
from neo4j.exceptions import ServiceUnavailable

from graph import neo4j_server
from graph.claims import Claim, EntityClaim
from graph.database import Database, connect
from graph.facts import fact_of
from graph.feed import changes, current_revision
from graph.merges import Merges, decisions
from graph.neo4j_server import Neo4jServer, start
from graph.store import FactStore
from ontologies import load_authorization, load_shapes
from tests.graph.fact_model import (
    COMPANY,
    KEYS,
    SOURCES,
    START,
    Merge,
    Model,
    Said,
    live,
    merges,
    past,
    person,
    policy,
    sayings,
)

pytestmark = pytest.mark.neo4j

DATABASE = "facts"
#: More than a batch has queries: at the latest its commit is struck.
QUERIES = 12
_examples = count()


@dataclass
class Server:
    """One that is killed and started again in the same folder."""

    folder: Path
    running: Neo4jServer

    def restart(self) -> None:
        assert self.running.process.stop() == 128 + signal.SIGKILL
        self.running = started(self.folder)

    def connect(self) -> AbstractAsyncContextManager[Database]:
        return connect(self.running.uri, self.running.auth, DATABASE)


def started(folder: Path) -> Neo4jServer:
    """Community has one database beside its own, which may have any name."""
    named = neo4j_server._CONFIGURATION + f"initial.dbms.default_database={DATABASE}\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neo4j_server, "_CONFIGURATION", named)
        return start(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("killed")
    server = Server(folder, started(folder))
    yield server
    server.running.stop()


@dataclass(frozen=True)
class Crawl:
    """A source says this and no more."""

    source: str
    said: list[Any]

    def states(self, model: Model, prefix: str) -> list[Model]:
        """After each of its revisions."""
        claims = self._claims(prefix)
        whole = model.having(self.source, claims)
        return [model.having(self.source, {**model.claims[self.source], **claims}), whole]

    async def carry_out(self, store: FactStore, prefix: str) -> None:
        async with store.crawl(policy(self.source), prefix) as crawl:
            report = await crawl.write(self._claims(prefix).values())
            assert report.quarantined == ()
            await crawl.complete()

    def _claims(self, prefix: str) -> dict[str, Claim]:
        return {fact_of(claim): claim for one in self.said for claim in [one.claim(prefix)]}


Step = Crawl | Merge


@dataclass(frozen=True)
class Strike:
    """The step in which Neo4j is killed: at which query of what writes it, and how long after that was sent."""

    step: Step
    query: int
    seconds: float | None
    """None where it is not sent any more."""


crawls = st.builds(Crawl, st.sampled_from(SOURCES), st.lists(sayings(), min_size=2, max_size=5))
quiet = st.lists(st.one_of(crawls, merges), max_size=2)


def lives(*struck: st.SearchStrategy[Step]) -> st.SearchStrategy[list[tuple[list[Step], Strike]]]:
    """For each of these steps: some that nothing happens to, then this one; all struck elsewhere."""
    late = st.one_of(st.none(), st.sampled_from((0.0, 0.002, 0.01)))
    drawn = [st.tuples(quiet, st.builds(Strike, step, st.integers(0, QUERIES), late)) for step in struck]
    return st.tuples(*drawn).map(list).filter(lambda of: len({one.query for _, one in of}) == len(of))


@dataclass
class Blow:
    """Kills Neo4j as it was told, or when all is done."""

    server: Server
    strike: Strike
    writing: bool = False
    queries: int = 0
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    async def during(self, work: Awaitable[None]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for of, name, put in (
                (FactStore, "_transaction", _writing),
                (AsyncManagedTransaction, "run", _stepped),
                (AsyncManagedTransaction, "_commit", _stepped),
                (Database, "write_transaction", _refused),
            ):
                patch.setattr(of, name, partialmethod(put, self, getattr(of, name)))
            working, dying = asyncio.ensure_future(work), asyncio.create_task(self.struck.wait())
            await asyncio.wait([working, dying], return_when=asyncio.FIRST_COMPLETED)
            if not self.struck.is_set():
                working.result()
                self.kill()
            for task in (working, dying):
                task.cancel()
            await asyncio.gather(working, dying, return_exceptions=True)

    def kill(self) -> None:
        os.kill(self.server.running.pid, signal.SIGKILL)
        self.struck.set()

    async def step(self, step: Any, tx: AsyncManagedTransaction, *arguments: Any, **more: Any) -> Any:
        self.queries += self.writing
        due = self.queries > self.strike.query or (self.writing and step.__name__ == "_commit")
        if not due or self.struck.is_set():
            return await step(tx, *arguments, **more)
        if self.strike.seconds is not None:
            doing = asyncio.create_task(step(tx, *arguments, **more))
            await asyncio.sleep(self.strike.seconds)
            self.kill()
            return await doing
        self.kill()
        raise ServiceUnavailable("killed")


async def _writing(store: FactStore, blow: Blow, transaction: Any, orders: Any) -> Any:
    blow.writing = True
    return await transaction(store, orders)


async def _stepped(tx: AsyncManagedTransaction, blow: Blow, step: Any, *arguments: Any, **more: Any) -> Any:
    return await blow.step(step, tx, *arguments, **more)


async def _refused(database: Database, blow: Blow, transaction: Any, work: Any) -> Any:
    """Else what gives back a lease tries for long."""
    if blow.struck.is_set():
        raise ServiceUnavailable("killed")
    return await transaction(database, work)


async def store_of(database: Database) -> FactStore:
    """As a service starts."""
    await database.ensure_schema()
    store = FactStore(database, load_shapes(), load_authorization(), lambda: START)
    await store.resume()
    await Merges(store).reconcile()
    async with store.crawl(policy("configuration"), "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "sources.toml")])
    return store


async def fed(database: Database, prefix: str) -> dict[str, str]:
    """What a follower of the feed has, who followed it from the beginning."""
    found: dict[str, Any] = {}
    revisions = await changes(database, 0, 1_000)
    assert [one.number for one in revisions] == list(range(1, await current_revision(database) + 1))
    for change in (change for one in revisions for change in one.changes):
        if change.id.startswith(person(prefix, "")) and not change.id.endswith(COMPANY):
            found[change.id] = change.after
    standing = {id: after for id, after in found.items() if after is not None}
    return {id: after.get("type") or after["values"].get("jobTitle", "") for id, after in standing.items()}


async def decided(database: Database, model: Model, prefix: str) -> bool:
    """Whether the merge that was struck is decided; what follows from it was put right at the start."""
    standing = await decisions(database, [person(prefix, key) for key in KEYS], standing=True)
    return bool(standing) == bool(model.claims["identity"])


@settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(lives(crawls, merges, crawls))
async def test_killed_at_any_point_of_a_batch_every_revision_tells_what_the_model_tells(
    server, lives
) -> None:
    prefix, model = f"e{next(_examples)}-", Model()
    told: dict[int, dict[str, str]] = {}

    async def check(database: Database, states: list[Model]) -> None:
        """Now, the last revision and the feed tell the state of one of the models."""
        found, revision = await live(database, prefix), await current_revision(database)
        assert found in [state.holding(START) for state in states]
        assert await past(database, prefix, revision, START) == await fed(database, prefix) == found
        told[revision] = found

    for quiet, strike in lives:
        async with server.connect() as database:
            store = await store_of(database)
            for step in quiet:
                await step.carry_out(store, prefix)
                model = step.states(model, prefix)[-1]
                await check(database, [model])
            begun = await current_revision(database)
            await Blow(server, strike).during(strike.step.carry_out(store, prefix))
        await asyncio.to_thread(server.restart)
        async with server.connect() as database:
            reached, states = await current_revision(database), strike.step.states(model, prefix)
            if reached == begun + 2:
                told[begun + 1] = states[0].holding(START)
            await check(database, states if reached > begun else [model])
            store = await store_of(database)
            if not (isinstance(strike.step, Merge) and await decided(database, states[-1], prefix)):
                await strike.step.carry_out(store, prefix)
            model = states[-1]
            await check(database, [model])
    async with server.connect() as database:
        for revision, expected in told.items():
            assert await past(database, prefix, revision, START) == expected, revision


class EndedError(Exception):
    """The process is gone."""


@dataclass
class Cut:
    """The process ends before one of the queries and commits of a step is sent: nothing is sent any more."""

    before: int
    sent: int = 0

    async def during(self, work: Awaitable[None]) -> bool:
        """Whether there was as much to send."""
        with pytest.MonkeyPatch.context() as patch:
            for of, name in (
                (AsyncManagedTransaction, "run"),
                (AsyncManagedTransaction, "_commit"),
                (AsyncSession, "run"),
            ):
                patch.setattr(of, name, partialmethod(_sent, self, getattr(of, name)))
            try:
                await work
            except EndedError:
                return True
        assert self.sent <= self.before, "somebody took the end for something else"
        return False


async def _sent(to: Any, cut: Cut, send: Any, *arguments: Any, **more: Any) -> Any:
    cut.sent += 1
    if cut.sent > cut.before:
        raise EndedError
    return await send(to, *arguments, **more)


def _full(turn: int) -> Crawl:
    """Titles, an interval and a relationship that come, change and go."""
    ada, eve = Said("ada", None, ("Boss", "Analyst")[turn % 2], None, None), Said("eve", None, None, 0, None)
    return Crawl("hr", [ada, eve, Said("ada", "eve", None, None, None)] if turn % 2 else [ada, eve])


def _all_or_nothing(turn: int) -> Crawl:
    """What another source says of the same, and whether it says anything."""
    return Crawl("it", [Said("ada", None, "Clerk", None, 4), Said("eve", "ada", None, 1, None)] * (turn % 2))


KINDS: tuple[Callable[[int], Step], ...] = (_full, _all_or_nothing, lambda _: Merge("ada"))


async def test_cut_off_before_each_query_and_commit_of_a_batch_every_revision_tells_what_the_model_tells(
    neo4j: Database,
) -> None:
    prefix, model, told, turns = "cut-", Model(), {}, count()
    await store_of(neo4j)

    async def check(states: list[Model]) -> None:
        found, revision = await live(neo4j, prefix), await current_revision(neo4j)
        assert found in [state.holding(START) for state in states]
        assert await past(neo4j, prefix, revision, START) == await fed(neo4j, prefix) == found
        told[revision] = found

    cuts = []
    for kind in KINDS:
        for before in count():
            step, begun = kind(next(turns)), await current_revision(neo4j)
            states = step.states(model, prefix)
            store = FactStore(neo4j, load_shapes(), load_authorization(), lambda: START)
            cut = await Cut(before).during(step.carry_out(store, prefix))
            if (reached := await current_revision(neo4j)) == begun + 2:
                told[begun + 1] = states[0].holding(START)
            await check(states if reached > begun else [model])
            if not cut:
                cuts.append(before)
                model = states[-1]
                break
            store = FactStore(neo4j, load_shapes(), load_authorization(), lambda: START)
            await store.resume()
            if isinstance(step, Merge):
                await Merges(store).reconcile()
                model = states[-1] if await decided(neo4j, states[-1], prefix) else model
            elif reached > begun:  # a part of it, or all of it and nobody knows
                await step.carry_out(store, prefix)
                model = states[-1]
            else:
                continue
            await check([model])
    assert min(cuts) > 8, "as many things are sent at least"
    for revision, expected in told.items():
        assert await past(neo4j, prefix, revision, START) == expected, revision
