"""The law of visibility: after every change of a random history, and after every restart, each account sees
in the graph what the evaluator says of its tuples."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from neo4j import AsyncManagedTransaction

from graph.claimed_tuples import load_tuples
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database, connect
from graph.facts import IN_COLLECTION
from graph.neo4j_server import Neo4jServer, start
from graph.organization_tuples import OrganizationTuples
from graph.rebac.evaluator import Request, Search
from graph.rebac.relation_tuples import TupleIndex, TupleKey, type_of
from graph.store import FactStore
from graph.tuples import divide, live_scopes
from graph.visibility import Authorizer, standing
from ontologies import load, load_authorization, load_shapes
from ontologies.authorization_model import parse_dsl, to_dsl

COLLECTIONS = [f"collection:c{number}" for number in range(4)]
GROUPS = [f"group:g{number}" for number in range(3)]
PEOPLE = [f"person:p{number}" for number in range(3)]
ACCOUNTS = [f"account:sample/p{number}" for number in range(3)]
DOCUMENTS = [f"document:d{number}" for number in range(4)]
LINKS = {
    "MEMBER_OF": (PEOPLE, GROUPS),
    "SUBGROUP_OF": (GROUPS, GROUPS),
    "MAY_VIEW": ([*PEOPLE, *GROUPS], COLLECTIONS),
    "DENIED": ([*PEOPLE, *GROUPS], COLLECTIONS[:3]),
    "INHERITS_FROM": (COLLECTIONS, COLLECTIONS),
    "HAS_ACCOUNT": (PEOPLE, ACCOUNTS),
}
CONFIGURATION = SourcePolicy(
    "configuration", frozenset(LINKS), frozenset(COLLECTIONS), 100, timedelta(days=365)
)
SOURCES = [
    SourcePolicy(name, frozenset(LINKS), frozenset(COLLECTIONS), trust, timedelta(days=1))
    for name, trust in (("directory", 90), ("badges", 50))
]
POLICIES = [CONFIGURATION, *SOURCES]


def thing(id: str, class_name: str, collection: str) -> EntityClaim:
    values = {"name": id}
    if class_name == "Account":
        values |= {"issuer": "sample", "subject": id.partition("/")[2]}
    return EntityClaim(id, class_name, collection, values, "line 1")


@dataclass
class History:
    """A graph as its sources say it is, changed at random."""

    store: FactStore
    chance: random.Random
    documents: dict[str, str] = field(default_factory=dict)
    links: dict[str, set[RelationshipClaim]] = field(
        default_factory=lambda: {source.name: set() for source in SOURCES}
    )

    async def begin(self) -> None:
        first = COLLECTIONS[0]
        things = [thing(id, "Collection", id) for id in COLLECTIONS]
        things += [thing(id, "Group", first) for id in GROUPS] + [thing(id, "Person", first) for id in PEOPLE]
        things += [thing(id, "Account", first) for id in ACCOUNTS]
        always = [("HAS_ACCOUNT", ACCOUNTS[0]), ("MAY_VIEW", COLLECTIONS[3])]  # so that something is seen
        links = [RelationshipClaim(PEOPLE[0], type_, end, "line 1") for type_, end in always]
        await self._crawl(CONFIGURATION, "all", [*things, *links])
        for source in SOURCES:
            for _ in range(8):
                self._link(source.name)
            await self.change(source)

    async def change(self, source: SourcePolicy) -> None:
        """Some links of a source more and some fewer, documents that move, and now and then a source ages."""
        for _ in range(self.chance.randint(1, 3)):
            self._link(source.name)
        said = self.links[source.name]
        for one in self.chance.sample(sorted(said, key=str), min(len(said), self.chance.randint(0, 3))):
            said.discard(one)
        self.documents = {
            id: self.chance.choice(COLLECTIONS) for id in DOCUMENTS if self.chance.random() < 0.8
        }
        await self._crawl(source, "links", list(said))
        await self._crawl(
            CONFIGURATION, "documents", [thing(id, "Document", c) for id, c in self.documents.items()]
        )
        if self.chance.random() < 0.2:
            await self._age(source.name)

    def _link(self, source: str) -> None:
        type_ = self.chance.choice([*LINKS, "HAS_ACCOUNT", "MAY_VIEW"])
        starts, ends = LINKS[type_]
        until = self.chance.choice([None, None, datetime.now(UTC) + timedelta(hours=1)])
        claim = RelationshipClaim(
            self.chance.choice(starts), type_, self.chance.choice(ends), "line 1", valid_to=until
        )
        if claim.start != claim.end:
            self.links[source].add(claim)

    async def _crawl(self, source: SourcePolicy, scope: str, claims: list[Claim]) -> None:
        async with self.store.crawl(source, scope) as crawl:
            await crawl.write(claims)
            await crawl.complete()

    async def _age(self, source: str) -> None:
        async def work(tx: AsyncManagedTransaction) -> None:
            await tx.run(
                "MATCH (s:_Source {name: $name}) SET s.completedAt = $at",
                name=source,
                at=datetime.now(UTC) - timedelta(days=2),
            )

        await self.store.database.write_transaction(work)


def authorizer(database: Database, saved: Path | None = None) -> Authorizer:
    return Authorizer(database, load(), load_authorization(), POLICIES, saved)


def organization(database: Database) -> OrganizationTuples:
    return OrganizationTuples(database, load(), {policy.name: policy for policy in POLICIES})


async def check_tuples(database: Database, asked: OrganizationTuples) -> None:
    """Those that are kept up by the feed are those of the graph."""
    found, now = await asked.index(), datetime.now(UTC)

    async def work(tx: AsyncManagedTransaction) -> None:
        at = await standing(tx, "", now)
        bindings = [one for one in load().bindings if one.relationship != IN_COLLECTION]
        live = live_scopes({p.name: p for p in POLICIES}, at.completed, now)
        held, suspended = divide(await load_tuples(tx, bindings), live, now)
        expected = TupleIndex(held, suspended)
        assert set(expected) == set(found)
        for key in expected:
            assert worth(found, key) == worth(expected, key), key
        assert set(await asked.held()) == set(held)

    await database.read_transaction(work)


def worth(index: TupleIndex, key: TupleKey) -> object:
    return index.objects(key.user, f"{type_of(key.object)}#{key.relation}")[key.object]


async def check(database: Database, asked: Authorizer) -> None:
    """Compare for every entity and account."""
    now, model = datetime.now(UTC), load_authorization()

    async def work(tx: AsyncManagedTransaction) -> None:
        placed = [
            record
            async for record in await tx.run("MATCH (n:Entity) RETURN n.id AS id, n.audience AS audience")
        ]
        at = await standing(tx, "", now)
        tuples = await load_tuples(tx, load().bindings)
        held, suspended = divide(tuples, live_scopes({p.name: p for p in POLICIES}, at.completed, now), now)
        index, seen = TupleIndex(held, suspended), 0
        for account in ACCOUNTS:
            search = Search(Request(model, index, now=now), account)
            visible = await asked.visible(account, await standing(tx, account, now), now)
            for record in placed:
                number = record["audience"]
                sees = number is not None and number < len(visible) and visible[number] == 1
                assert sees == (search.value(record["id"], "viewer") is True), (account, record["id"])
                seen += sees
        assert seen > 0

    await database.read_transaction(work)


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(chance=st.randoms(use_true_random=False))
async def test_after_every_change_and_restart_each_account_sees_what_the_evaluator_says(
    neo4j: Database, tmp_path: Path, chance: random.Random
) -> None:
    """One process follows all along; another loads what it saved before some changes, as after a kill."""
    async with neo4j.driver.session() as session:
        await (await session.run("MATCH (n) DETACH DELETE n")).consume()
    await neo4j.ensure_schema()
    history = History(FactStore(neo4j, load_shapes(), load_authorization()), chance)
    await history.begin()
    saved = tmp_path / "visibility.index"
    saved.unlink(missing_ok=True)
    following, tuples = authorizer(neo4j, saved), organization(neo4j)
    await check(neo4j, following)
    await check_tuples(neo4j, tuples)
    for step in range(5):
        await history.change(history.chance.choice(SOURCES))
        await check(neo4j, following)
        await check_tuples(neo4j, tuples)
        if step == 2:
            await following.save()
    await check(neo4j, authorizer(neo4j, saved))


async def test_a_saved_index_is_used_and_one_that_does_not_fit_is_not(
    neo4j: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(FactStore(neo4j, load_shapes(), load_authorization()), random.Random(1))  # noqa: S311
    await history.begin()
    saved = tmp_path / "visibility.index"
    first = authorizer(neo4j, saved)
    await check(neo4j, first)
    await first.save()

    with monkeypatch.context() as patched:
        patched.setattr("graph.visibility.load", partial(pytest.fail, "it was read from the graph"))
        await check(neo4j, authorizer(neo4j, saved))

    content = saved.read_bytes()
    saved.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    await check(neo4j, authorizer(neo4j, saved))
    assert "damaged" in caplog.text

    saved.write_bytes(content)
    model = parse_dsl(to_dsl(load_authorization()) + "\ntype of_another_model\n")
    await check(neo4j, Authorizer(neo4j, load(), model, POLICIES, saved))
    assert "the authorization model or its bindings are others now" in caplog.text

    async with neo4j.driver.session() as session:
        await (await session.run("MATCH (m:_Meta) SET m.epoch = 'another'")).consume()
    await check(neo4j, authorizer(neo4j, saved))
    assert "another epoch" in caplog.text


async def test_tuples_are_read_once_and_then_follow_the_feed(
    neo4j: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(FactStore(neo4j, load_shapes(), load_authorization()), random.Random(3))  # noqa: S311
    await history.begin()
    tuples = organization(neo4j)
    await check_tuples(neo4j, tuples)
    monkeypatch.setattr("graph.organization_tuples.load_into", partial(pytest.fail, "they are read again"))
    for _ in range(3):
        await history.change(SOURCES[1])
        await check_tuples(neo4j, tuples)


async def test_it_holds_after_each_kill_of_a_process_that_writes(
    neo4j: Database, neo4j_server: Neo4jServer, tmp_path: Path
) -> None:
    """It is killed somewhere in its changes, again and again; whoever goes on puts right what it left."""
    saved = tmp_path / "visibility.index"
    following, tuples = authorizer(neo4j, saved), organization(neo4j)
    for seed in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.graph.writing_process", neo4j_server.uri, neo4j_server.auth[1], str(seed),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(2):
            assert await process.stdout.readline() == b"changed\n"
        await asyncio.sleep(random.Random(seed).random() / 3)  # noqa: S311  anywhere in the next changes
        process.kill()
        await process.wait()
        await FactStore(neo4j, load_shapes(), load_authorization()).resume()
        await check(neo4j, following)
        await check_tuples(neo4j, tuples)
        await check(neo4j, authorizer(neo4j, saved))
        await following.save()


@asynccontextmanager
async def on(server: Neo4jServer) -> AsyncIterator[Database]:
    async with connect(server.uri, server.auth) as database:
        yield database


@pytest.mark.neo4j
async def test_it_holds_after_neo4j_was_killed_in_the_middle(tmp_path: Path) -> None:
    data, saved = tmp_path / "data", tmp_path / "visibility.index"
    server = start(data)
    try:
        async with on(server) as database:
            await database.ensure_schema()
            history = History(FactStore(database, load_shapes(), load_authorization()), random.Random(7))  # noqa: S311
            await history.begin()
            following = authorizer(database, saved)
            await check(database, following)
            await following.save()
            await history.change(SOURCES[0])
            os.kill(server.process.pid, signal.SIGKILL)
    finally:
        server.stop()
    server = start(data)
    try:
        async with on(server) as database:
            history.store = FactStore(database, load_shapes(), load_authorization())
            await history.store.resume()
            asked = authorizer(database, saved)
            await check(database, asked)
            await history.change(SOURCES[1])
            await check(database, asked)
    finally:
        server.stop()
