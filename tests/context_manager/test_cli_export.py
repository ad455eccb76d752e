"""`orgraph export` writes what a person may see, and says so when that is nothing."""

import asyncio
from pathlib import Path

import pytest
from click.testing import Result
from rdflib import RDF, Graph, URIRef
from typer.testing import CliRunner

from context_manager.cli import app
from discovery.configuration import all_sources
from discovery.runner import Runner
from discovery.sources import load_organization
from graph.database import Database
from graph.neo4j_server import Neo4jServer
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

SOURCES = Path(__file__).parents[1] / "ontologies" / "hospital" / "sources.toml"


@pytest.fixture
async def hospital(
    neo4j: Database, neo4j_server: Neo4jServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crawled into a Neo4j that the settings name."""
    organization = load_organization(SOURCES)
    added = organization.ontology_files()
    runner = Runner(organization, FactStore(neo4j, load_shapes(added), load_authorization(added)), neo4j)
    for source in all_sources(organization):
        await runner.run(source)
    user, password = neo4j_server.auth
    (tmp_path / "password").write_text(password)
    for name, value in {
        "SOURCES": SOURCES,
        "DATA_FOLDER": tmp_path / "data",
        "NEO4J_URI": neo4j_server.uri,
        "NEO4J_USER": user,
        "NEO4J_PASSWORD_FILE": tmp_path / "password",
    }.items():
        monkeypatch.setenv(f"ORGRAPH_{name}", str(value))


async def export(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["export", *arguments])


async def test_a_person_s_part_is_written_with_the_organization_s_own_terms(
    hospital: None, tmp_path: Path
) -> None:
    path = tmp_path / "nurse.nt"
    result = await export("--as", "nurse", "--format", "nt", "--output", str(path))
    assert result.exit_code == 0, result.output
    graph = Graph().parse(path, format="nt")
    ward = URIRef("https://hospital.example/ontology#Ward")
    assert list(graph.subjects(RDF.type, ward)) == [URIRef("urn:orgraph:entity:ward:cardiology")]
    result = await export("--as", "matron")
    assert "<https://hospital.example/ontology#Bed>" in result.stdout


async def test_who_sees_nothing_is_told(hospital: None) -> None:
    result = await export("--as", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nobody sees nothing" in result.stderr


async def test_a_place_that_cannot_be_written_is_named(hospital: None, tmp_path: Path) -> None:
    result = await export("--as", "nurse", "--output", str(tmp_path / "missing" / "file"))
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    assert "No such file or directory" in result.stderr
