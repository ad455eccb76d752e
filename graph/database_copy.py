"""A database written anew from what another one holds: without what its files keep of the deleted.

Neo4j marks what was deleted as free, and leaves the bytes in its files until something else comes there; its
transaction logs keep them for a while too. A copy has none of that.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neo4j import AsyncManagedTransaction

from graph.database import Database, connect
from graph.neo4j_server import HOME, embedded_neo4j

_BATCH = 1_000


class CopyError(Exception):
    """The copy is not what was copied; the message says in what."""


async def copy(source: Database, target: Database) -> int:
    """Make the target hold what the source holds; how many nodes. Nothing may be written meanwhile.

    Raises CopyError.
    """
    await target.ensure_schema()
    await _write(target, "MATCH (n) DETACH DELETE n")
    copying = _Copying(target)
    async with source.driver.session(database=source.name) as session:
        result = await session.run(
            """MATCH (n) RETURN elementId(n) AS id, labels(n) AS labels, properties(n) AS row,
                                EXISTS { (n)--() } AS joined"""
        )
        async for record in result:
            await copying.node(record["id"], tuple(record["labels"]), record["row"], record["joined"])
        await copying.flush_nodes()
        result = await session.run(
            """MATCH (a)-[r]->(b)
               RETURN elementId(a) AS start, type(r) AS type, elementId(b) AS end, properties(r) AS row"""
        )
        async for record in result:
            await copying.relationship(record["start"], record["type"], record["end"], record["row"])
        await copying.flush_relationships()
    before, after = await _counts(source), await _counts(target)
    if before != after:
        differing = sorted(name for name in before | after if before.get(name) != after.get(name))
        raise CopyError(f"the copy differs in its numbers of {', '.join(differing)}: nothing was replaced")
    await _write(target, "CALL db.awaitIndexes(300)")
    return before["nodes"]


@dataclass
class _Copying:
    """What is on its way to the target, in batches of the same labels or type."""

    target: Database
    made: dict[str, str] = field(default_factory=dict)
    """Of nodes with relationships: their element id there."""
    nodes: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    relationships: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    async def node(self, id: str, labels: tuple[str, ...], row: Mapping[str, Any], joined: bool) -> None:
        properties = {name: value for name, value in row.items() if name != "embedding"}
        its = self.nodes[labels]
        its.append({"id": id if joined else "", "row": properties, "embedding": row.get("embedding")})
        if len(its) == _BATCH:
            await self._write_nodes(labels)

    async def relationship(self, start: str, type_: str, end: str, row: Mapping[str, Any]) -> None:
        its = self.relationships[type_]
        its.append({"start": self.made[start], "end": self.made[end], "row": row})
        if len(its) == _BATCH:
            await self._write_relationships(type_)

    async def flush_nodes(self) -> None:
        for labels in list(self.nodes):
            await self._write_nodes(labels)

    async def flush_relationships(self) -> None:
        for type_ in list(self.relationships):
            await self._write_relationships(type_)

    async def _write_nodes(self, labels: tuple[str, ...]) -> None:
        rows = self.nodes.pop(labels)

        async def work(tx: AsyncManagedTransaction) -> dict[str, str]:
            result = await tx.run(
                """
                UNWIND $rows AS row
                CREATE (n:$($labels)) SET n = row.row
                WITH n, row
                CALL (n, row) {
                    WITH n, row WHERE row.embedding IS NOT NULL
                    CALL db.create.setNodeVectorProperty(n, 'embedding', row.embedding)
                }
                RETURN row.id AS id, elementId(n) AS made
                """,
                rows=rows,
                labels=list(labels),
            )
            return {record["id"]: record["made"] async for record in result if record["id"]}

        self.made |= await self.target.write_transaction(work)

    async def _write_relationships(self, type_: str) -> None:
        rows = self.relationships.pop(type_)

        async def work(tx: AsyncManagedTransaction) -> None:
            await tx.run(
                """
                UNWIND $rows AS row
                MATCH (a) WHERE elementId(a) = row.start
                MATCH (b) WHERE elementId(b) = row.end
                CREATE (a)-[r:$($type)]->(b) SET r = row.row
                """,
                rows=rows,
                type=type_,
            )

        await self.target.write_transaction(work)


async def _counts(database: Database) -> dict[str, int]:
    """How many nodes there are, by label too, and relationships by type."""
    counts: dict[str, int] = {}
    for query in (
        "MATCH (n) RETURN 'nodes' AS name, count(n) AS count",
        "MATCH (n) UNWIND labels(n) AS label RETURN ':' + label AS name, count(n) AS count",
        "MATCH ()-[r]->() RETURN type(r) AS name, count(r) AS count",
    ):
        counts |= {record["name"]: record["count"] for record in await database.read(query)}
    return counts


async def _write(database: Database, query: Any) -> None:
    async with database.driver.session(database=database.name) as session:
        await (await session.run(query)).consume()


# The embedded database, in its folder.


async def rebuild(data_folder: Path, progress: Callable[[str], None]) -> int:
    """Put a copy in the place of the embedded database; how many nodes. No service may run on it.

    What breaks off leaves the old one, or is finished by `finish_rebuild`.
    """
    finish_rebuild(data_folder)
    new = data_folder / "rebuilt"
    async with (
        embedded_neo4j(data_folder, progress=progress) as old,
        embedded_neo4j(new, progress=progress) as fresh,
        connect(old.uri, old.auth) as source,
        connect(fresh.uri, fresh.auth) as target,
    ):
        progress("copying what the database holds")
        count = await copy(source, target)
    (new / "complete").touch()
    finish_rebuild(data_folder)
    return count


def finish_rebuild(data_folder: Path) -> None:
    """Before Neo4j starts: a copy that is complete takes its place, one that is not is dropped."""
    home, new, old = data_folder / HOME, data_folder / "rebuilt", data_folder / "replaced"
    if (new / "complete").exists() and (new / HOME).exists():
        if home.exists():
            home.rename(old)
        (new / HOME).rename(home)
    for folder in (old, new):
        if folder.exists():
            shutil.rmtree(folder)
