"""A completion has the form that was asked for, or an error names the node, what happened, what to do."""

import asyncio
import json
from dataclasses import replace

import pytest
from pydantic import BaseModel, Field

from inference.engine_client import (
    NodeAnsweredGarbage,
    NodeError,
    NodeTimedOut,
    NodeUnreachable,
)
from inference.gateway import ChatRequest, NoNodeAnswered, Usage, chat, chat_on_first
from tests.inference import openai_server as said

CHAT = "/v1/chat/completions"


class Cited(BaseModel):
    sentence: str = Field(max_length=100)
    facts: list[str]


REQUEST = ChatRequest(({"role": "user", "content": "Who leads claims?"},), Cited, max_tokens=50)
GOOD = said.completion('{"sentence": "Ada leads claims.", "facts": ["f1"]}')


def within(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_an_answer_is_parsed_and_says_who_gave_it(client, server, make_node):
    server.answers[CHAT] = GOOD
    node = make_node(endpoint=server.endpoint)
    completion = await chat(client, node, REQUEST, within())
    assert completion.answer == Cited(sentence="Ada leads claims.", facts=["f1"])
    assert (completion.node, completion.model, completion.usage) == (node, "smollm2", Usage(7, 3))


async def test_the_node_is_asked_for_the_schema_with_its_own_key(client, server, make_node):
    server.answers[CHAT] = GOOD
    await chat(client, make_node(endpoint=server.endpoint), REQUEST, within())
    [(path, headers, body)] = server.requests
    sent = json.loads(body)
    assert path == CHAT
    assert headers["authorization"] == "Bearer the-key"
    assert sent["response_format"]["json_schema"]["schema"] == Cited.model_json_schema()
    assert (sent["model"], sent["max_tokens"]) == ("smollm2", 50)


async def test_no_node_gets_the_key_of_another(client, server, make_node):
    server.answers[CHAT] = GOOD
    await chat(client, make_node("us-east", endpoint=server.endpoint), REQUEST, within())
    assert "authorization" not in server.requests[0][1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said.FAILS, (NodeAnsweredGarbage, "HTTP 500")),
        (said.REFUSES_KEY, (NodeAnsweredGarbage, "HTTP 401")),
        (said.NOT_JSON, (NodeAnsweredGarbage, "not a JSON object")),
        (said.DEEP, (NodeAnsweredGarbage, "not a JSON object")),
        (said.NOT_HTTP, (NodeAnsweredGarbage, "not HTTP")),
        (said.NO_COMPLETION, (NodeAnsweredGarbage, "no chat completion")),
        (said.ENDLESS, (NodeAnsweredGarbage, "more than")),
        (said.CUT, (NodeUnreachable, "cut the connection")),
        (said.SILENT_CUT, (NodeUnreachable, "cut the connection")),
        (said.completion(said.SECRET), (NodeAnsweredGarbage, "no valid Cited: the whole: json_invalid")),
        (said.completion('{"sentence": "Ada."}'), (NodeAnsweredGarbage, "no valid Cited: facts: missing")),
        (
            said.completion('{"sentence": "' + said.SECRET * 9 + '", "facts": []}'),
            (NodeAnsweredGarbage, "sentence: string_too_long"),
        ),
        (
            said.completion('{"sentence": "Ada', "length"),
            (NodeAnsweredGarbage, "not finish within 50 tokens"),
        ),
        (said.completion(None), (NodeAnsweredGarbage, "no chat completion")),
        (said.completion(["a"]), (NodeAnsweredGarbage, "no chat completion")),
        (said.response(b'{"choices": []}'), (NodeAnsweredGarbage, "no chat completion")),
        (said.response(b'{"choices": [7]}'), (NodeAnsweredGarbage, "no chat completion")),
    ],
)
async def test_each_bad_answer_is_an_error_that_names_the_node_and_repeats_nothing(
    client, server, make_node, answer, expected
):
    error, what = expected
    server.answers[CHAT] = answer
    with pytest.raises(error) as raised:
        await chat(client, make_node(endpoint=server.endpoint), REQUEST, within())
    message = str(raised.value)
    assert message.startswith(f"mesh node eu-frankfurt ({server.endpoint}): ")
    assert what in message
    assert message.endswith(f"; {raised.value.do}")
    assert raised.value.do
    assert said.SECRET not in message
    assert "Who leads" not in message


async def test_a_node_that_hangs_is_left_at_the_deadline(client, server, make_node):
    with pytest.raises(NodeTimedOut, match=r"eu-frankfurt .* no whole answer"):
        await chat(client, make_node(endpoint=server.endpoint), REQUEST, within(0.2))


async def test_a_node_that_stops_in_mid_answer_is_left_at_the_deadline(client, server, make_node):
    server.answers[CHAT], server.delay = GOOD, 60
    with pytest.raises(NodeTimedOut):
        await chat(client, make_node(endpoint=server.endpoint), REQUEST, within(0.2))


async def test_a_slow_node_within_the_deadline_is_heard(client, server, make_node):
    server.answers[CHAT], server.delay = GOOD, 0.1
    completion = await chat(client, make_node(endpoint=server.endpoint), REQUEST, within())
    assert completion.answer.facts == ["f1"]


async def test_a_refused_connection_is_called_that(client, make_node, closed_endpoint):
    with pytest.raises(NodeUnreachable, match="connection refused"):
        await chat(client, make_node(endpoint=closed_endpoint), REQUEST, within())


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        "",
        "127.0.0.1:80",
        "file:///etc/passwd",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://user:secret@127.0.0.1:80",
        "http://127.0.0.1:80/?to=",
        "http://[::1",
        "http://\x00",
        "http://a b",
        "http://127.0.0.1\r\nX: y",
        "http://" + "a" * 300,
    ],
)
async def test_only_a_declared_plain_address_is_called(client, make_node, endpoint):
    with pytest.raises(NodeUnreachable):
        await chat(client, make_node(endpoint=endpoint), REQUEST, within())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_takes_the_prompt_nowhere(client, server, other_server, make_node, status):
    other_server.answers[CHAT] = GOOD
    server.answers[CHAT] = said.response(b"", status, f"Location: {other_server.endpoint}{CHAT}\r\n")
    with pytest.raises(NodeAnsweredGarbage, match="HTTP 30"):
        await chat(client, make_node(endpoint=server.endpoint), REQUEST, within())
    assert other_server.requests == []


@pytest.mark.parametrize("failing", [said.FAILS, said.NOT_JSON, said.CUT, said.completion("{}")])
async def test_the_next_permitted_node_answers_when_the_first_fails(
    client, server, other_server, make_node, failing
):
    server.answers[CHAT], other_server.answers[CHAT] = failing, GOOD
    nodes = [make_node("a", endpoint=server.endpoint), make_node("b", endpoint=other_server.endpoint)]
    completion = await chat_on_first(client, nodes, REQUEST, within())
    assert completion.node.name == "b"
    assert (len(server.requests), len(other_server.requests)) == (1, 1)


async def test_the_first_permitted_node_answers_alone(client, server, other_server, make_node):
    server.answers[CHAT] = other_server.answers[CHAT] = GOOD
    nodes = [make_node("a", endpoint=server.endpoint), make_node("b", endpoint=other_server.endpoint)]
    assert (await chat_on_first(client, nodes, REQUEST, within())).node.name == "a"
    assert other_server.requests == []


async def test_a_hanging_node_leaves_time_for_the_next(client, server, other_server, make_node):
    other_server.answers[CHAT] = GOOD
    nodes = [make_node("a", endpoint=server.endpoint), make_node("b", endpoint=other_server.endpoint)]
    assert (await chat_on_first(client, nodes, REQUEST, within(2))).node.name == "b"


async def test_a_failed_node_is_never_asked_again(client, server, make_node):
    server.answers[CHAT] = said.FAILS
    node = make_node(endpoint=server.endpoint)
    with pytest.raises(NoNodeAnswered) as raised:
        await chat_on_first(client, [node, node], REQUEST, within())
    assert len(server.requests) == 1
    assert [type(f) for f in raised.value.failures] == [NodeAnsweredGarbage]


async def test_when_all_fail_each_is_named(client, server, make_node, closed_endpoint):
    server.answers[CHAT] = said.FAILS
    nodes = [make_node("a", endpoint=closed_endpoint), make_node("b", endpoint=server.endpoint)]
    with pytest.raises(NoNodeAnswered, match=r"node a .*connection refused.*; mesh node b .*HTTP 500"):
        await chat_on_first(client, nodes, REQUEST, within())


async def test_without_a_permitted_node_nothing_is_sent(client):
    with pytest.raises(NoNodeAnswered, match="no permitted node"):
        await chat_on_first(client, [], REQUEST, within())


async def test_a_caller_that_goes_away_ends_the_request(client, server, make_node):
    asked = asyncio.create_task(chat(client, make_node(endpoint=server.endpoint), REQUEST, within()))
    await server.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await server.left.wait()


def test_keys_are_not_printed(client):
    assert "the-key" not in repr(client)


def test_every_error_is_a_node_error():
    assert all(issubclass(e, NodeError) for e in (NodeUnreachable, NodeTimedOut, NodeAnsweredGarbage))


@pytest.mark.parametrize(("engine", "told"), [("vllm", True), ("", False)])
async def test_what_separates_askers_in_the_cache_goes_to_engines_that_know_it(
    client, server, make_node, engine, told
):
    server.answers[CHAT] = GOOD
    await chat(
        client, make_node(endpoint=server.endpoint, engine=engine), replace(REQUEST, salt="s"), within()
    )
    assert (json.loads(server.requests[0][2]).get("cache_salt") == "s") is told
