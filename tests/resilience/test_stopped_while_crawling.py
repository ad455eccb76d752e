"""The service stopped, and killed, in the middle of a crawl: nothing is retracted, and the next goes on."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import neo4j as driver
import pytest

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import Orgraph, copy_of_sample, edit, facts, on, visible, wipe

pytestmark = [pytest.mark.neo4j, pytest.mark.xdist_group("neo4j")]

DOCUMENTS = 300
PAGES_PER_SECOND = 40
"""So that there is a middle, whatever the machine."""


def test_a_crawl_goes_on_whatever_ended_the_service(
    tmp_path: Path, neo4j_server: Neo4jServer, free_port: int
) -> None:
    """Stopped once, then killed, then left alone: one graph, as of a crawl that nothing interrupted."""
    wipe(neo4j_server)
    sources = copy_of_sample(tmp_path / "sample")
    edit(sources, 'options = { path = "policies", glob = ["*.md", "*.pdf"], kind = "policy" }',
         f'pages_per_second = {PAGES_PER_SECOND}\n'
         'options = { path = "policies", glob = ["*.md", "*.pdf"], kind = "policy", mentions = false }')  # fmt: skip
    orgraph = on(neo4j_server, tmp_path / "data", sources, ORGRAPH_PORT=str(free_port))
    assert {report["outcome"] for report in orgraph.crawl().values()} == {"complete"}
    seen = visible(neo4j_server, sources)
    add_documents(sources.parent / "policies")
    query(neo4j_server, "MATCH (r:_Run {source: 'policies'}) SET r.ended = r.ended - duration('P1D')")

    at = [standing(neo4j_server)]
    for ended_by, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
        before = at[-1]
        process = orgraph.start("serve")
        wait(orgraph, lambda before=before: standing(neo4j_server) > before)
        os.kill(process.pid, ended_by)
        assert process.wait(60) == code, orgraph.log.read_text()
        at.append(standing(neo4j_server))
        assert before < at[-1] < at[0] + DOCUMENTS, "it was not in the middle"
        still = visible(neo4j_server, sources)
        assert all(still[account] >= ids for account, ids in seen.items())
        assert query(neo4j_server, "MATCH (v:_Version) RETURN count(v)") == [0]

    process = orgraph.start("serve")
    try:
        wait(orgraph, lambda: query(neo4j_server, f"{LAST} RETURN r.outcome") == ["complete"])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert query(neo4j_server, f"{LAST} RETURN r.retracted") == [0]
    assert query(neo4j_server, f"{LAST} RETURN r.changed") == [0]
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


def asserted(server: Neo4jServer) -> dict[str, list[object]]:
    """Without what a service infers beside its crawls."""
    found = facts(server)
    return {kind: [row for row in rows if "derivations" not in str(row)] for kind, rows in found.items()}


def wait(orgraph: Orgraph, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, orgraph.log.read_text()[-4000:]
        time.sleep(0.1)
