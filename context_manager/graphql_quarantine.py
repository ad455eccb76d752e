"""What the gate keeps out, in GraphQL: for the administrator, and for owners of collections."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from context_manager.access_desk import AccessDesk
from context_manager.graphql_access import expected
from graph.quarantine import Quarantined, quarantined
from graph.reads import Asker


@strawberry.type(description="A claim of a source that is kept out until it passes, or is made no more.")
class QuarantinedClaim:
    source: str
    scope: str = strawberry.field(description="The part of the source that it is from.")
    evidence: str = strawberry.field(description="Where in the source it is said.")
    entity: strawberry.ID
    shape: str = strawberry.field(description="The shape or rule that refused it.")
    value: str
    message: str = strawberry.field(description="What was expected, and what to do.")


async def told(desk: AccessDesk, asker: Asker, source: str | None) -> Sequence[Quarantined]:
    """All for the administrator; for others what is about entities that they see, placed in collections
    whose access they decide: they answer for what is said there."""
    rights = await desk.rights(asker)
    found = await quarantined(desk.database, source)
    if rights.administrator:
        return found
    collections = {one.collection for one in found if one.collection is not None}
    owned = {collection for collection in collections if rights.may_take(collection)}
    theirs = [one for one in found if one.collection in owned]
    seen = await desk.seen(asker, sorted({end for one in theirs for end in one.ends}))
    return [one for one in theirs if seen.issuperset(one.ends)]


@strawberry.type
class QuarantineQueries:
    @strawberry.field(
        description="What is kept out, of one source or of all: for the administrator everything, for "
        "others what is about entities in collections whose access they decide. Of the present alone."
    )
    async def quarantine(self, info: strawberry.Info, source: str | None = None) -> list[QuarantinedClaim]:
        found = await expected(told(info.context.desk(), info.context.asker, source))
        return [
            QuarantinedClaim(
                source=one.violation.source,
                scope=one.scope,
                evidence=one.evidence,
                entity=strawberry.ID(one.violation.entity),
                shape=one.violation.shape,
                value=one.violation.value,
                message=one.violation.message,
            )
            for one in found
        ]
