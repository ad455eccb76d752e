"""The authorization APIs in process: the real routes and the real graph, without models and crawls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from cryptography.fernet import Fernet
from openfga_sdk import ClientConfiguration, OpenFgaClient
from openfga_sdk.credentials import CredentialConfiguration, Credentials

from context_manager.at_least import AtLeast
from context_manager.authzen_api import add_authzen
from context_manager.identity import LOCAL_ISSUER, LocalIssuer, Verifier
from context_manager.openfga_access import AuthorizationService
from context_manager.openfga_api import add_openfga
from context_manager.openfga_http import Askers
from context_manager.openfga_organization import Organization
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.organization_tuples import OrganizationTuples
from graph.reads import Reader
from graph.revision_token import RevisionTokens
from graph.service_lease import ServiceLease
from graph.store import FactStore
from graph.tuple_stores import TupleStores
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from tests.context_manager.door import door, embedder  # noqa: F401  fixtures

GRANTS = frozenset(t for t, r in load().relationships.items() if r.access_bearing)
COLLECTIONS = frozenset({"collection:open", "collection:secret"})
#: Collections are the configuration's to declare; here it declares everything.
CONFIGURATION = SourcePolicy("configuration", GRANTS, COLLECTIONS, 50, timedelta(hours=24))


def entity(id: str, collection: str = "collection:open", **values: Any) -> EntityClaim:
    class_name = load().class_of_type(id.partition(":")[0]).name
    return EntityClaim(id, class_name, collection, {"name": id, **values}, "test")


def relation(start: str, type: str, end: str) -> RelationshipClaim:
    return RelationshipClaim(start, type, end, "test")


#: Ada administers. She and Eve see what is open; only Ada sees what is secret. Lee's account is disabled.
ORGANIZATION: list[Claim] = [
    *(entity(f"person:{name}") for name in ("ada", "eve", "lee")),
    *(
        entity(f"account:acme/{n}", issuer="acme", subject=n, disabled=n == "lee")
        for n in ("ada", "eve", "lee")
    ),
    *(relation(f"person:{name}", "HAS_ACCOUNT", f"account:acme/{name}") for name in ("ada", "eve", "lee")),
    entity("group:all"),
    entity("group:board", "collection:secret"),
    *(relation(f"person:{name}", "MEMBER_OF", "group:all") for name in ("ada", "eve", "lee")),
    relation("person:ada", "MEMBER_OF", "group:board"),
    entity("collection:open", "collection:open"),
    entity("collection:secret", "collection:secret"),
    relation("group:all", "MAY_VIEW", "collection:open"),
    relation("group:board", "MAY_VIEW", "collection:secret"),
    entity("document:handbook"),
    entity("document:merger", "collection:secret"),
]


@dataclass(frozen=True)
class Authorization:
    """The APIs, served."""

    url: str
    issuer: LocalIssuer
    store: FactStore
    tokens: RevisionTokens

    def token(self, person: str, agent: str | None = None) -> str:
        return self.issuer.mint(person, "orgraph", agent)

    def client(self, person: str, store: str | None = None, agent: str | None = None) -> OpenFgaClient:
        """OpenFGA's own client, as anybody would configure it."""
        return OpenFgaClient(
            ClientConfiguration(
                api_url=f"{self.url}/openfga",
                store_id=store,
                credentials=Credentials(
                    method="api_token",
                    configuration=CredentialConfiguration(api_token=self.token(person, agent)),
                ),
            )
        )

    async def send(
        self, person: str | None, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, body (JSON where it is) and headers."""
        if person is not None:
            headers["Authorization"] = f"Bearer {self.token(person)}"
        raw = {"data": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        async with (
            ClientSession() as session,
            session.request(method, self.url + path, headers=headers, **raw) as response,
        ):
            text = await response.text()
            plain = response.content_type != "application/json"
            return response.status, text if plain else await response.json(), response.headers

    async def crawl(self, claims: list[Claim]) -> None:
        """What is declared, all of it."""
        async with self.store.crawl(CONFIGURATION, "all") as crawl:
            report = await crawl.write(claims)
            assert report.quarantined == ()
            await crawl.complete()


@pytest.fixture
async def authorization(neo4j: Database, tmp_path: Path) -> AsyncIterator[Authorization]:
    ontology, model = load(), load_authorization()
    policies = {CONFIGURATION.name: CONFIGURATION}
    authorizer = Authorizer(neo4j, ontology, model, policies.values())
    lease = ServiceLease(neo4j, authorizer.follow)
    reader = Reader(neo4j, ontology, authorizer)
    organization = Organization("Acme", model, OrganizationTuples(neo4j, ontology, policies), reader)
    service = AuthorizationService(TupleStores(neo4j), organization, policies, "person:ada", lease.followed)
    issuer = LocalIssuer(tmp_path / "keys")
    verifier = Verifier(LOCAL_ISSUER, "orgraph", "acme", issuer.keys)
    app = web.Application(client_max_size=256 * 1024)
    tokens = RevisionTokens(Fernet.generate_key())
    askers = Askers(verifier, AtLeast(neo4j, tokens))
    add_openfga(app, service, askers)
    add_authzen(app, service, askers)
    async with lease.holding("127.0.0.1"), TestServer(app) as server:
        served = Authorization(
            str(server.make_url("")).rstrip("/"), issuer, FactStore(neo4j, load_shapes(), model), tokens
        )
        await served.crawl(ORGANIZATION)
        yield served
