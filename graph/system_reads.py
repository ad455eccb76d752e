"""Reads of the service itself, not on behalf of an asker; nothing of them reaches one unchecked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.entity_view import EntityView, entity_view
from graph.visibility import ENABLED
from ontologies.ontology import Ontology

#: From what is classified to what is therefore handled so: the reverse of `View.handling_inputs`.
_BELOW: LiteralString = """MATCH (root) (()-[:HAS_PASSAGE|HAS_COLUMN|HAS_TABLE]->()){0,2} (:Entity)
    (()<-[:STATED_IN]-()){0,1} (n:Entity)"""


async def mesh_nodes(database: Database) -> list[Mapping[str, Any]]:
    """The properties of the mesh nodes that are declared now, by id, with the ids of their `owners`.

    After the database was restored from a backup only those that were declared again since: it may know
    nodes that were withdrawn, or where they once stood.
    """
    records = await database.read(
        """MATCH (meta:_Meta)
           MATCH (n:MeshNode) WHERE coalesce(n.validFrom <= datetime(), true)
             AND coalesce(datetime() < n.validTo, true)
             AND (meta.epochBegan IS NULL OR EXISTS {
                 UNWIND n.pages AS number
                 MATCH (page:_Page {number: number})
                 MATCH (s:_Source {name: page.source, scope: page.scope}) WHERE s.completedAt IS NOT NULL
                 RETURN s
             })
           RETURN n {.*, embedding: null, owners: COLLECT {
               MATCH (agent:Agent)-[r:OWNS]->(n)
               WHERE coalesce(datetime() < r.validTo, true) RETURN DISTINCT agent.id
           }} AS node ORDER BY n.id"""
    )
    return [record["node"] for record in records]


async def team_of(database: Database, account: str) -> str | None:
    """Id of the unit that an account's person works in; the first by id of several, None without."""
    records = await database.read(
        """MATCH (:Account {id: $account})<-[:HAS_ACCOUNT|LINKED_ACCOUNT]-(:Person)
                 -[:WORKS_IN]->(u:OrganizationalUnit)
           RETURN u.id AS team ORDER BY team LIMIT 1""",
        account=account,
    )
    return records[0]["team"] if records else None


async def entities(database: Database, ontology: Ontology, ids: Sequence[str]) -> list[EntityView]:
    """Those of the entities that stand, whoever may see them."""
    records = await database.read(
        "MATCH (n:Entity) WHERE n.id IN $ids RETURN n {.*, embedding: null} AS entity", ids=list(ids)
    )
    return [entity_view(ontology, record["entity"], None) for record in records]


async def set_embeddings(database: Database, vectors: Mapping[str, Sequence[float]]) -> None:
    """Store the embedding of each entity that still stands, by its id."""

    async def work(tx: AsyncManagedTransaction) -> None:
        rows = [{"id": id_, "vector": list(vector)} for id_, vector in vectors.items()]
        await tx.run(
            """UNWIND $rows AS row MATCH (n:Entity {id: row.id})
               CALL db.create.setNodeVectorProperty(n, 'embedding', row.vector)""",
            rows=rows,
        )

    await database.write_transaction(work)


async def forget_embeddings(database: Database, ids: Collection[str]) -> None:
    """Of entities that may not be embedded any more."""

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            "MATCH (n:Entity) WHERE n.id IN $ids AND n.embedding IS NOT NULL REMOVE n.embedding",
            ids=list(ids),
        )

    await database.write_transaction(work)


async def embedded(database: Database, ids: Collection[str]) -> frozenset[str]:
    """Those of the entities that have an embedding."""
    records = await database.read(
        "MATCH (n:Entity) WHERE n.id IN $ids AND n.embedding IS NOT NULL RETURN n.id AS id", ids=list(ids)
    )
    return frozenset(record["id"] for record in records)


async def embedded_amiss(database: Database, sources: Collection[str]) -> frozenset[str]:
    """Entities without an embedding, and those with one that others than these sources claim, too."""
    records = await database.read(
        """MATCH (n:Entity)
           WHERE n.embedding IS NULL OR any(source IN n.sources WHERE NOT source IN $sources)
           RETURN n.id AS id""",
        sources=list(sources),
    )
    return frozenset(record["id"] for record in records)


async def classified(database: Database, source: str | None = None) -> frozenset[str]:
    """Entities that are classified, or stand below what is (`View.handling_inputs`): all, or a source's."""
    query: LiteralString = (
        "MATCH (root:Entity)-[:CLASSIFIED_AS]->(:Classification) WITH DISTINCT root "
        + _BELOW
        + " WHERE $source IS NULL OR $source IN n.sources RETURN DISTINCT n.id AS id"
    )
    return frozenset(record["id"] for record in await database.read(query, source=source))


async def below(database: Database, ids: Collection[str]) -> frozenset[str]:
    """The entities, and those to which they lend their classifications."""
    query: LiteralString = (
        "MATCH (root:Entity) WHERE root.id IN $ids " + _BELOW + " RETURN DISTINCT n.id AS id"
    )
    return frozenset(record["id"] for record in await database.read(query, ids=list(ids)))


async def is_enabled(database: Database, account: str) -> bool:
    """Whether the account is there and neither its source nor anybody by hand has disabled it."""
    query: LiteralString = "MATCH (account:Account {id: $account}) WHERE " + ENABLED + " RETURN 1"
    return bool(await database.read(query, account=account, now=datetime.now(UTC)))


async def is_disabled(database: Database, account: str) -> bool:
    """Whether the account is there, and its source or somebody by hand has disabled it."""
    query: LiteralString = "MATCH (account:Account {id: $account}) WHERE NOT (" + ENABLED + ") RETURN 1"
    return bool(await database.read(query, account=account, now=datetime.now(UTC)))


async def is_of_person(database: Database, account: str) -> bool:
    """Whether any source says that the account is a person's, however old that is."""
    query: LiteralString = (
        "MATCH (:Person)-[:HAS_ACCOUNT|LINKED_ACCOUNT]->(:Account {id: $account}) RETURN 1 LIMIT 1"
    )
    return bool(await database.read(query, account=account))
