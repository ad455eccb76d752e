"""What the gateway adds to a streamed answer, what prefix affinity saves, and whether shares stay fair.

    python -m benchmarks.gateway [--quick]

Engines are `benchmarks.fake_engine`, each a process of its own. Four parts:

- `overhead`: the same request to the engine directly; through the gateway (`inference.serving` behind an
  HTTP route, a process; without who asks, facts and records); through `/v1` of a whole service, with its
  person's token and both records synced to disk; and through LiteLLM's proxy with a key, if
  BENCHMARK_LITELLM names its command. They take turns. Milliseconds of the whole answer, and what is added
  to the direct call's.
- `affinity`: conversations with long beginnings, on three engines that read slowly and remember half of
  them. Milliseconds to the first token, by placement and by turns.
- `fairness`: a team's answers alone, and beside another with fifty times as many clients.
- `failing`: of three engines under load one is killed, or stopped so that it hangs. Seconds after
  which nothing is sent to it any more; the slowest request, which it held; how many got no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from benchmarks.engine_processes import (
    PACED,
    PATH,
    PROCESSES,
    SHORT,
    Ask,
    by_clients,
    engine,
    job,
    node,
    opened,
    summary,
)
from benchmarks.gateway_overhead import overhead
from benchmarks.prefix_affinity import affinity
from inference.admission import Admission, Overloaded
from inference.placement import Placement
from inference.serving import CutShort, NoNodeAnswered, Refused


def serve(port: int, engine: int, paced: int) -> None:
    """The gateway as a process: a request is streamed on as it comes."""

    async def application() -> web.Application:
        stack = AsyncExitStack()
        nodes = [node("a", engine), node("b", paced, PACED)]
        gateway = await opened(stack, nodes, Admission(slots=256, waiting=(1000, 1000)))

        async def chat(request: web.Request) -> web.StreamResponse:
            body = await request.json()
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            async with aclosing(gateway.bursts(job(body["messages"], model=body["model"]))) as bursts:
                async for events, _ in bursts:
                    await response.write(b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events))
            await response.write_eof(b"data: [DONE]\n\n")
            return response

        app = web.Application()
        app.router.add_post(PATH, chat)
        return app

    web.run_app(application(), host="127.0.0.1", port=port, access_log=None, print=None)


async def fairness(quick: bool) -> dict[str, Any]:
    """The engine answers sixty-four at a time, each in a fifth of a second."""
    each = 20 if quick else 60
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(engine("--seconds", "0.2"))
        gateway = await opened(stack, [node("a", port)])

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
            gateway = await opened(stack, list(map(node, "abc", ports)))
            ended: list[float] = []
            sent: list[tuple[float, str]] = []
            lost: list[Exception] = []
            stop = time.perf_counter() + (10 if quick else 20)

            async def placed(placement: Placement) -> None:
                if placement.node is not None:
                    sent.append((time.perf_counter(), placement.node.name))  # noqa: B023  this round's

            async def client() -> None:
                while (started := time.perf_counter()) < stop:  # noqa: B023  awaited within the turn
                    try:
                        async with aclosing(gateway.stream(replace(job(SHORT), placed=placed))) as events:  # noqa: B023  as above
                            async for _ in events:
                                pass
                    except (CutShort, NoNodeAnswered, Refused) as error:
                        lost.append(error)  # noqa: B023  as above
                    ended.append(time.perf_counter() - started)  # noqa: B023  as above

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
    serving.add_argument("paced", type=int)
    arguments = parser.parse_args()
    if arguments.command == "serve":
        serve(arguments.port, arguments.engine, arguments.paced)
    else:
        asyncio.run(measure(arguments.quick))


if __name__ == "__main__":
    main()
