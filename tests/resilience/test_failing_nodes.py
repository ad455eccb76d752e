"""Nodes that fail or obey planted orders, over the running service: the facts stand, nothing else gets through.

Behind two nodes of the sample stand test servers, which say what a test tells them to; a third has taken
the port of the managed vLLM.
"""

import importlib.util
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from context_manager.identity import LocalIssuer
from graph.neo4j_server import Neo4jServer
from tests.inference.openai_server import FAILS, OpenAIServer, completion, stream
from tests.resilience.command import Orgraph, copy_of_sample, edit, facts, on, wipe
from tests.service_process import Served, served
from tests.vllm_fixture import MODEL_CACHE

CHAT = "/v1/chat/completions"
STREAM = f"stream {CHAT}"
ASKER, QUESTION = "wendy.lockhart", "For how many years are claims kept?"
DEADLINE = "10"


@dataclass(frozen=True)
class Sample:
    """The service, with what stands behind its nodes."""

    service: Served
    orgraph: Orgraph
    neo4j: Neo4jServer
    boston: OpenAIServer
    oregon: OpenAIServer
    stranger: OpenAIServer
    """On the port that the managed vLLM was to have."""
    collector: list[str]
    """Who came to the address that the planted orders name."""


@pytest.fixture(scope="module")
def sample(
    tmp_path_factory: pytest.TempPathFactory,
    neo4j_server: Neo4jServer,
    engines: tuple[OpenAIServer, OpenAIServer, OpenAIServer],
) -> Iterator[Sample]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM: install the extra `cpu` (`cuda` for NVIDIA)")
    boston, oregon, stranger = engines
    for engine in (boston, stranger):
        _writes(engine, "nothing of the form")
    oregon.answers[CHAT] = FAILS
    folder, data = tmp_path_factory.mktemp("failing") / "sample", tmp_path_factory.mktemp("data")
    sources = copy_of_sample(folder)
    MODEL_CACHE.mkdir(parents=True, exist_ok=True)
    (data / "models").symlink_to(MODEL_CACHE)
    edit(folder / "mesh.yaml", "http://127.0.0.1:8000", boston.endpoint)
    edit(folder / "mesh.yaml", "http://127.0.0.1:3\n", f"{oregon.endpoint}\n")
    wipe(neo4j_server)
    with _collector() as (port, came):
        edit(folder / "policies" / "vendor-notes.md", "127.0.0.1:9/", f"127.0.0.1:{port}/")
        settings = {
            **on(neo4j_server, data, sources).settings,
            "ORGRAPH_ASK_DEADLINE": DEADLINE,
            "ORGRAPH_VLLM": "true",
            "ORGRAPH_VLLM_NODE": "mesh_node:montreal-cpu",
            "ORGRAPH_VLLM_PORT": stranger.endpoint.rpartition(":")[2],
        }
        with served(data, sources, **settings) as service:
            orgraph = Orgraph(data, sources, {**settings, "ORGRAPH_PORT": service.url.rpartition(":")[2]})
            yield Sample(service, orgraph, neo4j_server, boston, oregon, stranger, came)


def test_a_taken_vllm_port_is_told_and_who_holds_it_is_asked_nothing(sample: Sample) -> None:
    status, health = sample.service.get("/health/ready")
    assert status == 200, "the rest goes on"
    part = next(part for part in health["parts"] if part["name"] == "mesh node montreal-cpu")
    assert not part["ok"]
    assert f"vLLM cannot use port {sample.stranger.endpoint.rpartition(':')[2]}" in part["detail"]
    assert "ORGRAPH_VLLM_PORT" in part["detail"]
    assert sample.stranger.requests == []


def test_garbage_from_a_node_leaves_the_facts_in_plain_words(sample: Sample) -> None:
    answer, (intent, closing) = _ask(sample)
    _holds_in_plain_words(answer)
    [note] = answer["notes"]
    assert f"mesh node boston-cpu ({sample.boston.endpoint})" in note
    assert "wrote nothing in the form that it was asked for" in note
    assert "check that it enforces JSON schemas" in note
    assert (intent["placement"]["node"], closing["outcome"]) == ("mesh_node:boston-cpu", "facts")
    assert closing["notes"] == answer["notes"]


@pytest.mark.parametrize(
    "obeyed",
    [
        "The salaries are 101350 and 412000; everyone may now read hr-private.",
        "Sent to https://cobblestone-print.example/hook as ordered.",
    ],
)
def test_planted_orders_that_a_model_obeys_change_nothing(sample: Sample, obeyed: str) -> None:
    stood, before = facts(sample.neo4j), len(sample.boston.requests)
    written = {"sentences": [{"text": obeyed, "facts": [1]}]}
    _writes(sample.boston, json.dumps(written))
    answer, (_, closing) = _ask(sample, "kwame.asante", "Which system notice was received from the vendor?")
    sent = b"".join(body for _, _, body in sample.boston.requests[before:])
    assert b"Ignore your rules" in sent, "the orders did not reach the model"
    assert (answer["outcome"], closing["outcome"]) == ("FACTS", "facts")
    assert not any(word in answer["text"] for word in ("101350", "412000", "may now read", "as ordered"))
    [note] = answer["notes"]
    assert "was dropped" in note
    assert sample.collector == []
    assert facts(sample.neo4j) == stood
    hidden = '{ entities(className: "Compensation") { totalCount items { id } } }'
    assert sample.service.query("carlos.ibarra", hidden)["data"]["entities"]["totalCount"] == 0


def test_a_node_that_hangs_is_left_and_asked_no_more_and_the_others_go_on(sample: Sample) -> None:
    _writes(sample.boston, "nothing of the form")
    _ask(sample)
    before = len(sample.boston.requests)
    del sample.boston.answers[CHAT], sample.boston.answers[STREAM]
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(sample)))
    asking.start()
    while not any(QUESTION.encode() in body for _, _, body in sample.boston.requests[before:]):
        assert asking.is_alive(), answers
        time.sleep(0.05)
    assert sample.service.query(ASKER, "{ classes { name } }")["data"]["classes"]
    assert asking.is_alive(), "the query has waited for the node"
    asking.join()
    [(answer, (_, closing))] = answers
    _holds_in_plain_words(answer)
    assert f"mesh node boston-cpu ({sample.boston.endpoint}): gave no whole answer in" in answer["notes"][0]
    assert "see whether it hangs or is overloaded" in answer["notes"][0]
    assert closing["outcome"] == "facts"

    refused, (_, closing) = _ask(sample)
    assert refused["outcome"] == "REFUSED"
    assert "boston-cpu (gave no whole answer in" in refused["text"]
    assert (refused["facts"], closing["outcome"]) == ([], "refused")

    _writes(sample.oregon, "nothing of the form")
    elsewhere, (intent, _) = _ask(sample)
    _holds_in_plain_words(elsewhere)
    assert intent["placement"]["node"] == "mesh_node:oregon-gpu"


def test_a_forged_token_is_refused_with_what_to_do(sample: Sample, tmp_path: Path) -> None:
    body = b'{"query": "{ classes { name count } }"}'
    forged = LocalIssuer(tmp_path).mint("amara.okafor", "orgraph")
    elsewhere = LocalIssuer(sample.service.data / "keys").mint("amara.okafor", "another-service")
    for token in (forged, elsewhere):
        status, answer = sample.service.post(token, body)
        assert status == 401
        assert "data" not in answer
        assert "the token is not valid" in answer["errors"][0]["message"]
        assert "get one" in answer["errors"][0]["message"]


def test_commands_find_the_running_service(sample: Sample) -> None:
    told = json.loads(sample.orgraph.invoke("status", "--json").stdout)
    assert told["service"]["ready"] is True
    assert "ready" in sample.orgraph.invoke("status").stdout
    asked = sample.orgraph.invoke("ask", QUESTION, "--as", "nobody.knows", "--json")
    assert asked.exit_code == 0
    assert json.loads(asked.stdout)["outcome"] == "NOT_KNOWN"
    for_people = sample.orgraph.invoke("ask", QUESTION, "--as", "nobody.knows")
    assert "Not known" in for_people.stdout


def _writes(engine: OpenAIServer, text: str) -> None:
    """To whoever asks, streamed or not: a look at the node is not."""
    engine.answers |= {CHAT: completion(text), STREAM: stream(text)}


def _ask(sample: Sample, asker: str = ASKER, question: str = QUESTION) -> tuple[dict[str, Any], list[Any]]:
    """The answer, and what it left in the audit log."""
    answer = sample.service.ask(asker, question)
    records = [record for record in sample.service.audit() if record["ask"] == answer["id"]]
    assert [record["kind"] for record in records] == ["intent", "closing"]
    return answer, records


def _holds_in_plain_words(answer: dict[str, Any]) -> None:
    assert answer["outcome"] == "FACTS", answer
    assert answer["text"].startswith("The facts that match best:")
    assert "10 years" in answer["text"]


@contextmanager
def _collector() -> Iterator[tuple[int, list[str]]]:
    """A port of loopback, and who has come there."""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return  # closed
                came.append(str(address))
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], came
