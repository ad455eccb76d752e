"""A node's answer comes whole from where it was declared, or an error names the node, what happened, what to do."""

import asyncio
import json
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from inference import engine_client
from inference.engine_client import (
    EngineClient,
    NodeAnsweredGarbage,
    NodeError,
    NodeTimedOut,
    NodeUnreachable,
    engine_session,
)
from tests.inference import openai_server as said

CHAT = "/v1/chat/completions"


BODY = {"model": "smollm2", "messages": [{"role": "user", "content": "Who leads claims?"}], "max_tokens": 50}
GOOD = said.completion("Ada leads claims.")


async def chat(client, node, deadline):
    return (await client.post_json(node, CHAT, BODY, deadline))["choices"][0]["message"]["content"]


def within(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_the_node_is_asked_with_its_own_key(client, server, make_node):
    server.answers[CHAT] = GOOD
    assert await chat(client, make_node(endpoint=server.endpoint), within()) == "Ada leads claims."
    [(path, headers, body)] = server.requests
    assert (path, json.loads(body)) == (CHAT, BODY)
    assert headers["authorization"] == "Bearer the-key"


async def test_no_node_gets_the_key_of_another(client, server, make_node):
    server.answers[CHAT] = GOOD
    await chat(client, make_node("us-east", endpoint=server.endpoint), within())
    assert "authorization" not in server.requests[0][1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said.FAILS, (NodeAnsweredGarbage, "HTTP 500")),
        (said.REFUSES_KEY, (NodeAnsweredGarbage, "HTTP 401")),
        (said.NOT_JSON, (NodeAnsweredGarbage, "not a JSON object")),
        (said.DEEP, (NodeAnsweredGarbage, "not a JSON object")),
        (said.NOT_HTTP, (NodeAnsweredGarbage, "not HTTP")),
        (said.ENDLESS, (NodeAnsweredGarbage, "more than")),
        (said.CUT, (NodeUnreachable, "cut the connection")),
        (said.SILENT_CUT, (NodeUnreachable, "cut the connection")),
    ],
)
async def test_each_bad_answer_is_an_error_that_names_the_node_and_repeats_nothing(
    client, server, make_node, answer, expected
):
    error, what = expected
    server.answers[CHAT] = answer
    with pytest.raises(error) as raised:
        await chat(client, make_node(endpoint=server.endpoint), within())
    message = str(raised.value)
    assert message.startswith(f"mesh node eu-frankfurt ({server.endpoint}): ")
    assert what in message
    assert message.endswith(f"; {raised.value.do}")
    assert raised.value.do
    assert said.SECRET not in message
    assert "Who leads" not in message


async def test_a_node_that_hangs_is_left_at_the_deadline(client, server, make_node):
    with pytest.raises(NodeTimedOut, match=r"eu-frankfurt .* no whole answer"):
        await chat(client, make_node(endpoint=server.endpoint), within(0.2))


async def test_a_node_that_stops_in_mid_answer_is_left_at_the_deadline(client, server, make_node):
    server.answers[CHAT], server.delay = GOOD, 60
    with pytest.raises(NodeTimedOut):
        await chat(client, make_node(endpoint=server.endpoint), within(0.2))


async def test_a_slow_node_within_the_deadline_is_heard(client, server, make_node):
    server.answers[CHAT], server.delay = GOOD, 0.1
    assert await chat(client, make_node(endpoint=server.endpoint), within())


async def test_a_refused_connection_is_called_that(client, make_node, closed_endpoint):
    with pytest.raises(NodeUnreachable, match="connection refused"):
        await chat(client, make_node(endpoint=closed_endpoint), within())


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
        await chat(client, make_node(endpoint=endpoint), within())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_takes_the_prompt_nowhere(client, server, other_server, make_node, status):
    other_server.answers[CHAT] = GOOD
    server.answers[CHAT] = said.response(b"", status, f"Location: {other_server.endpoint}{CHAT}\r\n")
    with pytest.raises(NodeAnsweredGarbage, match="HTTP 30"):
        await chat(client, make_node(endpoint=server.endpoint), within())
    assert other_server.requests == []


async def test_a_caller_that_goes_away_ends_the_request(client, server, make_node):
    asked = asyncio.create_task(chat(client, make_node(endpoint=server.endpoint), within()))
    await server.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await server.left.wait()


def test_keys_are_not_printed(client):
    assert "the-key" not in repr(client)


def test_every_error_is_a_node_error():
    assert all(issubclass(e, NodeError) for e in (NodeUnreachable, NodeTimedOut, NodeAnsweredGarbage))


@pytest.fixture
async def engine():
    """One that keeps connections, with the addresses that it was asked from; `rest` comes after [DONE]."""
    asked, rest = [], []

    async def chat(request):
        asked.append(request.transport.get_extra_info("peername"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices": []}\n\ndata: {"choices": [1]}\n\n')
        await response.write(b"data: [DONE]\n\n")
        for more in rest:
            await response.write(more)
            await asyncio.sleep(10)
        return response

    app = web.Application()
    app.router.add_post(CHAT, chat)
    async with TestServer(app) as server, engine_session() as session:
        yield EngineClient(session), str(server.make_url("")).rstrip("/"), asked, rest


async def streamed(client, node):
    bursts = client.stream_json(node, CHAT, BODY, within(), within())
    return [event async for events in bursts for event in events]


async def test_a_connection_whose_stream_has_ended_serves_the_next_request(engine, make_node):
    client, endpoint, asked, _ = engine
    for _ in range(3):
        assert await streamed(client, make_node(endpoint=endpoint)) == [{"choices": []}, {"choices": [1]}]
        async with asyncio.timeout(5):
            await asyncio.gather(*client._ending)
    assert len(asked) == 3
    assert len(set(asked)) == 1


async def test_a_stream_that_goes_on_after_its_end_is_closed_and_not_waited_for(engine, make_node):
    client, endpoint, asked, rest = engine
    rest.append(b"more")
    for _ in range(2):
        async with asyncio.timeout(5):
            assert await streamed(client, make_node(endpoint=endpoint)) == [{"choices": []}, {"choices": [1]}]
    assert len(set(asked)) == 2


async def test_the_end_of_an_answer_does_not_wait_for_the_end_of_its_connection(
    engine, make_node, monkeypatch
):
    monkeypatch.setattr(engine_client, "_END_S", 30)
    client, endpoint, _, rest = engine
    rest.append(b"")
    async with asyncio.timeout(5):
        assert await streamed(client, make_node(endpoint=endpoint)) == [{"choices": []}, {"choices": [1]}]


async def test_a_machine_that_is_gone_is_left_as_soon_as_it_acknowledges_nothing(engine, make_node):
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("needs Linux")
    client, endpoint, _, rest = engine
    rest.append(b"more")
    response = await client.session.post(f"{endpoint}{CHAT}", data=b"{}")
    connected = response.connection.transport.get_extra_info("socket")
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
    response.close()
