"""The embedded Neo4j says why it cannot start, dies with us, and loses nothing when it is killed."""

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graph import neo4j_server
from graph.database import connect
from graph.feed import current_revision
from graph.neo4j_jars import JarError, Pin, fetch_jars, read_pins
from graph.neo4j_server import Neo4jServer, Neo4jStartError, start
from tests.graph.batches import crawl_batches, store_of, whole_batches

pytestmark = pytest.mark.neo4j

ROOT = Path(__file__).resolve().parents[2]


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Neo4jStartError, match=rf"port {port} .*in use.*ORGRAPH_NEO4J_PORT"):
            start(tmp_path, port=port)


def test_a_folder_made_by_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "neo4j").mkdir()
    (tmp_path / "neo4j" / "orgraph-version").write_text("2031.01.0")
    with pytest.raises(Neo4jStartError, match=r"made by Neo4j 2031\.01\.0"):
        start(tmp_path)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neo4j_server, "_DISK_BYTES", 2**62)
    with pytest.raises(Neo4jStartError, match="MiB free"):
        start(tmp_path)


def test_when_java_ends_its_last_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neo4j_server, "_JAVA_OPTIONS", ("-Xmx1m",))
    with pytest.raises(Neo4jStartError, match=r"(?s)ended with exit code 1.*Too small maximum heap"):
        start(tmp_path)


def test_data_without_its_password_is_refused(tmp_path: Path) -> None:
    (tmp_path / "neo4j" / "data" / "databases" / "system").mkdir(parents=True)
    with pytest.raises(Neo4jStartError, match="password is missing"):
        start(tmp_path)


def test_a_jar_that_is_not_the_pinned_one_is_fetched_again_and_then_refused(tmp_path: Path) -> None:
    pin = next(pin for pin in read_pins() if pin.coordinates.startswith("org.slf4j:slf4j-api:"))
    said: list[str] = []
    [jar] = fetch_jars(said.append, (pin,), tmp_path)
    assert "1 of 1 jars fetched and verified" in said.pop()
    fetch_jars(said.append, (pin,), tmp_path)
    assert said == [], "the second start fetches nothing"
    jar.write_bytes(b"half a download")
    [jar] = fetch_jars(said.append, (pin,), tmp_path)
    assert hashlib.sha256(jar.read_bytes()).hexdigest() == pin.sha256
    with pytest.raises(JarError, match=rf"slf4j-api:.* has SHA-256 {pin.sha256}, expected 0000"):
        fetch_jars(print, (Pin(pin.coordinates, "0" * 64),), tmp_path)
    assert not jar.exists()


def test_it_dies_with_its_parent_and_keeps_its_folder_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from graph.neo4j_server import start\n"
        "print(start(Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert parent.stdout is not None
    java = int(parent.stdout.readline())
    assert (tmp_path / "neo4j" / "password").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(neo4j_server, "_LOCK_SECONDS", 0.1)
    with pytest.raises(Neo4jStartError, match="in use by another running Neo4j"):
        start(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(1000):
        if not _running(java):
            return
        time.sleep(0.05)
    raise AssertionError("Java outlived its parent")


def _running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def test_killed_in_the_middle_of_a_batch_nothing_is_half_written_and_the_crawl_goes_on(
    tmp_path: Path,
) -> None:
    server = await asyncio.to_thread(start, tmp_path)
    async with connect(server.uri, server.auth) as database:
        await database.ensure_schema()
        store = await store_of(database)
        crawling = asyncio.create_task(crawl_batches(store, 200))
        while await current_revision(database) < 4:
            assert not crawling.done()
        os.kill(server.pid, signal.SIGKILL)
        crawling.cancel()
        await asyncio.gather(crawling, return_exceptions=True)
    assert await asyncio.to_thread(server.process.stop) == 128 + signal.SIGKILL
    restarted: Neo4jServer = await asyncio.to_thread(start, tmp_path)
    try:
        async with connect(restarted.uri, restarted.auth) as database:
            written = await whole_batches(database)
            assert 3 <= written < 200
            await crawl_batches(await store_of(database), written + 1)
            assert await whole_batches(database) == written + 1
    finally:
        await asyncio.to_thread(restarted.stop)
