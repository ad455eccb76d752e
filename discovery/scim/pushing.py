"""Pushes of identity providers, written as claims of their source before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from neo4j import AsyncManagedTransaction

from discovery.connector import Problem
from discovery.connectors.scim_push import SCOPE, ScimPushOptions
from discovery.options import parse_options
from discovery.runner import Runner
from discovery.scim.pushed import Edit, Pushed, Write, entities, remove, some, stale, write
from discovery.scim.resources import Kind, ScimClaims, ScimError, entity_of, references
from discovery.sources import SourceConfig
from discovery.statements import Fact, fact_of
from graph.claims import Claim
from graph.lease import CrawlBusyError

_WAITS = 100
_WAIT_S = 0.2


class Pushing:
    """The way in for pushes of one source, one after the other."""

    def __init__(self, runner: Runner, source: SourceConfig) -> None:
        self.source = source
        self._runner = runner
        self._options = parse_options(ScimPushOptions, source)
        self._claims = ScimClaims(runner.organization, source, self._options)
        self._turn = asyncio.Lock()
        self._settled = False
        """Whether the claims follow from the resources: not after a push that failed, or another process."""

    async def put(self, edit: Edit) -> Pushed:
        """Create or change a resource. Raises ScimError; with status 503 where it has to be sent again."""
        work = partial(write, source=self.source.name, options=self._options, edit=edit)
        return (await asyncio.shield(self._carry_out(work))).after[edit.id]

    async def delete(self, kind: Kind, id_: str) -> None:
        work = partial(remove, source=self.source.name, id_=id_, kind=kind)
        await asyncio.shield(self._carry_out(work))

    async def _carry_out(self, work: Callable[[AsyncManagedTransaction], Awaitable[Write]]) -> Write:
        async with self._turn:
            if not self._settled:  # before the push, so that nothing of it waits for a person
                await self._reconcile()
            self._settled = False
            try:
                change = await self._runner.database.write_transaction(work)
            except ScimError:
                self._settled = True  # nothing was kept
                raise
            await self._claim(change)
            self._settled = True
            return change

    async def _claim(self, change: Write) -> None:
        for _ in range(_WAITS):
            try:
                async with self._runner.store.crawl(self.source.policy(), SCOPE) as crawl:
                    before, after = await self._stated(change)
                    withdrawn = [claim for fact, claim in before.items() if fact not in after]
                    await crawl.write(after.values(), withdrawn)
                    if not await stale(self._runner.database, self.source.name):
                        await crawl.confirm()
                return
            except CrawlBusyError:
                await asyncio.sleep(_WAIT_S)
        raise _again("the source is being crawled")

    async def _reconcile(self) -> None:
        """All claims anew, of all resources."""
        for _ in range(_WAITS):
            report = await self._runner.run(self.source)
            if report.outcome != "failed":
                return
            if "being crawled" not in str(report.scopes):
                break
            await asyncio.sleep(_WAIT_S)
        raise _again("the claims could not be written")

    async def _stated(self, change: Write) -> tuple[Mapping[Fact, Claim], Mapping[Fact, Claim]]:
        """What followed before, and what follows from the resources as they are now: another process may
        have changed them again since."""
        database, name = self._runner.database, self.source.name
        present = await some(database, name, sorted({*change.before, *change.after}))
        resources = [*change.before.values(), *present.values()]
        named = {id_ for one in resources for id_ in (one.id, *references(one.document))}
        now = await entities(database, name, sorted(named))
        then = {
            one.id: entity
            for one in change.before.values()
            if (entity := entity_of(one.document, one.id, one.kind, self._options))
        }
        return self._facts(change.before, {**now, **then}), self._facts(present, now)

    def _facts(self, resources: Mapping[str, Pushed], known: Mapping[str, str]) -> Mapping[Fact, Claim]:
        found: dict[Fact, Claim] = {}
        for one in resources.values():
            for claim in self._claims.of(one.document, one.id, one.kind, known.get):
                if not isinstance(claim, Problem):
                    found.setdefault(fact_of(claim), claim)
        return found


def _again(why: str) -> ScimError:
    return ScimError("", f"{why}; send it again", 503)
