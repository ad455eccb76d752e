"""Entities, pages of them and what is beside them can be asked for at a point of the past."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from cryptography.fernet import Fernet

from context_manager.graphql_schema import Parts, RequestContext, build_schema
from context_manager.health import Health
from context_manager.http_app import make_app
from context_manager.identity import LOCAL_ISSUER, LocalIssuer, Verifier
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.epoch import begin_epoch
from graph.feed import current_revision
from graph.reads import Asker, Reader
from graph.revision_token import RevisionTokens
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

ALL = "collection:all"
GRANTS = frozenset(name for name, one in load().relationships.items() if one.access_bearing)
SOURCE = SourcePolicy("configuration", GRANTS, frozenset({ALL}), 50, timedelta(days=1))


def entity(id: str, class_name: str, **values: Any) -> EntityClaim:
    return EntityClaim(id, class_name, ALL, {"name": id, **values}, "line 1")


ACCESS: list[Claim] = [
    entity(ALL, "Collection"),
    entity("person:ada", "Person"),
    entity("account:acme/ada", "Account", issuer="acme", subject="ada"),
    RelationshipClaim("person:ada", "HAS_ACCOUNT", "account:acme/ada", "line 1"),
    RelationshipClaim("person:ada", "MAY_VIEW", ALL, "line 1"),
]


class Api:
    """The schema over a real graph, asked by Ada."""

    asker = Asker("account:acme/ada")

    def __init__(self, neo4j: Database) -> None:
        self.store = FactStore(neo4j, load_shapes(), load_authorization())
        authorizer = Authorizer(neo4j, load(), load_authorization(), [SOURCE])
        self.tokens = RevisionTokens(Fernet.generate_key())
        asking = SimpleNamespace(ontology=load(), reader=Reader(neo4j, load(), authorizer))
        desk = SimpleNamespace(database=neo4j)
        self.parts = Parts(asking, desk, self.tokens)  # type: ignore[arg-type]

    async def crawl(self, *claims: Claim, source: SourcePolicy = SOURCE) -> None:
        async with self.store.crawl(source, "all") as crawl:
            said = [*ACCESS, *claims] if source is SOURCE else claims
            assert (await crawl.write(said)).quarantined == ()
            await crawl.complete()

    async def __call__(self, text: str, **variables: Any) -> Any:
        context = RequestContext(self.parts, self.asker)
        return await build_schema(self.tokens).execute(text, variable_values=variables, context_value=context)


@pytest.fixture
async def api(neo4j: Database) -> Api:
    return Api(neo4j)


READ = """query ($asOf: String, $validAt: DateTime) {
    entity(id: "group:a", asOf: $asOf, validAt: $validAt) {
        values { name value } neighbours { relationship entity { id neighbours { entity { id } } } }
    }
    entities(className: "Group", asOf: $asOf, validAt: $validAt) { totalCount items { id } }
}"""


async def test_a_token_or_an_instant_brings_back_what_was_known(api: Api) -> None:
    member = RelationshipClaim("person:eve", "MEMBER_OF", "group:a", "line 1")
    await api.crawl(entity("group:a", "Group", description="old"), entity("person:eve", "Person"), member)
    first = await api(READ)
    token, then = first.extensions["revision"], datetime.now(UTC)
    await api.crawl(entity("group:a", "Group", description="new"))
    now = await api(READ)
    assert {"name": "description", "value": ["new"]} in now.data["entity"]["values"]
    for as_of in (token, then.isoformat()):
        past = await api(READ, asOf=as_of)
        assert past.errors is None
        assert past.data == first.data
    await api.crawl()
    assert (await api(READ)).data == {"entity": None, "entities": {"totalCount": 0, "items": []}}
    assert (await api(READ, asOf=token)).data["entities"]["totalCount"] == 1


async def test_what_cannot_be_asked_of_the_past_is_refused_with_its_reason(api: Api) -> None:
    await api.crawl(entity("group:a", "Group"))
    for variables, reason in (
        ({"asOf": "yesterday"}, "neither an instant nor a revision"),
        ({"asOf": "2026-01-31T12:00:00"}, "has no time zone"),
        ({"asOf": "1999-01-31T12:00:00Z"}, "nothing was known then"),
        ({"asOf": api.tokens.seal(10_000)}, "not committed yet"),
    ):
        result = await api(READ, **variables)
        assert reason in result.errors[0].message


async def test_a_revision_that_a_restored_database_lost_is_refused_and_says_so(api: Api) -> None:
    """Neither the state before it is told in its place, nor that after; what the backup held is told."""
    await api.crawl(entity("group:a", "Group"))
    last = api.tokens.open((await api(READ)).extensions["revision"])
    await begin_epoch(api.store.database, last + 3)
    await api.crawl(entity("group:a", "Group"), entity("group:b", "Group"))
    for number in range(last + 1, last + 4):
        result = await api(READ, asOf=api.tokens.seal(number))
        assert "lost when the database was restored from a backup; ask" in result.errors[0].message
        assert not any((result.data or {}).values())
    for number, groups in ((last, 1), (last + 4, 1), (await current_revision(api.store.database), 2)):
        told = await api(READ, asOf=api.tokens.seal(number))
        assert (told.errors, told.data["entities"]["totalCount"]) == (None, groups)


@pytest.fixture
async def posted(api: Api, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[tuple[int, Any]]]]:
    """The same over HTTP: posts a query for what groups there are, with headers."""
    issuer = LocalIssuer(tmp_path / "keys")
    verifier = Verifier(LOCAL_ISSUER, "orgraph", "acme", issuer.keys)
    app = make_app(build_schema(api.tokens), api.parts, verifier, Health(()), None, lambda: 0)
    async with TestServer(app) as server, ClientSession() as session:

        async def post(**headers: str) -> tuple[int, Any]:
            headers["Authorization"] = f"Bearer {issuer.mint('ada', 'orgraph')}"
            body = {"query": '{ entities(className: "Group") { items { id } } }'}
            async with session.post(server.make_url("/graphql"), json=body, headers=headers) as response:
                return response.status, await response.json()

        yield post


async def test_a_request_waits_for_the_revision_that_it_names(
    api: Api, posted: Callable[..., Awaitable[tuple[int, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.crawl()
    _, before = await posted()
    next_ = api.tokens.seal(api.tokens.open(before["extensions"]["revision"]) + 1)
    waiting = asyncio.create_task(posted(**{"Orgraph-Revision": next_}))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await api.crawl(entity("group:a", "Group"))
    status, answer = await waiting
    assert (status, answer["data"]["entities"]["items"]) == (200, [{"id": "group:a"}])
    # What has been reached long since is not waited for.
    status, _ = await posted(**{"Orgraph-Revision": before["extensions"]["revision"]})
    assert status == 200
    monkeypatch.setattr("context_manager.at_least._WAIT_S", 0.2)
    status, answer = await posted(**{"Orgraph-Revision": api.tokens.seal(10_000)})
    assert (status, "did not come to that revision within 0.2 s" in str(answer)) == (503, True)
    status, answer = await posted(**{"Orgraph-Revision": "7"})
    assert (status, "was not issued by this service" in str(answer)) == (400, True)
