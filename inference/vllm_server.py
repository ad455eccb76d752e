"""A vLLM node that Orgraph runs by itself: on the CPU, on loopback, with a key, gone when we are."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import socket
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from graph.child_process import ChildProcess, ChildStartError
from inference.engine_client import EngineClient, NodeError
from inference.model_files import Progress
from inference.nodes import CHAT, VLLM, MeshNode
from inference.probe import complete_one_token
from inference.telemetry import Done, done

HOST = "127.0.0.1"
MODEL = "smollm2"
_START_LIMIT = 600.0
_BACK_OFF = (1.0, 5.0, 15.0, 60.0)
_LOOK = 15.0
_TOKEN_LIMIT = 30.0
_MISSES = 3
"""Seconds between looks at a running engine, and for one token; misses in a row that are a hang."""
_STEADY = 300.0
"""Seconds up after which a crash counts as the first again."""
_LOG_LINE = re.compile(r" INFO .*?\[\w+\.py:\d+\]\s*(.+)")


class VllmError(Exception):
    """vLLM cannot be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """What fits the machine."""

    port: int
    kv_space_gib: int = 1
    """Memory for the key-value cache."""
    max_model_len: int = 2048
    """Tokens of prompt and answer together."""


class VllmServer:
    """Starts the engine, restarts it when it crashes or hangs, and stops it."""

    def __init__(self, declared: MeshNode, settings: VllmSettings, data: Path, progress: Progress) -> None:
        """`declared` says what the node is; `self.node` is it with this engine's endpoint and model.

        `data` is the folder for the log. `progress` gets a line whenever the start moves on.
        """
        self.node = replace(
            declared,
            endpoint=f"http://{HOST}:{settings.port}",
            models=(MODEL,),
            capabilities=frozenset({CHAT}),
            engine=VLLM,
            context_length=settings.max_model_len,
        )
        self.api_key = secrets.token_urlsafe(32)
        """Guards `/v1/*` alone: `/metrics` and `/health` answer whoever is on this machine."""
        self._settings = settings
        self._log = data / f"vllm-{settings.port}.log"
        self._progress = progress
        self._child: ChildProcess | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.trouble = "its engine was not started yet"
        """Why the engine does not run, while it does not; who starts it may say more."""
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The engine's process; None when there is none."""
        return None if self._child is None or self._child.exit_code() is not None else self._child.pid

    async def start(self, model_folder: Path) -> None:
        """Start the engine and wait until it completed a token; from then on it is kept running.

        Raises VllmError when the package is missing, the port is taken, or the engine ends or gives
        no token in time.
        """
        if importlib.util.find_spec("vllm") is None:
            raise VllmError(
                "vLLM is not installed: install the project with its extra `cpu` (`cuda` for NVIDIA)"
            )
        self._scratch = tempfile.TemporaryDirectory(prefix="orgraph-vllm-")
        try:
            await self._launch(model_folder)
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep(model_folder))

    async def stop(self) -> None:
        """End the engine. Harmless when it does not run."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._child is not None:
            await asyncio.to_thread(self._child.stop)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    async def _launch(self, model_folder: Path) -> None:
        """Start the process and wait for its first token."""
        self._refuse_taken_port()
        # Not in a thread: a cancellation then would lose hold of the child.
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            child = self._child = ChildProcess(
                self._command(model_folder), self._log, environment=self._environment()
            )
        except (OSError, ChildStartError) as error:
            raise VllmError(
                f"vLLM's process could not be started, its log in {self._log}: {error}"
            ) from error
        self._progress("starting vLLM, which takes a minute or two")
        loop = asyncio.get_running_loop()
        started = loop.time()
        shown = ""
        async with aiohttp.ClientSession() as session:
            client = EngineClient(session, {self.node.id: self.api_key})
            while True:
                if (code := child.exit_code()) is not None:
                    raise VllmError(
                        f"vLLM on port {self._settings.port} ended before it was ready (exit code {code}); "
                        f"it needs some 4 GB of memory, its full log is {self._log}:\n{child.log_tail()}"
                    )
                with contextlib.suppress(NodeError):
                    await complete_one_token(client, self.node, loop.time() + 30)
                    self._progress(f"vLLM is ready on {self.node.endpoint}")
                    return
                if loop.time() - started > _START_LIMIT:
                    await asyncio.to_thread(child.stop)
                    raise VllmError(
                        f"vLLM on port {self._settings.port} completed no token in {_START_LIMIT:.0f} s; "
                        f"its full log is {self._log}:\n{child.log_tail()}"
                    )
                if (said := _LOG_LINE.findall(child.log_tail())) and said[-1] != shown:
                    shown = said[-1]
                    self._progress(f"starting vLLM: {shown}")
                await asyncio.sleep(0.5)

    async def _keep(self, model_folder: Path) -> None:
        """Restart the engine whenever it ends or hangs, each time after a longer pause; never two at once."""
        loop = asyncio.get_running_loop()
        crashes, since = 0, loop.time()
        while True:
            why = await self._trouble()
            if self._child is not None:
                await asyncio.to_thread(self._child.stop)
            crashes = 0 if loop.time() - since > _STEADY else crashes
            pause = _BACK_OFF[min(crashes, len(_BACK_OFF) - 1)]
            crashes += 1
            self.trouble = f"vLLM {why}; it is started again in {pause:.0f} s; its log is {self._log}"
            self._progress(self.trouble)
            await asyncio.sleep(pause)
            try:
                await self._launch(model_folder)
            except VllmError as error:
                self.trouble = str(error)
                self._progress(self.trouble)
            since = loop.time()

    async def _trouble(self) -> str:
        """Wait until the engine has ended, or computes nothing any more; which of them.

        One that is only busy misses looks too, but its counters go on.
        """
        loop = asyncio.get_running_loop()
        missed, done, next_look = 0, Done(), loop.time() + _LOOK
        async with aiohttp.ClientSession() as session:
            client = EngineClient(session, {self.node.id: self.api_key})
            while self.pid is not None:
                await asyncio.sleep(min(0.5, _LOOK))
                if loop.time() < next_look:
                    continue
                before, done = done, await self._done(client)
                try:
                    await complete_one_token(client, self.node, loop.time() + _TOKEN_LIMIT)
                    missed = 0
                except NodeError:
                    missed = 0 if done.beyond(before) else missed + 1
                if missed >= _MISSES and self.pid is not None:
                    return f"completed no token {missed} times in a row"
                next_look = loop.time() + _LOOK
        return "ended"

    async def _done(self, client: EngineClient) -> Done:
        try:
            limit = asyncio.get_running_loop().time() + _TOKEN_LIMIT
            return done(await client.get_text(self.node, "/metrics", limit))
        except NodeError:
            return Done()

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._settings.port))
            except OSError as error:
                raise VllmError(
                    f"vLLM cannot use port {self._settings.port} of {HOST} ({error.strerror}): "
                    "stop what uses it or set another port (ORGRAPH_VLLM_PORT)"
                ) from None

    def _command(self, model_folder: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--host", HOST, "--port", str(self._settings.port)),
            *("--model", str(model_folder), "--served-model-name", MODEL, "--dtype", "bfloat16"),
            *("--max-model-len", str(self._settings.max_model_len), "--enforce-eager"),
        ]

    def _environment(self) -> dict[str, str]:
        # vLLM leaves its sockets and temporary files behind.
        scratch = tempfile.gettempdir() if self._scratch is None else self._scratch.name
        return os.environ | {
            "TMPDIR": scratch,
            "VLLM_API_KEY": self.api_key,  # not an argument: those are shown to every user of the machine
            "VLLM_CPU_KVCACHE_SPACE": str(self._settings.kv_space_gib),
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
