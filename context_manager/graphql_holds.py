"""Crawls that wait for a person, in GraphQL; for the administrator, who acts for themselves."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from context_manager.access_desk import AccessDesk, check_reason
from context_manager.graphql_access import expected
from discovery.events import note
from discovery.holds import Decision, Hold, decide, held
from graph.reads import Asker


@strawberry.type(
    description="A crawl of a scope that would retract more than its source's brake allows, or all of a "
    "scope that is listed no longer, and waits for a person."
)
class HeldCrawl:
    source: str
    scope: str
    gone: int = strawberry.field(description="Claims that it would retract.")
    standing: int = strawberry.field(description="Claims of the scope, those included.")
    why: str


def _held_crawl(one: Hold) -> HeldCrawl:
    return HeldCrawl(source=one.source, scope=one.scope, gone=one.gone, standing=one.standing, why=one.why)


async def told(desk: AccessDesk, asker: Asker, source: str | None) -> Sequence[Hold]:
    """What waits; nothing for others than the administrator, as where nothing does."""
    return await held(desk.database, source) if await _decides(desk, asker) else []


async def answer(  # noqa: PLR0913, PLR0917  all that a decision says
    desk: AccessDesk, asker: Asker, source: str, shown: tuple[str, int], decision: Decision, reason: str
) -> Hold:
    """Say of what was shown (scope, and how many claims would go) whether it is gone; on record before.

    What is gone is retracted by a crawl at once. Raises AccessRefused, AuditError, DecisionError, and
    NothingHeldError where that does not wait.
    """
    check_reason(reason)
    if not await _decides(desk, asker):
        raise await desk.refused(asker, f"held crawl: {decision}", source)

    async def work() -> Hold:
        [decided] = await decide(desk.database, source, decision, asker.account, shown)
        if decision == "confirmed":
            await note(desk.database, source)
        return decided

    scope, gone = shown
    details = {"source": source, "scope": scope, "gone": gone, "decision": decision, "reason": reason}
    return await desk.carry_out(asker, "held crawl", details, work)


async def _decides(desk: AccessDesk, asker: Asker) -> bool:
    return (await desk.rights(asker)).administrator and asker.agent is None


@strawberry.type
class HoldQueries:
    """Joined into the schema's queries."""

    @strawberry.field(
        description="Crawls that wait for a person, of one source or of all; for the administrator."
        " Of the present alone."
    )
    async def held_crawls(self, info: strawberry.Info, source: str | None = None) -> list[HeldCrawl]:
        found = await expected(told(info.context.desk(), info.context.asker, source))
        return [_held_crawl(one) for one in found]


@strawberry.type
class HoldMutations:
    """Joined into the schema's mutations."""

    @strawberry.mutation(
        description="It is gone: the source is crawled at once, and retracts at most as many claims as "
        "`gone`, the number that was shown. For the administrator."
    )
    async def confirm_held_crawl(
        self, info: strawberry.Info, source: str, scope: str, gone: int, reason: str
    ) -> HeldCrawl:
        return await _answered(info, source, (scope, gone), "confirmed", reason)

    @strawberry.mutation(
        description="It is not gone: what stands is kept, and the same is not asked again. For the "
        "administrator."
    )
    async def drop_held_crawl(
        self, info: strawberry.Info, source: str, scope: str, gone: int, reason: str
    ) -> HeldCrawl:
        return await _answered(info, source, (scope, gone), "dropped", reason)


async def _answered(
    info: strawberry.Info, source: str, shown: tuple[str, int], decision: Decision, reason: str
) -> HeldCrawl:
    desk, asker = info.context.desk(), info.context.asker
    return _held_crawl(await expected(answer(desk, asker, source, shown, decision, reason)))
