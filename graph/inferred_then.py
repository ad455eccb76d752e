"""What followed from relationships at a point of the past, worked out as it is read: what is materialized
(`graph.inferred`) is of the present alone. It rests on what the asker sees there, and on nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from neo4j import Record

from graph.entity_view import EntityView, Neighbour, neighbour
from graph.inferred import properties
from graph.reasoning import Link, Rules, compile_rules, conclusions_about, steps_of
from ontologies.ontology import Ontology

Beside = Callable[[Collection[str], Collection[str]], Awaitable[tuple[list[Record], dict[str, EntityView]]]]
"""The visible relationships at entities, of some types, and what is at their other ends."""


def link_of(record: Record) -> Link:
    """The relationship that a record of what is beside an entity tells of."""
    ends = record["id"], record["other"]
    start, end = ends if record["outgoing"] else ends[::-1]
    return Link(start, record["type"], end)


async def inferred_then(
    ontology: Ontology,
    ids: Collection[str],
    records: Iterable[Record],
    others: Mapping[str, EntityView],
    beside: Beside,
) -> list[tuple[str, Neighbour]]:
    """What follows and has one of the entities at an end, with that one. `records` and `others` are what
    `beside` tells of them."""
    rules = compile_rules(ontology)
    known, entities = dict[Link, Record](), dict(others)

    def links(found: Iterable[Record]) -> list[Link]:
        new = {link_of(record): record for record in found if record["type"] in rules.relevant}
        known.update(new)
        return list(new)

    async def more(further: Collection[str]) -> list[Link]:
        found, seen = await beside(further, rules.relevant)
        entities.update(seen)
        return links(found)

    premises = await leading(rules, ids, links(records), more)
    confidence = {link: record["row"]["confidence"] for link, record in known.items()}
    told: list[tuple[str, Neighbour]] = []
    for link, derivations in conclusions_about(rules, premises, ids).items():
        since = min(max(known[premise]["row"]["since"] for premise in one) for one in derivations)
        row = properties(derivations, confidence, since)
        for id, outgoing, end in ((link.start, True, link.end), (link.end, False, link.start)):
            if id in ids:
                told.append((id, neighbour(link.type, outgoing, row, entities[end])))
    return told


async def leading(
    rules: Rules,
    ids: Collection[str],
    links: Iterable[Link],
    more: Callable[[Collection[str]], Awaitable[Iterable[Link]]],
) -> set[Link]:
    """The relationships that conclusions about the entities can rest on: `links`, which are theirs, and those
    on paths of a transitive type that begin or end at them. `more` finds the ones of further entities."""
    found: dict[str, set[Link]] = {id: set() for id in ids}
    _put(found, links)
    todo = {(id, type_, onward) for id in ids for type_ in rules.transitive for onward in (True, False)}
    reached = set(todo)
    while todo:
        further = {
            (end if onward else start, type_, onward)
            for id, type_, onward in todo
            for link in found[id]
            for step, (start, end) in steps_of(rules, link)
            if step == type_ and id == (start if onward else end)
        }
        todo = further - reached
        reached |= todo
        if unknown := {id for id, _, _ in todo} - found.keys():
            found |= {id: set() for id in unknown}
            _put(found, await more(unknown))
    return {link for its in found.values() for link in its}


def _put(found: Mapping[str, set[Link]], links: Iterable[Link]) -> None:
    for link in links:
        for end in {link.start, link.end} & found.keys():
            found[end].add(link)
