"""Entities, pages of them and what is beside them can be asked for at a point of the past."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from context_manager.graphql_schema import Parts, RequestContext, build_schema
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
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

    def __init__(self, neo4j: Database) -> None:
        self.store = FactStore(neo4j, load_shapes(), load_authorization())
        authorizer = Authorizer(neo4j, load(), load_authorization(), [SOURCE])
        self.tokens = RevisionTokens(Fernet.generate_key())
        asking = SimpleNamespace(ontology=load(), reader=Reader(neo4j, load(), authorizer))
        self.parts = Parts(asking, None, self.tokens)  # type: ignore[arg-type]

    async def crawl(self, *claims: Claim) -> None:
        async with self.store.crawl(SOURCE, "all") as crawl:
            assert (await crawl.write([*ACCESS, *claims])).quarantined == ()
            await crawl.complete()

    async def __call__(self, text: str, **variables: Any) -> Any:
        context = RequestContext(self.parts, Asker("account:acme/ada"))
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
