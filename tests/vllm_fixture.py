"""The real model node, for the tests of any room: `vllm_node` is a running vLLM, one for the session."""

import importlib.util
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from inference.model_files import ensure_model
from inference.nodes import MeshNode, certifications
from inference.vllm_server import VllmServer, VllmSettings

MODEL_CACHE = Path(__file__).resolve().parent.parent / ".orgraph" / "models"


@pytest.fixture
def free_port() -> int:
    return _free_port()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmServer]:
    """Its `node` is what a mesh declares, its `api_key` what an EngineClient needs for it."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM: install the extra `cpu` (`cuda` for NVIDIA)")
    declared = MeshNode(
        id="mesh_node:vllm",
        name="vllm",
        jurisdiction="EU",
        region="eu-central",
        certifications=certifications("ISO 27001"),
        clearance=2,
        silicon="CPU",
        endpoint=None,
        models=(),
        capabilities=frozenset({"chat"}),
    )
    server = VllmServer(
        declared, VllmSettings(port=_free_port()), tmp_path_factory.mktemp("vllm"), lambda _: None
    )
    await server.start(await ensure_model(MODEL_CACHE, lambda _: None))
    yield server
    await server.stop()


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port
