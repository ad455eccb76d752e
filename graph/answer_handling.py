"""How answers are handled, kept for when they come back in a prompt, to whichever process and however late.

An answer is known by a digest of whose it is and what it says; neither can be read from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import orjson

from graph.database import Database
from graph.handling import Handling, meet_all


async def keep_answers(
    database: Database, digests: Collection[str], handling: Handling, at: datetime
) -> None:
    """From now on what is known by these is handled at least so."""
    await database.write(
        """UNWIND $digests AS digest MERGE (a:_Answer {digest: digest})
           SET a.at = $at, a.handlings = CASE WHEN $handling IN coalesce(a.handlings, []) THEN a.handlings
                                              ELSE coalesce(a.handlings, []) + $handling END""",
        digests=list(digests),
        handling=orjson.dumps(handling.record()).decode(),
        at=at,
    )


async def kept_answers(database: Database, digests: Collection[str]) -> Mapping[str, Handling]:
    """Of those of them that are known."""
    records = await database.read(
        "MATCH (a:_Answer) WHERE a.digest IN $digests RETURN a.digest AS digest, a.handlings AS handlings",
        digests=list(digests),
    )
    return {record["digest"]: _met(record["handlings"]) for record in records}


async def last_answers(database: Database, most: int) -> Mapping[str, Handling]:
    """Of the last so many, the latest last."""
    records = await database.read(
        """MATCH (a:_Answer) RETURN a.digest AS digest, a.handlings AS handlings
           ORDER BY a.at DESC LIMIT $most""",
        most=most,
    )
    return {record["digest"]: _met(record["handlings"]) for record in reversed(records)}


async def prune_answers(database: Database, before: datetime) -> None:
    """Forget what was answered before then."""
    async with database.driver.session(database=database.name) as session:
        result = await session.run(
            "MATCH (a:_Answer) WHERE a.at < $before CALL (a) { DELETE a } IN TRANSACTIONS OF 1000 ROWS",
            before=before,
        )
        await result.consume()


def _met(handlings: Collection[str]) -> Handling:
    return meet_all(_handling(orjson.loads(one)) for one in handlings)


def _handling(record: Mapping[str, object]) -> Handling:
    terms = {name: frozenset(value) if isinstance(value, list) else value for name, value in record.items()}
    return Handling(**terms)  # type: ignore[arg-type]  # what `Handling.record` made
