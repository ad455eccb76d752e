"""What sources said and is kept out, with the reason, until it passes the gate or is said no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph.claims import Violation
from graph.database import Database


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A claim that is kept out."""

    scope: str
    """The part of the source that it is from."""
    evidence: str
    """Where in the source it is said."""
    ends: tuple[str, ...]
    """Ids of the entities that it is about: one, or both ends of a relationship."""
    collection: str | None
    """Where the first of them is placed, unless the claim would place it elsewhere, or nothing is placed."""
    violation: Violation


async def is_quarantined(database: Database, source: str, scope: str) -> bool:
    """Whether anything of the scope is kept out."""
    found = await database.read(
        "MATCH (q:_Quarantined {source: $source, scope: $scope}) RETURN 1 LIMIT 1", source=source, scope=scope
    )
    return bool(found)


async def quarantined(database: Database, source: str | None = None) -> Sequence[Quarantined]:
    """What is kept out, of one source or of all, whoever may see it."""
    records = await database.read(
        """
        MATCH (q:_Quarantined) WHERE $source IS NULL OR q.source = $source
        OPTIONAL MATCH (:Entity {id: q.entity})-[:IN_COLLECTION]->(c:Collection)
        WHERE coalesce(q.collection = c.id, true)
        RETURN q {.*} AS row, c.id AS collection
        ORDER BY q.source, q.entity, q.shape, q.key
        """,
        source=source,
    )
    return [
        Quarantined(
            row["scope"],
            row["evidence"],
            tuple(row["ends"]),
            record["collection"],
            Violation(row["source"], row["entity"], row["shape"], row["value"], row["message"]),
        )
        for record in records
        for row in (record["row"],)
    ]
