"""Claims of the past: what was said of a fact until a revision changed that, one `_Claimed` each.

As of a revision, the claims on a fact are those that the next change of them superseded, or, where none came
since, those that stand. Evidence that moved takes no revision: what was told before is kept of the revisions
before the current one, of which the new evidence is told from then on. Trust is as it was written last.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from neo4j import AsyncManagedTransaction

from graph import live
from graph.claims import Claim
from graph.facts import Stated
from graph.pages import Pages
from graph.tuples import ADMINISTRATION, IDENTITY, REVIEWED, Scope


def differ(before: Mapping[Scope, Stated], after: Mapping[Scope, Stated]) -> bool:
    """Whether something else is claimed; evidence that moved and another trust are nothing else."""
    if before.keys() != after.keys():
        return True
    return any(
        one is not after[by] and _plain(one.claim) != _plain(after[by].claim) for by, one in before.items()
    )


def moved(before: Mapping[Scope, Stated], after: Mapping[Scope, Stated]) -> bool:
    """Whether the same is claimed, and some of it is told elsewhere in a source.

    What people decided is on record itself, with who did: when they are erased, that is rewritten, and what
    a claim said of it before is not kept.
    """
    return not differ(before, after) and any(
        one.claim.evidence != after[by].claim.evidence and not _is_decided(one.source)
        for by, one in before.items()
    )


def _is_decided(source: str) -> bool:
    return source in (ADMINISTRATION, IDENTITY) or source.endswith(REVIEWED)


def _plain(claim: Claim) -> Claim:
    return replace(claim, evidence="")


def packed(claims: Iterable[Stated]) -> bytes:
    """Claims on a fact, as they are kept."""
    return zlib.compress(orjson.dumps([[*one.by, one.trust, one.to_row()] for one in claims]), 1)


def unpacked(claims: bytes) -> list[Stated]:
    """The inverse of `packed`."""
    return [Stated.from_row(*row) for row in orjson.loads(zlib.decompress(claims))]


def row(fact: str, until: int, claims: Iterable[Stated]) -> list[Any]:
    """The fact with the claims that stood on it until the revision, as a transaction writes them."""
    return [fact, until, packed(claims)]


async def claims_then(
    tx: AsyncManagedTransaction, facts: Collection[str], revision: int
) -> Mapping[str, tuple[Stated, ...]]:
    """What each source said of the facts when the revision was committed, who was believed first."""
    result = await tx.run(
        """
        UNWIND $facts AS fact
        MATCH (c:_Claimed {fact: fact}) WHERE c.until > $revision
        WITH fact, c ORDER BY c.until
        RETURN fact, head(collect(c.claims)) AS claims
        """,
        facts=list(facts),
        revision=revision,
    )
    found = {record["fact"]: unpacked(record["claims"]) async for record in result}
    places = await live.places(tx, [fact for fact in facts if fact not in found])
    standing = await Pages(tx).claims_on({fact: place.pages for fact, place in places.items()})
    found |= {fact: [one for one, _ in by.values()] for fact, by in standing.items()}
    return {fact: tuple(sorted(found.get(fact, ()), key=lambda one: one.rank)) for fact in facts}
