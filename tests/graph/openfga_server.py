"""A real OpenFGA server for tests: the binary that `OPENFGA` names or the PATH has, over its HTTP API."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from graph.rebac.relation_tuples import TupleKey
from ontologies.authorization_model import AuthorizationModel, to_json


def binary() -> str | None:
    return shutil.which(os.environ.get("OPENFGA", "openfga"))


@dataclass(frozen=True)
class OpenFga:
    """The server's API; what it refuses is its error code."""

    address: str

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)["code"]

    def store(self, model: AuthorizationModel, tuples: Sequence[TupleKey]) -> str | None:
        """The path of a new store; None where the server refuses the model."""
        path = self.write_model(to_json(model))
        for first in range(0, len(tuples) if path else 0, 100):
            keys = list(map(as_json, tuples[first : first + 100]))
            assert self.post(f"{path}/write", {"writes": {"tuple_keys": keys}}) == {}
        return path

    def write_model(self, document: Mapping[str, Any]) -> str | None:
        """The path of a new store with the model; None where the server refuses it."""
        path = f"/stores/{self.post('/stores', {'name': 'test'})['id']}"
        written = self.post(f"{path}/authorization-models", document)
        return None if written == "invalid_authorization_model" else path


def as_json(key: TupleKey) -> dict[str, Any]:
    document: dict[str, Any] = {"user": key.user, "relation": key.relation, "object": key.object}
    if key.condition:
        document["condition"] = {"name": key.condition, "context": dict(key.context)}
    return document


@contextmanager
def running(command: str) -> Iterator[OpenFga]:
    ports = [_free_port(), _free_port()]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    arguments = ["run", "--http-addr", addresses[0], "--grpc-addr", addresses[1]]
    arguments += ["--playground-enabled=false", "--metrics-enabled=false", "--log-level", "none"]
    process = subprocess.Popen([command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_healthy(f"http://{addresses[0]}/healthz", process)
        yield OpenFga(f"http://{addresses[0]}")
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "openfga ended before it served"
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("openfga does not serve")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
