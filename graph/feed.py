"""The change feed: the outbox of revisions, followed by consumers, each from where it left off.

At least once and in order: a consumer's position moves once it comes back for more, so that what it
was doing when it was killed comes again. Nothing is read ahead of a slow consumer.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import orjson
from neo4j import AsyncManagedTransaction

from graph.claims import RelationshipClaim
from graph.database import Database
from graph.facts import IN_COLLECTION, Stated
from graph.tuples import Scope

#: Revisions read at a time; one may hold the thousands of changes of a batch.
_REVISIONS = 20


class FeedGapError(Exception):
    """Revisions that a consumer has not followed are no longer in the outbox; the message says what to do."""


@dataclass(frozen=True, slots=True)
class FactChange:
    """`before` is None for what appears, `after` for what goes.

    An entity is described by `class`, `collection`, `values`, `sources`, `confidence`, `validFrom` and
    `validTo`; a relationship by `start`, `type` and `end` instead of the first three; an audience by
    `audience`. Of what was erased only a pseudonym is told. Instants are `{"dateTime": ISO 8601}`.

    A relationship that makes a tuple says in `claimedIn` who vouches for it: source, scope, and from when
    until when each does. Where it does not, the revision's own source and scope do.
    """

    kind: Literal["entity", "relationship", "audience", "erased"]
    id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit of facts. The source is empty where the store itself finished a move."""

    number: int
    at: datetime
    source: str
    scope: str
    changes: Sequence[FactChange]


Vouching = list[list[Any]]
"""Source, scope, `validFrom` and `validTo` of each claim on a relationship, in order."""


def vouching(claims: Mapping[Scope, Stated], end: str) -> Vouching:
    """Who claims a relationship that ends there, of the claims on it, or on the entity that it places."""
    return sorted(
        [*by, *(None if at is None else at.isoformat() for at in (claim.valid_from, claim.valid_to))]
        for by, one in claims.items()
        for claim in (one.claim,)
        if isinstance(claim, RelationshipClaim) or claim.collection == end
    )


def pack_changes(
    changes: Sequence[Mapping[str, Any]], source: str = "", appeared: Sequence[Sequence[Any]] = ()
) -> bytes:
    """The changes of a revision, as the outbox holds them.

    `appeared`: relationships that only the source claims, as the rows of its page (`Stated.to_row`), and
    entities that only it claims and that always hold (`EntityFact.to_row`).
    """
    return zlib.compress(orjson.dumps([source, appeared, changes]), 1)


def _unpacked(packed: bytes) -> list[FactChange]:
    source, appeared, changes = orjson.loads(zlib.decompress(packed))
    found = [one for row in appeared for one in _appeared(source, row)]
    return [*found, *(FactChange(**change) for change in changes)]


def facts_in(packed: bytes) -> Iterator[tuple[str, Any]]:
    """Each fact that the packed changes tell of, with all that they hold of it."""
    _, appeared, changes = orjson.loads(zlib.decompress(packed))
    for row in appeared:
        yield _fact(row), row
    for change in changes:
        yield change["id"], change


def without(
    packed: bytes, is_gone: Callable[[str], bool], pseudonym: str, replaced: Callable[[str], str]
) -> bytes:
    """The same without changes of facts that are gone, which leave word of that.

    `replaced` is what evidence may say, which no follower is told.
    """
    source, appeared, changes = orjson.loads(zlib.decompress(packed))
    kept = [[*row[:3], replaced(row[3]), *row[4:]] for row in appeared if not is_gone(_fact(row))]
    told = [change for change in changes if not is_gone(change["id"])]
    if len(kept) < len(appeared) or len(told) < len(changes):
        told.append({"kind": "erased", "id": pseudonym, "before": None, "after": None})
    return pack_changes(told, source, kept)


def _fact(row: Sequence[Any]) -> str:
    """What a row of what appeared is about: an entity where it has values, else a relationship."""
    return str(row[0]) if row[4] is not None else " ".join(row[:3])


def _appeared(source: str, row: Sequence[Any]) -> list[FactChange]:
    first, second, third, _, values, *rest = row
    confidence, valid_from, valid_to = rest or (1.0, None, None)
    about = {
        "sources": [source],
        "confidence": confidence,
        "validFrom": valid_from,
        "validTo": valid_to,
    }

    def relationship(start: str, type_: str, end: str) -> FactChange:
        after = {"start": start, "type": type_, "end": end, **about}
        return FactChange("relationship", f"{start} {type_} {end}", None, after)

    if values is None:
        return [relationship(first, second, third)]
    entity = {"class": second, "collection": third, "values": values, **about}
    return [FactChange("entity", first, None, entity), relationship(first, IN_COLLECTION, third)]


@dataclass(frozen=True, slots=True)
class News:
    """How far the graph is, and what followed."""

    epoch: str
    revision: int
    """The last committed one; 0 before the first."""
    compacted: int
    """The last one that is no longer in the outbox; 0 while all are."""
    changes: Sequence[Revision]
    """As of `changes`."""


async def news(database: Database, after_revision: int, limit: int = 100) -> News:
    """How far the graph is, and the revisions that follow."""
    found = await _read(database, after_revision, limit)
    numbers = [after_revision, *(revision.number for revision in found.changes)]
    if all(later == earlier + 1 for earlier, later in pairwise(numbers)):
        return found
    # A read may pass the place of a revision before it is committed, and see the next one. What is still
    # missing now was lost before a restored database began its epoch.
    again = (await _read(database, after_revision, limit)).changes
    return replace(found, changes=[one for one in again if one.number <= numbers[-1]])


async def changes(database: Database, after_revision: int, limit: int = 100) -> Sequence[Revision]:
    """The revisions that follow, oldest first, at most `limit`."""
    return (await news(database, after_revision, limit)).changes


async def _read(database: Database, after_revision: int, limit: int) -> News:
    [record] = await database.read(
        """
        MATCH (meta:_Meta)
        RETURN meta.epoch AS epoch, meta.revision AS revision, coalesce(meta.compactedTo, 0) AS compacted,
               COLLECT {
                   MATCH (r:_Revision) WHERE r.number > $after
                   MATCH (c:_Change {revision: r.number})
                   WITH r, c ORDER BY r.number LIMIT $limit
                   RETURN [r.number, r.at, r.source, r.scope, c.changes]
               } AS changes
        """,
        after=after_revision,
        limit=limit,
    )
    found = [
        Revision(number, at.to_native(), source, scope, _unpacked(packed))
        for number, at, source, scope, packed in record["changes"]
    ]
    return News(record["epoch"], record["revision"], record["compacted"], found)


async def current_revision(database: Database) -> int:
    """The last committed revision; 0 before the first."""
    [record] = await database.read("MATCH (meta:_Meta) RETURN meta.revision AS revision")
    return int(record["revision"])


async def compacted_to(database: Database) -> int:
    """The last revision that is no longer in the outbox; 0 while all are."""
    [record] = await database.read("MATCH (meta:_Meta) RETURN coalesce(meta.compactedTo, 0) AS revision")
    return int(record["revision"])


async def wait_beyond(database: Database, revision: int) -> int:
    """Wait until there is a later revision; its number or a later one's."""
    latest = database.latest
    await latest.until(lambda: latest.revision > revision, partial(_look, database))
    return latest.revision


async def wait_for_access(database: Database, revision: int) -> int:
    """Wait until a later revision changed who may see what; its number or a later such one's."""
    latest = database.latest
    await latest.until(lambda: latest.access > revision, partial(_look, database))
    return latest.access


async def wait_for(database: Database, revision: int, seconds: float) -> None:
    """Wait until the revision is committed. TimeoutError when it is not within so many seconds."""
    database.latest.ring()
    async with asyncio.timeout(seconds):
        await wait_beyond(database, revision - 1)


async def _look(database: Database) -> tuple[int, int]:
    [record] = await database.read(
        "MATCH (meta:_Meta) RETURN meta.revision AS revision, meta.accessRevision AS access"
    )
    return int(record["revision"]), int(record["access"])


async def follow(database: Database, consumer: str) -> AsyncIterator[Sequence[Revision]]:
    """All revisions after the consumer's position, some at a time, and then what is committed, for ever.

    Coming back for more says that what was yielded is done. Raises FeedGapError when revisions after
    the position were compacted away: then the consumer has to be built anew.
    """
    reached = await position(database, consumer)
    while True:
        revisions = await changes(database, reached, _REVISIONS)
        is_next = bool(revisions) and revisions[0].number == reached + 1
        if not is_next and reached < (compacted := await compacted_to(database)):
            raise FeedGapError(
                f"the outbox begins after revision {compacted}, and {consumer} has followed it to {reached}: "
                f"build {consumer} anew from what stands"
            )
        if revisions:
            yield revisions
            reached = revisions[-1].number
            await advance(database, consumer, reached)
        else:
            await wait_beyond(database, reached)


async def position(database: Database, consumer: str) -> int:
    """The revision that the consumer has followed to; 0 at first."""
    records = await database.read(
        "MATCH (p:_Position {consumer: $consumer}) RETURN p.revision AS revision", consumer=consumer
    )
    return int(records[0]["revision"]) if records else 0


async def positions(database: Database) -> Mapping[str, int]:
    """Each consumer's position, by its name."""
    records = await database.read(
        "MATCH (p:_Position) RETURN p.consumer AS consumer, p.revision AS revision ORDER BY consumer"
    )
    return {record["consumer"]: int(record["revision"]) for record in records}


async def forget(database: Database, consumer: str) -> None:
    """The consumer is no more: nothing is kept for it."""

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (p:_Position {consumer: $consumer}) DELETE p", consumer=consumer)

    await database.write_transaction(work)


async def advance(database: Database, consumer: str, revision: int) -> None:
    """The consumer has done all up to the revision; it never goes back."""

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            """
            MERGE (p:_Position {consumer: $consumer})
            SET p.revision = CASE WHEN p.revision > $revision THEN p.revision ELSE $revision END
            """,
            consumer=consumer,
            revision=revision,
        )

    await database.write_transaction(work)
