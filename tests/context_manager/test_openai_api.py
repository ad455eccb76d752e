"""OpenAI's own client works unchanged, on what its person may see, where that may be processed."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from pydantic import BaseModel

from context_manager import openai_body
from context_manager.graphql_schema import Parts, RequestContext, build_schema
from context_manager.http_app import bearer
from context_manager.mesh_operations import drained
from context_manager.openai_routes import add_openai_routes
from context_manager.settings import SettingsError
from graph.claims import EntityClaim
from graph.reads import Asker
from graph.revision_token import RevisionTokens
from graph.token_scope import EVERYTHING, TokenScope
from inference.admission import Admission
from inference.embeddings import MODEL
from tests.context_manager.door import CLAIMS, PATH, Door, entity, relation
from tests.inference.openai_server import (
    CUT,
    FAILS,
    NO_COMPLETION,
    completion,
    response,
    stream,
)

HELLO: Any = [{"role": "user", "content": "Hello?"}]


async def test_a_chat_is_answered_with_its_usage_and_is_on_record(door: Door) -> None:
    answer = await door.client().chat.completions.create(model="small", messages=HELLO, max_tokens=9)
    assert answer.choices[0].message.content == "Hello from Boston."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
    told = answer.model_extra["orgraph"]  # type: ignore[index]
    assert (told["node"], told["facts"]) == ("boston", [])
    intent, closing = door.records()
    assert intent["ask"] == closing["ask"] == told["id"]
    assert (intent["account"], intent["placement"]["node"]) == ("account:acme/ada", "mesh_node:boston")
    assert (intent["kind"], closing["kind"], closing["outcome"]) == ("intent", "closing", "answered")
    assert "Hello?" not in json.dumps(door.records())


async def test_a_stream_arrives_whole_with_usage_when_it_is_asked_for(door: Door) -> None:
    door.american.answers[PATH] = stream("Hello", " from", " Boston.")
    for options, expected in (({}, []), ({"stream_options": {"include_usage": True}}, [3])):
        streamed = await door.client().chat.completions.create(
            model="chat", messages=HELLO, stream=True, **options
        )
        chunks = [chunk async for chunk in streamed]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == "Hello from Boston."
        assert [c.usage.completion_tokens for c in chunks if c.usage] == expected
        assert chunks[0].model_extra["orgraph"]["node"] == "boston"  # type: ignore[index]


async def test_named_facts_are_in_the_prompt_and_their_handling_decides_where(door: Door) -> None:
    answer = await door.client().chat.completions.create(
        model="chat",
        messages=HELLO,
        max_tokens=5,
        extra_body={"orgraph": {"entities": ["document:roster"]}},
    )
    assert answer.choices[0].message.content == "Hallo aus Frankfurt."
    [fact] = answer.model_extra["orgraph"]["facts"]  # type: ignore[index]
    assert fact["id"] == "document:roster#description"
    sent = json.loads(door.european.requests[0][2])["messages"]
    assert "Swantje is ill." in sent[0]["content"]
    assert sent[1:] == HELLO
    assert door.american.requests == []


async def test_a_forbidden_node_hears_nothing_when_the_permitted_one_fails(door: Door) -> None:
    door.european.answers[PATH] = FAILS
    with pytest.raises(openai.InternalServerError) as raised:
        await door.client().chat.completions.create(
            model="chat", messages=HELLO, extra_body={"orgraph": {"entities": ["document:roster"]}}
        )
    assert raised.value.code == "no_node_answered"
    assert door.american.requests == []
    assert door.records()[-1]["outcome"] == "NoNodeAnswered"


async def test_the_caller_narrows_and_never_widens(door: Door) -> None:
    client = door.client()

    async def ask(entities: list[str], laws: list[str]) -> Any:
        extension = {"entities": entities, "handling": {"jurisdictions": laws}}
        return await client.chat.completions.create(
            model="chat", messages=HELLO, extra_body={"orgraph": extension}
        )

    assert (await ask([], ["EU"])).model_extra["orgraph"]["node"] == "frankfurt"
    assert (await ask(["document:roster"], ["US", "EU"])).model_extra["orgraph"]["node"] == "frankfurt"
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await ask(["document:roster"], ["US"])
    assert raised.value.code == "no_permitted_node"
    assert "permits no jurisdiction" in str(raised.value)
    assert door.american.requests == []
    assert [r["kind"] for r in door.records()[-2:]] == ["intent", "closing"]
    assert door.records()[-1]["outcome"] == "Refused"


async def test_what_the_person_may_not_see_looks_as_if_it_were_not_there(door: Door) -> None:
    errors = []
    for id_ in ("compensation:eve", "compensation:nobody"):
        with pytest.raises(openai.NotFoundError) as raised:
            await door.client("eve").chat.completions.create(
                model="chat", messages=HELLO, extra_body={"orgraph": {"entities": [id_]}}
            )
        errors.append(str(raised.value).replace(id_, "ID"))
    assert errors[0] == errors[1]
    assert door.american.requests == door.european.requests == []
    seen = await door.client("ada").chat.completions.create(
        model="chat", messages=HELLO, extra_body={"orgraph": {"entities": ["compensation:eve"]}}
    )
    assert "90,000" in json.dumps(seen.model_extra) or "90000" in json.dumps(seen.model_extra)


async def test_nobody_is_told_of_nodes_that_they_may_not_see(door: Door) -> None:
    for person, told in (("ada", True), ("eve", False)):
        with pytest.raises(openai.PermissionDeniedError) as raised:
            await door.client(person).chat.completions.create(
                model="chat", messages=HELLO, extra_body={"orgraph": {"handling": {"clearance": 9}}}
            )
        assert ("boston" in str(raised.value)) is told
        assert "has clearance 9" in str(raised.value)


async def test_an_account_that_was_disabled_is_refused_at_once_and_nothing_is_sent(door: Door) -> None:
    eve = door.client("eve")
    await eve.chat.completions.create(model="chat", messages=HELLO)
    door.american.requests.clear()
    account = next(c for c in CLAIMS if isinstance(c, EntityClaim) and c.id == "account:acme/eve")
    disabled = replace(account, values={**account.values, "disabled": True})
    await door.says(configuration=[*(c for c in CLAIMS if c is not account), disabled])
    for asked in (eve, door.client("nobody")):
        with pytest.raises(openai.PermissionDeniedError) as raised:
            await asked.chat.completions.create(model="chat", messages=HELLO)
        assert raised.value.code == "account_disabled"
    assert door.american.requests == []
    await door.client("ada").chat.completions.create(model="chat", messages=HELLO)


async def test_an_answer_that_comes_back_as_a_prior_turn_is_handled_as_it_was(door: Door) -> None:
    first = await door.client().chat.completions.create(
        model="chat", messages=HELLO, extra_body={"orgraph": {"entities": ["document:roster"]}}
    )
    turns = [*HELLO, {"role": "assistant", "content": first.choices[0].message.content}, *HELLO]
    again = await door.client().chat.completions.create(model="chat", messages=turns)
    assert again.model_extra["orgraph"]["node"] == "frankfurt"  # type: ignore[index]
    others = await door.client("eve").chat.completions.create(model="chat", messages=turns)
    assert others.model_extra["orgraph"]["node"] == "boston", "it tells nobody what another was answered"  # type: ignore[index]


def calling(arguments: str, streamed: bool) -> bytes:
    """An engine's answer that calls a tool."""
    call = {"index": 0, "id": "call-1", "type": "function"}
    whole = {"name": "look", "arguments": arguments}
    if not streamed:
        message = {"role": "assistant", "content": None, "tool_calls": [{**call, "function": whole}]}
        made = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        return response(json.dumps(made).encode())
    parts = [
        {**call, "function": {"name": "look", "arguments": ""}},
        *({"index": 0, "function": {"arguments": part}} for part in (arguments[:5], arguments[5:])),
    ]
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    return stream(end="".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_of_a_tool_that_comes_back_with_its_result_is_handled_as_what_it_was_made_from(
    door: Door, streamed: bool
) -> None:
    door.european.answers[PATH] = calling('{"who": "Swantje"}', streamed)
    tools: Any = [tool({"type": "object", "properties": {"who": {"type": "string"}}})]
    made = await door.client().chat.completions.create(
        model="chat",
        messages=HELLO,
        tools=tools,
        stream=streamed,
        extra_body={"orgraph": {"entities": ["document:roster"]}},
    )
    if streamed:
        deltas = [chunk.choices[0].delta.tool_calls[0] async for chunk in made]
        function = {
            "name": deltas[0].function.name,
            "arguments": "".join(delta.function.arguments for delta in deltas),
        }
        call = {"id": deltas[0].id, "type": "function", "function": function}
    else:
        call = made.choices[0].message.tool_calls[0].model_dump()
    assert call["function"] == {"name": "look", "arguments": '{"who": "Swantje"}'}
    turns: Any = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "She is in bed."},
    ]
    door.european.answers[PATH] = completion("Hallo aus Frankfurt.")
    again = await door.client().chat.completions.create(model="chat", messages=turns, tools=tools)
    assert again.model_extra["orgraph"]["node"] == "frankfurt"  # type: ignore[index]
    assert json.loads(door.european.requests[-1][2])["messages"] == turns
    call["function"]["arguments"] = '{"who": "me"}'
    other = await door.client().chat.completions.create(model="chat", messages=turns, tools=tools)
    assert other.model_extra["orgraph"]["node"] == "boston"  # type: ignore[index]


async def test_an_answer_is_embedded_where_it_may_be_processed(door: Door) -> None:
    first = await door.client().chat.completions.create(
        model="chat", messages=HELLO, extra_body={"orgraph": {"entities": ["document:roster"]}}
    )
    answered = str(first.choices[0].message.content)
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await door.client().embeddings.create(model=MODEL, input=["cup", answered])
    assert raised.value.code == "no_permitted_node"
    assert (await door.client("eve").embeddings.create(model=MODEL, input=answered)).data


async def test_the_end_of_a_stream_does_not_wait_for_the_disk_and_its_beginning_does(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.client().chat.completions.create(model="chat", messages=HELLO)  # the mesh is on record
    door.american.requests.clear()
    door.american.answers[PATH] = stream("Hello", " from", " Boston.")
    allowed, sync = [threading.Event(), threading.Event()], os.fsync
    waiting = iter(allowed)

    def slow(fd: int) -> None:
        assert next(waiting).wait(30)
        sync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    asked = asyncio.create_task(
        door.client().chat.completions.create(model="chat", messages=HELLO, stream=True)
    )
    done, _ = await asyncio.wait([asked], timeout=0.5)
    assert not done
    assert door.american.requests == []
    allowed[0].set()
    text = "".join([c.choices[0].delta.content or "" async for c in await asked])
    assert text == "Hello from Boston."
    allowed[1].set()
    async with asyncio.timeout(30):
        while len(door.records()) < 4:  # noqa: ASYNC110  it is told by a file
            await asyncio.sleep(0.02)
    closing = door.records()[-1]
    assert (closing["outcome"], closing["answer_sha256"]) == ("answered", sha256(text.encode()).hexdigest())


async def test_what_is_no_completion_is_an_error_and_on_record(door: Door) -> None:
    door.american.answers[PATH] = NO_COMPLETION
    with pytest.raises(openai.InternalServerError, match="gave no chat completion"):
        await door.client().chat.completions.create(model="chat", messages=HELLO)
    assert door.records()[-1]["outcome"] == "bad answer"


async def test_a_packed_body_is_bounded_by_what_comes_out_of_it(door: Door) -> None:
    headers = {
        "Authorization": f"Bearer {door.issuer.mint('ada', 'orgraph')}",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "Connection": "close",  # the service closes one on which what follows cannot be told
    }
    small = json.dumps({"model": "chat", "messages": HELLO}).encode()
    large = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "x" * 50_000_000}]})
    async with aiohttp.ClientSession(headers=headers) as session:
        for body, status in ((small, 200), (large.encode(), 413), (b"no gzip", 400)):
            packed = body if body == b"no gzip" else gzip.compress(body)
            for path in ("/v1/chat/completions", "/graphql") if status != 200 else ("/v1/chat/completions",):
                async with session.post(door.url + path, data=packed) as answer:
                    assert answer.status == status, (path, await answer.text())
                    if (status, path) == (413, "/v1/chat/completions"):
                        error = (await answer.json())["error"]
                        assert (error["code"], "2,097,152 bytes" in error["message"]) == (
                            "request_too_large",
                            True,
                        )
    assert len(door.american.requests) == 1


async def test_the_cache_is_shared_by_those_who_see_the_same_alone(door: Door) -> None:
    for person in ("ada", "ada", "eve"):
        await door.client(person).chat.completions.create(model="chat", messages=HELLO)
    salts = [json.loads(body)["cache_salt"] for _, _, body in door.american.requests]
    assert salts[0] == salts[1] != salts[2]


async def test_a_failure_in_mid_stream_is_an_error_and_never_a_silent_switch(door: Door) -> None:
    door.american.answers[PATH], door.european.answers[PATH] = stream("Hello", end=""), stream("Hallo")
    got = []
    with pytest.raises(openai.APIError, match="broke off"):
        async for chunk in await door.client().chat.completions.create(
            model="chat", messages=HELLO, stream=True
        ):
            got.append(chunk.choices[0].delta.content)
    assert got == ["Hello"]
    assert door.european.requests == []
    assert door.records()[-1]["outcome"] == "cut short"


async def test_before_the_first_token_the_other_permitted_node_answers(door: Door) -> None:
    door.american.answers[PATH] = CUT
    answer = await door.client().chat.completions.create(model="chat", messages=HELLO)
    assert answer.choices[0].message.content == "Hallo aus Frankfurt."
    assert [record["kind"] for record in door.records()] == ["intent", "retry", "closing"]


async def test_a_client_that_leaves_ends_the_request_at_the_engine_and_is_on_record(door: Door) -> None:
    del door.american.answers[PATH]
    for streamed in (False, True):
        door.american.asked.clear()
        door.american.left.clear()
        asked = asyncio.create_task(
            door.client().chat.completions.create(model="chat", messages=HELLO, stream=streamed)
        )
        await door.american.asked.wait()
        asked.cancel()
        async with asyncio.timeout(5):
            await door.american.left.wait()
            while door.records()[-1]["kind"] == "intent":  # noqa: ASYNC110  it is told by a file
                await asyncio.sleep(0.02)
        assert door.records()[-1]["outcome"] == "left by the client"
    assert door.api.asking.gateway.admission._running == 0


async def test_who_sends_too_much_is_told_when_to_come_back(door: Door) -> None:
    door.api.asking.gateway.admission = Admission(slots=2, waiting=(0, 0))
    del door.american.answers[PATH]
    first = asyncio.create_task(door.client().chat.completions.create(model="chat", messages=HELLO))
    await door.american.asked.wait()
    with pytest.raises(openai.RateLimitError) as raised:
        await door.client().chat.completions.create(model="chat", messages=HELLO)
    assert int(raised.value.response.headers["Retry-After"]) >= 1
    first.cancel()


async def test_those_of_one_unit_share_what_a_team_may_have_running(door: Door) -> None:
    units = [entity(f"organizational_unit:{u}", "OrganizationalUnit", "all") for u in ("one", "other")]
    gus = [
        entity("person:gus", "Person", "all", name="Gus"),
        entity("account:acme/gus", "Account", "all", issuer="acme", subject="gus"),
        relation("person:gus", "HAS_ACCOUNT", "account:acme/gus"),
    ]
    work = [
        relation(f"person:{p}", "WORKS_IN", f"organizational_unit:{u}")
        for p, u in (("ada", "one"), ("eve", "one"), ("gus", "other"))
    ]
    await door.says(configuration=[*CLAIMS, *units, *gus, *work])
    door.api.asking.gateway.admission = Admission(slots=2, waiting=(0, 0))
    del door.american.answers[PATH]
    first = asyncio.create_task(door.client("ada").chat.completions.create(model="chat", messages=HELLO))
    await door.american.asked.wait()
    with pytest.raises(openai.RateLimitError, match="organizational_unit:one wait already"):
        await door.client("eve").chat.completions.create(model="chat", messages=HELLO)
    door.american.answers[PATH] = completion("Hello.")
    await door.client("gus").chat.completions.create(model="chat", messages=HELLO)
    first.cancel()


async def test_embeddings_come_as_the_client_wants_them(door: Door) -> None:
    client = door.client()
    made = await client.embeddings.create(model=MODEL, input=["health records", "cup"])
    plain = await client.embeddings.create(model="embedding", input="cup", encoding_format="float")
    assert [len(one.embedding) for one in made.data] == [384, 384]
    assert made.data[1].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert made.usage.prompt_tokens > 0
    with pytest.raises(openai.BadRequestError, match=r"input\.1 has 302 tokens.* 46 too many") as long:
        await client.embeddings.create(model=MODEL, input=["cup", "word " * 300])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await client.embeddings.create(
            model=MODEL, input="x", extra_body={"orgraph": {"handling": {"jurisdictions": ["EU"]}}}
        )
    assert raised.value.code == "no_permitted_node"
    assert door.records()[-1]["outcome"] == "Refused"


async def test_models_are_listed_and_an_unknown_one_is_named(door: Door) -> None:
    client = door.client()
    assert [m.id async for m in client.models.list()] == [MODEL, "chat", "embedding", "small"]
    assert (await client.models.retrieve("small")).id == "small"
    for work in (
        client.models.retrieve("gpt-9"),
        client.chat.completions.create(model="gpt-9", messages=HELLO),
    ):
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9'; there are: all-MiniLM"):
            await work


def schema_of(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "look", "parameters": parameters}}


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"messages": []}, "invalid_request", "messages"),
        ({"messages": HELLO, "temprature": 1}, "invalid_request", "temprature: Extra inputs"),
        ({"messages": HELLO, "n": 2}, "invalid_request", "n: "),
        ({"messages": HELLO, "cache_salt": "mine"}, "invalid_request", "cache_salt"),
        ({"messages": HELLO, "orgraph": {"node": "boston"}}, "invalid_request", "orgraph.node"),
        ({"messages": HELLO, "response_format": {"type": "json_schema"}}, "invalid_schema", "json_schema"),
        (
            {"messages": HELLO, "response_format": schema_of({"type": "objekt"})},
            "invalid_schema",
            "response_format.json_schema.schema is no JSON schema: $.type: 'objekt'",
        ),
        (
            {"messages": HELLO, "response_format": schema_of({"$schema": [1]})},
            "invalid_schema",
            "no JSON schema",
        ),
        (
            {"messages": HELLO, "tools": [tool({"required": "x"})]},
            "invalid_schema",
            "tools.0.function.parameters",
        ),
        (
            {"messages": HELLO, "tools": [{"type": "function", "function": {"name": "no such name"}}]},
            "invalid_request",
            "tools.0.function.name",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "unsupported_content",
            "text alone",
        ),
    ],
)
async def test_what_is_not_understood_is_refused_and_nothing_goes_out(
    door: Door, body: dict[str, Any], code: str, words: str
) -> None:
    headers = {"Authorization": f"Bearer {door.issuer.mint('ada', 'orgraph')}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{door.url}/v1/chat/completions", json={"model": "chat", **body}) as answer,
    ):
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (400, code)
    assert words in error["message"]
    assert door.american.requests == door.european.requests == []


async def test_a_prompt_over_every_permitted_context_is_refused_by_how_much(door: Door) -> None:
    with pytest.raises(openai.BadRequestError, match="at least 60 too many") as raised:
        await door.client().chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "word " * 100}],
            max_tokens=10,
            extra_body={"orgraph": {"handling": {"jurisdictions": ["EU"]}}},
        )
    assert raised.value.code == "context_length_exceeded"
    assert door.european.requests == []


async def test_a_prompt_that_fills_the_longest_context_is_read_and_a_longer_one_is_told_by_how_much(
    door: Door,
) -> None:
    """Of Boston no length is known, which counts as 128k tokens; with 16,000 and 50 known, as those."""
    asking = door.api.asking

    async def send(words: int, **more: Any) -> Any:
        messages: Any = [{"role": "user", "content": "measles " * words}]
        return await door.client().chat.completions.create(model="chat", messages=messages, **more)

    assert (await send(128_000)).choices[0].message.content == "Hello from Boston."  # a megabyte
    [(_, _, body)] = door.american.requests
    assert json.loads(body)["messages"][0]["content"].count("measles") == 128_000
    with pytest.raises(
        openai.APIStatusError, match=r"at most 2,097,152 bytes are read, 4\d\d,\d\d\d fewer"
    ) as large:
        await send(320_000)
    assert (large.value.status_code, large.value.code) == (413, "request_too_large")
    nodes = [node for node, _ in asking.mesh.snapshot().members if node.id in asking.mesh.ids()]
    asking.mesh.declare(replace(node, context_length=node.context_length or 16_000) for node in nodes)
    await asking.mesh.refresh()
    with pytest.raises(openai.BadRequestError, match="at least 4,000 too many"):
        await send(20_000)
    with pytest.raises(openai.APIStatusError, match="at most 524,288 bytes are read"):
        await send(70_000)
    assert len(door.american.requests) == 1


async def test_large_bodies_are_bounded_together_and_small_ones_go_on(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_body, "_TOGETHER", 1_500_000)
    del door.american.answers[PATH]  # it hangs

    async def send(words: int) -> Any:
        messages: Any = [{"role": "user", "content": "measles " * words}]
        return await door.client().chat.completions.create(model="chat", messages=messages)

    first = asyncio.create_task(send(100_000))
    async with asyncio.timeout(30):
        while not door.american.requests:  # noqa: ASYNC110  a server in another task
            await asyncio.sleep(0.02)
    with pytest.raises(openai.RateLimitError, match="large requests fill the room") as full:
        await send(100_000)
    assert full.value.response.headers["Retry-After"] == "1"
    door.american.answers[PATH] = completion("Hello.")
    assert (await send(1)).choices
    first.cancel()
    await asyncio.wait([first])
    async with asyncio.timeout(30):
        while door.api._bodies._held:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.02)
    assert (await send(100_000)).choices[0].message.content == "Hello."


async def test_an_engine_that_refuses_the_request_is_not_called_broken(door: Door) -> None:
    door.american.answers[PATH] = door.european.answers[PATH] = response(b"{}", "400 Bad Request")
    with pytest.raises(openai.BadRequestError) as raised:
        await door.client().chat.completions.create(model="chat", messages=HELLO)
    assert raised.value.code == "refused_by_engine"


async def test_without_a_token_nobody_is_served(door: Door) -> None:
    for key in ("nonsense", door.issuer.mint("ada", "another-service")):
        client = openai.AsyncOpenAI(api_key=key, base_url=f"{door.url}/v1", max_retries=0)
        for work in (client.models.list(), client.chat.completions.create(model="chat", messages=HELLO)):
            with pytest.raises(openai.AuthenticationError):
                await work
    assert door.american.requests == []


async def test_tools_and_schemas_reach_the_engine_as_they_were_given(door: Door) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    tools: Any = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    await door.client().chat.completions.create(
        model="chat", messages=HELLO, tools=tools, response_format=wanted, temperature=0, seed=3
    )
    sent = json.loads(door.american.requests[0][2])
    assert (sent["tools"], sent["response_format"]) == (tools, wanted)
    assert (sent["temperature"], sent["seed"], sent["model"]) == (0, 3, "small")
    assert "orgraph" not in sent
    door.american.answers[PATH] = completion('{"x": 3}')
    parsed = await door.client().chat.completions.parse(model="chat", messages=HELLO, response_format=Number)
    assert parsed.choices[0].message.parsed == Number(x=3)


class Number(BaseModel):
    x: int


async def graphql(
    door: Door, person: str, text: str, scope: TokenScope = EVERYTHING, **variables: Any
) -> Any:
    tokens = RevisionTokens(Fernet.generate_key())
    # The mesh has nothing to do with decisions about access.
    parts = Parts(door.api.asking, None, tokens)  # type: ignore[arg-type]
    context = RequestContext(parts, Asker(f"account:acme/{person}", scope=scope))
    return await build_schema(tokens).execute(text, variable_values=variables, context_value=context)


NODES = "{ nodes { name status models contextLength } }"
DRY_RUN = """query ($ids: [ID!]!, $narrow: HandlingInput) {
    placement(entities: $ids, handling: $narrow) { node refusal facts verdicts { node permitted reasons } } }"""


async def test_everybody_sees_the_nodes_that_they_may_see_and_no_other(door: Door) -> None:
    names = {
        person: {node["name"] for node in (await graphql(door, person, NODES)).data["nodes"]}
        for person in ("ada", "eve", "nobody")
    }
    assert names == {"ada": {"orgraph", "boston", "frankfurt"}, "eve": {"orgraph"}, "nobody": {"orgraph"}}


async def test_a_dry_run_says_where_and_why_and_sends_nothing(door: Door) -> None:
    seen = (await graphql(door, "ada", DRY_RUN, ids=["document:roster"])).data["placement"]
    assert (seen["node"], seen["refusal"]) == ("frankfurt", "")
    assert {v["node"]: v["permitted"] for v in seen["verdicts"]} == {
        "orgraph": False,
        "boston": False,
        "frankfurt": True,
    }
    hidden = (await graphql(door, "eve", DRY_RUN, ids=[], narrow={"clearance": 9})).data["placement"]
    assert hidden["node"] is None
    assert [v["node"] for v in hidden["verdicts"]] == ["orgraph"]
    assert hidden["refusal"] == "No live node that offers chat has clearance 9."
    absent = await graphql(door, "eve", DRY_RUN, ids=["compensation:eve"])
    assert "there is no entity" in str(absent.errors)
    assert door.american.requests == door.european.requests == []


async def test_the_administrator_drains_and_resumes_and_nobody_else(door: Door) -> None:
    drain = "mutation ($id: ID!) { drainNode(id: $id) { name status } }"
    resume = "mutation ($id: ID!) { resumeNode(id: $id) { name status } }"
    for person in ("eve", "nobody"):
        refused = await graphql(door, person, drain, id="mesh_node:boston")
        assert "only the administrator" in str(refused.errors)
    reading = TokenScope(frozenset({"read", "ask"}))
    scoped = await graphql(door, "ada", drain, reading, id="mesh_node:boston")
    assert "its scope lacks 'administer'" in str(scoped.errors)
    unknown = await graphql(door, "ada", drain, id="mesh_node:moon")
    assert "no node 'mesh_node:moon'" in str(unknown.errors)
    done = await graphql(door, "ada", drain, id="mesh_node:boston")
    assert {n["name"]: n["status"] for n in done.data["drainNode"]}["boston"] == "draining"
    file = door.api.asking.operations.file
    assert drained(file) == {"mesh_node:boston"}
    answer = await door.client().chat.completions.create(model="chat", messages=HELLO)
    assert answer.choices[0].message.content == "Hallo aus Frankfurt."
    await graphql(door, "ada", resume, id="mesh_node:boston")
    assert drained(file) == frozenset()
    assert [r["operation"] for r in door.records() if r["kind"] == "operation"] == ["drain", "resume"]


def test_a_file_of_drained_nodes_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert drained(tmp_path / "none.json") == frozenset()
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SettingsError, match=r"broken.json: expected a JSON list"):
        drained(tmp_path / "broken.json")


async def test_a_token_is_good_for_what_its_scope_says_alone(door: Door) -> None:
    class Reading:
        async def asker(self, _token: str) -> Asker:
            return Asker("account:acme/ada", scope=TokenScope(frozenset({"read"})))

    app = web.Application()
    add_openai_routes(app, door.api, Reading(), bearer)  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = openai.AsyncOpenAI(
        api_key="x", base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", max_retries=0
    )
    for work in (
        client.chat.completions.create(model="chat", messages=HELLO),
        client.embeddings.create(model=MODEL, input="x"),
    ):
        with pytest.raises(openai.PermissionDeniedError) as raised:
            await work
        assert raised.value.code == "insufficient_scope"
    await runner.cleanup()
    assert door.american.requests == []
