"""`orgraph ontology migrate`: a service on an older graph does not start, and what doesn't fit changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import neo4j as driver

from graph.neo4j_server import Neo4jServer
from tests.ontologies import hospital_versions
from tests.resilience.command import on, wipe


def ids(server: Neo4jServer) -> set[str]:
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        records, _, _ = connection.execute_query("MATCH (n:Entity) RETURN n.id AS id")
    return {record["id"] for record in records}


def test_a_graph_of_another_version_is_migrated_once_that_was_tried(
    tmp_path: Path, neo4j_server: Neo4jServer
) -> None:
    wipe(neo4j_server)
    data = tmp_path / "data"
    on(neo4j_server, data, hospital_versions.before(tmp_path / "before")).crawl()
    assert "ward:oncology" in ids(neo4j_server)

    forgetful = hospital_versions.MIGRATION.replace('drop_value = "nickname"', 'drop_value = "moniker"')
    sources = hospital_versions.after(tmp_path / "after", forgetful)
    orgraph = on(neo4j_server, data, sources)
    refused = orgraph.invoke("discover")
    assert refused.exit_code == 1
    assert "ontology 2.1.0 (this is 3.0.0)" in refused.output
    assert "orgraph ontology migrate" in refused.output

    misfit = orgraph.invoke("ontology", "migrate")
    assert misfit.exit_code == 1
    assert "nothing was changed" in misfit.output
    assert "nickname is not of the ontology: add a step for it" in misfit.output
    assert "ward:oncology" in ids(neo4j_server)
    assert not (data / "trial").exists()

    file = sources.parent / "ontology" / "migrations" / "3.0.0.toml"
    file.write_text(hospital_versions.MIGRATION, encoding="utf-8")
    done = orgraph.invoke("ontology", "migrate", "--json")
    assert done.exit_code == 0, done.output
    [told] = json.loads(done.stdout)
    assert told == {"module": "https://hospital.example/ontology", "from": "2.1.0", "to": "3.0.0"}
    assert "care_unit:oncology" in ids(neo4j_server)
    assert "ward:oncology" not in ids(neo4j_server)
    report = orgraph.crawl()["wards"]
    assert report["outcome"] == "complete"
    assert [scope["added"] + scope["changed"] + scope["retracted"] for scope in report["scopes"]] == [0]

    # A whole module goes once none of its facts are left, and not before.
    gone = on(neo4j_server, data, hospital_versions.removed(tmp_path / "removed"))
    early = gone.invoke("ontology", "migrate")
    assert early.exit_code == 1
    assert "https://hospital.example/ontology is not there, and facts of it are: " in early.output
    assert "CareUnit is not of the ontology" in early.output
    emptied = on(neo4j_server, data, hospital_versions.emptied(tmp_path / "emptied"))
    assert emptied.invoke("ontology", "migrate").exit_code == 0
    assert "orgraph ontology migrate" in gone.invoke("discover").output
    assert gone.invoke("ontology", "migrate").exit_code == 0
    assert not {id for id in ids(neo4j_server) if id.startswith(("care_unit:", "bed:"))}
    assert "person:matron" in ids(neo4j_server)
    gone.crawl()
