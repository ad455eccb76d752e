"""Who is the same, in GraphQL: what is proposed, what was decided, and decisions; for who sees both."""

from __future__ import annotations

from datetime import datetime

import strawberry

from context_manager import identity_review as review
from context_manager.graphql_access import expected
from context_manager.graphql_types import Entity, page_size
from graph import merges


@strawberry.type(description="That two entities may be one. Nothing follows from it until somebody decides.")
class IdentityProposal:
    one: Entity
    other: Entity
    score: float = strawberry.field(description="From 0 to 1; of these two descriptions alone.")
    evidence: list[str] = strawberry.field(description="What speaks for it, and against it, and how much.")


@strawberry.type(
    description="A decision that two entities are one, or that the evidence for it is not enough."
)
class IdentityDecision:
    id: strawberry.ID
    kind: str = strawberry.field(description="merge or rejection.")
    kept: strawberry.ID = strawberry.field(description="Whose name leads.")
    other: strawberry.ID
    reason: str
    by: strawberry.ID = strawberry.field(description="The account that decided, or `key`.")
    agent: str | None
    at: datetime
    stands: bool = strawberry.field(description="False of a merge that was undone.")
    ended_by: strawberry.ID | None
    ended_at: datetime | None
    ended_reason: str | None


@strawberry.type(
    description="What a merge would change: what is told of the two. It changes nobody's access: what gives "
    "somebody another's is a link (`linkAccount`), which waits, with who would gain by it shown."
)
class MergePreview:
    together: Entity = strawberry.field(
        description="The one that is kept, as its name, values and sources would be told to the asker."
    )
    told: list[strawberry.ID] = strawberry.field(
        description="The accounts that would be told of both as one, since they see both; as far as the "
        "asker sees these."
    )


def identity_decision_of(decision: merges.Decision) -> IdentityDecision:
    return IdentityDecision(
        id=strawberry.ID(decision.id),
        kind=decision.kind,
        kept=strawberry.ID(decision.kept),
        other=strawberry.ID(decision.other),
        reason=decision.reason,
        by=strawberry.ID(decision.by),
        agent=decision.agent,
        at=decision.at,
        stands=decision.ended_at is None,
        ended_by=None if decision.ended_by is None else strawberry.ID(decision.ended_by),
        ended_at=decision.ended_at,
        ended_reason=decision.ended_reason,
    )


@strawberry.type
class IdentityQueries:
    @strawberry.field(
        description="Pairs of entities that may be one, the best first; of all, or with one of them."
        " Of the present alone."
    )
    async def identity_proposals(
        self, info: strawberry.Info, about: strawberry.ID | None = None, first: int = 50
    ) -> list[IdentityProposal]:
        page_size(first)
        desk, asker = info.context.desk(), info.context.asker
        return [
            IdentityProposal(
                one=info.context.entity(found.one),
                other=info.context.entity(found.other),
                score=found.proposal.score,
                evidence=list(found.proposal.evidence),
            )
            for found in await expected(review.proposals(desk, asker, first, about))
        ]

    @strawberry.field(
        description="What a merge would change, for who may decide it. Nothing is merged."
        " Of the present alone."
    )
    async def preview_merge(
        self, info: strawberry.Info, kept: strawberry.ID, other: strawberry.ID
    ) -> MergePreview:
        desk, asker = info.context.desk(), info.context.asker
        found = await expected(review.preview(desk, asker, kept, other))
        return MergePreview(
            together=info.context.entity(found.together),
            told=[strawberry.ID(account) for account in found.told],
        )

    @strawberry.field(
        description="What was decided of entities that are one, oldest first; `after` a decision, by its id."
        " With all that was, and when."
    )
    async def identity_decisions(
        self,
        info: strawberry.Info,
        about: strawberry.ID | None = None,
        first: int = 50,
        after: strawberry.ID | None = None,
    ) -> list[IdentityDecision]:
        page_size(first)
        desk, asker = info.context.desk(), info.context.asker
        found = await expected(review.decided(desk, asker, first, after, about))
        return [identity_decision_of(decision) for decision in found]


@strawberry.type
class IdentityMutations:
    @strawberry.mutation(
        description="Let two entities of one class be told as one; the name of `kept` leads. Each keeps its "
        "access, its accounts and memberships, and who may see it: nobody sees more for it."
    )
    async def merge_entities(
        self, info: strawberry.Info, kept: strawberry.ID, other: strawberry.ID, reason: str
    ) -> IdentityDecision:
        desk, asker = info.context.desk(), info.context.asker
        return identity_decision_of(await expected(review.merge(desk, asker, kept, other, reason)))

    @strawberry.mutation(
        description="Say that two that are proposed are not one. The same evidence proposes it no more."
    )
    async def reject_proposal(
        self, info: strawberry.Info, one: strawberry.ID, other: strawberry.ID, reason: str
    ) -> IdentityDecision:
        desk, asker = info.context.desk(), info.context.asker
        return identity_decision_of(await expected(review.reject(desk, asker, one, other, reason)))

    @strawberry.mutation(description="Take a merge back: all is told as before it.")
    async def undo_merge(self, info: strawberry.Info, id: strawberry.ID, reason: str) -> IdentityDecision:
        desk, asker = info.context.desk(), info.context.asker
        return identity_decision_of(await expected(review.undo(desk, asker, id, reason)))
