"""What is taken away is gone in every process once the commit that takes it away has returned."""

import asyncio
import hmac
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from neo4j.exceptions import TransientError

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.leadership import Leadership
from graph.neo4j_server import Neo4jServer
from graph.service_lease import SECONDS, NoLeaseError, ServiceLease, acknowledged
from graph.store import FactStore
from ontologies import load_authorization, load_shapes
from tests.conftest import ROOT

COMPANY = "collection:company"
ADA = "account:sample/ada"
CONFIGURATION = SourcePolicy(
    "configuration", frozenset({"MAY_VIEW"}), frozenset({COMPANY}), 100, timedelta(1)
)
DIRECTORY = SourcePolicy(
    "directory", frozenset({"HAS_ACCOUNT", "MEMBER_OF"}), frozenset({COMPANY}), 90, timedelta(1)
)
MEMBERSHIP = RelationshipClaim("person:ada", "MEMBER_OF", "group:staff", "people.ldif")


def entity(id: str, class_name: str, **values: str) -> EntityClaim:
    return EntityClaim(id, class_name, COMPANY, {"name": id, **values}, "people.ldif")


async def crawl(store: FactStore, source: SourcePolicy, scope: str, claims: list[Claim]) -> None:
    async with store.crawl(source, scope) as crawl:
        await crawl.write(claims)
        await crawl.complete()


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    viewers = RelationshipClaim("group:staff", "MAY_VIEW", COMPANY, "sources.toml")
    await crawl(store, CONFIGURATION, "all", [entity(COMPANY, "Collection"), viewers])
    people = [
        entity("group:staff", "Group"),
        entity("person:ada", "Person"),
        entity(ADA, "Account", issuer="sample", subject="ada"),
        RelationshipClaim("person:ada", "HAS_ACCOUNT", ADA, "people.ldif"),
    ]
    await crawl(store, DIRECTORY, "people", people)
    return store


@asynccontextmanager
async def reading(server: Neo4jServer) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.reading_process", server.uri, server.auth[1], ADA, "Person",
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).strip() == b"ready"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def ask(process: asyncio.subprocess.Process) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    return (await process.stdout.readline()).decode().strip()


async def test_no_process_answers_with_what_was_taken_away(
    store: FactStore, neo4j_server: Neo4jServer
) -> None:
    """Three processes; in the end one of them is stopped for longer than its lease."""
    server = neo4j_server
    async with reading(server) as one, reading(server) as two, reading(server) as three:
        processes = (one, two, three)
        for _ in range(12):
            await crawl(store, DIRECTORY, "memberships", [MEMBERSHIP])
            assert await asyncio.gather(*map(ask, processes)) == ["1"] * 3
            await crawl(store, DIRECTORY, "memberships", [])
            assert await asyncio.gather(*map(ask, processes)) == ["0"] * 3

        await crawl(store, DIRECTORY, "memberships", [MEMBERSHIP])
        assert await ask(three) == "1"
        os.kill(three.pid, signal.SIGSTOP)
        late = asyncio.create_task(ask(three))
        began = time.monotonic()
        await crawl(store, DIRECTORY, "memberships", [])
        waited = time.monotonic() - began
        assert await ask(one) == await ask(two) == "0"
        os.kill(three.pid, signal.SIGCONT)
        assert await late in ("0", "no lease")
        assert waited > SECONDS / 3, "it did not wait for the process that was stopped"
        async with asyncio.timeout(60):
            while (said := await ask(three)) != "0":
                assert said == "no lease"


async def test_a_process_that_ends_is_not_waited_for(store: FactStore, neo4j_server: Neo4jServer) -> None:
    async with reading(neo4j_server) as process:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        assert await store.database.read("MATCH (s:_Service) RETURN s") == []


async def test_who_lost_its_lease_follows_before_it_answers_again(neo4j: Database) -> None:
    followed: list[int] = []

    async def follow(revision: int) -> int:
        followed.append(revision)
        return revision

    lease = ServiceLease(neo4j, follow)
    with pytest.raises(NoLeaseError, match="no lease at present"):
        lease.held()
    async with lease.holding("127.0.0.1"):
        first = lease.held()
        assert followed
        lease._until = 0.0  # as after a long stop
        with pytest.raises(NoLeaseError):
            lease.held()
        followed.clear()
        async with asyncio.timeout(30):
            while True:
                with suppress(NoLeaseError):
                    assert lease.held() != first
                    break
                await asyncio.sleep(0.05)
        assert followed
    with pytest.raises(NoLeaseError):
        lease.held()


async def test_one_leads_and_another_takes_over(neo4j: Database) -> None:
    entered: list[str] = []

    def work(name: str):
        @asynccontextmanager
        async def works() -> AsyncIterator[None]:
            entered.append(name)
            yield

        return works

    async def expire() -> None:
        async with neo4j.driver.session() as session:
            query = "MATCH (l:_Leader) SET l.until = datetime() - duration('PT1S')"
            await (await session.run(query)).consume()

    first, second, third = Leadership(neo4j), Leadership(neo4j), Leadership(neo4j)
    async with first.sought():
        assert first.ours
        async with second.sought():
            assert not second.ours
    await first._look()  # and is killed then
    leading = asyncio.create_task(third.lead(work("third")))
    waiting = third.sought()
    entering = asyncio.create_task(waiting.__aenter__())
    await asyncio.sleep(1)
    assert not third.ours
    await expire()
    await asyncio.wait_for(entering, 30)
    assert third.ours
    await asyncio.sleep(0)
    assert entered == ["third"]
    await first._look()
    assert not first.ours
    leading.cancel()
    await waiting.__aexit__(None, None, None)


async def committed(database: Database, revision: int) -> None:
    await database.write("MATCH (m:_Meta) SET m.revision = $n, m.accessRevision = $n", n=revision)


async def test_an_acknowledgement_that_fails_is_made_again(neo4j: Database, monkeypatch) -> None:
    """Else commits would wait for a process that has long followed and goes on renewing its lease."""
    failed = 0

    async def follow(revision: int) -> int:
        return revision

    write = Database.write

    async def failing(self: Database, query: str, /, **parameters: object) -> object:
        nonlocal failed
        if "SET s.revision" in query and parameters["revision"] == 7 and failed < 2:
            failed += 1
            raise TransientError("the database is away")
        return await write(self, query, **parameters)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(Database, "write", failing)
    lease = ServiceLease(neo4j, follow)
    async with lease.holding("127.0.0.1"):
        await committed(neo4j, 7)
        async with asyncio.timeout(20):
            await acknowledged(neo4j, 7)
            while await neo4j.read("MATCH (s:_Service) WHERE s.revision < 7 RETURN s"):  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.02)
    assert failed == 2


async def test_whoever_waits_is_rung_back_and_a_stray_datagram_does_no_harm(neo4j: Database) -> None:
    async def follow(revision: int) -> int:
        return revision

    lease = ServiceLease(neo4j, follow)
    async with lease.holding("127.0.0.1"):
        [record] = await neo4j.read("MATCH (s:_Service) RETURN s.bell AS bell, s.key AS key")
        host, _, port = record["bell"].rpartition(" ")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.setblocking(False)
            loop = asyncio.get_running_loop()
            for stray in (b"", b" ", b"\xff", b"-1", b"9" * 500, "²".encode()):
                await loop.sock_sendto(caller, stray, (host, int(port)))
            await loop.sock_sendto(caller, b"9 nonce", (host, int(port)))
            back = asyncio.create_task(loop.sock_recv(caller, 100))
            await asyncio.sleep(0.2)
            assert not back.done(), "it rang back before it had followed"
            await committed(neo4j, 9)
            async with asyncio.timeout(10):
                assert await back == hmac.digest(record["key"].encode(), b"9 nonce", "sha256")
        await acknowledged(neo4j, 9)


async def test_who_was_there_is_rung_first_and_forgotten_once_it_is_gone(neo4j: Database) -> None:
    async def follow(revision: int) -> int:
        return revision

    async with asyncio.timeout(20):
        async with ServiceLease(neo4j, follow).holding("127.0.0.1"):
            [record] = await neo4j.read("MATCH (s:_Service) RETURN s.bell AS bell, s.key AS key")
            for revision in (7, 8):
                await committed(neo4j, revision)
                await acknowledged(neo4j, revision)
            assert neo4j.latest.bells == {(record["bell"], record["key"])}
        await committed(neo4j, 9)
        await acknowledged(neo4j, 9)
    assert not neo4j.latest.bells


async def test_who_rings_back_is_believed_by_the_key_of_the_lease_alone(neo4j: Database) -> None:
    """Somebody else at the port, an answer heard before, and a lease of a version that had no key."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
        bell.bind(("127.0.0.1", 0))
        bell.setblocking(False)
        lease = """
            MERGE (s:_Service {id: 'one'})
            SET s.until = datetime() + duration({hours: 1}), s.revision = 6, s.bell = $bell, s.key = $key
            """
        address = f"127.0.0.1 {bell.getsockname()[1]}"
        heard: list[bytes] = []
        for key, believed, answers in (
            ("key", False, lambda data: (b"", b"\n", data, hmac.digest(b"other", data, "sha256"))),
            ("key", True, lambda data: (hmac.digest(b"key", data, "sha256"),)),
            ("key", False, lambda _: (hmac.digest(b"key", heard[-2], "sha256"),)),
            (None, False, None),
        ):
            await neo4j.write(lease, bell=address, key=key)
            neo4j.latest.bells = ()
            waiting = asyncio.create_task(acknowledged(neo4j, 7))
            if answers is not None:
                data, caller = await loop.sock_recvfrom(bell, 100)
                heard.append(data)
                for answer in answers(data):
                    await loop.sock_sendto(bell, answer, caller)
            done, _ = await asyncio.wait([waiting], timeout=10 if believed else 0.3)
            assert bool(done) == believed
            waiting.cancel()
            await asyncio.wait([waiting])
