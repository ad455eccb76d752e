"""Orgraph's OpenFGA API as a process of its own, over an embedded Neo4j.

    python -m benchmarks.authorization.orgraph FOLDER PROCESSES

The routes, the tokens, the store and the event loop are the service's; models and crawls are left out.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from multiprocessing.queues import Queue
from pathlib import Path

from aiohttp import web
from cryptography.fernet import Fernet

from context_manager.at_least import AtLeast
from context_manager.http_app import answering
from context_manager.identity import LOCAL_ISSUER, LocalIssuer, Verifier
from context_manager.openfga_access import AuthorizationService
from context_manager.openfga_api import add_openfga
from context_manager.openfga_http import Askers
from context_manager.openfga_organization import Organization
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database, connect
from graph.neo4j_server import Neo4jServer, embedded_neo4j
from graph.organization_tuples import OrganizationTuples
from graph.reads import Reader
from graph.revision_token import RevisionTokens
from graph.service_lease import ServiceLease
from graph.store import FactStore
from graph.tuple_stores import TupleStores
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

PERSON, ISSUER, AUDIENCE = "ada", "acme", "orgraph"
_COLLECTION = "collection:all"
_POLICY = SourcePolicy(
    "configuration", frozenset({"HAS_ACCOUNT"}), frozenset({_COLLECTION}), 50, timedelta(days=1)
)


async def main(folder: Path, processes: int) -> None:
    """Serve until killed; a token and the ports of all processes are the first line of the output."""
    issuer = LocalIssuer(folder / "keys")
    async with embedded_neo4j(folder / "neo4j") as server, connect(server.uri, server.auth) as database:
        await database.ensure_schema()
        await _account(database)
        ports = _others(folder, server, processes - 1)
        async with _serving(database, issuer) as port:
            print(issuer.mint(PERSON, AUDIENCE), port, *ports, flush=True)
            await asyncio.Event().wait()


def _others(folder: Path, server: Neo4jServer, count: int) -> list[int]:
    """So many more processes over the same Neo4j, which end with this one; the ports that they serve on."""
    context = multiprocessing.get_context("spawn")
    told: Queue[int] = context.Queue()
    others = [
        context.Process(target=_another, args=(folder, server.uri, server.auth, told)) for _ in range(count)
    ]
    for other in others:
        other.start()
    return [told.get(timeout=60) for _ in others]


def _another(folder: Path, uri: str, auth: tuple[str, str], told: Queue[int]) -> None:
    async def serve() -> None:
        async with connect(uri, auth) as database, _serving(database, LocalIssuer(folder / "keys")) as port:
            told.put(port)
            parent = multiprocessing.parent_process()
            assert parent is not None  # noqa: S101  it was started by one
            asyncio.get_running_loop().add_reader(parent.sentinel, os._exit, 0)
            await asyncio.Event().wait()

    asyncio.run(serve())


@asynccontextmanager
async def _serving(database: Database, issuer: LocalIssuer) -> AsyncIterator[int]:
    """The port."""
    ontology, model, policies = load(), load_authorization(), {_POLICY.name: _POLICY}
    authorizer = Authorizer(database, ontology, model, policies.values())
    lease = ServiceLease(database, authorizer.follow)
    organization = Organization(
        "Acme",
        model,
        OrganizationTuples(database, ontology, policies),
        Reader(database, ontology, authorizer),
    )
    service = AuthorizationService(
        TupleStores(database), organization, policies, f"person:{PERSON}", lease.followed
    )
    app = web.Application(middlewares=[answering(lease.held)])
    verifier = Verifier(LOCAL_ISSUER, AUDIENCE, ISSUER, issuer.keys)
    add_openfga(app, service, Askers(verifier, AtLeast(database, RevisionTokens(Fernet.generate_key()))))
    runner = web.AppRunner(app, access_log=None)
    async with lease.holding("127.0.0.1"):
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]


async def _account(database: Database) -> None:
    person, account = f"person:{PERSON}", f"account:{ISSUER}/{PERSON}"
    claims: list[Claim] = [
        EntityClaim(_COLLECTION, "Collection", _COLLECTION, {"name": "all"}, "here"),
        EntityClaim(person, "Person", _COLLECTION, {"name": PERSON}, "here"),
        EntityClaim(
            account, "Account", _COLLECTION, {"name": PERSON, "issuer": ISSUER, "subject": PERSON}, "here"
        ),
        RelationshipClaim(person, "HAS_ACCOUNT", account, "here"),
    ]
    async with FactStore(database, load_shapes(), load_authorization()).crawl(_POLICY, "all") as crawl:
        await crawl.write(claims)
        await crawl.complete()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
