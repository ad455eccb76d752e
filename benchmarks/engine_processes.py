"""Engines, and what stands before them, as processes; and the requests that are timed."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from graph.handling import UNRESTRICTED
from inference.admission import Admission
from inference.engine_client import EngineClient, engine_session
from inference.mesh import Mesh
from inference.nodes import CHAT, MeshNode
from inference.probe import EngineProbe
from inference.requirement import Requirement
from inference.serving import Gateway, Job

PATH = "/v1/chat/completions"
MODEL = "fake"
PACED = "paced"
SHORT = [{"role": "user", "content": "Say something."}]
_LIMIT_S = 60.0
PROCESSES: dict[int, asyncio.subprocess.Process] = {}
"""By the port that they serve on."""

Ask = Callable[[], Awaitable[object]]


def node(name: str, port: int, model: str = MODEL) -> MeshNode:
    return MeshNode(
        f"mesh_node:{name}",
        name,
        "EU",
        endpoint=f"http://127.0.0.1:{port}",
        models=(model,),
        capabilities=frozenset({CHAT}),
        engine="vllm",
    )


def job(messages: Sequence[dict[str, str]], team: str = "team", model: str | None = None) -> Job:
    tokens = sum(len(message["content"].split()) for message in messages)
    deadline = asyncio.get_running_loop().time() + _LIMIT_S
    requirement = Requirement(UNRESTRICTED, CHAT, model, prompt_tokens=tokens)
    return Job(PATH, {"messages": list(messages), "max_tokens": 16}, requirement, deadline, team, salt="s")


async def opened(
    stack: AsyncExitStack, nodes: Sequence[MeshNode], admission: Admission | None = None
) -> Gateway:
    session = await stack.enter_async_context(engine_session())
    client = EngineClient(session)
    mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), EngineProbe(client))
    mesh.declare(nodes)
    await mesh.refresh()
    return Gateway(client, mesh, admission or Admission())


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@asynccontextmanager
async def process(
    *command: str, port: int, path: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """A process that serves on the port, until the block ends. `environment` is added to this one's.

    Raises RuntimeError with the end of what it said when it ends before it serves.
    """
    with tempfile.TemporaryFile() as said:
        child = await asyncio.create_subprocess_exec(
            *command, stdout=said, stderr=said, env=os.environ | (environment or {})
        )
        PROCESSES[port] = child
        try:
            async with asyncio.timeout(300), aiohttp.ClientSession() as session:
                while not await _serves(session, f"http://127.0.0.1:{port}{path}"):
                    if child.returncode is not None:
                        said.seek(0)
                        raise RuntimeError(f"{command} ended: {said.read()[-2000:].decode(errors='replace')}")
                    await asyncio.sleep(0.1)
            yield port
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()


async def _serves(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url):
            return True
    except aiohttp.ClientError:
        return False


def engine(*options: str) -> Any:
    port = free_port()
    return process(
        sys.executable, "-m", "benchmarks.fake_engine", str(port), *options, port=port, path="/metrics"
    )


def summary(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": round(statistics.median(ordered) * 1000, 3),
        "p95": round(ordered[int(len(ordered) * 0.95)] * 1000, 3),
    }


async def timed(ask: Ask) -> float:
    started = time.perf_counter()
    await ask()
    return time.perf_counter() - started


async def by_clients(ask: Ask, clients: int, each: int, pause: float = 0.0) -> list[float]:
    """Seconds of every request of so many clients, each sending the next when the last has ended.

    `pause`: up to so many seconds later, each time another, so that they don't come in step.
    """
    choose = random.Random(20261128)  # noqa: S311  a fixed load, no secret

    async def client() -> list[float]:
        seconds = []
        for _ in range(each):
            await asyncio.sleep(choose.uniform(0, pause))
            seconds.append(await timed(ask))
        return seconds

    found = await asyncio.gather(*(client() for _ in range(clients)))
    return [seconds for one in found for seconds in one]
