"""Takes out of the outbox what is older than it is to be kept, and what all consumers have followed.

With a revision goes what was known, and claimed, only up to it: no read of the past can ask for that any
more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import LiteralString

from neo4j import AsyncManagedTransaction

from graph.database import Database

#: Revisions in one transaction: each may hold the thousands of changes of a batch.
_REVISIONS = 100
_VERSIONS = 5_000
_FORGET: tuple[LiteralString, ...] = (
    "MATCH (v:_Version) WHERE v.until <= $reached WITH v LIMIT $limit DELETE v RETURN count(*) AS gone",
    "MATCH (c:_Claimed) WHERE c.until <= $reached WITH c LIMIT $limit DELETE c RETURN count(*) AS gone",
)


async def compact(database: Database, keep: timedelta, now: datetime) -> int:
    """Drop revisions from before `now - keep`, but none that a consumer has yet to follow.

    A consumer that is no more holds everything back until it is forgotten (`feed.forget`). Returns the
    last revision that was dropped, now or earlier; resumes where it was cut off.
    """
    [record] = await database.read(
        """
        MATCH (meta:_Meta)
        RETURN coalesce(meta.compactedTo, 0) AS reached, coalesce(
            COLLECT { MATCH (r:_Revision) WHERE r.at < $before RETURN max(r.number) }[0], 0) AS old,
            COLLECT { MATCH (p:_Position) RETURN min(p.revision) }[0] AS followed
        """,
        before=now - keep,
    )
    reached, floor = int(record["reached"]), int(record["old"])
    if record["followed"] is not None:
        floor = min(floor, record["followed"])

    async def work(tx: AsyncManagedTransaction) -> int:
        result = await tx.run(
            """
            MATCH (r:_Revision) WHERE $reached < r.number <= $floor
            WITH r ORDER BY r.number LIMIT $limit
            OPTIONAL MATCH (c:_Change {revision: r.number})
            WITH r, c, r.number AS number
            DELETE r, c
            WITH max(number) AS reached WHERE reached IS NOT NULL
            MATCH (meta:_Meta) SET meta.compactedTo = reached
            RETURN reached
            """,
            reached=reached,
            floor=floor,
            limit=_REVISIONS,
        )
        record = await result.single()
        return reached if record is None else int(record["reached"])

    while reached < (next_ := await database.write_transaction(work)):
        reached = next_

    async def forget(tx: AsyncManagedTransaction, query: LiteralString) -> int:
        result = await tx.run(query, reached=reached, limit=_VERSIONS)
        return int((await result.single(strict=True))["gone"])

    for query in _FORGET:
        while await database.write_transaction(partial(forget, query=query)):
            pass
    return reached
