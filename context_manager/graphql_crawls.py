"""Crawls in GraphQL, as they go on and as they went: for the administrator, who acts for themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

import strawberry

from context_manager.graphql_types import page_size
from discovery.runs import Run, follow_runs, last_runs
from graph.database import Database
from graphql import GraphQLError


@strawberry.type(description="A crawl of a source.")
class Crawl:
    source: str
    started: datetime
    ended: datetime | None = strawberry.field(description="Null while it is under way.")
    outcome: str = strawberry.field(description="running, complete, partial or failed.")
    error: str | None
    claims: int = strawberry.field(description="Claims read so far.")
    added: int
    changed: int
    retracted: int
    quarantined: int
    problems: list[str]
    scopes: list[str] = strawberry.field(description="The parts that were begun, each with its outcome.")


def _crawl(run: Run) -> Crawl:
    return Crawl(
        source=run.source,
        started=run.started,
        ended=run.ended,
        outcome=run.outcome,
        error=run.error,
        claims=run.claims,
        added=run.added,
        changed=run.changed,
        retracted=run.retracted,
        quarantined=run.quarantined,
        problems=list(run.problems),
        scopes=list(run.scopes),
    )


async def _records(info: strawberry.Info) -> Database:
    """Where they are kept. What they say names files, hosts and people that others may not see."""
    database: Database = info.context.desk().database
    if not await info.context.service.operations.operates(info.context.asker):
        raise GraphQLError("crawls are for the administrator, and for no agent of theirs")
    return database


@strawberry.type
class CrawlQueries:
    @strawberry.field(
        description="The latest crawls, of one source or of all, the latest first."
        " With all that was, and when."
    )
    async def crawls(self, info: strawberry.Info, source: str | None = None, first: int = 20) -> list[Crawl]:
        database = await _records(info)
        return [_crawl(run) for run in await last_runs(database, source, page_size(first))]


@strawberry.type
class CrawlSubscriptions:
    @strawberry.subscription(
        description="Crawls that are under way, and each again when there is more to tell of it."
        " Of the present alone."
    )
    async def crawls(self, info: strawberry.Info) -> AsyncGenerator[Crawl, None]:
        async with aclosing(follow_runs(await _records(info))) as runs:
            async for run in runs:
                await _records(info)  # who is the administrator no longer is told no more
                yield _crawl(run)
