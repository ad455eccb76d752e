"""What the gateway adds to a streamed answer, what prefix affinity saves, and whether shares stay fair.

    python -m benchmarks.gateway [--quick]

Engines are `benchmarks.fake_engine`, each a process of its own. Four parts:

- `overhead`: the same request to the engine directly, through the gateway (`inference.serving` behind an
  HTTP route, a process; without who asks, facts and records) and through LiteLLM's proxy, if
  BENCHMARK_LITELLM names its command. They take turns. Milliseconds of the whole answer, and what is added
  to the direct call's.
- `affinity`: prompts that share long beginnings, on three engines that read slowly and remember some.
  Milliseconds to the first token, by placement and by turns.
- `fairness`: a team's answers alone, and beside another with fifty times as many clients.
- `failing`: of three engines under load one is killed, or stopped so that it hangs. Seconds after
  which nothing is sent to it any more; the slowest request, which it held; how many got no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from graph.handling import UNRESTRICTED
from inference.admission import Admission, Overloaded
from inference.engine_client import EngineClient
from inference.mesh import Mesh
from inference.nodes import CHAT, MeshNode
from inference.placement import Placement
from inference.probe import EngineProbe
from inference.requirement import Requirement
from inference.serving import CutShort, Gateway, Job, NoNodeAnswered, Refused

PATH = "/v1/chat/completions"
MODEL = "fake"
SHORT = [{"role": "user", "content": "Say something."}]
_LIMIT_S = 60.0
PROCESSES: dict[int, asyncio.subprocess.Process] = {}
"""By the port that they serve on."""

Ask = Callable[[], Awaitable[object]]


def node(name: str, port: int) -> MeshNode:
    return MeshNode(
        f"mesh_node:{name}",
        name,
        "EU",
        endpoint=f"http://127.0.0.1:{port}",
        models=(MODEL,),
        capabilities=frozenset({CHAT}),
        engine="vllm",
    )


def job(messages: Sequence[dict[str, str]], team: str = "team") -> Job:
    tokens = sum(len(message["content"].split()) for message in messages)
    deadline = asyncio.get_running_loop().time() + _LIMIT_S
    requirement = Requirement(UNRESTRICTED, CHAT, prompt_tokens=tokens)
    return Job(PATH, {"messages": list(messages), "max_tokens": 16}, requirement, deadline, team, salt="s")


async def opened(stack: AsyncExitStack, ports: Sequence[int], admission: Admission | None = None) -> Gateway:
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    client = EngineClient(session)
    mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), EngineProbe(client))
    mesh.declare([node(chr(ord("a") + i), port) for i, port in enumerate(ports)])
    await mesh.refresh()
    return Gateway(client, mesh, admission or Admission())


def serve(port: int, engine: int) -> None:
    """The gateway as a process: a request is streamed on as it comes."""

    async def application() -> web.Application:
        stack = AsyncExitStack()
        gateway = await opened(stack, [engine], Admission(slots=256, waiting=(1000, 1000)))

        async def chat(request: web.Request) -> web.StreamResponse:
            body = await request.json()
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            async with aclosing(gateway.stream(job(body["messages"]))) as events:
                async for event, _ in events:
                    await response.write(f"data: {json.dumps(event)}\n\n".encode())
            await response.write(b"data: [DONE]\n\n")
            return response

        app = web.Application()
        app.router.add_post(PATH, chat)
        return app

    web.run_app(application(), host="127.0.0.1", port=port, access_log=None, print=None)


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@asynccontextmanager
async def process(*command: str, port: int, path: str) -> AsyncIterator[int]:
    """A process that serves on the port, until the block ends."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()) if command[0] == sys.executable else ""},
    )
    PROCESSES[port] = child
    try:
        async with asyncio.timeout(180), aiohttp.ClientSession() as session:
            while True:
                if child.returncode is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
                try:
                    async with session.get(f"http://127.0.0.1:{port}{path}"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        yield port
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


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


async def by_clients(ask: Ask, clients: int, each: int) -> list[float]:
    """Seconds of every request of so many clients, each sending the next when the last has ended."""

    async def client() -> list[float]:
        return [await timed(ask) for _ in range(each)]

    found = await asyncio.gather(*(client() for _ in range(clients)))
    return [seconds for one in found for seconds in one]


async def overhead(quick: bool) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(engine())
        ours = free_port()
        serving = process(
            *(sys.executable, "-m", "benchmarks.gateway", "serve", str(ours), str(behind)),
            port=ours,
            path="/",
        )
        targets = {"direct": behind, "gateway": await stack.enter_async_context(serving)}
        if litellm := os.environ.get("BENCHMARK_LITELLM"):
            targets["litellm"] = await stack.enter_async_context(_litellm(litellm, behind))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )

        def asking(port: int) -> Ask:
            async def ask() -> None:
                body = {"model": MODEL, "messages": SHORT, "stream": True, "max_tokens": 16}
                headers = {"Authorization": "Bearer sk-benchmark"}
                url = f"http://127.0.0.1:{port}{PATH}"
                async with session.post(url, json=body, headers=headers) as response:
                    text = await response.read()
                    if response.status != 200 or not text.rstrip().endswith(b"[DONE]"):
                        raise RuntimeError(f"{url} answered {response.status}: {text[-200:]!r}")

            return ask

        asks = {name: asking(port) for name, port in targets.items()}
        results: dict[str, Any] = {}
        for clients, each in ((1, 50), (32, 5)):
            seconds: dict[str, list[float]] = {name: [] for name in asks}
            for ask in asks.values():
                await by_clients(ask, clients, 3)
            for _ in range(3 if quick else 10):
                for name, ask in asks.items():
                    seconds[name] += await by_clients(ask, clients, each)
            found: dict[str, Any] = {name: summary(values) for name, values in seconds.items()}
            for name in asks:
                found[name]["added_p50"] = round(found[name]["p50"] - found["direct"]["p50"], 3)
            results[f"{clients} clients"] = found
        return results


@asynccontextmanager
async def _litellm(command: str, behind: int) -> AsyncIterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "config.yaml"
        params = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{behind}/v1", "api_key": "x"}
        settings.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": params}]}))
        port = free_port()
        arguments = ("--config", str(settings), "--host", "127.0.0.1", "--port", str(port))
        async with process(command, *arguments, port=port, path="/health/liveliness") as served:
            yield served


async def affinity(quick: bool) -> dict[str, Any]:
    """Conversations in turn come back to their own long beginning; an engine remembers sixteen of them."""
    choose = random.Random(20261127)  # noqa: S311  a fixed load, no secret
    beginnings = [f"conversation {i} " + "word " * 2_000 for i in range(30)]
    asked = [choose.randrange(len(beginnings)) for _ in range(120 if quick else 600)]
    results = {}
    for way in ("placement", "round robin"):
        async with AsyncExitStack() as stack:
            ports = [await stack.enter_async_context(engine("--prefill-rate", "40000")) for _ in range(3)]
            gateway = await opened(stack, ports)
            watching = asyncio.create_task(gateway.mesh.watch())
            turns = cycle(snapshot_nodes(gateway))
            work = iter(asked)
            first: list[float] = []

            async def client() -> None:
                for which in work:  # noqa: B023  this round's
                    said = [{"role": "system", "content": beginnings[which]}, *SHORT]
                    made, started = job(said), time.perf_counter()
                    if way == "placement":  # noqa: B023  likewise
                        events = gateway.stream(made)  # noqa: B023
                    else:
                        events = _to(gateway.client, next(turns), made)  # noqa: B023
                    async with aclosing(events):
                        await anext(events)
                        first.append(time.perf_counter() - started)  # noqa: B023
                        async for _ in events:
                            pass

            await asyncio.gather(*(client() for _ in range(6)))
            watching.cancel()
            results[way] = summary(first)
    return results


def snapshot_nodes(gateway: Gateway) -> list[MeshNode]:
    return [one for one, _ in gateway.mesh.snapshot().members if one.endpoint]


async def _to(client: EngineClient, where: MeshNode, made: Job) -> AsyncGenerator[Any, None]:
    body = {**made.body, "model": MODEL, "cache_salt": made.salt, "stream": True}
    async for event in client.stream_json(where, PATH, body, made.deadline, made.deadline):
        yield event, where


async def fairness(quick: bool) -> dict[str, Any]:
    """The engine answers sixty-four at a time, each in a fifth of a second."""
    each = 20 if quick else 60
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(engine("--seconds", "0.2"))
        gateway = await opened(stack, [port])

        def asking(team: str) -> Ask:
            async def ask() -> None:
                while True:
                    try:
                        await gateway.complete(job(SHORT, team))
                    except Overloaded as error:
                        await asyncio.sleep(min(error.retry_after, 1))
                    else:
                        return

            return ask

        alone = await by_clients(asking("small"), 4, each)

        async def flood() -> None:
            ask = asking("large")
            while True:
                await ask()

        flooding = [asyncio.create_task(flood()) for _ in range(200)]
        await asyncio.sleep(1)
        beside = await by_clients(asking("small"), 4, each)
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
    found = {"alone": summary(alone), "beside fifty times as many": summary(beside)}
    return found | {"p95_ratio": round(found["beside fifty times as many"]["p95"] / found["alone"]["p95"], 3)}


async def failing(quick: bool) -> dict[str, Any]:
    results = {}
    for how, number in (("killed", signal.SIGKILL), ("hung", signal.SIGSTOP)):
        async with AsyncExitStack() as stack:
            ports = [await stack.enter_async_context(engine("--seconds", "0.05")) for _ in range(3)]
            gateway = await opened(stack, ports)
            ended: list[float] = []
            sent: list[tuple[float, str]] = []
            lost: list[Exception] = []
            stop = time.perf_counter() + (10 if quick else 20)

            async def placed(placement: Placement) -> None:
                if placement.node is not None:
                    sent.append((time.perf_counter(), placement.node.name))  # noqa: B023  this round's

            async def client() -> None:
                while (started := time.perf_counter()) < stop:  # noqa: B023
                    try:
                        async with aclosing(gateway.stream(replace(job(SHORT), placed=placed))) as events:  # noqa: B023
                            async for _ in events:
                                pass
                    except (CutShort, NoNodeAnswered, Refused) as error:
                        lost.append(error)  # noqa: B023
                    ended.append(time.perf_counter() - started)  # noqa: B023

            clients = [asyncio.create_task(client()) for _ in range(32)]
            await asyncio.sleep(1)
            victim = PROCESSES[ports[0]]
            failed_at = time.perf_counter()
            victim.send_signal(number)
            await asyncio.gather(*clients)
            if victim.returncode is None:
                victim.send_signal(signal.SIGKILL)
            late = [at - failed_at for at, name in sent if name == "a" and at > failed_at]
            results[how] = {
                "requests": len(ended),
                "lost": len(lost),
                "sent_there_for_s": round(max(late, default=0.0), 3),
                "slowest_request_s": round(max(ended), 3),
            }
    return results


async def measure(quick: bool) -> None:
    results = {}
    for name, part in (
        ("overhead", overhead),
        ("affinity", affinity),
        ("fairness", fairness),
        ("failing", failing),
    ):
        results[name] = await part(quick)
        print(f"{name}: {results[name]}", flush=True)
    print(json.dumps({"benchmark": "gateway", **results}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the gateway.")
    parser.add_argument("--quick", action="store_true", help="fewer requests, in under 50 seconds")
    commands = parser.add_subparsers(dest="command")
    serving = commands.add_parser("serve", help="be the gateway's process")
    serving.add_argument("port", type=int)
    serving.add_argument("engine", type=int)
    arguments = parser.parse_args()
    if arguments.command == "serve":
        serve(arguments.port, arguments.engine)
    else:
        asyncio.run(measure(arguments.quick))


if __name__ == "__main__":
    main()
