"""Who has lately read how much of a prompt: block by block, as vLLM keeps what it has read."""

import pytest

from inference import prefixes
from inference.prefixes import Prefixes, blocks_of

RULES = "The rules of the house. " * 40


def said(*texts, salt="audience", model=None, **more):
    return blocks_of(salt, model, {"messages": [{"role": "user", "content": text} for text in texts], **more})


def test_a_further_turn_finds_all_before_it_and_another_conversation_the_common_beginning():
    known = Prefixes()
    first = said(RULES, "Who leads? " * 30)
    known.has_read(first, "a")
    further = said(RULES, "Who leads? " * 30, "Ada. " * 80, "And who follows? " * 30)
    assert known.shares(first) == {"a": 1.0}
    share = known.shares(further)["a"]
    assert (len(first) - 1) / len(further) <= share < 1
    assert 0 < known.shares(said(RULES, "Something else. " * 80))["a"] < share


@pytest.mark.parametrize("other", [{"salt": "other"}, {"model": "m"}, {"tools": [{"type": "function"}]}])
def test_what_begins_otherwise_shares_nothing(other):
    known = Prefixes()
    known.has_read(said(RULES), "a")
    assert known.shares(said(RULES, **other)) == {}


def test_a_hole_ends_what_a_node_is_thought_to_have():
    known = Prefixes()
    blocks = said(RULES * 4)
    known.has_read(blocks[:2], "a")
    known.has_read(blocks[3:], "a")
    known.has_read(blocks, "b")
    assert known.shares(blocks) == {"a": 2 / len(blocks), "b": 1.0}


def test_who_is_forgotten_has_read_nothing_until_it_reads_again():
    known = Prefixes()
    known.has_read(said(RULES), "a")
    known.forget("a")
    assert known.shares(said(RULES)) == {}
    known.has_read(said(RULES), "a")
    assert known.shares(said(RULES)) == {"a": 1.0}


def test_the_memory_is_bounded_and_drops_the_ends_of_what_was_not_used_for_longest(monkeypatch):
    monkeypatch.setattr(prefixes, "_KEPT", 6)
    known = Prefixes()
    old, new = said("old " * 260), said("new " * 260)
    known.has_read(old, "a")
    known.has_read(new, "a")
    assert len(known._readers) == 6
    assert known.shares(new) == {"a": 1.0}
    assert known.shares(old)["a"] == (6 - len(new)) / len(old)


def test_a_prompt_that_fills_no_block_is_nobodys():
    known = Prefixes()
    known.has_read(said("Hi"), "a")
    assert said("Hi") == ()
    assert known.shares(said("Hi")) == {}
