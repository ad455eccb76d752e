"""What is told of entities that are one, joined while it is read, of those members that the asker may see.

Two are one to an asker who may see all that joins them: a merge with a member that they may not see joins
nothing for them. Each member keeps its audience, so no more is visible than without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from graph.claims import Value
from graph.contradictions import Contradiction, contradictions
from graph.entity_view import EntityView, Neighbour
from graph.facts import Stated, is_relationship
from graph.view import View
from ontologies.ontology import SAME_AS, Ontology


async def members(view: View, ids: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Of each of the ids all that are one with it and visible, itself among them; the leading one first."""
    return clusters(ids, await view.merges(ids))


def clusters(ids: Iterable[str], merges: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    """`merges`: pairs of one that was merged and the one that was kept."""
    beside: dict[str, set[str]] = defaultdict(set)
    into: dict[str, set[str]] = defaultdict(set)
    for other, kept in merges:
        beside[other].add(kept)
        beside[kept].add(other)
        into[other].add(kept)
    found: dict[str, tuple[str, ...]] = {}
    for id in ids:
        if id not in found:
            reached, todo = {id}, [id]
            while todo:
                new = beside[todo.pop()] - reached
                reached |= new
                todo += new
            cluster = tuple(sorted(reached, key=lambda one: (bool(into[one]), one)))
            found |= dict.fromkeys(cluster, cluster)
    return found


def join(id: str, cluster: Sequence[EntityView]) -> EntityView:
    """One of the members with what all tell, `cluster` beginning with the leading one.

    Its name is the leading one's; of contradicting values the first one's stands, of several values all do.
    """
    values: dict[str, Value] = {}
    for member in cluster:
        for name, value in member.values.items():
            held = values.setdefault(name, value)
            if isinstance(held, tuple) and isinstance(value, tuple):
                values[name] = tuple(dict.fromkeys((*held, *value)))
    own = next(member for member in cluster if member.id == id)
    return replace(
        own,
        name=cluster[0].name,
        values=values,
        sources=tuple(sorted({source for member in cluster for source in member.sources})),
        confidence=max(member.confidence for member in cluster),
        since=max(member.since for member in cluster),
        same=tuple(member.id for member in cluster if member.id != id),
    )


async def joined_entity(view: View, id: str) -> EntityView | None:
    """The entity with what those tell that are one with it, or None."""
    found = await view.entity(id)
    return None if found is None else (await joined(view, [found]))[0]


async def joined(view: View, entities: Iterable[EntityView]) -> list[EntityView]:
    """Each with what those tell that are one with it; of several that are one only the first."""
    told = {entity.id: entity for entity in entities}
    of = await members(view, told)
    shown: dict[tuple[str, ...], EntityView] = {}
    for entity in told.values():
        if of[entity.id] not in shown:
            cluster = [told.get(id) or await view.entity(id) for id in of[entity.id]]
            shown[of[entity.id]] = join(entity.id, [member for member in cluster if member is not None])
    return list(shown.values())


async def with_members(view: View, entities: Iterable[EntityView]) -> list[tuple[EntityView, EntityView]]:
    """The entities and after each all that are one with it, once, each with the leading one of them."""
    told = {entity.id: entity for entity in entities}
    of = await members(view, told)
    found: dict[str, tuple[EntityView, EntityView]] = {}
    for id in told:
        if id not in found:
            cluster = [told.get(member) or await view.entity(member) for member in of[id]]
            known = [member for member in cluster if member is not None]
            own = [member for member in known if member.id == id]
            found |= {member.id: (member, known[0]) for member in (*own, *known)}
    return list(found.values())


async def joined_neighbours(
    view: View, ids: Collection[str], limit: int
) -> Mapping[str, tuple[Neighbour, ...]]:
    """What is beside each of the entities or those that are one with it; each relationship once, too where
    several that are one are at its other end."""
    of = await members(view, ids)
    beside = await view.neighbours(list({member for id in ids for member in of[id]}), limit)
    others = {one.entity.id for found in beside.values() for one in found}
    ends = await members(view, others)
    return {
        id: _distinct([one for member in of[id] for one in beside[member]], of[id], ends)[:limit]
        for id in ids
    }


async def joined_claims(view: View, facts: Collection[str]) -> Mapping[str, tuple[Stated, ...]]:
    """What each source says of the facts, also where it says so of those that are one with whom they are
    about; who is believed first."""
    of = await members(view, {end for fact in facts for end in _ends(fact)})
    same = {fact: _variants(fact, of) for fact in facts}
    claims = await view.claims({one for variants in same.values() for one in variants})
    return {
        fact: tuple(
            sorted((one for each in variants for one in claims.get(each, ())), key=lambda one: one.rank)
        )
        for fact, variants in same.items()
    }


async def joined_contradictions(view: View, ontology: Ontology, id: str) -> tuple[Contradiction, ...]:
    """What the sources of all that are one contradict each other in, with where each says it."""
    return contradictions(ontology, (await joined_claims(view, [id]))[id])


def _ends(fact: str) -> list[str]:
    return fact.split(" ")[::2]


def _variants(fact: str, of: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The fact as it would be of each that is one with whom it is about."""
    if not is_relationship(fact):
        return list(of[fact])
    start, type_, end = fact.split(" ")
    return [f"{one} {type_} {other}" for one in of[start] for other in of[end]]


def _distinct(
    found: Iterable[Neighbour], cluster: tuple[str, ...], ends: Mapping[str, tuple[str, ...]]
) -> tuple[Neighbour, ...]:
    told: dict[tuple[str, bool, tuple[str, ...]], Neighbour] = {}
    for one in found:
        if one.type == SAME_AS and one.entity.id in cluster:
            continue
        key = one.type, one.outgoing, ends[one.entity.id]
        if (first := told.setdefault(key, one)) is not one:
            sources = tuple(sorted({*first.sources, *one.sources}))
            confidence, since = max(first.confidence, one.confidence), max(first.since, one.since)
            told[key] = replace(first, sources=sources, confidence=confidence, since=since)
    return tuple(
        sorted(told.values(), key=lambda one: (one.type, not one.outgoing, one.entity.name, one.entity.id))
    )
