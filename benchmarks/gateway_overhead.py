"""What the gateway adds to a streamed answer, beside a direct call to the engine and LiteLLM's proxy."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.engine_processes import (
    MODEL,
    PACED,
    PATH,
    SHORT,
    Ask,
    by_clients,
    engine,
    free_port,
    process,
    summary,
)
from context_manager.identity import LocalIssuer

_PERSON = "ada"
_ORGANIZATION = """
name = "Acme"
issuer = "acme"
administrator = "person:ada"
asker_handling = { jurisdictions = ["EU"] }

[[collection]]
id = "everything"
name = "Everything"
readers = ["group:everyone"]

[[source]]
name = "people"
connector = "mapping"
collection = "everything"
every = "1d"
max_age = "2d"
grants = ["HAS_ACCOUNT", "MEMBER_OF"]
handling = { jurisdictions = ["EU"] }
options = { path = "people.json", mapping = "people.toml" }

[[source]]
name = "mesh"
connector = "mapping"
collection = "everything"
every = "1d"
max_age = "2d"
handling = { jurisdictions = ["EU"] }
options = { path = "mesh.json", mapping = "mesh.toml" }
"""
_PEOPLE = """
[[rule]]
each = "people"
id = "person:{id}"
class = "Person"
[rule.values]
name = "id"
[[rule.relationship]]
type = "HAS_ACCOUNT"
start = "person:{id}"
end = "account:acme/{id}"
[[rule.relationship]]
type = "MEMBER_OF"
start = "person:{id}"
end = "group:everyone"

[[rule]]
each = "people"
id = "account:acme/{id}"
class = "Account"
[rule.values]
name = "id"
subject = "id"
issuer = "issuer"

[[rule]]
each = "groups"
id = "group:{id}"
class = "Group"
[rule.values]
name = "id"
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a chat can be asked for."""

    port: int
    token: str


async def overhead(quick: bool) -> dict[str, Any]:
    """By number of clients and speed of the engine, the whole answer and its first token.

    An engine that answers at once makes 32 clients a queue for the machine's cores: what is added is then
    the work of 32 requests. One that gives fifty tokens a second leaves the cores time, and its clients
    come at moments of their own.
    """
    async with AsyncExitStack() as stack:
        engines = {
            MODEL: await stack.enter_async_context(engine()),
            PACED: await stack.enter_async_context(engine("--between", "0.02")),
        }
        ours = free_port()
        command = (
            sys.executable,
            "-m",
            "benchmarks.gateway",
            "serve",
            str(ours),
            *map(str, engines.values()),
        )
        await stack.enter_async_context(process(*command, port=ours, path="/"))
        targets = {
            "gateway": Target(ours, "none"),
            "service": await stack.enter_async_context(_service(engines)),
        }
        if litellm := os.environ.get("BENCHMARK_LITELLM"):
            targets["litellm"] = await stack.enter_async_context(_litellm(litellm, engines))
        rounds = 3 if quick else 10
        results = {}
        for name, model, clients, each, pause in (
            ("1 client", MODEL, 1, 50, 0.0),
            ("32 clients", MODEL, 32, 5, 0.0),
            ("32 clients, 50 tokens a second", PACED, 32, 3, 0.5),
        ):
            direct = {"direct": Target(engines[model], "none")}
            results[name] = await _beside(direct | targets, model, clients, each, pause, rounds)
            print(f"{name}: {results[name]}", flush=True)
        return results


async def _beside(  # noqa: PLR0913, PLR0917  what a load is made of
    targets: Mapping[str, Target], model: str, clients: int, each: int, pause: float, rounds: int
) -> dict[str, Any]:
    """They take turns, `rounds` times."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        firsts: dict[str, list[float]] = {name: [] for name in targets}
        wholes: dict[str, list[float]] = {name: [] for name in targets}
        asks = {name: _asking(session, target, model, firsts[name]) for name, target in targets.items()}
        for ask in asks.values():
            await by_clients(ask, clients, 3)
        for first in firsts.values():
            first.clear()
        for _ in range(rounds):
            for name, ask in asks.items():
                wholes[name] += await by_clients(ask, clients, each, pause)
    direct, direct_first = summary(wholes["direct"])["p50"], summary(firsts["direct"])["p50"]
    return {
        name: {
            **summary(wholes[name]),
            "added_p50": round(summary(wholes[name])["p50"] - direct, 3),
            "added_to_first_p50": round(summary(firsts[name])["p50"] - direct_first, 3),
        }
        for name in targets
    }


def _asking(session: aiohttp.ClientSession, target: Target, model: str, firsts: list[float]) -> Ask:
    body = {"model": model, "messages": SHORT, "stream": True, "max_tokens": 16}
    headers = {"Authorization": f"Bearer {target.token}"}
    url = f"http://127.0.0.1:{target.port}{PATH}"

    async def ask() -> None:
        started = time.perf_counter()
        async with session.post(url, json=body, headers=headers) as response:
            text = await response.content.readany()
            firsts.append(time.perf_counter() - started)
            text += await response.read()
            if response.status != 200 or not text.rstrip().endswith(b"[DONE]"):
                raise RuntimeError(f"{url} answered {response.status}: {text[-200:]!r}")

    return ask


@asynccontextmanager
async def _service(engines: Mapping[str, int]) -> AsyncIterator[Target]:
    """`orgraph serve` of an organization of one person and these mesh nodes, and that person's token."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        mapping = Path(__file__).parents[1] / "deploy" / "sample" / "mappings" / "mesh.toml"
        node = {
            "jurisdiction": "EU",
            "region": "eu",
            "silicon": "cpu",
            "engine": "vllm",
            "capabilities": ["chat"],
            "owner": "everyone",
        }
        nodes = {
            model: {**node, "models": [model], "endpoint": f"http://127.0.0.1:{port}"}
            for model, port in engines.items()
        }
        files = {
            "sources.toml": _ORGANIZATION,
            "people.toml": _PEOPLE,
            "people.json": json.dumps(
                {"people": [{"id": _PERSON, "issuer": "acme"}], "groups": [{"id": "everyone"}]}
            ),
            "mesh.toml": mapping.read_text(encoding="utf-8"),
            "mesh.json": json.dumps({"nodes": nodes}),
        }
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        settings = {
            "ORGRAPH_SOURCES": str(folder / "sources.toml"),
            "ORGRAPH_DATA_FOLDER": str(folder / "data"),
            "ORGRAPH_PORT": str(port),
            "ORGRAPH_VLLM": "false",
            "ORGRAPH_NODE_JURISDICTION": "EU",
        }
        command = (str(Path(sys.executable).parent / "orgraph"), "serve")
        async with process(*command, port=port, path="/health/live", environment=settings):
            token = LocalIssuer(folder / "data" / "keys").mint(_PERSON, "orgraph")
            yield Target(port, token)


@asynccontextmanager
async def _litellm(command: str, engines: Mapping[str, int]) -> AsyncIterator[Target]:
    """LiteLLM's proxy with a key, which it asks for, and nothing else configured."""
    with tempfile.TemporaryDirectory() as folder:
        settings, key, port = Path(folder) / "config.yaml", f"sk-{secrets.token_hex(16)}", free_port()
        models = [
            {
                "model_name": model,
                "litellm_params": {
                    "model": f"openai/{model}",
                    "api_base": f"http://127.0.0.1:{engine_port}/v1",
                    "api_key": "none",
                },
            }
            for model, engine_port in engines.items()
        ]
        made = {"model_list": models, "general_settings": {"master_key": key}}
        settings.write_text(json.dumps(made), encoding="utf-8")
        arguments = ("--config", str(settings), "--host", "127.0.0.1", "--port", str(port))
        # Another installation: it must not import from this one.
        beside = process(
            command, *arguments, port=port, path="/health/liveliness", environment={"PYTHONPATH": ""}
        )
        async with beside:
            yield Target(port, key)
