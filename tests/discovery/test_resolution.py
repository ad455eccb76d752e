"""What is evidence that two descriptions are of one, how much, and what never is."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.resolution import Resolver, jaro_winkler, propose, similarity
from graph.proposals import Described, resolvable
from ontologies import load

ONTOLOGY = load()


def described(key: str, source: str, *, keys: frozenset[str] = frozenset(), **values: str) -> Described:
    return Described(f"person:{key}", frozenset({source}), {n: (v,) for n, v in values.items()}, keys)


ADA = described("ada", "directory", name="Ada Lovelace", email="ada@acme.example", accountName="ada-l")


def proposed(other: Described, one: Described = ADA) -> float | None:
    found = propose(ONTOLOGY, one, other)
    return None if found is None else found.score


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ({"email": "ADA@acme.example"}, 0.9),
        ({"name": "Ada Lovelace"}, 0.6),
        ({"name": "Lovelace, Ada"}, 0.6),
        ({"name": "Àda Lovelace"}, 0.6),
        ({"accountName": "Ada-L"}, 0.6),
        ({"name": "Ada Lovelace", "accountName": "ada-l"}, 0.84),
        ({"name": "Ada Lovelace", "accountName": "countess"}, 0.6),
        ({"name": "Ada K Lovelace"}, 0.57),
        ({"name": "Bob Stone", "accountName": "ada-l"}, None),
        ({"name": "Ada Lovelace", "email": "ada@elsewhere.example"}, None),
        ({"name": "ada-l", "accountName": "ada-l"}, 0.6),
        ({"name": "Ada"}, None),
        ({"name": "Bob Stone"}, None),
        ({}, None),
    ],
)
def test_evidence_is_weighed(values: dict[str, str], score: float | None) -> None:
    assert proposed(described("x", "code", **values)) == (pytest.approx(score) if score else None)


def test_a_source_knows_its_own_unless_a_key_decides() -> None:
    """An account name, and all else, that passed to somebody else under another id of the same source."""
    successor = replace(ADA, id="person:17")
    assert proposed(successor) is None
    key = frozenset({"HAS_ACCOUNT account:acme/ada"})
    found = propose(ONTOLOGY, replace(ADA, keys=key), replace(successor, keys=key))
    assert found is not None
    assert (found.score, found.evidence[0]) == (1.0, "decides: HAS_ACCOUNT")


def test_the_digest_changes_with_what_speaks_for_it_and_with_nothing_else() -> None:
    def digest(**values: str) -> str:
        found = propose(ONTOLOGY, ADA, described("x", "code", **values))
        assert found is not None
        return found.digest

    base = digest(name="Ada Lovelace")
    assert digest(name="Ada Lovelace", accountName="other") == base
    assert digest(name="Ada Lovelace", employeeNumber="7") == base
    assert digest(name="Ada Lovelace", accountName="ada-l") != base
    found = propose(ONTOLOGY, ADA, described("x", "code", name="Ada Lovelace"))
    assert found is not None
    assert not any("Lovelace" in line for line in found.evidence), "evidence is told without values"


def test_only_classes_with_a_key_of_their_own_are_compared() -> None:
    assert resolvable(ONTOLOGY) == {"Person"}


names = st.lists(st.sampled_from(["ada", "king", "lovelace", "bob", "stone", "a", "Ada"]), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["hr", "code", "it"]), names), min_size=2, max_size=5), st.data())
def test_the_order_of_crawls_changes_nothing(people, data) -> None:
    """Everything at once, or one after the other in any order, each coming and going in between."""
    world = {
        f"person:{n}": described(str(n), source, name=" ".join(words) or "x")
        for n, (source, words) in enumerate(people)
    }
    whole = Resolver(ONTOLOGY)
    whole.update(world, world)
    expected = list(whole.proposals())
    order = data.draw(st.sampled_from(list(permutations(world))))
    bit_by_bit = Resolver(ONTOLOGY)
    for id in order:
        bit_by_bit.update([id], {id: replace(world[id], values={"name": ("Ada Lovelace",)})})
        bit_by_bit.update([id], world)
        bit_by_bit.update([order[0]], {})
        bit_by_bit.update([order[0]], world)
    assert list(bit_by_bit.proposals()) == expected
    by_one = {one.pair: one for id in world for one in bit_by_bit.proposals([id])}
    assert sorted(by_one.values(), key=lambda one: (one.one, one.other)) == sorted(
        expected, key=lambda one: (one.one, one.other)
    )


def test_of_a_crowd_only_those_with_the_same_value_are_compared_whoever_came_last(monkeypatch) -> None:
    monkeypatch.setattr("discovery.resolution._CROWD", 3)
    world = {
        one.id: one
        for one in (
            described("1", "hr", name="Martha Lovelace"),
            described("2", "code", name="Marhta Lovelace"),
            described("3", "code", name="Martha Lovelace"),
            described("4", "it", name="Mo Lovelace"),
        )
    }
    whole, last = Resolver(ONTOLOGY), Resolver(ONTOLOGY)
    whole.update(world, world)
    assert [(one.one, one.other) for one in whole.proposals()] == [("person:1", "person:3")]
    last.update(set(world) - {"person:4"}, world)
    assert len(list(last.proposals())) == 2
    assert last.update(["person:4"], world) == {"person:1", "person:2", "person:3"}
    assert list(last.proposals()) == list(whole.proposals())


@given(st.text(max_size=30), st.text(max_size=30))
def test_similarity_is_of_the_two_alone(one: str, other: str) -> None:
    found = similarity(one, other)
    assert 0 <= found <= 1
    assert found == pytest.approx(similarity(other, one))
    assert similarity(one, one) == 1.0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("martha", "marhta", 0.961), ("dwayne", "duane", 0.84), ("dixon", "dicksonx", 0.813)],
)
def test_words_are_compared_as_winkler_did(one: str, other: str, expected: float) -> None:
    assert jaro_winkler(one, other) == pytest.approx(expected, abs=0.0005)
