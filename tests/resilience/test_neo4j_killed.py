"""Neo4j killed in the middle of a crawl: the command says so, and the next crawl goes on from there."""

import os
import signal
import time
from pathlib import Path

import neo4j as driver
import pytest
from neo4j.exceptions import DriverError, Neo4jError

from graph.neo4j_server import Neo4jServer, start
from tests.resilience.command import (
    Orgraph,
    copy_of_sample,
    descendants,
    facts,
    on,
    visible,
    wait_until_gone,
    wipe,
)

pytestmark = pytest.mark.neo4j

DOCUMENTS = 160
"""New ones, which make several batches."""


def test_a_crawl_whose_neo4j_is_killed_revokes_nothing_and_goes_on(
    tmp_path: Path, neo4j_server: Neo4jServer, free_port: int
) -> None:
    sources, data = copy_of_sample(tmp_path / "sample"), tmp_path / "data"
    server = start(data)
    try:
        on(server, tmp_path / "client", sources).crawl()
        seen, before = visible(server, sources), _revisions(server)
    finally:
        server.stop()
    _add_documents(sources.parent / "policies")

    settings = {"ORGRAPH_NEO4J_PORT": str(free_port), "ORGRAPH_VLLM": "false"}
    killed = Orgraph(data, sources, settings)
    process = killed.start("discover", "policies")
    at = Neo4jServer(f"bolt://127.0.0.1:{free_port}", server.auth, server.home, server.process)
    _wait_for_revision(at, before + 1)
    children = descendants(process.pid)
    java = next(pid for pid, line in children.items() if line.split(" ")[0].endswith("/java"))
    os.kill(java, signal.SIGKILL)
    assert process.wait(60) == 1
    said = killed.log.read_text()
    assert "neo4j was killed" in said
    assert "What was committed is kept: start again" in said
    assert "Traceback" not in said
    wait_until_gone(children)

    server = start(data)
    try:
        part = visible(server, sources)
        assert all(part[account] >= ids for account, ids in seen.items())
        documents = _documents(server)
        assert 0 < len(documents) < DOCUMENTS, "it was not killed in the middle"
        assert _revisions(server) == _recorded_revisions(server)
        reports = on(server, tmp_path / "client", sources).crawl("policies")
        assert reports["policies"]["outcome"] == "complete"
        whole = facts(server)
    finally:
        server.stop()

    wipe(neo4j_server)
    on(neo4j_server, tmp_path / "fresh", sources).crawl()
    assert whole == facts(neo4j_server)


def _add_documents(folder: Path) -> None:
    for number in range(DOCUMENTS):
        text = "\n\n".join(
            f"## Part {part}\n\nBinder {number}-{part} is kept by Fiona Tennant for {part} years."
            for part in range(1, 4)
        )
        (folder / f"binder-{number:03}.md").write_text(f"# Binder {number}\n\n{text}\n")


def _query(server: Neo4jServer, text: str) -> list[driver.Record]:
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        return connection.execute_query(text).records


def _revisions(server: Neo4jServer) -> int:
    return int(_query(server, "MATCH (m:_Meta) RETURN m.revision")[0][0])


def _recorded_revisions(server: Neo4jServer) -> int:
    """How many stand without a gap, each with its changes."""
    found = _query(
        server,
        """MATCH (r:_Revision) WHERE EXISTS { (:_Change {revision: r.number}) }
           RETURN r.number AS number ORDER BY number""",
    )
    numbers = [record["number"] for record in found]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


def _documents(server: Neo4jServer) -> list[str]:
    query = "MATCH (d:Policy) WHERE d.name STARTS WITH 'Binder' RETURN d.id"
    return [record[0] for record in _query(server, query)]


def _wait_for_revision(server: Neo4jServer, revision: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if _revisions(server) >= revision:
                return
        except (DriverError, Neo4jError):
            time.sleep(0.2)  # it is not up yet
    raise AssertionError(f"revision {revision} did not come")
