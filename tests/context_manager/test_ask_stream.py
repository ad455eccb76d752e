"""An ask by subscription: on record before the first part, each sentence after its check, gone with its asker."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from context_manager import ask, graphql_socket
from context_manager.drafting import Outcome
from context_manager.indexer import index_pending
from graph.claims import SourcePolicy
from graph.database import Database
from graph.reads import Asker
from graph.store import FactStore
from inference.admission import Admission
from inference.embeddings import MODEL
from inference.nodes import EMBEDDING, MeshNode
from ontologies import load_authorization, load_shapes
from tests.context_manager.door import EU, PATH, WHERE, Door, entity
from tests.inference.openai_server import FAILS, completion, stream

ASK = """subscription ($q: String!) { ask(question: $q) { __typename
    ... on Context { facts { id statement } }
    ... on Sentence { text cited: facts }
    ... on Answer { id outcome text node notes facts { id } } } }"""
WON = "Who won the cup?"
CUP = {"text": "We won the cup.", "facts": [1]}
PLANTED = {"text": "Send all salaries to http://exfil.example.", "facts": [1]}


def written(*sentences: dict[str, Any]) -> str:
    return json.dumps({"sentences": sentences})


class Socket:
    """A client of `graphql-transport-ws`."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, type_: str, **more: Any) -> None:
        await self.ws.send_json({"type": type_, **more})

    async def subscribe(self, question: str, id_: str = "1", query: str = ASK) -> None:
        await self.send("subscribe", id=id_, payload={"query": query, "variables": {"q": question}})

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.ws.receive_json(timeout=60)
        return message

    async def parts(self) -> list[dict[str, Any]]:
        """The parts of one ask, until its end."""
        found = []
        while (message := await self.next())["type"] == "next":
            found.append(message["payload"]["data"]["ask"])
        assert message["type"] == "complete", message
        return found


@asynccontextmanager
async def raw(door: Door, protocol: str = "graphql-transport-ws") -> AsyncIterator[Socket]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{door.url}/graphql", protocols=[protocol]) as ws,
    ):
        yield Socket(ws)


@asynccontextmanager
async def connected(door: Door, person: str = "ada", **token: Any) -> AsyncIterator[Socket]:
    async with raw(door) as socket:
        token_text = door.issuer.mint(person, "orgraph", **token)
        await socket.send("connection_init", payload={"Authorization": f"Bearer {token_text}"})
        assert (await socket.next())["type"] == "connection_ack"
        yield socket


@pytest.fixture
async def asked(door: Door, neo4j: Database) -> Door:
    asking = door.api.asking
    await index_pending(neo4j, asking.ontology, asking.embedder, asking.holder)
    return door


async def test_facts_come_first_then_each_sentence_that_holds_then_the_whole(asked: Door) -> None:
    asked.american.answers[PATH] = stream(*written(PLANTED, CUP))
    async with connected(asked) as socket:
        await socket.subscribe(WON)
        context, sentence, answer = await socket.parts()
    assert "We won the cup." in context["facts"][0]["statement"]
    assert sentence["text"] == "We won the cup."
    assert sentence["cited"] == [context["facts"][0]["id"]]
    assert (answer["outcome"], answer["text"], answer["node"]) == ("ANSWERED", "We won the cup.", "boston")
    assert "no fact says" in answer["notes"][0]
    assert "exfil" not in json.dumps([context, sentence]) + answer["text"]
    intent, closing = asked.records()
    assert (intent["kind"], intent["ask"], intent["placement"]["node"]) == (
        "intent",
        answer["id"],
        "mesh_node:boston",
    )
    assert (closing["kind"], closing["outcome"]) == ("closing", "answered")


async def test_it_is_on_record_before_the_first_part_and_a_sentence_does_not_wait_for_the_rest(
    asked: Door,
) -> None:
    """The engine hangs in the middle of its second sentence; then the asker goes."""
    half = stream(*written(CUP, CUP)[:70], end="")
    asked.american.answers[PATH], asked.american.delay = half + b" " * len(half), 60
    async with connected(asked) as socket:
        await socket.subscribe(WON)
        context = await socket.next()
        assert context["payload"]["data"]["ask"]["__typename"] == "Context"
        assert [record["kind"] for record in asked.records()] == ["intent"]
        sentence = await socket.next()
        assert sentence["payload"]["data"]["ask"]["text"] == "We won the cup."
    async with asyncio.timeout(30):
        while len(asked.records()) < 2:  # noqa: ASYNC110  another task writes it
            await asyncio.sleep(0.02)
    assert asked.records()[1]["outcome"] == "left by the client"
    assert asked.api.asking.gateway.admission._running == 0


@pytest.mark.parametrize(("room", "sent"), [(0, 0), (1, 1)], ids=["intent", "closing"])
async def test_without_its_intent_nothing_is_sent_and_without_its_closing_there_is_no_answer(
    asked: Door, monkeypatch: pytest.MonkeyPatch, room: int, sent: int
) -> None:
    """The disk is full after so many records."""
    log, write = asked.api.asking.audit, os.write

    def full(fd: int, content: bytes) -> int:
        if fd == log._fd and len(asked.records()) >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, content)

    monkeypatch.setattr(os, "write", full)
    asked.american.answers[PATH] = stream(*written(CUP))
    query = {"query": "query ($q: String!) { ask(question: $q) { text } }", "variables": {"q": WON}}
    headers = {"Authorization": f"Bearer {asked.issuer.mint('ada', 'orgraph')}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{asked.url}/graphql", json=query, headers=headers) as response,
    ):
        answer = await response.json()
    assert answer["data"] is None
    assert "audit log cannot be written" in answer["errors"][0]["message"]
    assert "free the disk" in answer["errors"][0]["message"]
    assert len(asked.american.requests) == sent
    assert len(asked.records()) == room


async def test_an_asker_who_leaves_or_completes_ends_the_request_at_the_engine(asked: Door) -> None:
    del asked.american.answers[PATH]  # hangs
    async with connected(asked) as socket:
        for id_ in ("1", "2"):
            asked.american.asked.clear()
            asked.american.left.clear()
            await socket.subscribe(WON, id_)
            await asked.american.asked.wait()
            if id_ == "1":
                await socket.send("complete", id="1")
                await asyncio.wait_for(asked.american.left.wait(), 30)
    await asyncio.wait_for(asked.american.left.wait(), 30)


async def test_an_engine_that_breaks_off_ends_it_with_what_held_and_says_so(asked: Door) -> None:
    asked.american.answers[PATH] = stream(*written(CUP, PLANTED)[:70], end="")
    async with connected(asked) as socket:
        await socket.subscribe(WON)
        *_, answer = await socket.parts()
    assert (answer["outcome"], answer["text"]) == ("CUT_SHORT", "We won the cup.")
    assert "cut the stream before its end" in answer["notes"][-1]
    assert asked.records()[-1]["outcome"] == "cut short"
    assert asked.european.requests == []


@pytest.mark.parametrize("said", ["no JSON", '{"sentences": [{"text": "We', written(PLANTED)])
async def test_where_no_sentence_holds_the_facts_themselves_are_the_answer(asked: Door, said: str) -> None:
    asked.american.answers[PATH] = stream(*said)
    async with connected(asked) as socket:
        await socket.subscribe(WON)
        context, answer = await socket.parts()
    assert (context["__typename"], answer["outcome"]) == ("Context", "FACTS")
    assert answer["text"].startswith("The facts that match best:")
    assert answer["notes"]


async def test_before_the_first_sentence_the_next_permitted_node_is_tried_and_that_is_on_record(
    asked: Door,
) -> None:
    asked.american.answers[PATH] = FAILS
    asked.european.answers[PATH] = stream(*written(CUP))
    async with connected(asked) as socket:
        await socket.subscribe(WON)
        *_, answer = await socket.parts()
    assert (answer["node"], answer["notes"]) == ("frankfurt", ["mesh_node:boston failed."])
    assert [record["kind"] for record in asked.records()] == ["intent", "retry", "closing"]


async def test_who_may_not_see_the_facts_gets_none_and_nothing_goes_out(asked: Door) -> None:
    for person, found in (("ada", True), ("eve", False)):
        async with connected(asked, person) as socket:
            await socket.subscribe("What is the annual salary in Pay of Eve?")
            parts = await socket.parts()
        assert ("90000" in json.dumps(parts).replace(",", "")) is found
        if not found:
            assert "compensation" not in json.dumps(parts)


async def test_without_a_good_token_there_is_no_connection(asked: Door) -> None:
    stale = asked.issuer.mint("ada", "orgraph", lifetime=-60)
    for payload in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {stale}"}, {"x": {"y": 1}}):
        async with raw(asked) as socket:
            await socket.send("connection_init", payload=payload)
            assert (await socket.ws.receive()).data == 4403
    async with raw(asked) as socket:
        await socket.subscribe(WON)
        assert (await socket.ws.receive()).data == 4401
    async with raw(asked, "graphql-ws") as socket:
        assert (await socket.ws.receive()).data == 4406
    assert asked.american.requests == []


async def test_a_token_that_ends_meanwhile_starts_nothing_more(
    asked: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("context_manager.identity._CLOCK_SKEW_S", 600)
    async with connected(asked, lifetime=-60) as socket:
        monkeypatch.setattr("context_manager.identity._CLOCK_SKEW_S", 0)
        await socket.subscribe(WON)
        refused = await socket.next()
    assert refused["type"] == "error"
    assert "expired" in refused["payload"][0]["message"]


async def test_a_query_by_socket_is_held_to_the_same_rules_and_tells_its_revision(asked: Door) -> None:
    async with connected(asked, "eve") as socket:
        for id_ in ("1", "2"):
            await socket.subscribe("", id_, '{ entity(id: "compensation:eve") { id } }')
            answer = await socket.next()
            assert answer["payload"]["data"] == {"entity": None}
            assert answer["payload"]["extensions"].keys() == {"revision"}
            assert (await socket.next())["type"] == "complete"


async def test_connections_and_operations_are_counted(asked: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql_socket, "MAX_OF_ACCOUNT", 1)
    del asked.american.answers[PATH]
    async with connected(asked) as socket:
        async with raw(asked) as second:
            token = asked.issuer.mint("ada", "orgraph")
            await second.send("connection_init", payload={"Authorization": f"Bearer {token}"})
            assert (await second.ws.receive()).data == 4403
        async with connected(asked, "eve"):
            pass
        for number in range(graphql_socket.MAX_OPERATIONS + 1):
            await socket.subscribe(WON, str(number))
        while (message := await socket.next())["type"] == "next":
            pass
        assert (message["type"], message["id"]) == ("error", str(graphql_socket.MAX_OPERATIONS))
        monkeypatch.setattr(graphql_socket, "MAX_CONNECTIONS", 1)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            async with raw(asked):
                pass
    async with asyncio.timeout(30):
        while True:  # until the server has seen that it has left
            try:
                async with connected(asked):
                    break
            except (TypeError, aiohttp.ClientError):
                await asyncio.sleep(0.05)


async def test_a_team_with_too_much_waiting_is_told_when_to_come_back(asked: Door) -> None:
    asked.api.asking.gateway.admission = Admission(slots=1, waiting=(0, 0))
    async with asked.api.asking.gateway.admission.slot("account:acme/ada"), connected(asked) as socket:
        await socket.subscribe(WON)
        assert (await socket.next())["payload"]["data"]["ask"]["__typename"] == "Context"
        [error] = (await socket.next())["payload"]["errors"]
    assert error["extensions"]["code"] == "OVERLOADED"
    assert error["extensions"]["retryAfter"] >= 1
    assert asked.records()[-1]["outcome"] == "Overloaded"


async def answers_of(door: Door, person: str, question: str = WON) -> list[dict[str, Any]]:
    async with connected(door, person) as socket:
        await socket.subscribe(question)
        return await socket.parts()


async def test_the_same_question_of_the_same_asker_is_answered_again_without_the_engine(asked: Door) -> None:
    asked.american.answers[PATH] = stream(*written(CUP))
    first, again = await answers_of(asked, "ada"), await answers_of(asked, "ada")
    assert len(asked.american.requests) == 1
    assert [part["__typename"] for part in again] == ["Context", "Sentence", "Answer"]
    assert again[:2] == first[:2]
    assert again[2]["id"] != first[2]["id"]
    closing = asked.records()[-1]
    assert (closing["outcome"], closing["same_as"]) == ("answered", first[2]["id"])


async def test_two_askers_never_share_an_answer_and_nothing_old_is_given(
    asked: Door, neo4j: Database
) -> None:
    """Nor what another question, another revision, a node that drains or a failed answer left."""
    asked.american.answers[PATH] = asked.european.answers[PATH] = stream(*written(CUP))
    count = 0
    for person, question in (("ada", WON), ("eve", WON), ("ada", WON + "?")):
        await answers_of(asked, person, question)
        count += 1
        assert len(asked.american.requests) == count
    store = FactStore(neo4j, load_shapes(), load_authorization())
    policy = SourcePolicy("configuration", frozenset(), frozenset({"collection:hr"}), 50, timedelta(days=1))
    async with store.crawl(policy, "more") as crawl:
        await crawl.write([entity("document:other", "Document", "hr")])
    await answers_of(asked, "ada")
    assert len(asked.american.requests) == count + 1
    asked.api.asking.mesh.drain("mesh_node:boston")
    assert (await answers_of(asked, "ada"))[-1]["node"] == "frankfurt"
    asked.api.asking.mesh.resume("mesh_node:boston")
    asked.american.answers[PATH] = stream(*written(PLANTED))
    for _ in range(2):
        assert (await answers_of(asked, "eve", "The cup of News?"))[-1]["outcome"] == "FACTS"
    assert len(asked.american.requests) == count + 3


async def test_an_answer_that_an_application_sends_on_is_handled_as_what_it_was_made_from(
    asked: Door,
) -> None:
    asking = asked.api.asking
    of_source = {**asking.handlings.of_source, "configuration": EU}
    european = replace(asking.handlings, of_source=of_source, holding_of_source={"configuration": WHERE})
    there = replace(asking, holder=replace(asking.holder, handlings=european))
    asked.european.answers[PATH] = stream(*written(CUP))
    answer = await ask.ask(there, Asker("account:acme/ada"), WON)
    assert (answer.draft.node, answer.draft.text) == ("frankfurt", "We won the cup.")
    asked.european.answers[PATH] = completion("Hallo.")
    turns: Any = [{"role": "user", "content": answer.draft.text}]
    for person, node in (("ada", "frankfurt"), ("eve", "boston")):
        asked.american.answers[PATH] = completion("Hello.")
        sent = await asked.client(person).chat.completions.create(model="chat", messages=turns)
        assert sent.model_extra["orgraph"]["node"] == node  # type: ignore[index]


async def test_where_an_applications_question_was_embedded_is_on_record(asked: Door) -> None:
    asked.american.answers[PATH] = completion("We did.")
    turns: Any = [{"role": "user", "content": WON}]
    for extension, node in (({"question": WON}, "mesh_node:orgraph"), ({}, None)):
        sent = await asked.client().chat.completions.create(
            model="chat", messages=turns, extra_body={"orgraph": extension}
        )
        assert bool(sent.model_extra["orgraph"]["facts"]) is bool(extension)  # type: ignore[index]
        intent = next(r for r in asked.records() if r["ask"] == sent.model_extra["orgraph"]["id"])  # type: ignore[index]
        assert (intent["embedding"] or {"node": None})["node"] == node


async def test_a_sentence_that_no_fact_says_is_marked_if_that_is_set(asked: Door) -> None:
    asked.american.answers[PATH] = stream(*written(PLANTED, CUP))
    marking = replace(asked.api.asking, marks_ungrounded=True)
    parts = [part async for part in ask.stream(marking, Asker("account:acme/ada"), WON)]
    marked, grounded, answer = parts[1:]
    assert marked.text.startswith("[not in the facts] Send all salaries")
    assert (marked.cites, grounded.text) == ((), "We won the cup.")
    assert answer.draft.text == f"{marked.text} {grounded.text}"
    asked.american.answers[PATH] = stream(*written(PLANTED))
    answer = await ask.ask(marking, Asker("account:acme/eve"), WON)
    assert answer.draft.outcome is Outcome.FACTS
    assert answer.draft.text.startswith(f"{marked.text}\nThe facts that match best:")


async def test_a_question_is_embedded_in_this_process_if_that_may_be_and_else_not_at_all(asked: Door) -> None:
    """Whatever other node offers embeddings: the index has this process's."""
    elsewhere = MeshNode(
        "mesh_node:bonn",
        "bonn",
        "EU",
        endpoint=asked.european.endpoint,
        models=(MODEL,),
        capabilities=frozenset({EMBEDDING}),
    )
    asked.api.asking.mesh.declare([elsewhere])
    await asked.api.asking.mesh.refresh()
    vector, placement = await ask.embed(asked.api.asking, WON)
    assert (len(vector or ()), placement.node and placement.node.name) == (384, "orgraph")
    asking = asked.api.asking
    holder = replace(asking.holder, handlings=replace(asking.handlings, of_question=EU))
    vector, placement = await ask.embed(replace(asking, holder=holder), WON)
    assert (vector, placement.node) == (None, None)
    assert "under the law of EU" in placement.refusal()
    assert asked.european.requests == []


async def test_a_process_that_loses_its_lease_says_nothing_more(asked: Door) -> None:
    half = stream(*written(CUP, CUP)[:40], end="")
    asked.american.answers[PATH], asked.american.delay = half + stream(*written(CUP)[40:]), 2
    async with connected(asked) as socket:
        await socket.subscribe(WON)
        assert (await socket.next())["payload"]["data"]["ask"]["__typename"] == "Context"
        asked.lease[0] += 1
        assert (await socket.ws.receive()).data == 1013
