"""Access by hand in GraphQL: what was decided, who can see, what changed; for who may decide."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import strawberry

from context_manager import access_questions as questions
from context_manager.access_desk import AccessRefused
from context_manager.administration import to_review
from context_manager.audit import AuditError
from context_manager.mesh_operations import OperationRefused
from context_manager.node_declarations import DeclarationRefused
from discovery.holds import NothingHeldError
from discovery.sources import ConfigurationError
from graph import access_effects, access_entries, access_history
from graph.erasure import ErasureError
from graph.feed import current_revision
from graph.journal import JournalError
from graph.lease import CrawlBusyError, LeaseLostError
from graph.merges import MergeError
from graph.own_claims import DecisionError
from graph.reads import ReadOvertakenError
from graph.revision_token import RevisionTokenError
from graphql import GraphQLError

#: What a decision or question may end with; the messages are for who asked.
EXPECTED = (
    AccessRefused,
    AuditError,
    ConfigurationError,
    CrawlBusyError,
    DecisionError,
    DeclarationRefused,
    ErasureError,
    JournalError,
    LeaseLostError,
    MergeError,
    NothingHeldError,
    OperationRefused,
    ReadOvertakenError,
    RevisionTokenError,
)

T = TypeVar("T")


async def expected(work: Awaitable[T]) -> T:
    """What the work gives; what it may end with becomes the error of the query."""
    try:
        return await work
    except EXPECTED as error:
        raise GraphQLError(str(error)) from error


@strawberry.type(description="A decision by hand about access.")
class AccessDecision:
    id: strawberry.ID
    kind: str = strawberry.field(description="grant, denial, disabling, break_glass or link.")
    subject: strawberry.ID
    object: strawberry.ID
    reason: str
    by: strawberry.ID = strawberry.field(description="The account that decided.")
    agent: str | None
    at: datetime
    until: datetime | None
    state: str = strawberry.field(
        description="pending (waits for a second person, and gives nothing), standing, expired or ended."
    )
    confirmed_by: strawberry.ID | None
    lifting_asked_by: strawberry.ID | None = strawberry.field(
        description="Who asked to lift it, where that takes a second person."
    )
    ended_by: strawberry.ID | None
    ended_at: datetime | None
    ended_reason: str | None
    to_review: bool = strawberry.field(description="An emergency that nobody has looked into yet.")
    reviewed_by: strawberry.ID | None
    finding: str | None


@strawberry.type(description="What would change for an account: entities it would see, and see no more.")
class AccessEffect:
    account: strawberry.ID
    gains: int
    losses: int


@strawberry.type(description="What access rests on, as a commit changed it.")
class AccessChange:
    at: datetime
    source: str
    subject: strawberry.ID
    relationship: str
    object: strawberry.ID
    change: str = strawberry.field(description="came, went or changed.")


def decision_of(entry: access_entries.AccessEntry) -> AccessDecision:
    return AccessDecision(
        id=strawberry.ID(entry.id),
        kind=entry.kind,
        subject=strawberry.ID(entry.subject),
        object=strawberry.ID(entry.object),
        reason=entry.reason,
        by=strawberry.ID(entry.by),
        agent=entry.agent,
        at=entry.at,
        until=entry.until,
        state=entry.state(datetime.now(UTC)),
        confirmed_by=_id(entry.confirmed_by),
        lifting_asked_by=_id(entry.ending_by),
        ended_by=_id(entry.ended_by),
        ended_at=entry.ended_at,
        ended_reason=entry.ended_reason,
        to_review=to_review(entry),
        reviewed_by=_id(entry.reviewed_by),
        finding=entry.finding,
    )


def effects_of(effects: Sequence[access_effects.AccessEffect]) -> list[AccessEffect]:
    return [AccessEffect(account=strawberry.ID(e.account), gains=e.gains, losses=e.losses) for e in effects]


def _change_of(change: access_history.AccessChange) -> AccessChange:
    return AccessChange(
        at=change.at,
        source=change.source,
        subject=strawberry.ID(change.subject),
        relationship=change.relationship,
        object=strawberry.ID(change.object),
        change=change.change,
    )


def _id(id: str | None) -> strawberry.ID | None:
    return None if id is None else strawberry.ID(id)


@strawberry.type
class AccessQueries:
    """Joined into the schema's queries. The context has `desk()` and `revision(token)`."""

    @strawberry.field(
        description="What was decided by hand about what the asker may decide, oldest first."
        " With all that was, and when."
    )
    async def access_decisions(
        self,
        info: strawberry.Info,
        subject: strawberry.ID | None = None,
        collection: strawberry.ID | None = None,
    ) -> list[AccessDecision]:
        found = await expected(
            questions.decisions(info.context.desk(), info.context.asker, subject, collection)
        )
        return [decision_of(entry) for entry in found]

    @strawberry.field(
        description="Emergencies that somebody else than who took access has yet to review."
        " Of the present alone."
    )
    async def break_glass_reviews(self, info: strawberry.Info) -> list[AccessDecision]:
        found = await expected(questions.decisions(info.context.desk(), info.context.asker))
        return [decision_of(entry) for entry in found if to_review(entry)]

    @strawberry.field(description="The accounts that may view an entity. Of the present alone.")
    async def who_can_see(self, info: strawberry.Info, id: strawberry.ID) -> list[strawberry.ID]:
        found = await expected(questions.who_can_see(info.context.desk(), info.context.asker, str(id)))
        return [strawberry.ID(account) for account in found]

    @strawberry.field(
        description="What changed for whom after the revision `since`, up to `until` or now; of a "
        "collection, or, for the administrator, of all. Revisions are the tokens that answers carry."
        " With all that was, and when."
    )
    async def access_changes(
        self,
        info: strawberry.Info,
        since: str,
        until: str | None = None,
        collection: strawberry.ID | None = None,
    ) -> list[AccessChange]:
        try:
            desk = info.context.desk()
            after = info.context.revision(since)
            last = await current_revision(desk.database) if until is None else info.context.revision(until)
            found = await questions.changes_between(desk, info.context.asker, after, last, collection)
        except EXPECTED as error:
            raise GraphQLError(str(error)) from error
        return [_change_of(change) for change in found]

    @strawberry.field(
        description="Who would gain and lose if a source were crawled as it and its mapping are now."
        " Of the present alone."
    )
    async def preview_source(self, info: strawberry.Info, source: str) -> list[AccessEffect]:
        found = await expected(questions.preview_source(info.context.desk(), info.context.asker, source))
        return effects_of(found)

    @strawberry.field(
        description="Who would gain and lose under another authorization model, which is in OpenFGA's DSL."
        " Of the present alone."
    )
    async def preview_model(self, info: strawberry.Info, model: str) -> list[AccessEffect]:
        found = await expected(questions.preview_model(info.context.desk(), info.context.asker, model))
        return effects_of(found)

    @strawberry.field(
        description="Who would gain and lose if the sources' configuration took effect as its file is now."
        " Of the present alone."
    )
    async def preview_sources(self, info: strawberry.Info) -> list[AccessEffect]:
        found = await expected(questions.preview_configuration(info.context.desk(), info.context.asker))
        return effects_of(found)
