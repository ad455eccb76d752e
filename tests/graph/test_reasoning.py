"""What follows is what the axioms say, whatever order facts came and went in, and rests on what it says."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from graph.inferred_then import leading
from graph.reasoning import DERIVATIONS, Closure, Derivation, Link, Rules, compile_rules, conclusions_about
from ontologies import Ontology, load
from ontologies.ontology import RelationshipType

TYPES = ("P", "Q", "R", "S")


def ontology(*relationships: RelationshipType) -> Ontology:
    return replace(load(), relationships={one.type: one for one in relationships})


def relationship(type_: str, **axioms: object) -> RelationshipType:
    plain = RelationshipType(type_, f"urn:{type_}", "", "", frozenset(), frozenset(), access_bearing=False)
    return replace(plain, **axioms)  # type: ignore[arg-type]


SUBSETS = st.frozensets(st.sampled_from(TYPES), max_size=2)
ONTOLOGIES = st.builds(
    ontology,
    *(
        st.builds(
            relationship,
            st.just(type_),
            broader=SUBSETS,
            inverses=SUBSETS,
            symmetric=st.booleans(),
            transitive=st.booleans(),
        )
        for type_ in TYPES
    ),
)
NODES = st.sampled_from("abcd")
LINKS = st.builds(Link, NODES, st.sampled_from(TYPES), NODES)
CHANGES = st.lists(st.tuples(st.frozensets(LINKS, max_size=3), st.frozensets(LINKS, max_size=3)), max_size=6)


def fixpoint(axioms: Ontology, asserted: Iterable[Link]) -> set[Link]:
    """What follows, by applying each axiom until nothing is new; not from a thing to itself."""
    known = set(asserted)
    while True:
        new = set()
        for start, type_, end in known:
            one = axioms.relationships[type_]
            new |= {Link(start, broader, end) for broader in one.broader}
            new |= {Link(end, inverse, start) for inverse in one.inverses}
            new |= {Link(end, type_, start)} if one.symmetric else set()
        for first, second in product(known, known):
            meet = first.type == second.type and first.end == second.start
            if meet and axioms.relationships[first.type].transitive:
                new.add(Link(first.start, first.type, second.end))
        if new <= known:
            return {link for link in known if link.start != link.end}
        known |= new


@settings(max_examples=200, deadline=None)
@given(ONTOLOGIES, CHANGES)
def test_any_history_of_changes_ends_where_a_fresh_start_would(
    axioms: Ontology, history: list[tuple[frozenset[Link], frozenset[Link]]]
) -> None:
    rules = compile_rules(axioms)
    closure, asserted, told = Closure(rules), set[Link](), dict[Link, object]()
    for added, removed in history:
        asserted = (asserted - removed) | added
        for link, derivations in closure.change(added, removed).items():
            told[link] = derivations
    fresh = Closure(rules)
    fresh.change(asserted)
    assert closure.inferred == fresh.inferred
    assert {link: derivations for link, derivations in told.items() if derivations} == closure.inferred


@settings(max_examples=200, deadline=None)
@given(ONTOLOGIES, st.frozensets(LINKS, max_size=7))
def test_what_follows_is_what_the_axioms_say(axioms: Ontology, asserted: frozenset[Link]) -> None:
    closure = Closure(compile_rules(axioms))
    closure.change(asserted)
    assert set(closure.inferred) == fixpoint(axioms, asserted) - asserted


@settings(max_examples=200, deadline=None)
@given(ONTOLOGIES, st.frozensets(LINKS, max_size=7), st.frozensets(NODES, min_size=1, max_size=2))
def test_what_is_concluded_about_some_rests_on_what_leads_to_them_alone(
    axioms: Ontology, asserted: frozenset[Link], ids: frozenset[str]
) -> None:
    rules, closure = compile_rules(axioms), Closure(compile_rules(axioms))
    closure.change(asserted)

    async def beside(further: Collection[str]) -> list[Link]:
        return [one for one in asserted if one.type in rules.relevant and {one.start, one.end} & {*further}]

    async def about() -> Mapping[Link, Sequence[Derivation]]:
        return conclusions_about(rules, await leading(rules, ids, await beside(ids), beside), ids)

    told = {link: of for link, of in closure.inferred.items() if {link.start, link.end} & ids}
    assert asyncio.run(about()) == told


@settings(max_examples=200, deadline=None)
@given(ONTOLOGIES, st.frozensets(LINKS, max_size=7), st.data())
def test_a_conclusion_follows_from_some_facts_exactly_if_they_hold_a_whole_derivation(
    axioms: Ontology, asserted: frozenset[Link], data: st.DataObject
) -> None:
    closure = Closure(compile_rules(axioms))
    closure.change(asserted)
    seen = data.draw(st.frozensets(st.sampled_from(sorted(asserted)))) if asserted else frozenset()
    follows = fixpoint(axioms, seen)
    for link, derivations in closure.inferred.items():
        assert all(set(one) <= asserted for one in derivations)
        shown = any(set(one) <= seen for one in derivations)
        # Of more derivations than are kept some are lost: then it may be hidden, never shown.
        assert shown == (link in follows) or (not shown and len(derivations) == DERIVATIONS)


def test_parts_of_parts_are_parts_by_our_own_axioms() -> None:
    closure = Closure(compile_rules(load()))
    team, department = Link("t", "UNIT_OF", "d"), Link("d", "UNIT_OF", "o")
    changed = closure.change([team, department])
    assert changed == {
        Link("t", "PART_OF", "d"): ((team,),),
        Link("d", "PART_OF", "o"): ((department,),),
        Link("t", "PART_OF", "o"): ((team, department),),
    }
    assert closure.change([Link("t", "PART_OF", "o")]) == {Link("t", "PART_OF", "o"): ()}
    assert closure.change([], [department, Link("t", "PART_OF", "o")]) == {Link("d", "PART_OF", "o"): ()}
    assert set(closure.inferred) == {Link("t", "PART_OF", "d")}


def test_nothing_that_access_rests_on_is_ever_concluded() -> None:
    axioms = ontology(
        relationship("P", broader=frozenset({"Q"}), inverses=frozenset({"Q"})),
        relationship("Q", access_bearing=True, transitive=True, symmetric=True),
        relationship("R"),
        relationship("S"),
    )
    closure = Closure(compile_rules(axioms))
    assert closure.change([Link("a", "P", "b"), Link("b", "Q", "c")]) == {}


def test_what_no_axiom_is_about_is_not_even_kept() -> None:
    rules: Rules = compile_rules(load())
    relationships: Mapping[str, RelationshipType] = load().relationships
    assert {"UNIT_OF", "PART_OF"} <= rules.relevant < set(relationships)


def test_the_shortest_derivations_are_found_where_there_are_very_many() -> None:
    layers = [[f"{depth}.{place}" for place in range(9)] for depth in range(8)]
    steps = [Link(a, "P", b) for one, other in pairwise(layers) for a in one for b in other]
    closure = Closure(compile_rules(ontology(relationship("P", transitive=True))))
    closure.change([*steps, Link("0.0", "P", "6.0")])
    derivations = closure.inferred[Link("0.0", "P", "7.0")]
    assert len(derivations) == DERIVATIONS
    assert derivations[0] == (Link("0.0", "P", "6.0"), Link("6.0", "P", "7.0"))
