"""The main job on a real company's handbook: questions that were written down before the retrieval was.

What each asker may not see is held question by question. How many answers cite the right fact is a figure
(docs/benchmarks.md): it is printed, and must not fall.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graph.neo4j_server import Neo4jServer
from inference.vllm_server import VllmServer
from tests.handbook.asked import Asked, asked, right
from tests.sample_service_fixture import shared_parts, with_engine
from tests.service_process import Served, served

HANDBOOK = Path(__file__).resolve().parents[2] / "deploy" / "handbook"
ASKED = asked("questions.yaml")
NAMES = [f"{one.name} as {one.role}" for one in ASKED]
#: As measured; see docs/benchmarks.md.
RIGHT = 14
RESTRICTED = {
    "finance": "departments/finance/",
    "people-talent": "departments/people-talent/",
    "sales": "departments/sales/",
    "legal": "departments/legal/",
}


@pytest.fixture(scope="module")
def handbook(
    tmp_path_factory: pytest.TempPathFactory,
    shared_data: Path,
    neo4j_server: Neo4jServer,
    vllm_node: VllmServer,
) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("handbook")
    settings = shared_parts(data, neo4j_server, vllm_node)
    sources = with_engine(HANDBOOK, tmp_path_factory.mktemp("organization"), vllm_node)
    with served(data, sources, ORGRAPH_SHARED_DATA=str(shared_data), **settings) as service:
        yield service


@pytest.fixture(scope="module")
def answers(handbook: Served) -> dict[str, dict]:
    return {name: handbook.ask(one.person, one.question) for name, one in zip(NAMES, ASKED, strict=True)}


def test_twenty_questions_are_asked_five_of_them_by_two_people() -> None:
    assert len({one.name for one in ASKED}) == 20
    assert len(ASKED) == 25
    assert len({one.name for one in ASKED if not one.expected and one.role == "everyone"}) == 9


@pytest.mark.parametrize(("name", "one"), zip(NAMES, ASKED, strict=True), ids=NAMES)
def test_nobody_is_answered_from_pages_that_they_may_not_read(answers, name: str, one: Asked) -> None:
    shown = json.dumps(answers[name])
    for role, folder in RESTRICTED.items():
        if role != one.role:
            assert folder not in shown


@pytest.mark.parametrize(("name", "one"), zip(NAMES, ASKED, strict=True), ids=NAMES)
def test_an_answer_cites_facts_or_says_that_it_is_not_known(answers, name: str, one: Asked) -> None:
    answer = answers[name]
    if answer["outcome"] == "NOT_KNOWN":
        assert (answer["facts"], answer["node"]) == ([], None)
    else:
        assert answer["outcome"] in ("ANSWERED", "FACTS"), answer
        assert answer["facts"]


def test_as_many_answers_as_measured_cite_the_right_fact(answers, capsys: pytest.CaptureFixture[str]) -> None:
    found = {name: right(one, answers[name]) for name, one in zip(NAMES, ASKED, strict=True)}
    wrong = ", ".join(name for name, good in found.items() if not good)
    with capsys.disabled():
        sys.stdout.write(f"\nhandbook: {sum(found.values())} of {len(found)} asks right; not: {wrong}\n")
    assert sum(found.values()) >= RIGHT
