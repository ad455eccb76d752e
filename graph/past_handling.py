"""What the handling of a fact of the past rests on, beside what it rests on now. Not cut to what the asker
sees: a classification or a rule binds also where it may not be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import LiteralString

from neo4j import Record

from graph.view import HandlingInput, HandlingRule, handling_rule

Run = Callable[..., Awaitable[list[Record]]]
"""A query at a point: `$revision` and `$instant` are parameters of it."""

#: How far up a classification is looked for: a column's is its table's, and that one's data set's; a rule's
#: is that of the passage it is stated in, and of its document.
_LEVELS = 3

# `v` is a version of the entity `id` or of a relationship at it: what was known then, or, of an entity that
# is gone, at any time since, and had not ended before the instant.
_THEN: LiteralString = """
    v.until > $revision AND coalesce($instant < v.validTo, true)
    AND (v.since <= $revision OR NOT EXISTS { (:Entity {id: id}) })
"""
_SOURCES: LiteralString = (
    "UNWIND $ids AS id MATCH (v:_Version {fact: id}) WHERE " + _THEN + "RETURN id, v.sources AS found"
)
_CONTAINERS: LiteralString = (
    """
    UNWIND $ids AS id
    CALL (id) {
        MATCH (:Entity {id: id})<-[:HAS_PASSAGE|HAS_COLUMN|HAS_TABLE]-(m:Entity)
        RETURN m.id AS container
        UNION
        MATCH (:Entity {id: id})-[:STATED_IN]->(m:Entity)
        RETURN m.id AS container
        UNION
        MATCH (v:_Version {start: id, type: 'STATED_IN'}) WHERE """
    + _THEN
    + """
        RETURN v.end AS container
        UNION
        MATCH (v:_Version {end: id})
        WHERE v.type IN ['HAS_PASSAGE', 'HAS_COLUMN', 'HAS_TABLE'] AND """
    + _THEN
    + """
        RETURN v.start AS container
    }
    RETURN id, container
"""
)
_CLASSIFICATIONS: LiteralString = (
    """
    UNWIND $ids AS id
    CALL (id) {
        MATCH (:Entity {id: id})-[r:CLASSIFIED_AS]->(c:Classification)
        WHERE coalesce($instant < r.validTo, true)
        RETURN c.id AS classification
        UNION
        MATCH (v:_Version {start: id}) WHERE v.type = 'CLASSIFIED_AS' AND """
    + _THEN
    + """
        RETURN v.end AS classification
    }
    RETURN id, classification
"""
)
_RULES: LiteralString = (
    """
    CALL () {
        MATCH (h:HandlingRule) WHERE h.since <= $revision
        RETURN h.id AS id, h AS rule
        UNION ALL
        MATCH (v:_Version) WHERE v.class = 'HandlingRule' AND v.until > $revision
        WITH v, v.id AS id WHERE """
    + _THEN
    + """
        RETURN id, v AS rule
    }
    RETURN rule {.*, embedding: null} AS rule, COLLECT {
        MATCH (:Entity {id: id})-[r:GOVERNS]->(c:Classification)
        WHERE r.since <= $revision AND coalesce($instant < r.validTo, true)
        RETURN c.id AS classification
        UNION
        MATCH (v:_Version {start: id}) WHERE v.type = 'GOVERNS' AND """
    + _THEN
    + """
        RETURN v.end AS classification
    } AS classifications
"""
)


async def handling_inputs_since(
    run: Run, now: Mapping[str, HandlingInput], ids: Collection[str]
) -> Mapping[str, HandlingInput]:
    """What the handling of the entities rests on now, joined with what it rested on at the point."""
    within = await _containers(run, ids)
    wanted = sorted({each for containers in within.values() for each in containers})
    classified: dict[str, set[str]] = defaultdict(set)
    for record in await run(_CLASSIFICATIONS, ids=wanted):
        classified[record["id"]].add(record["classification"])
    sources = {id: set(one.sources) for id, one in now.items()}
    for record in await run(_SOURCES, ids=sorted(within)):
        sources.setdefault(record["id"], set()).update(record["found"])
    return {
        id: HandlingInput(
            frozenset(found),
            frozenset().union(
                now[id].classifications if id in now else (), *(classified[one] for one in within[id])
            ),
        )
        for id, found in sources.items()
    }


async def handling_rules_of_then(run: Run) -> tuple[HandlingRule, ...]:
    """The rules as they were known at the point, by what they then governed."""
    return tuple(handling_rule(record["rule"], record["classifications"]) for record in await run(_RULES))


async def _containers(run: Run, ids: Collection[str]) -> dict[str, set[str]]:
    """By id: itself, and what contains it now or contained it at the point."""
    within = {id: {id} for id in ids}
    reached = {id: {id} for id in ids}
    for _ in range(_LEVELS):
        outer: dict[str, set[str]] = defaultdict(set)
        for record in await run(_CONTAINERS, ids=sorted(set().union(*reached.values()))):
            outer[record["id"]].add(record["container"])
        reached = {id: set().union(*(outer[one] for one in inner)) for id, inner in reached.items()}
        for id, containers in reached.items():
            within[id] |= containers
    return within
