"""Prompts that share long beginnings, on three engines: the time to the first token, placed and by turns."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from itertools import cycle
from typing import Any

from benchmarks.engine_processes import MODEL, PATH, engine, job, node, opened, summary
from inference.engine_client import EngineClient
from inference.nodes import MeshNode
from inference.serving import Gateway, Job

_CONVERSATIONS = 30
_WORDS = 2_000
"""Of each beginning."""
_REMEMBERED = 16
"""Beginnings that an engine has room for: a half of all."""
_RATE = 20_000
"""Tokens a second that an engine reads: a tenth of a second for a beginning."""
_CLIENTS = 6


async def affinity(quick: bool) -> dict[str, Any]:
    """Conversations, each with a beginning of its own, go on in any order; a turn repeats those before it."""
    results = {way: await _first_tokens(way, 120 if quick else 600) for way in ("placement", "round robin")}
    p50s = [summary(seconds)["p50"] for seconds in results.values()]
    return {way: summary(seconds) for way, seconds in results.items()} | {
        "p50_ratio": round(p50s[0] / p50s[1], 3)
    }


async def _first_tokens(way: str, requests: int) -> list[float]:
    """Seconds, of each request in turn."""
    choose = random.Random(20261127)  # noqa: S311  a fixed load, no secret
    said = [[f"conversation {i} " + "word " * _WORDS] for i in range(_CONVERSATIONS)]
    asked = iter([choose.randrange(_CONVERSATIONS) for _ in range(requests)])
    options = ("--prefill-rate", str(_RATE), "--blocks", str(_REMEMBERED * (_WORDS + 200) // 16))
    first: list[float] = []
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(engine(*options)) for _ in range(3)]
        gateway = await opened(stack, list(map(node, "abc", ports)))
        turns = cycle([one for one, _ in gateway.mesh.snapshot().members if one.endpoint])

        async def client() -> None:
            for which in asked:
                said[which].append(f"Question {len(said[which])}?")
                made, started = job(_messages(said[which])), time.perf_counter()
                events = (
                    _placed(gateway, made) if way == "placement" else _to(gateway.client, next(turns), made)
                )
                async with aclosing(events):
                    await anext(events)
                    first.append(time.perf_counter() - started)
                    async for _ in events:
                        pass
                said[which].append("word " * 16)

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return first


def _messages(said: list[str]) -> list[dict[str, str]]:
    """The beginning, then questions and answers."""
    roles = ["system", *(("assistant", "user")[i % 2] for i in range(1, len(said)))]
    return [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]


async def _placed(gateway: Gateway, made: Job) -> AsyncGenerator[object, None]:
    async with aclosing(gateway.bursts(made)) as bursts:
        async for events, _ in bursts:
            yield events


async def _to(client: EngineClient, where: MeshNode, made: Job) -> AsyncGenerator[object, None]:
    body = {**made.body, "model": MODEL, "cache_salt": made.salt, "stream": True}
    async with aclosing(client.stream_json(where, PATH, body, made.deadline, made.deadline)) as bursts:
        async for events in bursts:
            yield events
