"""What counts as a mention of somebody, and what is put in its place."""

import zlib

import orjson
import pytest

from graph.mentions import Names

NAMES = Names(
    {"person:ada": "person:erased-1", "account:acme/ada": "account:erased-2"},
    frozenset({"Ada Lovelace", "ada@acme.example", 'O"Neil'}),
)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("person:ada", "person:erased-1"),
        ("person:ada#account", "person:erased-1#account"),
        ("line 3: person:ada: no such unit.", "line 3: person:erased-1: no such unit."),
        ("It was person:ada.", "It was person:erased-1."),
        ("account:acme/ada, Ada Lovelace", "account:erased-2, person:erased-1"),
        ("<ada@acme.example>", "<person:erased-1>"),
        ('O"Neil', "person:erased-1"),
        ("person:ada.king", None),
        ("person:ada-2", None),
        ("account:acme/ada/x", None),
        ("aperson:ada", None),
        ("Ada Lovelaces", None),
        ("lada@acme.example", None),
        ("person:erased-1", None),
    ],
)
def test_ids_and_words_are_told_from_longer_ones(text: str, replaced: str | None) -> None:
    assert NAMES.within(text) is (replaced is not None)
    assert NAMES.replaced(text) == (replaced or text)
    assert NAMES.packed_within(orjson.dumps(text)) or replaced is None


def test_they_are_found_and_replaced_wherever_they_are_in_a_value() -> None:
    value = {"a": [1, None, {"b": "by person:ada"}], "c": b"\x00digest", "d": 2.5}
    assert NAMES.within(value)
    assert NAMES.replaced(value) == {**value, "a": [1, None, {"b": "by person:erased-1"}]}


def test_they_are_found_and_replaced_in_what_is_packed() -> None:
    packed = {"claim": zlib.compress(orjson.dumps(["group:hr", "OWNS", "person:ada"]))}
    assert NAMES.within(packed)
    told = orjson.loads(zlib.decompress(NAMES.replaced(packed)["claim"]))
    assert told == ["group:hr", "OWNS", "person:erased-1"]


def test_facts_are_theirs_by_either_end() -> None:
    assert NAMES.about("person:ada")
    assert NAMES.about("group:hr MEMBER_OF person:ada")
    assert not NAMES.about("person:adam MEMBER_OF group:hr")
