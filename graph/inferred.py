"""Conclusions of the ontology's axioms, materialized in Neo4j by following the change feed.

An inferred relationship carries `inferred: true`, and `derivations` instead of sources, so that
authorization never reads it. It is no more than a candidate: a read shows it where at least one of
its derivations stands, now and wholly visible to the asker (`STANDING`). So whatever was retracted,
moved or expired since, nobody learns more than what they see implies, however late the follower is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.facts import kept_confidence
from graph.feed import Revision, advance, current_revision, follow
from graph.live import for_each
from graph.reasoning import Closure, Derivation, Link, Rules, compile_rules
from ontologies.ontology import Ontology

CONSUMER = "reasoning"
_BATCH = 1_000

#: The derivations of the relationship `r` that stand and are visible: an expression for governed reads.
STANDING: LiteralString = """[derivation IN r.derivations WHERE
    all(premise IN split(derivation, '\\n') WHERE EXISTS {
        MATCH (a:Entity {id: split(premise, ' ')[0]})-[p]->(b:Entity {id: split(premise, ' ')[2]})
        WHERE type(p) = split(premise, ' ')[1] AND p.inferred IS NULL
          AND $visible[a.audience] = 1 AND $visible[b.audience] = 1
          AND coalesce(p.validFrom <= $now, true) AND coalesce($now < p.validTo, true)
          AND coalesce(a.validFrom <= $now, true) AND coalesce($now < a.validTo, true)
          AND coalesce(b.validFrom <= $now, true) AND coalesce($now < b.validTo, true)
    })]"""


def encoded(derivation: Derivation) -> str:
    """As it is kept on the relationship: a premise a line (ids hold no white space)."""
    return "\n".join(map(str, derivation))


def decoded(text: str) -> tuple[str, ...]:
    """The premises of a derivation, each as `start TYPE end`."""
    return tuple(text.split("\n"))


def properties(
    derivations: Sequence[Derivation], confidence: Mapping[Link, float], since: int
) -> dict[str, Any]:
    """Of an inferred relationship: as sure as its surest derivation, which is as sure as its least sure
    premise. `confidence` is that of the premises."""
    return {
        "inferred": True,
        "derivations": [encoded(one) for one in derivations],
        "confidence": kept_confidence(max(min(confidence[link] for link in one) for one in derivations)),
        "since": since,
    }


async def keep_inferred(database: Database, ontology: Ontology) -> None:
    """Build the conclusions of what stands, and keep them up with the feed, until cancelled."""
    reasoner = Reasoner(database, compile_rules(ontology))
    await advance(database, CONSUMER, await reasoner.build())
    async for revisions in follow(database, CONSUMER):
        await reasoner.take(revisions)


class Reasoner:
    """The conclusions in memory, and in Neo4j what they are."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._closure = Closure(rules)
        self._confidence: dict[Link, float] = {}
        """Of the asserted relationships."""

    async def build(self) -> int:
        """Make what is inferred in Neo4j what follows from what stands; the revision it holds at."""
        revision = await current_revision(self._database)
        self._closure, self._confidence = Closure(self._rules), {}
        for record in await self._database.read(
            """
            MATCH (a:Entity)-[r]->(b:Entity) WHERE type(r) IN $types AND r.inferred IS NULL
            RETURN a.id AS start, type(r) AS type, b.id AS end, r.confidence AS confidence
            """,
            types=sorted(self._rules.relevant),
        ):
            link = Link(record["start"], record["type"], record["end"])
            self._confidence[link] = float(record["confidence"])
        self._closure.change(self._confidence)
        held = {
            Link(record["start"], record["type"], record["end"])
            for record in await self._database.read(
                """
                MATCH (a:Entity)-[r]->(b:Entity) WHERE r.inferred
                RETURN a.id AS start, type(r) AS type, b.id AS end
                """
            )
        }
        gone = {link: () for link in held if link not in self._closure.inferred}
        await self._write({**gone, **self._closure.inferred}, revision)
        return revision

    async def take(self, revisions: Sequence[Revision]) -> None:
        """Follow revisions; again is as once."""
        added: dict[Link, float] = {}
        removed: set[Link] = set()
        for link, confidence in _changes(revisions, self._rules):
            if confidence is None:
                added.pop(link, None)
                removed.add(link)
            else:
                removed.discard(link)
                added[link] = confidence
        doubted = {link for link in added if self._confidence.get(link, added[link]) != added[link]}
        self._confidence |= added
        for link in removed:
            self._confidence.pop(link, None)
        changed = dict(self._closure.change(added, removed))
        if doubted:
            changed |= {
                link: derivations
                for link, derivations in self._closure.inferred.items()
                if any(not doubted.isdisjoint(one) for one in derivations)
            }
        await self._write(changed, revisions[-1].number)

    async def _write(self, conclusions: Mapping[Link, Sequence[Derivation]], revision: int) -> None:
        ordered = sorted(conclusions.items())
        for first in range(0, len(ordered), _BATCH):
            rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
            gone: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for link, derivations in ordered[first : first + _BATCH]:
                ends = {"start": link.start, "end": link.end}
                if derivations:
                    rows[link.type].append(
                        ends | {"properties": properties(derivations, self._confidence, revision)}
                    )
                else:
                    gone[link.type].append(ends)
            await self._database.write_transaction(partial(_write, rows=rows, gone=gone))


def _changes(revisions: Iterable[Revision], rules: Rules) -> Iterator[tuple[Link, float | None]]:
    """Relationships that were asserted or changed, with their confidence; None where they went."""
    for revision in revisions:
        for change in revision.changes:
            told = change.after or change.before
            if change.kind == "relationship" and told is not None and told["type"] in rules.relevant:
                link = Link(told["start"], told["type"], told["end"])
                yield link, None if change.after is None else change.after["confidence"]


async def _write(
    tx: AsyncManagedTransaction,
    rows: Mapping[str, list[dict[str, Any]]],
    gone: Mapping[str, list[dict[str, Any]]],
) -> None:
    """What is asserted meanwhile is left alone: the lock makes writers one after the other."""
    await tx.run("MATCH (meta:_Meta) SET meta.locked = true REMOVE meta.locked")
    for type_, its in rows.items():
        await for_each(
            tx,
            """
            UNWIND $rows AS row
            MATCH (a:Entity {id: row.start})
            MATCH (b:Entity {id: row.end})
            MERGE (a)-[r:$($type)]->(b)
            WITH r, row WHERE r.sources IS NULL
            SET r = row.properties
            """,
            its,
            type=type_,
        )
    for type_, its in gone.items():
        await for_each(
            tx,
            """
            UNWIND $rows AS row
            MATCH (a:Entity {id: row.start})-[r:$($type)]->(b:Entity {id: row.end}) WHERE r.inferred
            DELETE r
            """,
            its,
            type=type_,
        )
