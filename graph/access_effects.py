"""What a change of access would do: who gains and who loses how many entities."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from graph.access_snapshot import AccessSnapshot
from graph.audiences import usersets
from graph.database import Database


@dataclass(frozen=True, slots=True)
class AccessEffect:
    """Of an account: how many entities it would come to see, and see no more."""

    account: str
    gains: int
    losses: int


def touched_audiences(
    before: AccessSnapshot, after: AccessSnapshot, collections: Collection[str]
) -> list[int]:
    """The audiences that can differ when tuples of these collections do."""
    reached = before.inheriting(collections) | after.inheriting(collections)
    return sorted(
        number
        for number, expression in before.audiences.items()
        if any(userset.object in reached for userset in usersets(expression))
    )


async def audience_sizes(database: Database, audiences: Collection[int], now: datetime) -> Mapping[int, int]:
    """How many entities that hold now have each of the audiences."""
    records = await database.read(
        """
        MATCH (n:Entity) WHERE n.audience IN $audiences
          AND coalesce(n.validFrom <= $now, true) AND coalesce($now < n.validTo, true)
        RETURN n.audience AS audience, count(n) AS count
        """,
        audiences=list(audiences),
        now=now,
    )
    return {record["audience"]: record["count"] for record in records}


def effects(
    before: AccessSnapshot, after: AccessSnapshot, sizes: Mapping[int, int]
) -> Sequence[AccessEffect]:
    """The accounts for which something changes, by name. `sizes`: the entities of each touched audience."""
    found = []
    for account in sorted(before.accounts | after.accounts):
        gains = losses = 0
        was, will_be = before.search(account), after.search(account)
        for number, size in sizes.items():
            expression = before.audiences[number]
            saw = account in before.accounts and before.sees(was, expression)
            sees = account in after.accounts and after.sees(will_be, expression)
            gains += size * (sees and not saw)
            losses += size * (saw and not sees)
        if gains or losses:
            found.append(AccessEffect(account, gains, losses))
    return found
