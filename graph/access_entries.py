"""Decisions made by hand: who gave, denied or took what, when, why, until when; one `_AccessEntry` each.

An entry is never removed. What it decides is in force while it stands; the facts that follow are claimed by
`administration`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString, TypeAlias

from neo4j import AsyncManagedTransaction
from neo4j.time import DateTime

from graph.claims import RelationshipClaim
from graph.database import Database
from graph.facts import fact_of
from graph.tuples import native

Kind: TypeAlias = Literal["grant", "denial", "disabling", "break_glass", "link"]

#: The relationship that follows from each kind.
RELATIONSHIPS: Mapping[Kind, str] = {
    "grant": "GRANTED_VIEW",
    "break_glass": "GRANTED_VIEW",
    "denial": "DENIED_VIEW",
    "disabling": "DISABLES",
    "link": "LINKED_ACCOUNT",
}
_REQUIRED = ("id", "subject", "object", "reason", "by", "at")
#: Kinds that take access away: they go into the journal before they are committed.
RESTRICTIONS: Collection[Kind] = frozenset({"denial", "disabling"})


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One decision. `subject` and `object` are the ends of the relationship that follows."""

    id: str
    kind: Kind
    subject: str
    object: str
    reason: str
    by: str
    """The account that decided."""
    at: datetime
    agent: str | None = None
    """That acted for the account."""
    until: datetime | None = None
    second: bool = False
    """Whether it takes a second person to begin, or, of a restriction, to end."""
    confirmed_by: str | None = None
    confirmed_at: datetime | None = None
    ending_by: str | None = None
    """The account that asked to lift a restriction, while a second person has yet to confirm."""
    ending_reason: str | None = None
    ended_by: str | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    finding: str | None = None

    @property
    def fact(self) -> str:
        return fact_of(RelationshipClaim(self.subject, RELATIONSHIPS[self.kind], self.object, ""))

    @property
    def restricts(self) -> bool:
        return self.kind in RESTRICTIONS

    def state(self, now: datetime) -> Literal["pending", "standing", "expired", "ended"]:
        """Pending: it waits for a second person, and is not in force."""
        if self.ended_at is not None:
            return "ended"
        if self.until is not None and now >= self.until:
            return "expired"
        if self.second and not self.restricts and self.confirmed_at is None:
            return "pending"
        return "standing"

    def to_json(self) -> dict[str, Any]:
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> AccessEntry:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        if row["kind"] not in RELATIONSHIPS or not all(isinstance(row[name], str) for name in _REQUIRED):
            raise ValueError(f"expected a kind of entry with {', '.join(_REQUIRED)} as text")
        times = ("at", "until", "confirmed_at", "ended_at", "reviewed_at")
        return cls(**{**row, **{t: datetime.fromisoformat(row[t]) for t in times if row.get(t)}})


async def create(database: Database, entry: AccessEntry) -> None:
    """Keep the entry, unless it is kept already."""

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            "MERGE (e:_AccessEntry {id: $id}) ON CREATE SET e = $row", id=entry.id, row=asdict(entry)
        )

    await database.write_transaction(work)


async def change(
    database: Database, ids: Collection[str], unless: LiteralString, values: Mapping[str, Any]
) -> list[AccessEntry]:
    """Set values of those of the entries whose property `unless` is not set yet; as they then are."""

    async def work(tx: AsyncManagedTransaction) -> list[AccessEntry]:
        result = await tx.run(
            "MATCH (e:_AccessEntry) WHERE e.id IN $ids AND e[$unless] IS NULL "
            "SET e += $values RETURN properties(e) AS row ORDER BY e.at, e.id",
            ids=list(ids),
            unless=unless,
            values=dict(values),
        )
        return [_entry(record["row"]) async for record in result]

    return await database.write_transaction(work)


async def put(database: Database, changed: Iterable[AccessEntry]) -> None:
    """Write the entries over those of the same ids."""
    rows = [asdict(entry) for entry in changed]

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run("UNWIND $rows AS row MATCH (e:_AccessEntry {id: row.id}) SET e = row", rows=rows)

    if rows:
        await database.write_transaction(work)


async def entries(
    database: Database,
    *,
    ids: Collection[str] | None = None,
    subject: str | None = None,
    objects: Collection[str] | None = None,
) -> Sequence[AccessEntry]:
    """The entries that match what is given, oldest first."""
    records = await database.read(
        """
        MATCH (e:_AccessEntry)
        WHERE ($ids IS NULL OR e.id IN $ids) AND ($subject IS NULL OR e.subject = $subject)
          AND ($objects IS NULL OR e.object IN $objects)
        RETURN properties(e) AS row ORDER BY e.at, e.id
        """,
        ids=None if ids is None else list(ids),
        subject=subject,
        objects=None if objects is None else list(objects),
    )
    return [_entry(record["row"]) for record in records]


def _entry(row: Mapping[str, Any]) -> AccessEntry:
    values: dict[str, Any] = {
        name: native(value) if isinstance(value, DateTime) else value for name, value in row.items()
    }
    return AccessEntry(**values)
