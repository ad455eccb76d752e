"""However the service ends, its children end with it; the next start finds its data and what changed since."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import neo4j as driver
import pytest

from tests.resilience.command import Orgraph, copy_of_sample, descendants, edit, wait_until_gone
from tests.service_process import START_SECONDS, Served
from tests.vllm_fixture import MODEL_CACHE, _free_port

pytestmark = pytest.mark.neo4j

READS = "carlos.ibarra"
"""Sees the data catalog as a member of the group engineering alone."""


def test_one_start_after_the_other(tmp_path: Path, free_port: int) -> None:
    """Interrupted while starting, then killed while serving, then stopped: each start finds what was there."""
    sources, data = copy_of_sample(tmp_path / "sample"), tmp_path / "data"
    text = sources.read_text()
    sources.write_text(re.sub(r'every = "\w+"', 'every = "1s"', text))
    orgraph = Orgraph(data, sources, {"ORGRAPH_PORT": str(free_port), "ORGRAPH_VLLM": "false"})

    interrupted = orgraph.start("serve")
    _wait_for(interrupted, "org.neo4j")
    _end(interrupted, signal.SIGINT, 0)
    assert "Stopping" in orgraph.log.read_text()
    assert not (data / "running.json").exists()

    with _serving(orgraph) as service:
        first = _revisions(service)
        assert _tables(service) > 0
        _end(service.process, signal.SIGKILL, -signal.SIGKILL)
    assert json.loads(orgraph.invoke("status", "--json").stdout)["service"] is None

    with _serving(orgraph) as service:
        assert _revisions(service) == first, "nothing has changed"
        assert not re.search(r"fetched|convert|embedding what is new: \d", orgraph.log.read_text())
        _end(service.process, signal.SIGINT, 0)

    edit(
        sources.parent / "directory.ldif",
        "member: uid=carlos.ibarra,ou=People,dc=harborview,dc=example\nmember: uid=wendy.lockhart",
        "member: uid=wendy.lockhart",
    )
    with _serving(orgraph) as service:
        assert _tables(service) == 0, "the first read still had the grant that was taken out meanwhile"
        _end(service.process, signal.SIGTERM, 0)


@pytest.mark.model
def test_a_start_that_is_interrupted_leaves_no_engine(tmp_path: Path, free_port: int) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM: install the extra `cpu` (`cuda` for NVIDIA)")
    sources, data = copy_of_sample(tmp_path / "sample"), tmp_path / "data"
    data.mkdir()
    MODEL_CACHE.mkdir(parents=True, exist_ok=True)
    (data / "models").symlink_to(MODEL_CACHE)
    settings = {"ORGRAPH_PORT": str(free_port), "ORGRAPH_VLLM_PORT": str(_free_port())}
    interrupted = Orgraph(data, sources, settings).start("serve")
    _wait_for(interrupted, "vllm.entrypoints")
    _end(interrupted, signal.SIGINT, 0)


@contextmanager
def _serving(orgraph: Orgraph) -> Iterator[Served]:
    process = orgraph.start("serve")
    service = Served(
        f"http://127.0.0.1:{orgraph.settings['ORGRAPH_PORT']}", orgraph.data, process, orgraph.log
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, orgraph.log.read_text()[-4000:]
            assert time.monotonic() < deadline, orgraph.log.read_text()[-4000:]
            try:
                service.get("/health/live")
                break
            except OSError:
                time.sleep(0.2)
        yield service
    finally:
        process.kill()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], command: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not any(command in line for line in descendants(process.pid).values()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes], number: signal.Signals, code: int) -> None:
    """It ends by the signal with the exit code, and no child outlives it."""
    children = descendants(process.pid)
    assert any("org.neo4j" in line for line in children.values())
    os.kill(process.pid, number)
    assert process.wait(120) == code
    wait_until_gone(children)


def _revisions(service: Served) -> int:
    """Of the Neo4j that the service has started."""
    uri = json.loads((service.data / "running.json").read_text())["neo4j_uri"]
    password = (service.data / "neo4j" / "password").read_text().strip()
    with driver.GraphDatabase.driver(uri, auth=("neo4j", password)) as connection:
        [record] = connection.execute_query("MATCH (meta:_Meta) RETURN meta.revision").records
    return int(record[0])


def _tables(service: Served) -> int:
    """How many tables the engineer sees."""
    answer = service.query(READS, '{ entities(className: "Table") { totalCount } }')
    return int(answer["data"]["entities"]["totalCount"])
