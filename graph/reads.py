"""The way to governed reads: an asker's view, of the present or of a point of the past.

The visible set of the asker is computed before the first query and compared after the last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from neo4j import AsyncManagedTransaction

from graph.audiences import VIEWER
from graph.database import Database
from graph.entity_view import EntityView, Neighbour, Page, RelationshipView
from graph.feed import current_revision
from graph.past import PRESENT, PastReadError, PastView, When, point
from graph.token_scope import EVERYTHING, TokenScope
from graph.tombstones import Pseudonyms
from graph.view import HandlingInput, HandlingRule, View
from graph.visibility import Authorizer, standing
from ontologies.ontology import Ontology

__all__ = [
    "Asker",
    "EntityView",
    "HandlingInput",
    "HandlingRule",
    "Neighbour",
    "Page",
    "PastReadError",
    "ReadOvertakenError",
    "Reader",
    "RelationshipView",
    "View",
]

#: How often a read starts again because access changed meanwhile.
_ATTEMPTS = 5

_Result = TypeVar("_Result")


class ReadOvertakenError(Exception):
    """Access changed during every attempt of a read; it is worth trying again."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The account of a request, and the agent that acts for it, if any."""

    account: str
    agent: str | None = None
    scope: TokenScope = EVERYTHING
    """What the request's token may be used for."""
    earlier_agents: tuple[str, ...] = ()
    """Agents that passed the token on, the last one first: for the record alone."""


class Reader:
    """Runs reads, each with the visible set of its asker at one access revision."""

    def __init__(
        self,
        database: Database,
        ontology: Ontology,
        authorizer: Authorizer,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """`pseudonyms`: by which reads of the past know erased persons."""
        self._pseudonyms = pseudonyms
        self._database = database
        self._ontology = ontology
        self._authorizer = authorizer

    async def revision(self) -> int:
        """The last committed revision; 0 before the first."""
        return await current_revision(self._database)

    async def run(
        self,
        asker: Asker,
        work: Callable[[View], Awaitable[_Result]],
        when: When = PRESENT,
    ) -> tuple[_Result, int]:
        """What `work` makes of the asker's view, and the revision that it was read at.

        Permissions are always today's, whatever point is read. Raises PastReadError for a point before the
        record or after the last commit.

        `work` runs again where access changed meanwhile: it must bear that. Raises
        ReadOvertakenError when that happens every time.
        """

        async def attempt(tx: AsyncManagedTransaction) -> tuple[_Result, int] | None:
            now = datetime.now(UTC)
            before = await standing(tx, asker.account, now)
            visible = await self._authorizer.visible(asker.account, before, now)
            visible = await _cut(tx, visible, asker.scope)
            if when == PRESENT:
                view, revision = View(tx, self._ontology, visible, now), before.revision
            else:
                at = await point(tx, when)
                view, revision = PastView(tx, self._ontology, visible, now, at, self._pseudonyms), at.revision
            result = await work(view)
            after = await standing(tx, asker.account, now)
            return (result, revision) if after.access == before.access else None

        for _ in range(_ATTEMPTS):
            outcome = await self._database.read_transaction(attempt)
            if outcome is not None:
                return outcome
        raise ReadOvertakenError(
            f"permissions changed during each of {_ATTEMPTS} attempts of this read; try again"
        )


async def _cut(tx: AsyncManagedTransaction, visible: bytes, scope: TokenScope) -> bytes:
    """What is left of a visible set within a token's scope."""
    if not scope.reads:
        return bytes(len(visible))
    if scope.collections is None:
        return visible
    result = await tx.run(
        "MATCH (a:_Audience) WHERE a.place IN $places RETURN a.number AS number",
        places=[f"{collection}#{VIEWER}" for collection in scope.collections],
    )
    within = {record["number"] async for record in result}
    return bytes(byte if number in within else 0 for number, byte in enumerate(visible))
