"""Which entities are one: what keys and people decided of it, one `_Merge` each.

A merge is a fact of its own, `(other)-[:SAME_AS]->(kept)`. It changes nothing of either entity: reads join
what is told of them (`graph.joined`), and taking it back leaves what was. No access follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, LiteralString

from neo4j import AsyncManagedTransaction
from neo4j.time import DateTime

from graph.claims import Claim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.facts import fact_of
from graph.own_claims import keep_claims, relationship_of
from graph.rebac.relation_tuples import type_of
from graph.store import FactStore
from graph.tuples import IDENTITY, native
from ontologies.ontology import SAME_AS

#: Who decided, where it was a key.
KEY = "key"
_SCOPE = "merges"
POLICY = SourcePolicy(IDENTITY, frozenset(), frozenset(), 0, timedelta(days=365_000))

#: What access comes from is what its issuer or the configuration says it is.
_NEVER = frozenset({"account", "collection"})


class MergeError(Exception):
    """The two cannot be merged; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Decision:
    """That two entities are one, or (a rejection) that the evidence for it is not enough. Never removed."""

    id: str
    kind: Literal["merge", "rejection"]
    kept: str
    """Whose name leads; of a rejection simply one of the two."""
    other: str
    reason: str
    by: str
    """The account that decided, or `key`."""
    at: datetime
    agent: str | None = None
    """That acted for the account."""
    digests: tuple[str, ...] = ()
    """Of the evidence that was looked at: on it, nothing is proposed again."""
    ended_by: str | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None

    @property
    def fact(self) -> str:
        return fact_of(RelationshipClaim(self.other, SAME_AS, self.kept, ""))

    @property
    def merges(self) -> bool:
        """Whether it is a merge that was not undone."""
        return self.kind == "merge" and self.ended_at is None


def pair_of(one: str, other: str) -> str:
    """Both ids, in an order that does not depend on which comes first."""
    return " ".join(sorted((one, other)))


def check_pair(kept: str, other: str) -> None:
    """Raises MergeError for two that cannot be one, whatever there is of them."""
    if kept == other:
        raise MergeError("an entity is the same as itself already: name two")
    kinds = type_of(kept), type_of(other)
    if kinds[0] != kinds[1]:
        raise MergeError(f"a {kinds[0]} and a {kinds[1]} are never one: name two of the same class")
    if kinds[0] in _NEVER:
        raise MergeError(f"no {kinds[0]} is merged, since access comes from it: merge the persons instead")


def check_merge(known: Iterable[Decision], kept: str, other: str) -> None:
    """Raises MergeError where the merge would close a circle, or is of one that is merged elsewhere.

    `known`: the merges that stand around the two, as far as the decider may see them.
    """
    beside: dict[str, set[str]] = {}
    for decision in known:
        if not decision.merges:
            continue
        if {decision.kept, decision.other} == {kept, other}:
            raise MergeError(f"{kept} and {other} are merged already ({decision.id})")
        beside.setdefault(decision.kept, set()).add(decision.other)
        beside.setdefault(decision.other, set()).add(decision.kept)
    reached, todo = {kept}, [kept]
    while todo:
        new = beside.get(todo.pop(), set()) - reached
        reached |= new
        todo += new
    if other in reached:
        raise MergeError(f"{kept} and {other} are one already, through what was merged with each")
    for decision in known:
        if decision.merges and decision.other == other:
            raise MergeError(
                f"{other} is merged into {decision.kept} already ({decision.id}): merge {decision.kept} with "
                f"{kept}, or undo that first"
            )


class Merges:
    """Puts decisions into force. Who may decide is not asked here."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self.turn = asyncio.Lock()
        """To hold from looking at what stands until it is decided."""

    async def decide(self, decision: Decision) -> None:
        """Keep the decision; it is in force when this returns. Raises as `keep_claims`."""

        async def work(tx: AsyncManagedTransaction) -> None:
            row = asdict(decision) | {"digests": list(decision.digests)}
            await tx.run(
                "MERGE (d:_Merge {id: $id}) ON CREATE SET d = $row, d.pair = $pair",
                id=decision.id,
                row=row,
                pair=pair_of(decision.kept, decision.other),
            )

        await self._store.database.write_transaction(work)
        if decision.merges:
            await self._follow({decision.fact})

    async def undo(self, id: str, by: str, reason: str, digests: Collection[str]) -> Decision | None:
        """End a merge; None when it is ended already, or none. `digests`: of the evidence as it is now."""

        async def work(tx: AsyncManagedTransaction) -> Decision | None:
            result = await tx.run(
                """
                MATCH (d:_Merge {id: $id, kind: 'merge'}) WHERE d.ended_at IS NULL
                SET d += $values, d.digests = d.digests + [one IN $digests WHERE NOT one IN d.digests]
                RETURN properties(d) AS row
                """,
                id=id,
                values={"ended_by": by, "ended_at": datetime.now(UTC), "ended_reason": reason},
                digests=list(digests),
            )
            record = await result.single()
            return None if record is None else _decision(record["row"])

        ended = await self._store.database.write_transaction(work)
        if ended is not None:
            await self._follow({ended.fact})
        return ended

    async def reconcile(self) -> None:
        """Make the facts what the decisions say, should a process have been killed in between."""
        async with self._store.crawl(POLICY, _SCOPE) as crawl:
            await crawl.write(map(_claim, await decisions(self._store.database, standing=True)))
            await crawl.complete()

    async def _follow(self, facts: set[str]) -> None:
        async def follow() -> tuple[list[Claim], list[Claim]]:
            about = {id for fact in facts for id in fact.split(f" {SAME_AS} ")}
            found = await decisions(self._store.database, about=about, standing=True)
            standing = {one.fact: one for one in found if one.fact in facts}
            claims: list[Claim] = [_claim(one) for one in standing.values()]
            return claims, [relationship_of(fact) for fact in facts - standing.keys()]

        await keep_claims(self._store, POLICY, _SCOPE, follow)


def _claim(decision: Decision) -> RelationshipClaim:
    evidence = f"merge {decision.id} by {decision.by}: {decision.reason}"
    return RelationshipClaim(decision.other, SAME_AS, decision.kept, evidence)


_FOUND: LiteralString = """
    WITH DISTINCT d WHERE (NOT $standing OR d.kind = 'merge' AND d.ended_at IS NULL)
        AND ($at IS NULL OR d.at > $at OR d.at = $at AND d.id > $id)
    RETURN properties(d) AS row ORDER BY d.at, d.id LIMIT $limit
    """
#: More than there will ever be.
_ALL = 2**31


async def decisions(
    database: Database,
    about: Collection[str] | None = None,
    *,
    standing: bool = False,
    after: Decision | None = None,
    limit: int = _ALL,
) -> Sequence[Decision]:
    """All decisions, or those about some entities, oldest first; `standing`: merges that were not undone.

    At most so many of those that follow `after`.
    """
    page: dict[str, Any] = {"standing": standing, "limit": limit}
    page |= {"at": None, "id": None} if after is None else {"at": after.at, "id": after.id}
    if about is None:
        records = await database.read("MATCH (d:_Merge)" + _FOUND, **page)
    else:
        records = await database.read(
            """
            UNWIND $about AS id
            CALL (id) {
                MATCH (d:_Merge {kept: id}) RETURN d
                UNION
                MATCH (d:_Merge {other: id}) RETURN d
            }"""
            + _FOUND,
            about=list(about),
            **page,
        )
    return [_decision(record["row"]) for record in records]


async def decision_with(database: Database, id: str) -> Decision | None:
    """The decision of that id."""
    records = await database.read("MATCH (d:_Merge {id: $id}) RETURN properties(d) AS row", id=id)
    return _decision(records[0]["row"]) if records else None


async def standing_around(database: Database, ids: Collection[str]) -> Sequence[Decision]:
    """The merges that join the entities with others, at whatever distance."""
    found: dict[str, Decision] = {}
    reached: set[str] = set()
    todo = set(ids)
    while todo:
        reached |= todo
        for decision in await decisions(database, about=todo, standing=True):
            found[decision.id] = decision
        todo = {id for one in found.values() for id in (one.kept, one.other)} - reached
    return list(found.values())


def _decision(row: Mapping[str, Any]) -> Decision:
    values: dict[str, Any] = {
        name: native(value) if isinstance(value, DateTime) else value
        for name, value in row.items()
        if name != "pair"
    }
    return Decision(**{**values, "digests": tuple(values["digests"])})
