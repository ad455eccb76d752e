"""What entities can be told apart by, and proposals that two of them are one: one `_Proposal` a pair.

A proposal is not told while its pair is merged, nor where somebody decided on the same evidence: then it
stays decided until there is other evidence, in whatever order things come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import LiteralString

from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.merges import pair_of
from ontologies.ontology import Ontology


@dataclass(frozen=True, slots=True)
class Described:
    """What there is of an entity that others may have in common with it."""

    id: str
    sources: frozenset[str]
    values: Mapping[str, tuple[str, ...]]
    """Of the properties that identify."""
    keys: frozenset[str] = frozenset()
    """Of those that decide, as `HAS_ACCOUNT account:acme/ada`; said by authoritative sources alone."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """That two entities, in the order of their ids, are one."""

    one: str
    other: str
    score: float
    """From 0 to 1."""
    evidence: tuple[str, ...]
    """What speaks for it and against it, in words, without the values themselves."""
    digest: str
    """Of what speaks for it, values included: it changes when that does."""

    @property
    def pair(self) -> str:
        return pair_of(self.one, self.other)


def resolvable(ontology: Ontology) -> frozenset[str]:
    """The classes whose entities are compared: those with a key that decides, or is strong, of their own."""
    telling = [one.domain for one in ontology.values.values() if one.identifies == "strong"]
    telling += [one.domain for one in ontology.relationships.values() if one.identifies]
    return frozenset(
        name
        for name, one in ontology.classes.items()
        if not one.abstract and any(domain & set(ontology.labels(name)) for domain in telling)
    )


async def described(
    database: Database, ontology: Ontology, ids: Collection[str] | None = None
) -> Mapping[str, Described]:
    """Those of the entities that stand now, whoever may see them; all that can be compared without `ids`."""
    start: LiteralString = (
        "MATCH (n:Entity) WHERE any(label IN labels(n) WHERE label IN $classes)"
        if ids is None
        else """UNWIND $ids AS id MATCH (n:Entity {id: id})
            WHERE any(label IN labels(n) WHERE label IN $classes)"""
    )
    records = await database.read(
        start
        + """
          AND coalesce(n.validFrom <= $now, true) AND coalesce($now < n.validTo, true)
        RETURN n.id AS id, n.sources AS sources, [name IN $names | [name, n[name]]] AS values, COLLECT {
            MATCH (n)-[r]->(end:Entity) WHERE type(r) IN $deciding AND size(r.sources) > 0
              AND coalesce(r.validFrom <= $now, true) AND coalesce($now < r.validTo, true)
            RETURN type(r) + ' ' + end.id
        } AS keys
        """,
        classes=sorted(resolvable(ontology)),
        names=[one.name for one in ontology.values.values() if one.identifies],
        deciding=[one.type for one in ontology.relationships.values() if one.identifies],
        ids=None if ids is None else list(ids),
        now=datetime.now(UTC),
    )
    return {
        record["id"]: Described(
            record["id"],
            frozenset(record["sources"]),
            {
                name: tuple(value) if isinstance(value, list) else (value,)
                for name, value in record["values"]
                if value
            },
            frozenset(record["keys"]),
        )
        for record in records
    }


async def replace_proposals(
    database: Database, proposals: Iterable[Proposal], about: Collection[str] | None = None
) -> None:
    """Make the proposals about the entities those that are given; all proposals without `about`."""
    rows = [asdict(one) | {"evidence": list(one.evidence), "pair": one.pair} for one in proposals]
    pairs = [row["pair"] for row in rows]

    async def work(tx: AsyncManagedTransaction) -> None:
        if about is None:
            await tx.run("MATCH (p:_Proposal) WHERE NOT p.pair IN $pairs DELETE p", pairs=pairs)
        else:
            await tx.run(
                """
                UNWIND $about AS id
                CALL (id) {
                    MATCH (p:_Proposal {one: id}) RETURN p
                    UNION
                    MATCH (p:_Proposal {other: id}) RETURN p
                }
                WITH DISTINCT p WHERE NOT p.pair IN $pairs DELETE p
                """,
                about=list(about),
                pairs=pairs,
            )
        await tx.run("UNWIND $rows AS row MERGE (p:_Proposal {pair: row.pair}) SET p = row", rows=rows)

    await database.write_transaction(work)


#: Of a proposal `p`: that it waits for a decision.
OPEN: LiteralString = """
    NOT EXISTS {
        MATCH (d:_Merge {pair: p.pair})
        WHERE d.kind = 'merge' AND d.ended_at IS NULL OR p.digest IN d.digests
    }
    """


async def proposal_of(database: Database, one: str, other: str) -> Proposal | None:
    """The proposal that the two are one, decided or not."""
    records = await database.read(
        "MATCH (p:_Proposal {pair: $pair}) RETURN properties(p) AS row", pair=pair_of(one, other)
    )
    return proposal_from(records[0]["row"]) if records else None


def proposal_from(row: Mapping[str, object]) -> Proposal:
    """From the properties of its node."""
    values = {**row, "evidence": tuple(row["evidence"])}  # type: ignore[arg-type]  # as it was written
    del values["pair"]
    return Proposal(**values)  # type: ignore[arg-type]  # as above
