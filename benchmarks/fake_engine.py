"""No engine: a process that streams tokens as an OpenAI-compatible engine would, at a set speed.

    python -m benchmarks.fake_engine PORT [--prefill-rate TOKENS_A_SECOND] [--blocks NUMBER]
        [--seconds OF_AN_ANSWER] [--between SECONDS]

A prompt is read at the rate (at once, without one), one prompt after the other, but for the beginning that
it has read before, as vLLM keeps it: blocks of sixteen tokens, each by the hash of it and of all before it,
the `cache_salt` first; so many of them as it has room for, those not used for longest dropped; the last
token always read. Tokens are taken as words. `--between` is the time from each token to the next: they leave
at moments that are fixed once the prompt is read, as those of an accelerator that has a clock of its own, so
that a token which leaves late makes no other one late.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import OrderedDict
from typing import Any

from aiohttp import web

TOKENS = 16
"""Of each answer."""
BATCH = 64
"""Answers at once."""
_BLOCK = 16
_CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": null}]}\n\n'
_END = (
    b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 16, "total_tokens": 23}}\n\n'
    b"data: [DONE]\n\n"
)


class Engine:
    """Reads prompts one after the other."""

    def __init__(self, rate: float | None, blocks: int, seconds: float, between: float) -> None:
        self._rate = rate
        self._blocks = blocks
        self._seconds_each = seconds
        self._between = between
        self._batch = asyncio.Semaphore(BATCH)
        self._reading = asyncio.Lock()
        self._cache: OrderedDict[int, None] = OrderedDict()
        self._running = 0
        self._prompts, self._seconds = 0.0, 0.0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self._running += 1
        try:
            if self._rate is not None:
                async with self._reading:
                    await asyncio.sleep(self._unread(body) / self._rate)
            if self._seconds_each:
                async with self._batch:
                    await asyncio.sleep(self._seconds_each)
            if not body.get("stream"):
                message = {"role": "assistant", "content": "word " * TOKENS}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                return web.json_response({"choices": [choice]})
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            began = asyncio.get_running_loop().time()
            await response.prepare(request)
            for number in range(1, TOKENS + 1):
                await response.write(_CHUNK)
                if self._between:
                    await asyncio.sleep(began + number * self._between - asyncio.get_running_loop().time())
            await response.write(_END)
            return response
        finally:
            self._running -= 1

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        waiting = max(0, self._running - 1)
        return web.Response(
            text=f"vllm:num_requests_running {self._running - waiting}\n"
            f"vllm:num_requests_waiting {waiting}\n"
            f"vllm:prompt_tokens_total {self._prompts}\n"
            f"vllm:time_to_first_token_seconds_sum {self._seconds}\n"
            f"vllm:request_queue_time_seconds_sum 0\n"
        )

    def _unread(self, body: dict[str, Any]) -> int:
        """Tokens of the prompt that are not in the cache; then they are."""
        said = " ".join(f"<{message['role']}> {message['content']}" for message in body["messages"])
        words = said.split()
        block, known, hashes = hash(body.get("cache_salt")), 0, []
        for start in range(0, len(words) - _BLOCK + 1, _BLOCK):
            block = hash((block, *words[start : start + _BLOCK]))
            hashes.append(block)
        while known < len(hashes) and hashes[known] in self._cache:
            known += 1
        for one in reversed(hashes):
            self._cache[one] = None
            self._cache.move_to_end(one)
        while len(self._cache) > self._blocks:
            self._cache.popitem(last=False)
        unread = max(1, len(words) - known * _BLOCK)
        if self._rate is not None:
            self._prompts += len(words)
            self._seconds += unread / self._rate
        return unread


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--prefill-rate", type=float)
    parser.add_argument("--blocks", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--between", type=float, default=0.0)
    arguments = parser.parse_args()
    engine = Engine(arguments.prefill_rate, arguments.blocks, arguments.seconds, arguments.between)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/chat/completions", engine.chat)
    app.router.add_get("/metrics", engine.metrics)
    web.run_app(app, host="127.0.0.1", port=arguments.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
