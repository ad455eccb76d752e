"""A graph that came back from a backup may know grants that were revoked since: it grants nothing by itself."""

import json
from pathlib import Path

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import copy_of_sample, on, visible, wipe


def test_a_restored_graph_grants_nothing_until_it_was_crawled_again(
    tmp_path: Path, neo4j_server: Neo4jServer
) -> None:
    wipe(neo4j_server)
    orgraph = on(neo4j_server, tmp_path / "data", copy_of_sample(tmp_path / "sample"))
    orgraph.crawl("configuration")
    orgraph.crawl("directory")
    before = visible(neo4j_server, orgraph.sources)
    assert any(before.values())

    result = orgraph.invoke("restored")
    assert "suspended" in result.stdout, result.output
    assert not any(visible(neo4j_server, orgraph.sources).values())
    orgraph.crawl("directory")
    assert visible(neo4j_server, orgraph.sources) == before

    # The witness in the data folder knows of a later revision than the graph does.
    witness = orgraph.data / "graph.json"
    left = json.loads(witness.read_text())
    witness.write_text(json.dumps(left | {"revision": left["revision"] + 10}))
    result = orgraph.invoke("discover", "configuration")
    assert result.exit_code == 0, result.output
    assert not any(visible(neo4j_server, orgraph.sources).values())
    assert json.loads(witness.read_text())["revision"] > left["revision"] + 10
