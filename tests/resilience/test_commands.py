"""Every command says what it has to say, to people and to programs, and ends with the code that tells."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import SAMPLE, Orgraph, on


@pytest.fixture
def orgraph(tmp_path: Path) -> Orgraph:
    return Orgraph(tmp_path / "data", SAMPLE / "sources.toml", {"ORGRAPH_VLLM": "false"})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_status_tells_each_setting_with_its_origin_and_that_nothing_runs(orgraph: Orgraph) -> None:
    told = json.loads(orgraph.invoke("status", "--json").stdout)
    settings = {one["name"]: (one["value"], one["origin"]) for one in told["settings"]}
    assert settings["data_folder"] == (str(orgraph.data), "environment ORGRAPH_DATA_FOLDER")
    assert settings["port"] == ("8080", "default")
    assert told["service"] is None
    for_people = orgraph.invoke("status")
    assert for_people.exit_code == 0
    assert "No service runs" in for_people.stdout


def test_a_token_is_for_the_person_or_for_the_administrator(orgraph: Orgraph) -> None:
    def subject(*arguments: str) -> str:
        result = orgraph.invoke("token", *arguments)
        assert result.exit_code == 0, result.output
        claims = jwt.decode(result.stdout.strip(), options={"verify_signature": False})
        return str(claims["sub"])

    assert subject("priya.raman") == "priya.raman"
    assert subject("--admin") == "amara.okafor"
    for wrong in ((), ("priya.raman", "--admin")):
        result = orgraph.invoke("token", *wrong)
        assert result.exit_code == 1
        assert "name a person, or say --admin" in result.stderr


def test_an_unknown_source_is_refused_with_the_known_ones_before_anything_starts(orgraph: Orgraph) -> None:
    result = orgraph.invoke("discover", "nosuch", "--json")
    assert result.exit_code == 1
    assert "no source is named 'nosuch'; the configured ones are: configuration, directory," in result.stderr
    assert not result.stdout
    assert not (orgraph.data / "neo4j").exists()


def test_a_database_that_a_neo4j_by_its_address_does_not_have_is_named(
    orgraph: Orgraph, neo4j_server: Neo4jServer
) -> None:
    existing = on(neo4j_server, orgraph.data, orgraph.sources, ORGRAPH_NEO4J_DATABASE="nosuch")
    result = existing.invoke("discover")
    assert result.exit_code == 1
    assert "the database 'nosuch' of the Neo4j at bolt://" in result.output
    assert "name another database or user" in result.output


def test_asking_where_nothing_serves_says_how_to_start_it(orgraph: Orgraph, free_port: int) -> None:
    elsewhere = Orgraph(orgraph.data, orgraph.sources, {"ORGRAPH_PORT": str(free_port)})
    result = elsewhere.invoke("ask", "Who leads Engineering?", "--as", "priya.raman", "--json")
    assert result.exit_code == 1
    assert f"no Orgraph answers at http://127.0.0.1:{free_port}" in result.stderr
    assert "orgraph serve" in result.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ORGRAPH_NOSUCH": "1"}, "there is no setting ORGRAPH_NOSUCH"),
        ({"ORGRAPH_PORT": "many"}, "environment ORGRAPH_PORT: port: "),
        ({"ORGRAPH_SOURCES": "/no/such[/]/sources.toml"}, "/no/such[/]/sources.toml: there is no such file"),
        ({"ORGRAPH_ASK_DEADLINE": "0"}, "environment ORGRAPH_ASK_DEADLINE: ask_deadline: "),
        ({"ORGRAPH_RAY_ADDRESS": "ray://x:1"}, "environment ORGRAPH_RAY_ADDRESS: ray_address: "),
    ],
)
def test_a_wrong_setting_is_named_on_one_line(orgraph: Orgraph, settings: dict, says: str) -> None:
    result = Orgraph(orgraph.data, orgraph.sources, settings).invoke("token", "--admin")
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_taken_http_port_is_named_with_its_setting_before_anything_starts(
    orgraph: Orgraph, command: str, taken_port: int
) -> None:
    result = Orgraph(orgraph.data, orgraph.sources, {"ORGRAPH_PORT": str(taken_port)}).invoke(command)
    assert result.exit_code == 1
    assert f"port {taken_port} of 127.0.0.1 cannot be used" in result.stderr
    assert "ORGRAPH_PORT" in result.stderr
    assert "Traceback" not in result.output
    assert not (orgraph.data / "neo4j").exists()


@pytest.mark.parametrize("command", ["serve", "demo", "discover"])
def test_a_taken_neo4j_port_is_named_with_its_setting(
    orgraph: Orgraph, command: str, taken_port: int, free_port: int
) -> None:
    settings = {
        "ORGRAPH_NEO4J_PORT": str(taken_port),
        "ORGRAPH_PORT": str(free_port),
        "ORGRAPH_VLLM": "false",
    }
    result = Orgraph(orgraph.data, orgraph.sources, settings).invoke(command)
    assert result.exit_code == 1
    assert f"Bolt port {taken_port} on 127.0.0.1 cannot be used" in result.stderr
    assert "ORGRAPH_NEO4J_PORT" in result.stderr
    assert "Traceback" not in result.output
    assert not (orgraph.data / "running.json").exists()
