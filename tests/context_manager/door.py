"""The doors to the mesh over HTTP: the real routes and the real graph, with a test server behind each node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from cryptography.fernet import Fernet

from context_manager.ask import Asking
from context_manager.audit import AuditLog
from context_manager.graphql_schema import Parts, build_schema
from context_manager.handling import Handlings
from context_manager.health import Health
from context_manager.holding import Holder
from context_manager.http_app import bearer, make_app
from context_manager.identity import LOCAL_ISSUER, LocalIssuer, Verifier
from context_manager.mesh_operations import MeshOperations
from context_manager.node_declarations import NodeDeclarations
from context_manager.openai_api import OpenAIApi
from context_manager.openai_routes import add_openai_routes
from context_manager.placement_log import PlacementLog
from context_manager.prior_answers import PriorAnswers
from context_manager.standings import standings_of
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.handling import Handling
from graph.reads import Asker, Reader
from graph.revision_token import RevisionTokens
from graph.store import FactStore
from graph.visibility import Authorizer
from inference.embeddings import MODEL, Embedder
from inference.engine_client import EngineClient
from inference.mesh import Mesh
from inference.nodes import CHAT, EMBEDDING, LOCAL_NODE_ID, VLLM, Load, MeshNode, NodeState, Status
from inference.serving import Gateway
from ontologies import load, load_authorization, load_shapes
from tests.inference.openai_server import (
    OpenAIServer,
    completion,
    openai_server,
)

PATH = "/v1/chat/completions"
US, EU = Handling(jurisdictions=frozenset({"US"})), Handling(jurisdictions=frozenset({"EU"}))
WHERE = Handling(jurisdictions=frozenset({"US", "EU"}))


@dataclass
class Door:
    """The API over HTTP, with a test server behind each chat node."""

    api: OpenAIApi
    url: str
    issuer: LocalIssuer
    american: OpenAIServer
    european: OpenAIServer
    store: FactStore
    policies: Sequence[SourcePolicy]
    lease: list[int]
    """Of the process, in a list of one, for a test to change."""
    followed: list[int]
    """How far the process has followed access, likewise."""

    async def says(self, **claims: Sequence[Claim]) -> None:
        """What sources say from now on, and nothing else."""
        for policy in self.policies:
            if policy.name in claims:
                async with self.store.crawl(policy, "all") as crawl:
                    assert (await crawl.write(claims[policy.name])).quarantined == ()
                    await crawl.complete()
        self.followed[0] += 1

    def client(self, person: str = "ada") -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            api_key=self.issuer.mint(person, "orgraph"), base_url=f"{self.url}/v1", max_retries=0
        )

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.api.asking.audit.path.read_text().splitlines()]


def entity(id_: str, class_name: str, collection: str, **values: Any) -> EntityClaim:
    return EntityClaim(id_, class_name, f"collection:{collection}", {"name": id_, **values}, "test")


def relation(start: str, type_: str, end: str) -> RelationshipClaim:
    return RelationshipClaim(start, type_, end, "test")


CLAIMS: list[Claim] = [
    *(entity(f"collection:{c}", "Collection", c) for c in ("all", "hr", "eu", "mesh")),
    *(entity(f"group:{g}", "Group", "all") for g in ("staff", "hr")),
    *(entity(f"person:{p}", "Person", "all", name=p.title()) for p in ("ada", "eve")),
    *(entity(f"account:acme/{p}", "Account", "all", issuer="acme", subject=p) for p in ("ada", "eve")),
    *(relation(f"person:{p}", "HAS_ACCOUNT", f"account:acme/{p}") for p in ("ada", "eve")),
    *(relation(f"person:{p}", "MEMBER_OF", "group:staff") for p in ("ada", "eve")),
    relation("person:ada", "MEMBER_OF", "group:hr"),
    *(relation("group:staff", "MAY_VIEW", f"collection:{c}") for c in ("all", "eu")),
    *(relation("group:hr", "MAY_VIEW", f"collection:{c}") for c in ("hr", "mesh")),
    entity("compensation:eve", "Compensation", "hr", name="Pay of Eve", annualSalary=90_000),
    entity("document:news", "Document", "all", name="News", description="We won the cup."),
    entity("mesh_node:boston", "MeshNode", "mesh", jurisdiction=("US",)),
    entity("mesh_node:frankfurt", "MeshNode", "mesh", jurisdiction=("EU",)),
]
EU_CLAIMS: list[Claim] = [
    entity("document:roster", "Document", "eu", name="Roster", description="Swantje is ill.")
]


@pytest.fixture(scope="module")
def embedder():
    made = Embedder()
    yield made
    made.close()


@pytest.fixture
async def door(neo4j: Database, tmp_path: Path, embedder: Embedder) -> AsyncIterator[Door]:
    ontology, model = load(), load_authorization()
    grants = frozenset(name for name, r in ontology.relationships.items() if r.access_bearing)
    collections = frozenset(f"collection:{c}" for c in ("all", "hr", "eu", "mesh"))
    policies = [
        SourcePolicy(name, grants, collections, 50, timedelta(days=1))
        for name in ("configuration", "european")
    ]
    store = FactStore(neo4j, load_shapes(), model)

    async def ready(node: MeshNode) -> NodeState:
        return NodeState(Status.READY, "", Load(0, 0, prefill_rate=1e6))

    issuer = LocalIssuer(tmp_path / "keys")
    async with openai_server() as american, openai_server() as european, aiohttp.ClientSession() as session:
        local = MeshNode(
            LOCAL_NODE_ID, "orgraph", "US", models=(MODEL,), capabilities=frozenset({EMBEDDING}), price=0
        )
        mesh = Mesh(local, ready)
        chats = {"models": ("small",), "capabilities": frozenset({CHAT}), "engine": VLLM}
        mesh.declare(
            [
                MeshNode("mesh_node:boston", "boston", "US", endpoint=american.endpoint, price=1, **chats),
                MeshNode(
                    "mesh_node:frankfurt",
                    "frankfurt",
                    "EU",
                    endpoint=european.endpoint,
                    price=9,
                    context_length=50,
                    **chats,
                ),
            ]
        )
        await mesh.refresh()
        audit = AuditLog(tmp_path / "audit.jsonl")

        async def is_ada(asker: Asker) -> bool:
            return asker.account == "account:acme/ada"

        authorizer = Authorizer(neo4j, ontology, model, policies)
        reader = Reader(neo4j, ontology, authorizer)
        asking = Asking(
            ontology,
            reader,
            embedder,
            Gateway(EngineClient(session), mesh),
            Holder((local,), Handlings(WHERE, {"configuration": WHERE, "european": EU}, {"european": WHERE})),
            audit,
            10.0,
            MeshOperations(
                mesh,
                audit,
                tmp_path / "draining.json",
                is_ada,
                NodeDeclarations(store, audit, lambda: collections),
            ),
            b"key",
            standings_of(neo4j, reader, mesh, lambda: followed[0]),
            PlacementLog(tmp_path / "meshes.jsonl"),
            PriorAnswers(neo4j, WHERE),
        )
        api = OpenAIApi(asking)
        verifier = Verifier(LOCAL_ISSUER, "orgraph", "acme", issuer.keys)
        followed = [0]
        tokens, lease = RevisionTokens(Fernet.generate_key()), [0]
        parts = Parts(asking, SimpleNamespace(database=neo4j), tokens)  # type: ignore[arg-type]
        app = make_app(build_schema(tokens), parts, verifier, Health(()), None, lambda: lease[0])
        add_openai_routes(app, api, verifier, bearer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        american.answers[PATH] = completion("Hello from Boston.")
        european.answers[PATH] = completion("Hallo aus Frankfurt.")
        made = Door(
            api, f"http://127.0.0.1:{port}", issuer, american, european, store, policies, lease, followed
        )
        await made.says(configuration=CLAIMS, european=EU_CLAIMS)
        yield made
        await runner.cleanup()
        asking.audit.close()
