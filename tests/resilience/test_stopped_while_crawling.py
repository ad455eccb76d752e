"""The service stopped, and killed, in the middle of a crawl: nothing is retracted, and the next goes on."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import neo4j as driver
import pytest

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import Orgraph, copy_of_sample, edit, facts, on, visible, wipe
from tests.vllm_fixture import _free_port

pytestmark = pytest.mark.neo4j

DOCUMENTS = 300
PAGES_PER_SECOND = 40
"""So that there is a middle, whatever the machine."""


def test_a_crawl_goes_on_whatever_ended_the_service(tmp_path: Path, neo4j_server: Neo4jServer) -> None:
    """Stopped once, then killed while another process waits, which goes on: one graph, as of a crawl that
    nothing interrupted."""
    wipe(neo4j_server)
    sources = copy_of_sample(tmp_path / "sample")
    edit(sources, 'options = { path = "policies", glob = ["*.md", "*.pdf"], kind = "policy" }',
         f'pages_per_second = {PAGES_PER_SECOND}\n'
         'options = { path = "policies", glob = ["*.md", "*.pdf"], kind = "policy", mentions = false }')  # fmt: skip
    first, second = (
        on(neo4j_server, tmp_path / name, sources, ORGRAPH_PORT=str(_free_port())) for name in ("one", "two")
    )
    assert {report["outcome"] for report in first.crawl().values()} == {"complete"}
    seen, documents = visible(neo4j_server, sources), standing(neo4j_server)
    add_documents(sources.parent / "policies")
    query(neo4j_server, "MATCH (r:_Run {source: 'policies'}) SET r.ended = r.ended - duration('P1D')")

    def ended(process: subprocess.Popen[bytes], by: signal.Signals, code: int) -> None:
        """In the middle of its crawl, which has taken nothing away."""
        before = standing(neo4j_server)
        wait(first, lambda: standing(neo4j_server) > before)
        os.kill(process.pid, by)
        assert process.wait(60) == code, first.log.read_text()
        assert before < standing(neo4j_server) < documents + DOCUMENTS, "it was not in the middle"
        still = visible(neo4j_server, sources)
        assert all(still[account] >= ids for account, ids in seen.items())
        assert query(neo4j_server, "MATCH (v:_Version) RETURN count(v)") == [0]

    ended(first.start("serve"), signal.SIGTERM, 0)
    killed = first.start("serve")
    wait(first, lambda: leader(neo4j_server) != [])
    [led] = leader(neo4j_server)
    waiting = second.start("serve")
    try:
        ended(killed, signal.SIGKILL, -signal.SIGKILL)
        wait(second, lambda: query(neo4j_server, f"{LAST} RETURN r.outcome") == ["complete"])
        [leads] = leader(neo4j_server)
    finally:
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(60) == 0
    assert leads != led
    assert query(neo4j_server, f"{LAST} RETURN r.retracted + r.changed") == [0]
    assert query(neo4j_server, "MATCH (v:_Version) RETURN count(v)") == [0]
    whole = asserted(neo4j_server)

    wipe(neo4j_server)
    on(neo4j_server, tmp_path / "fresh", sources).crawl()
    assert whole == asserted(neo4j_server)


LAST = """MATCH (r:_Run {source: 'policies'}) WHERE r.ended > datetime() - duration('PT1H')
          WITH r ORDER BY r.ended DESC LIMIT 1"""


def add_documents(folder: Path) -> None:
    for number in range(DOCUMENTS):
        text = f"# Binder {number}\n\nKept for {number} years.\n\n## Where\n\nOn shelf {number}.\n"
        (folder / f"binder-{number:03}.md").write_text(text)


def query(server: Neo4jServer, text: str) -> list[object]:
    """The first column."""
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        return [record[0] for record in connection.execute_query(text).records]


def standing(server: Neo4jServer) -> int:
    return len(query(server, "MATCH (d:Policy) RETURN d.id"))


def leader(server: Neo4jServer) -> list[object]:
    return query(server, "MATCH (l:_Leader) WHERE l.until > datetime() RETURN l.holder")


def asserted(server: Neo4jServer) -> dict[str, list[object]]:
    """Without what a service infers beside its crawls."""
    found = facts(server)
    return {kind: [row for row in rows if "derivations" not in str(row)] for kind, rows in found.items()}


def wait(orgraph: Orgraph, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, orgraph.log.read_text()[-4000:]
        time.sleep(0.1)
