"""GraphQL over WebSockets, by the protocol `graphql-transport-ws`, as subscriptions need it.

The token comes in the payload of `connection_init`, as `{"Authorization": "Bearer TOKEN"}`: a page cannot
set headers on a WebSocket. It is proven then, and again for each operation.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from strawberry.exceptions import ConnectionRejectionError
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)

from context_manager.identity import TokenRefused, Verifier, bearer_token
from graph.reads import Asker
from graph.service_lease import NoLeaseError
from graphql import GraphQLError

MAX_CONNECTIONS = 512
MAX_OF_ACCOUNT = 8
"""Connections of one account."""
MAX_OPERATIONS = 4
"""Operations under way on one connection."""
INIT_WAIT_S = 10.0
"""For `connection_init`."""
_TRY_AGAIN = 1013
HEARTBEAT_S = 20.0
"""Between pings; whoever does not answer one has left."""


@dataclass(slots=True)
class Sockets:
    """The open connections."""

    verifier: Verifier
    lease: Callable[[], int]
    """As `ServiceLease.held`: an operation ends, with its connection, when the process loses its own."""
    _open: set[asyncio.Task[Any]] = field(default_factory=set)
    _of_account: Counter[str] = field(default_factory=Counter)

    async def serve(
        self, request: web.Request, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """One connection, from its upgrade to its end; 503 when there are too many."""
        if len(self._open) >= MAX_CONNECTIONS:
            return web.Response(status=503, text="too many connections; try again later")
        task = asyncio.ensure_future(handle(request))
        self._open.add(task)
        try:
            return await task
        finally:
            task.cancel()
            self._open.discard(task)

    async def close(self) -> None:
        """End all connections, and what they asked for."""
        for task in (tasks := list(self._open)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def prove(self, connection: Connection) -> Asker:
        """Who asks. Raises TokenRefused."""
        params = connection.connection_params
        return await self.verifier.asker(bearer_token(str((params or {}).get("Authorization", ""))))

    async def begin(self, connection: Connection) -> None:
        """Raises ConnectionRejectionError without a good token, and for one connection too many."""
        try:
            account = (await self.prove(connection)).account
        except TokenRefused as error:
            raise ConnectionRejectionError from error
        if self._of_account[account] >= MAX_OF_ACCOUNT:
            raise ConnectionRejectionError
        self._of_account[account] += 1
        connection.account = account

    def end(self, connection: Connection) -> None:
        if connection.account is not None:
            self._of_account -= Counter([connection.account])


@dataclass(slots=True)
class Connection:
    """The context of a connection; each operation on it gets one of its own."""

    sockets: Sockets
    context_of: Callable[[Asker], Any]
    """The context of an operation of this asker."""
    connection_params: dict[str, Any] | None = None
    account: str | None = None


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """Strawberry's, with each operation asked by whom the token proves at that moment, under one lease."""

    lease: Callable[[], int]

    async def handle(self) -> None:
        try:
            await super().handle()
        finally:
            self.context.sockets.end(self.context)

    begun: int | None = None
    """The lease under which an operation has begun."""

    async def send_message(self, message: Any) -> None:
        if self.begun is not None and not self._leased():
            await self.websocket.close(_TRY_AGAIN, "this process lost its lease; connect again")
            return
        await super().send_message(message)

    def _leased(self) -> bool:
        try:
            return self.lease() == self.begun
        except NoLeaseError:
            return False

    async def run_operation(self, operation: Operation[Any, None]) -> None:
        connection: Connection = self.context
        try:
            begun = connection.sockets.lease()
            asker = await connection.sockets.prove(connection)
        except NoLeaseError as error:
            await operation.send_initial_errors([GraphQLError(str(error))])
            return
        except TokenRefused as error:
            await operation.send_initial_errors([GraphQLError(str(error))])
            return
        ours = copy.copy(self)
        ours.begun, ours.lease = begun, connection.sockets.lease
        ours.context = connection.context_of(asker)
        operation.handler = ours
        await super(Handler, ours).run_operation(operation)
