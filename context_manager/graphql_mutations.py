"""Mutations: decisions by hand about access. A refusal tells no more than the asker may know."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime

import strawberry

from context_manager import access_questions as questions
from context_manager import administration
from context_manager.graphql_access import (
    AccessDecision,
    AccessEffect,
    decision_of,
    effects_of,
    expected,
)
from context_manager.graphql_erasure import ErasureMutations
from context_manager.graphql_extractions import ExtractionMutations
from context_manager.graphql_holds import HoldMutations
from context_manager.graphql_identity import IdentityMutations
from context_manager.graphql_mesh import MeshMutations
from graph import access_effects
from graph.access_entries import AccessEntry


@strawberry.type(description="A decision; or, of a dry run, who would gain and lose by it.")
class AccessOutcome:
    decision: AccessDecision | None = None
    effects: list[AccessEffect] | None = None


@strawberry.type(
    description="Decisions by hand about access, each with a reason and on record; and operating the mesh."
)
class Mutation(MeshMutations, IdentityMutations, ExtractionMutations, ErasureMutations, HoldMutations):
    @strawberry.mutation(
        description="Let a person or group view a collection, until then or for good. Where the collection "
        "takes two, it gives nothing until a second person confirms it."
    )
    async def grant_access(  # noqa: PLR0913, PLR0917  all that a decision says
        self,
        info: strawberry.Info,
        subject: strawberry.ID,
        collection: strawberry.ID,
        reason: str,
        until: datetime | None = None,
        dry_run: bool = False,
    ) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        if dry_run:
            return await _effects(questions.preview_decision(desk, asker, "grant", subject, collection))
        return await _decision(administration.grant(desk, asker, subject, collection, reason, until))

    @strawberry.mutation(description="Deny a person or group a collection, whoever grants it.")
    async def deny_access(  # noqa: PLR0913, PLR0917  as above
        self,
        info: strawberry.Info,
        subject: strawberry.ID,
        collection: strawberry.ID,
        reason: str,
        until: datetime | None = None,
        dry_run: bool = False,
    ) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        if dry_run:
            return await _effects(questions.preview_decision(desk, asker, "denial", subject, collection))
        return await _decision(administration.deny(desk, asker, subject, collection, reason, until))

    @strawberry.mutation(
        description="Say whose an account is, where no source says so. It has what the person has once that "
        "was confirmed (`confirmAccess`), as `effects` show it."
    )
    async def link_account(  # noqa: PLR0913, PLR0917  as above
        self,
        info: strawberry.Info,
        person: strawberry.ID,
        account: strawberry.ID,
        reason: str,
        until: datetime | None = None,
        dry_run: bool = False,
    ) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        outcome = await _effects(questions.preview_link(desk, asker, person, account))
        if not dry_run:
            made = await expected(administration.link(desk, asker, person, account, reason, until))
            outcome.decision = decision_of(made)
        return outcome

    @strawberry.mutation(description="Take back one grant or link, or lift one denial.")
    async def revoke_access(
        self, info: strawberry.Info, id: strawberry.ID, reason: str, dry_run: bool = False
    ) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        if dry_run:
            return await _effects(questions.preview_ending(desk, asker, id))
        return await _decision(administration.take_back(desk, asker, id, reason))

    @strawberry.mutation(description="Take back all that was granted by hand to a person or group.")
    async def revoke_all_access(
        self, info: strawberry.Info, subject: strawberry.ID, reason: str
    ) -> list[AccessDecision]:
        desk, asker = info.context.desk(), info.context.asker
        ended = await expected(administration.take_back_all(desk, asker, subject, reason))
        return [decision_of(entry) for entry in ended]

    @strawberry.mutation(description="Confirm, as the second person, what another one decided.")
    async def confirm_access(self, info: strawberry.Info, id: strawberry.ID) -> AccessOutcome:
        return await _decision(administration.confirm(info.context.desk(), info.context.asker, id))

    @strawberry.mutation(description="Take all access from an account at once. For the administrator.")
    async def disable_account(
        self, info: strawberry.Info, account: strawberry.ID, reason: str
    ) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        return await _decision(administration.disable(desk, asker, account, reason))

    @strawberry.mutation(description="Let the source of an account decide again whether it is enabled.")
    async def enable_account(
        self, info: strawberry.Info, account: strawberry.ID, reason: str
    ) -> list[AccessDecision]:
        desk, asker = info.context.desk(), info.context.asker
        ended = await expected(administration.enable(desk, asker, account, reason))
        return [decision_of(entry) for entry in ended]

    @strawberry.mutation(
        description="Take access in an emergency, where the collection allows it: an alarm, to be reviewed."
    )
    async def break_glass(
        self,
        info: strawberry.Info,
        collection: strawberry.ID,
        reason: str,
        until: datetime | None = None,
    ) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        return await _decision(administration.break_glass(desk, asker, collection, reason, until))

    @strawberry.mutation(description="Say what came of looking into an emergency of somebody else.")
    async def close_review(self, info: strawberry.Info, id: strawberry.ID, finding: str) -> AccessOutcome:
        desk, asker = info.context.desk(), info.context.asker
        return await _decision(administration.close_review(desk, asker, id, finding))

    @strawberry.mutation(
        description="After a restore that the service did not see: what stands by hand counts again."
    )
    async def vouch_for_access(self, info: strawberry.Info, reason: str) -> bool:
        await expected(administration.vouch(info.context.desk(), info.context.asker, reason))
        return True


async def _decision(work: Awaitable[AccessEntry]) -> AccessOutcome:
    return AccessOutcome(decision=decision_of(await expected(work)))


async def _effects(work: Awaitable[Sequence[access_effects.AccessEffect]]) -> AccessOutcome:
    return AccessOutcome(effects=effects_of(await expected(work)))
