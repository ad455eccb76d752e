"""What an answer said is known again when it comes back, in the same words, of the same asker."""

from __future__ import annotations

from typing import Any

import pytest

from context_manager.prior_answers import PriorAnswers, gathered, said_in
from graph.handling import Handling
from graph.reads import Asker

EU, US = (Handling(jurisdictions=frozenset({law})) for law in ("EU", "US"))
ADA, EVE = Asker("account:acme/ada"), Asker("account:acme/eve")


def called(arguments: str, id_: str = "call-1") -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": id_, "type": "function", "function": function}]}


def test_what_was_answered_is_handled_as_it_was_and_as_strictly_as_ever() -> None:
    prior = PriorAnswers()
    prior.remember(ADA, ["She is ill."], EU)
    assert prior.handling(ADA, ["Hello", " She is ill.\n"]) == EU
    assert prior.handling(ADA, ["Hello"]) == prior.handling(EVE, ["She is ill."]) == Handling()
    prior.remember(ADA, ["She is ill."], Handling())
    assert prior.handling(ADA, ["She is ill."]) == EU
    prior.remember(ADA, ["She is ill."], US)
    assert prior.handling(ADA, ["She is ill."]).jurisdictions == frozenset()


def test_a_call_of_a_tool_is_known_again_however_its_arguments_are_spaced() -> None:
    prior = PriorAnswers()
    prior.remember(ADA, said_in(called('{"who": "Swantje", "what": 1}')), EU)
    assert prior.handling(ADA, said_in(called('{"what":1,"who":"Swantje"}'))) == EU
    assert prior.handling(ADA, said_in(called('{"what":2,"who":"Swantje"}'))) == Handling()
    assert prior.handling(ADA, said_in(called('{"who": "Swantje", "what": 1}', "call-2"))) == Handling()


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
