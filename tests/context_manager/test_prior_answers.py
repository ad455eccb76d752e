"""What an answer said is known again when it comes back, in the same words, of the same asker."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest

from context_manager.prior_answers import PriorAnswers, gathered, said_in
from graph.answer_handling import last_answers, prune_answers
from graph.database import Database
from graph.handling import Handling
from graph.reads import Asker
from tests.context_manager.door import WHERE, Door

EU, US = (Handling(jurisdictions=frozenset({law})) for law in ("EU", "US"))
HIPAA = Handling(certifications=frozenset({"HIPAA"}))
ADA, EVE = Asker("account:acme/ada"), Asker("account:acme/eve")


def called(arguments: str, id_: str = "call-1") -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": id_, "type": "function", "function": function}]}


async def test_what_was_answered_is_handled_as_it_was_and_as_strictly_as_ever(neo4j: Database) -> None:
    prior = PriorAnswers(neo4j, WHERE)
    await prior.remember(ADA, ["She is ill."], EU)
    assert await prior.handling(ADA, ["Hello", " She is ill.\n"]) == EU
    assert await prior.handling(ADA, ["Hello"], ["Hi"]) == Handling()
    assert await prior.handling(EVE, ["She is ill."], ["She is ill."]) == Handling()
    await prior.remember(ADA, ["She is ill."], WHERE)
    assert await prior.handling(ADA, ["She is ill."]) == EU
    await prior.remember(ADA, ["She is ill."], US)
    assert (await prior.handling(ADA, ["She is ill."])).jurisdictions == frozenset()


async def test_a_restart_forgets_no_answer_and_each_process_knows_those_of_the_others(
    neo4j: Database,
) -> None:
    one, other = PriorAnswers(neo4j, WHERE), PriorAnswers(neo4j, WHERE)
    await one.remember(ADA, ["She is ill."], EU)
    await one.remember(ADA, ["She is ill."], HIPAA)
    assert await other.handling(ADA, (), ["She is ill. "]) == EU.meet(HIPAA)
    assert await other.handling(EVE, (), ["She is ill."]) == Handling()
    restarted = PriorAnswers(neo4j, WHERE)
    assert await restarted.handling(ADA, ["She is ill."]) == Handling()  # its own words, by what they say
    await restarted.load()
    assert await restarted.handling(ADA, ["She is ill."]) == EU.meet(HIPAA)


async def test_what_is_handled_as_what_is_sent_is_not_kept_and_what_is_old_is_forgotten(
    neo4j: Database,
) -> None:
    prior = PriorAnswers(neo4j, WHERE)
    await prior.remember(ADA, ["We won the cup."], WHERE)
    await prior.remember(ADA, [" ", ""], EU)
    assert await last_answers(neo4j, 10) == {}
    await prior.remember(ADA, ["She is ill."], EU)
    await prune_answers(neo4j, datetime.now(UTC) - timedelta(days=1))
    assert list((await last_answers(neo4j, 10)).values()) == [EU]
    await prune_answers(neo4j, datetime.now(UTC) + timedelta(days=1))
    assert await last_answers(neo4j, 10) == {}


async def test_a_call_of_a_tool_is_known_again_however_its_arguments_are_spaced(neo4j: Database) -> None:
    prior = PriorAnswers(neo4j, WHERE)
    await prior.remember(ADA, said_in(called('{"who": "Swantje", "what": 1}')), EU)
    for other in (prior, PriorAnswers(neo4j, WHERE)):
        assert await other.handling(ADA, (), said_in(called('{"what":1,"who":"Swantje"}'))) == EU
        assert await other.handling(ADA, (), said_in(called('{"what":2,"who":"Swantje"}'))) == Handling()
        elsewhere = said_in(called('{"who": "Swantje", "what": 1}', "call-2"))
        assert await other.handling(ADA, (), elsewhere) == Handling()


async def test_an_answer_comes_back_to_a_process_that_did_not_give_it(door: Door, neo4j: Database) -> None:
    """Frankfurt alone may have it, as before; once that is down, nobody."""
    answered = await door.client().chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "Who is ill?"}],
        extra_body={"orgraph": {"entities": ["document:roster"]}},
    )
    door.api.asking = replace(door.api.asking, prior=PriorAnswers(neo4j, WHERE))
    turn: Any = {"role": "assistant", "content": answered.choices[0].message.content}
    again = await door.client().chat.completions.create(
        model="chat", messages=[turn, {"role": "user", "content": "Why?"}]
    )
    assert again.orgraph["node"] == "frankfurt"  # type: ignore[attr-defined]  # the extension field
    door.api.asking.mesh.drain("mesh_node:frankfurt")
    door.api.asking = replace(door.api.asking, prior=PriorAnswers(neo4j, WHERE))
    with pytest.raises(openai.APIStatusError) as raised:
        await door.client().chat.completions.create(
            model="chat", messages=[turn, {"role": "user", "content": "Why?"}]
        )
    assert raised.value.code == "permitted_nodes_down"
    assert door.american.requests == []


def test_a_call_that_came_in_pieces_is_the_call_that_they_make() -> None:
    def event(**delta: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta}]}

    first = {"index": 0, "id": "call-1", "function": {"name": "look", "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": part}} for part in ('{"who": ', '"Swantje"}')]
    events = [
        event(role="assistant", content="Let me "),
        event(content="look."),
        *(event(tool_calls=[part]) for part in (first, *rest)),
        {"choices": [], "usage": {"total_tokens": 9}},
    ]
    whole = called('{"who": "Swantje"}') | {"content": "Let me look."}
    assert said_in(gathered(events)) == said_in(whole)


@pytest.mark.parametrize(
    "garbage",
    [
        {"content": 5, "tool_calls": 7},
        {"content": [1, {"type": "text"}], "tool_calls": [None, {"function": 3}, {"function": {}}]},
        {"tool_calls": {"function": {}}},
        called("[" * 100_000),
    ],
)
def test_what_is_no_message_raises_nothing(garbage: dict[str, Any]) -> None:
    said_in(garbage)
    gathered([{"choices": [{"delta": garbage}]}, {"choices": 3}, {"choices": [{"delta": 1}]}])
