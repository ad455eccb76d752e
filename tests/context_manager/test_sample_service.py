"""One question, end to end: the sample organization on a real Neo4j and a real model, over HTTP."""

import hashlib
import json
import re
from pathlib import Path

import openai
import pytest

from tests.service_process import Served, questions

SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "sample"
QUESTIONS = questions(SAMPLE / "questions.toml")


@pytest.mark.parametrize("asked", QUESTIONS, ids=[f"{q['asker']}: {q['question'][:50]}" for q in QUESTIONS])
def test_each_gets_the_answer_that_they_may_have(sample: Served, asked: dict) -> None:
    answer = sample.ask(asked["asker"], asked["question"])
    shown = json.dumps(answer, ensure_ascii=False)
    for absent in asked.get("absent", ()):
        assert absent not in shown
    match asked["outcome"]:
        case "answered":
            assert answer["outcome"] in ("ANSWERED", "FACTS"), answer
            assert asked["expected"] in answer["text"]
            assert any(asked["expected"] in fact["statement"] for fact in answer["facts"])
            assert answer["node"] == "boston-cpu"
        case "not_known":
            assert (answer["outcome"], answer["facts"], answer["node"]) == ("NOT_KNOWN", [], None)
        case "refused":
            assert (answer["outcome"], answer["facts"], answer["node"]) == ("REFUSED", [], None)
            assert asked["expected"] in answer["text"]
        case "withheld":
            assert asked["absent"]
        case other:
            pytest.fail(f"questions.toml: unknown outcome {other!r}")


def test_the_demo_shows_its_two_questions_and_how_to_go_on(sample: Served) -> None:
    printed = " ".join(sample.log.read_text().split())
    shown = printed
    for asked in QUESTIONS:
        if asked.get("demo"):
            _, asks, shown = shown.partition(f"{asked['asker']} asks: {asked['question']}")
            assert asks, printed
            answered = asked.get("expected", "Not known: no fact that you may see answers this.")
            assert answered in shown.partition(" asks: ")[0]
    assert f"GraphQL (GraphiQL in a browser): {sample.url}/graphql" in shown
    for step in ("crawling directory", "embedding what is new"):
        assert step in printed
    token = re.search(rf"Browse as priya.raman: {re.escape(sample.url)}/#token=(\S+)", shown)
    assert token, shown
    assert sample.post(token[1], b'{"query": "{ classes { name } }"}')[0] == 200


def test_without_a_token_there_is_no_data(sample: Served) -> None:
    body = b'{"query": "{ classes { name count } }"}'
    for token in (None, "nonsense", sample.token("priya.raman", lifetime=-60)):
        status, answer = sample.post(token, body)
        assert status == 401
        assert "data" not in answer
        assert "orgraph token" in answer["errors"][0]["message"]


def test_an_account_that_the_directory_does_not_know_sees_nothing(sample: Served) -> None:
    data = sample.query("nobody.knows", '{ entities(className: "Entity") { totalCount items { id } } }')[
        "data"
    ]
    assert data == {"entities": {"totalCount": 0, "items": []}}


def test_a_disabled_account_sees_nothing(sample: Served) -> None:
    data = sample.query("ellis.corrigan", '{ entities(className: "Entity") { totalCount items { id } } }')[
        "data"
    ]
    assert data == {"entities": {"totalCount": 0, "items": []}}


def test_denied_and_absent_look_alike(sample: Served) -> None:
    """An engineer sees neither the salary, nor its count, nor that there is one."""
    hidden = sample.query(
        "kwame.asante",
        '{ entities(className: "Compensation", first: 1) { totalCount items { id name } } }',
    )["data"]["entities"]
    assert hidden["totalCount"] > 0
    [record] = hidden["items"]
    engineer = "carlos.ibarra"
    classes = sample.query(engineer, "{ classes { name count } }")["data"]["classes"]
    assert {c["name"]: c["count"] for c in classes}["Compensation"] == 0
    assert sample.query(engineer, '{ entities(className: "Compensation") { totalCount items { id } } }')[
        "data"
    ] == {"entities": {"totalCount": 0, "items": []}}
    one = "query ($id: ID!) { entity(id: $id) { id neighbours { entity { id } } } }"
    denied = sample.query(engineer, one, id=record["id"])
    absent = sample.query(engineer, one, id="compensation:nobody")
    assert denied["data"] == absent["data"] == {"entity": None}
    assert denied.keys() == absent.keys()
    search = "query ($text: String!) { search(text: $text) { id } }"
    found = sample.query(engineer, search, text=record["name"])["data"]["search"]
    assert record["id"] not in [entity["id"] for entity in found]
    assert record["id"] in [
        e["id"] for e in sample.query("kwame.asante", search, text=record["name"])["data"]["search"]
    ]
    context = "query ($q: String!) { context(question: $q) { facts { id entities } } }"
    facts = sample.query(engineer, context, q=record["name"])["data"]["context"]["facts"]
    assert not any(entity.startswith("compensation:") for fact in facts for entity in fact["entities"])


def test_no_row_of_the_database_is_in_the_graph(sample: Served) -> None:
    """The rows hold a marker; those who see most of the catalogue do not find it."""
    for person in ("keiko.yamane", "kwame.asante", "amara.okafor"):
        for class_name in ("Table", "Column", "Dataset"):
            text = "query ($c: String!) { entities(className: $c, first: 100) { items { name values { value } } } }"
            assert "ZX-ROW-MARKER" not in json.dumps(sample.query(person, text, c=class_name))


def test_every_answer_tells_its_revision_and_where_inference_ran(sample: Served) -> None:
    plain = sample.query("priya.raman", "{ classes { name } }")
    assert plain["extensions"].keys() == {"revision"}
    again = sample.query("priya.raman", "{ classes { name } }")
    assert plain["extensions"]["revision"] != again["extensions"]["revision"], "the counter must not show"
    asked = sample.query("priya.raman", '{ ask(question: "Who leads Account Management?") { text } }')
    placed = {one["for"]: one["node"] for one in asked["extensions"]["placement"]}
    assert placed == {"embedding": "orgraph", "answer": "boston-cpu"}


def test_an_insight_is_made_from_one_entity_and_what_is_around_it(sample: Served) -> None:
    text = "query ($id: ID!, $q: String!) { entity(id: $id) { insight(question: $q) { text facts { entities } } } }"
    data = sample.query("priya.raman", text, id="person:priya.raman", q="What is Priya Raman's job title?")[
        "data"
    ]
    insight = data["entity"]["insight"]
    assert insight["facts"]
    assert all("person:priya.raman" in fact["entities"] for fact in insight["facts"])


def test_each_ask_leaves_an_intent_before_and_a_closing_after(sample: Served) -> None:
    before = len(sample.audit())
    answer = sample.ask("priya.raman", "What is the individual deductible of the Larkspur Harbor PPO?")
    intent, closing = sample.audit()[before:]
    assert (intent["kind"], closing["kind"]) == ("intent", "closing")
    assert intent["ask"] == closing["ask"] == answer["id"]
    assert intent["account"] == "account:harborview/priya.raman"
    assert intent["placement"]["node"] == "mesh_node:boston-cpu"
    assert {fact["id"] for fact in answer["facts"]} <= set(intent["facts"])
    assert closing["answer_sha256"] == hashlib.sha256(answer["text"].encode()).hexdigest()
    assert intent["at"] < closing["at"]


def test_an_agent_that_nobody_declared_is_refused(sample: Served) -> None:
    token = sample.token("priya.raman", agent="quote-helper")
    status, answer = sample.post(token, b'{"query": "{ classes { name } }"}')
    assert (status, "data" in answer) == (401, False)
    assert "may not act for the account" in answer["errors"][0]["message"]


def test_a_question_of_100_kb_is_refused_by_its_size(sample: Served) -> None:
    answer = sample.query(
        "priya.raman", "query ($q: String!) { ask(question: $q) { text } }", q="why " * 25_600
    )
    assert "102,400 characters; at most 2,000" in answer["errors"][0]["message"]
    status, _ = sample.post(sample.token("priya.raman"), b"x" * 1_000_000)
    assert status == 413
    assert sample.get("/health/live")[0] == 200


def test_a_query_that_is_too_deep_or_unknown_says_so(sample: Served) -> None:
    deep = '{ entity(id: "person:priya.raman") ' + "{ neighbours { entity " * 8 + "{ id }" + "} }" * 8 + "}"
    assert "depth" in json.dumps(sample.query("priya.raman", deep)["errors"])
    unknown = sample.query("priya.raman", '{ entities(className: "Salary") { totalCount } }')
    assert "no class 'Salary'; its classes are" in unknown["errors"][0]["message"]


def test_health_tells_each_part(sample: Served) -> None:
    status, health = sample.get("/health/ready")
    parts = {part["name"]: part for part in health["parts"]}
    assert status == 200
    assert parts["graph"]["ok"]
    assert parts["audit"]["ok"]
    assert parts["source directory"]["ok"]
    assert parts["mesh node boston-cpu"]["ok"]
    assert not parts["mesh node frankfurt-gpu"]["ok"]
    assert "refused" in parts["mesh node frankfurt-gpu"]["detail"]


def test_the_sdl_is_the_published_one(sample: Served) -> None:
    """The service speaks exactly graphql/schema.graphql (see test_published_schema.py for the text)."""
    introspected = sample.query("priya.raman", "{ __schema { types { name fields { name } } } }")["data"]
    published = (SAMPLE.parents[1] / "graphql" / "schema.graphql").read_text()
    for one in introspected["__schema"]["types"]:
        if not one["name"].startswith("__") and one["fields"]:
            assert f"type {one['name']} {{" in published


@pytest.mark.parametrize("path", ["/", "/graphql", "/pages/index.js", "/graphiql/graphiql.js"])
def test_pages_come_from_this_host_alone(sample: Served, path: str) -> None:
    import urllib.request  # noqa: PLC0415

    with urllib.request.urlopen(sample.url + path) as response:
        assert response.status == 200
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_openais_client_works_on_the_real_engine(sample: Served) -> None:
    client = openai.OpenAI(api_key=sample.token("wendy.lockhart"), base_url=f"{sample.url}/v1", max_retries=0)
    asked: dict = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    named = {"orgraph": {"entities": ["mesh_node:boston-cpu"]}}
    answer = client.chat.completions.create(**asked, extra_body=named)
    [choice] = answer.choices
    assert choice.message.content
    # The limit reached the engine: it was cut at 8, or had said hello in fewer.
    assert answer.usage.completion_tokens == 8 or choice.finish_reason == "stop"
    assert 0 < answer.usage.completion_tokens <= 8
    told = answer.model_extra["orgraph"]
    assert told["node"] == "boston-cpu"
    assert "mesh_node:boston-cpu#silicon" in [fact["id"] for fact in told["facts"]]
    *_, last = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert 0 < last.usage.completion_tokens <= 8
    assert client.embeddings.create(model="embedding", input="hello").usage.prompt_tokens > 0
    assert "smollm2" in [model.id for model in client.models.list()]
    european = {"orgraph": {"handling": {"jurisdictions": ["EU"]}}}
    with pytest.raises(openai.InternalServerError, match="under the law of EU") as raised:
        client.chat.completions.create(**asked, extra_body=european)
    assert raised.value.code == "permitted_nodes_down"
    intent, closing = [record for record in sample.audit() if record.get("ask") == told["id"]]
    assert (intent["placement"]["node"], closing["outcome"]) == ("mesh_node:boston-cpu", "answered")
