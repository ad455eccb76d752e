"""A request that names a revision by its token is answered once that is there: whoever was told of a change
reads it, or something later."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from graph.database import Database
from graph.epoch import LOST, was_lost
from graph.feed import wait_for
from graph.revision_token import RevisionTokenError, RevisionTokens

HEADER = "Orgraph-Revision"
_WAIT_S = 10.0


class NotReachedError(Exception):
    """The graph has not come to the revision that the request names, or never will."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{HEADER}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Of the graph of one service."""

    database: Database
    tokens: RevisionTokens

    async def reached(self, request: web.Request) -> None:
        """Wait for the revision that the request names, if it does. Raises NotReachedError: 400 for a token
        that is none of this graph's, 503 where the revision does not come in time."""
        token = request.headers.get(HEADER)
        if token is None:
            return
        try:
            revision = self.tokens.open(token)
            await wait_for(self.database, revision, _WAIT_S)
        except RevisionTokenError as error:
            raise NotReachedError(400, str(error)) from error
        except TimeoutError as error:
            raise NotReachedError(
                503,
                f"the graph did not come to that revision within {_WAIT_S:g} s; "
                "ask again, or without the header for what it holds now",
            ) from error
        if await was_lost(self.database, revision):
            raise NotReachedError(400, f"{LOST}; ask without the header for what the graph holds now")
