"""Fixtures of the inference room."""

import socket
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from inference.engine_client import EngineClient
from inference.nodes import MeshNode, certifications
from tests.inference.openai_server import OpenAIServer, openai_server

MakeNode = Callable[..., MeshNode]


@pytest.fixture
def make_node() -> MakeNode:
    """A mesh node in Frankfurt, with what a test says differently."""

    def make(name: str = "eu-frankfurt", **fields: object) -> MeshNode:
        declared: dict[str, object] = {
            "id": f"mesh_node:{name}",
            "name": name,
            "jurisdiction": "EU",
            "region": "eu-central",
            "certifications": certifications("ISO 27001"),
            "clearance": 2,
            "silicon": "CPU",
            "endpoint": None,
            "models": ("smollm2",),
            "capabilities": frozenset({"chat"}),
        }
        return MeshNode(**declared | fields)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def client() -> AsyncIterator[EngineClient]:
    async with aiohttp.ClientSession() as session:
        yield EngineClient(session, {"mesh_node:eu-frankfurt": "the-key"})


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def other_server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
def closed_endpoint() -> str:
    """Where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"
