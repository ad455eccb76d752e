"""The service as people start it: a process of its own, asked over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_manager.identity import LocalIssuer
from tests.vllm_fixture import _free_port

START_SECONDS = 1800
"""Embedding a whole handbook on two cores takes minutes; a service that fails ends sooner by itself."""
_READY = "Ctrl-C stops"
"""What either command prints last."""


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path

    def token(self, person: str, agent: str | None = None, lifetime: int = 600) -> str:
        return LocalIssuer(self.data / "keys").mint(person, "orgraph", agent, lifetime)

    def post(self, token: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._send(urllib.request.Request(f"{self.url}/graphql", body, headers))

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return self._send(urllib.request.Request(self.url + path))

    def query(self, person: str, text: str, /, **variables: Any) -> dict[str, Any]:
        """The whole GraphQL response."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        status, answer = self.post(self.token(person), body)
        assert status == 200, answer
        return answer

    def ask(self, person: str, question: str) -> dict[str, Any]:
        answer = self.query(
            person,
            """query ($q: String!) { ask(question: $q) { id outcome text node model notes
                 facts { id statement title entities sources } placement { node permitted up reasons } } }""",
            q=question,
        )
        assert "errors" not in answer, answer
        asked: dict[str, Any] = answer["data"]["ask"]
        return asked

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.data / "audit.jsonl").read_text().splitlines()]

    @staticmethod
    def _send(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@contextmanager
def served(data: Path, sources: Path, command: str = "serve", **settings: str) -> Iterator[Served]:
    """`orgraph serve`, or `demo`, until the block ends; fails with its log when it does not become ready."""
    port, log = _free_port(), data / "serve.log"
    data.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORGRAPH_")}
    environment |= {"ORGRAPH_DATA_FOLDER": str(data), "ORGRAPH_SOURCES": str(sources)}
    environment |= {"ORGRAPH_PORT": str(port)} | settings
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "orgraph", command],
            env=environment,
            cwd=data,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    service = Served(f"http://127.0.0.1:{port}", data, process, log)
    try:
        _wait(service)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def questions(path: Path) -> list[dict[str, Any]]:
    """The questions of a TOML file, each with what is expected."""
    listed: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    return listed


def _wait(service: Served) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise AssertionError(f"orgraph ended:\n{service.log.read_text()[-4000:]}")
        if _READY in service.log.read_text():
            return
        time.sleep(0.5)
    raise AssertionError(f"orgraph did not start in {START_SECONDS} s:\n{service.log.read_text()[-4000:]}")
