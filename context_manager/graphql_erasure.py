"""Erasing persons in GraphQL; for the administrator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import strawberry

from context_manager import erasing
from context_manager.graphql_access import expected


@strawberry.type(description="How often somebody was found in a place.")
class ErasurePlace:
    place: str
    count: int


@strawberry.type(description="What an erasure found and took away. It names nobody.")
class ErasureReceipt:
    erasure: strawberry.ID | None = strawberry.field(description="Null of a dry run.")
    subject: strawberry.ID = strawberry.field(description="The pseudonym.")
    by: strawberry.ID | None
    began: datetime | None
    ended: datetime | None = strawberry.field(description="Null while it goes on.")
    found: list[ErasurePlace]
    content: list[ErasurePlace] = strawberry.field(
        description="Facts about others that mention the person, which stay."
    )
    remaining: list[ErasurePlace] = strawberry.field(description="What is left; nothing once it has ended.")
    waits_for: list[str] = strawberry.field(description="Followers of changes that have yet to hear of it.")
    notes: list[str] = strawberry.field(description="What stays, where and why.")
    mentioned_by: list[strawberry.ID] = strawberry.field(
        description="Entities whose content mentions the person; told once, and not on record."
    )
    kept: list[strawberry.ID] = strawberry.field(description="Accounts that are somebody else's by now.")


def _receipt(told: erasing.Told) -> ErasureReceipt:
    receipt = told.receipt
    return ErasureReceipt(
        erasure=receipt.get("erasure"),
        subject=receipt["subject"],
        by=receipt.get("by"),
        began=_instant(receipt.get("began")),
        ended=_instant(receipt.get("ended")),
        found=_places(receipt["found"]),
        content=_places(receipt["content"]),
        remaining=_places(receipt["remaining"]),
        waits_for=list(receipt.get("waits_for", ())),
        notes=list(told.notes),
        mentioned_by=[strawberry.ID(id) for id in told.mentioned_by],
        kept=[strawberry.ID(id) for id in told.kept],
    )


def _places(counts: Mapping[str, int]) -> list[ErasurePlace]:
    return [ErasurePlace(place=place, count=count) for place, count in sorted(counts.items())]


def _instant(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@strawberry.type
class ErasureQueries:
    """Joined into the schema's queries. The context has `erasure_desk()`."""

    @strawberry.field(
        description="Receipts of erasures, from the audit log; for the administrator."
        " With all that was, and when."
    )
    async def erasures(self, info: strawberry.Info) -> list[ErasureReceipt]:
        found = await expected(erasing.receipts(info.context.erasure_desk(), info.context.asker))
        return [_receipt(erasing.Told(receipt, ())) for receipt in found]


@strawberry.type
class ErasureMutations:
    """Joined into the schema's mutations."""

    @strawberry.mutation(
        description="Erase a person everywhere: facts, claims, history, changes, indexes. A dry run only "
        "tells what that would reach. For the administrator."
    )
    async def erase_person(
        self, info: strawberry.Info, person: strawberry.ID, reason: str, dry_run: bool = False
    ) -> ErasureReceipt:
        desk, asker = info.context.erasure_desk(), info.context.asker
        if dry_run:
            return _receipt(await expected(erasing.preview(desk, asker, person)))
        return _receipt(await expected(erasing.erase(desk, asker, person, reason)))

    @strawberry.mutation(
        description="Let crawls bring an erased person, or an account of theirs, back. Returns pseudonyms "
        "of accounts that stay out until they are readmitted by their own ids. For the administrator."
    )
    async def readmit_person(
        self, info: strawberry.Info, person: strawberry.ID, reason: str
    ) -> list[strawberry.ID]:
        desk, asker = info.context.erasure_desk(), info.context.asker
        out = await expected(erasing.readmit(desk, asker, person, reason))
        return [strawberry.ID(id) for id in out]
