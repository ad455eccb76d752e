"""What is broken in a source is named; the rest of it stands, and nothing is lost or revoked for it."""

import re
from pathlib import Path

import pytest

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import Orgraph, copy_of_sample, edit, facts, on, visible, wipe


@pytest.fixture
def orgraph(tmp_path: Path, neo4j_server: Neo4jServer) -> Orgraph:
    wipe(neo4j_server)
    return on(neo4j_server, tmp_path / "data", copy_of_sample(tmp_path / "sample"))


def test_broken_files_are_named_and_take_nothing_away(orgraph: Orgraph, neo4j_server: Neo4jServer) -> None:
    assert {report["outcome"] for report in orgraph.crawl().values()} == {"complete"}
    stood, seen = facts(neo4j_server), visible(neo4j_server, orgraph.sources)
    assert len(seen["account:harborview/carlos.ibarra"]) > 100

    folder = orgraph.sources.parent
    edit(folder / "directory.ldif", "uid: carlos.ibarra\n", "this line is of no attribute\n")
    (folder / "policies" / "retention-policy.pdf").write_bytes(b"a letter, whatever its name says")
    quoting = folder / "processes" / "quoting.bpmn"
    flow = next(line for line in quoting.read_text().splitlines() if "<bpmn:sequenceFlow " in line)
    edit(quoting, flow, re.sub(r'targetRef="[^"]+"', 'targetRef="no-such-step"', flow))

    reports = orgraph.crawl()
    problems = {
        source: [problem for scope in report["scopes"] for problem in scope["problems"]]
        for source, report in reports.items()
    }
    assert "uid=carlos.ibarra" in str(problems["directory"])
    assert "retention-policy.pdf" in str(problems["policies"])
    assert "no-such-step" in str(problems["processes"])
    broken = {"directory", "policies", "processes"}
    assert {source for source, found in problems.items() if found} == broken
    assert {source for source, report in reports.items() if report["outcome"] == "partial"} == broken
    assert {report["outcome"] for source, report in reports.items() if source not in broken} == {"complete"}
    assert facts(neo4j_server) == stood
    assert visible(neo4j_server, orgraph.sources) == seen

    for_people = orgraph.invoke("discover", "policies")
    assert for_people.exit_code == 0
    assert "retention-policy.pdf" in for_people.stdout
