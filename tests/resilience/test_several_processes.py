"""`orgraph serve` twice on one Neo4j: what one takes away is gone at the other, and one of them leads."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import neo4j as driver
import pytest

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import Orgraph, copy_of_sample, on, wipe
from tests.service_process import START_SECONDS, Served
from tests.vllm_fixture import _free_port

pytestmark = pytest.mark.neo4j


@contextmanager
def started(orgraph: Orgraph) -> Iterator[Served]:
    process = orgraph.start("serve")
    url = f"http://127.0.0.1:{orgraph.settings['ORGRAPH_PORT']}"
    try:
        yield Served(url, orgraph.data, process, orgraph.log)
    finally:
        process.kill()
        process.wait()


def wait_until_it_answers(service: Served) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert service.process.poll() is None, service.log.read_text()[-4000:]
        assert time.monotonic() < deadline, service.log.read_text()[-4000:]
        try:
            service.get("/health/live")
        except OSError:
            time.sleep(0.2)
        else:
            return


def tables(service: Served) -> int:
    """How many tables an engineer sees."""
    answer = service.query("carlos.ibarra", '{ entities(className: "Table") { totalCount } }')
    return int(answer["data"]["entities"]["totalCount"])


def query(server: Neo4jServer, text: str) -> list[driver.Record]:
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        return connection.execute_query(text).records


def leader(server: Neo4jServer) -> str | None:
    found = query(server, "MATCH (l:_Leader) WHERE l.until > datetime() RETURN l.holder")
    return found[0][0] if found else None


def decide(orgraph: Orgraph, *arguments: str) -> None:
    said = orgraph.invoke(*arguments, "--reason", "audit", "--as", "amara.okafor")
    assert said.exit_code == 0, said.output


def test_two_serve_one_graph(tmp_path: Path, neo4j_server: Neo4jServer) -> None:
    wipe(neo4j_server)
    sources = copy_of_sample(tmp_path / "sample")
    first, second = (
        on(neo4j_server, tmp_path / name, sources, ORGRAPH_PORT=str(_free_port())) for name in ("one", "two")
    )
    with started(first) as one:
        wait_until_it_answers(one)
        leads = leader(neo4j_server)
        runs = query(neo4j_server, "MATCH (r:_Run) RETURN count(r)")[0][0]
        with started(second) as two:
            wait_until_it_answers(two)
            assert query(neo4j_server, "MATCH (r:_Run) RETURN count(r)")[0][0] == runs, "both have crawled"
            assert leader(neo4j_server) == leads
            assert tables(one) == tables(two) > 0

            decide(second, "deny", "group:engineering", "data-catalog")
            assert tables(one) == tables(two) == 0

            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
            deadline = time.monotonic() + 60
            while leader(neo4j_server) in (None, leads):
                assert time.monotonic() < deadline, "nobody took over"
                time.sleep(0.2)
            assert tables(two) == 0
            two.process.send_signal(signal.SIGTERM)
            assert two.process.wait(60) == 0
            assert (two.data / "visibility.index").is_file()
            assert query(neo4j_server, "MATCH (l:_Leader) RETURN l.holder")[0][0] is None
