"""Claims that Orgraph makes itself, from what people decided and it keeps on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from graph.claims import Claim, RelationshipClaim, SourcePolicy
from graph.lease import CrawlBusyError, LeaseLostError
from graph.store import FactStore

_TRIES = 40
_PAUSE_SECONDS = 0.1


class DecisionError(Exception):
    """What was decided could not be written as a fact; the message names the claim and what is wrong."""


async def keep_claims(
    store: FactStore,
    policy: SourcePolicy,
    scope: str,
    follow: Callable[[], Awaitable[tuple[Iterable[Claim], Iterable[Claim]]]],
) -> None:
    """Make the claims of the scope what the records say: those that `follow` finds, without the second ones.

    `follow` runs while the scope is held, so that of two writers the later sees what both decided; another
    process may be at it too. Raises DecisionError, and CrawlBusyError or LeaseLostError after some seconds.
    """
    for left in reversed(range(_TRIES)):
        try:
            async with store.crawl(policy, scope) as crawl:
                claims, gone = await follow()
                report = await crawl.write(claims, withdrawn=gone)
        except (CrawlBusyError, LeaseLostError):
            if not left:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            if report.quarantined:
                first = report.quarantined[0]
                raise DecisionError(f"{first.entity}: {first.value}: {first.message}")
            return


def relationship_of(fact: str) -> RelationshipClaim:
    """A claim on the relationship `start TYPE end`, to withdraw it by."""
    start, type_, end = fact.split(" ")
    return RelationshipClaim(start, type_, end, "")
