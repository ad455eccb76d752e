"""The sample organization, served for the tests that ask it: one service for each of their modules."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import neo4j as driver
import pytest

from graph.neo4j_server import Neo4jServer
from inference.vllm_server import VllmServer
from tests.service_process import Served, served

SAMPLE = Path(__file__).resolve().parents[1] / "deploy" / "sample"


@pytest.fixture(scope="session")
def sample_sources(tmp_path_factory: pytest.TempPathFactory, vllm_node: VllmServer) -> Path:
    """The sample, with the real engine of this session behind its node boston-cpu."""
    return with_engine(SAMPLE, tmp_path_factory.mktemp("sample"), vllm_node)


def with_engine(organization: Path, folder: Path, vllm: VllmServer) -> Path:
    """`sources.toml` of a copy of an organization whose node on port 8000 is the engine."""
    copy = folder / organization.name
    shutil.copytree(organization, copy)
    mesh = copy / "mesh.yaml"
    declared = mesh.read_text(encoding="utf-8")
    assert "http://127.0.0.1:8000" in declared
    mesh.write_text(declared.replace("http://127.0.0.1:8000", str(vllm.node.endpoint)), encoding="utf-8")
    return copy / "sources.toml"


@pytest.fixture(scope="module")
def sample(
    tmp_path_factory: pytest.TempPathFactory,
    sample_sources: Path,
    neo4j_server: Neo4jServer,
    vllm_node: VllmServer,
) -> Iterator[Served]:
    """The demo of the sample, crawled into the session's Neo4j; its questions are answered by now."""
    data = tmp_path_factory.mktemp("served")
    settings = shared_parts(data, neo4j_server, vllm_node)
    with served(data, sample_sources, "demo", **settings) as service:
        yield service


def shared_parts(data: Path, server: Neo4jServer, vllm: VllmServer) -> dict[str, str]:
    """Settings of a service on the Neo4j and the model of the session, the Neo4j wiped."""
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        connection.execute_query("MATCH (n) DETACH DELETE n")
    (data / "neo4j-password").write_text(server.auth[1])
    keys = [f'"mesh_node:{name}" = "{vllm.api_key}"\n' for name in ("boston-cpu", "local-cpu")]
    (data / "node-keys.toml").write_text("".join(keys))
    return {
        "ORGRAPH_NEO4J_URI": server.uri,
        "ORGRAPH_NEO4J_PASSWORD_FILE": str(data / "neo4j-password"),
        "ORGRAPH_NODE_KEYS_FILE": str(data / "node-keys.toml"),
        "ORGRAPH_VLLM": "false",
    }
