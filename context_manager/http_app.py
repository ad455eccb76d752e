"""The HTTP application: GraphQL, its pages, health, and the keys of the local issuer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware
from strawberry.aiohttp.views import GraphQLView
from strawberry.schema import BaseSchema
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UnsetType

from context_manager.at_least import AtLeast, NotReachedError
from context_manager.graphql_schema import Parts, RequestContext
from context_manager.graphql_socket import (
    HEARTBEAT_S,
    INIT_WAIT_S,
    MAX_OPERATIONS,
    Connection,
    Handler,
    Sockets,
)
from context_manager.health import Health
from context_manager.identity import KeySet, TokenRefused, Verifier, bearer_token
from graph.reads import Asker
from graph.service_lease import NoLeaseError

PAGES = Path(__file__).parent / "pages"
_PACKAGES = Path(__file__).resolve().parent.parent / "browser" / "node_modules"
#: What GraphiQL's page needs, by the name that it is served under.
_GRAPHIQL = {
    "react.js": _PACKAGES / "react" / "umd" / "react.production.min.js",
    "react-dom.js": _PACKAGES / "react-dom" / "umd" / "react-dom.production.min.js",
    "graphiql.js": _PACKAGES / "graphiql" / "graphiql.min.js",
    "graphiql.css": _PACKAGES / "graphiql" / "graphiql.min.css",
}
_MAX_BODY = 256 * 1024
#: Nothing is loaded from, or sent to, another host. GraphiQL sets styles and starts a worker from a blob.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_NOT_READABLE = "the body cannot be read: it is not whole, or not encoded as its Content-Encoding says"
_ASKER: web.RequestKey[Asker] = web.RequestKey("asker", Asker)


class AuthenticatedGraphQL(GraphQLView[RequestContext | Connection, None]):
    """Strawberry's view, with the asker proven before anything of the query is looked at."""

    graphql_transport_ws_handler_class = Handler

    def __init__(self, schema: BaseSchema, parts: Parts, sockets: Sockets) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=INIT_WAIT_S),
            max_subscriptions_per_connection=MAX_OPERATIONS,
        )
        self._parts = parts
        self._sockets = sockets

    async def get_context(
        self, request: web.Request, response: web.Response | web.WebSocketResponse
    ) -> RequestContext | Connection:
        if isinstance(response, web.WebSocketResponse):
            return Connection(self._sockets, lambda asker: RequestContext(self._parts, asker))
        return RequestContext(self._parts, request[_ASKER])

    async def create_websocket_response(
        self, request: web.Request, subprotocol: str | None
    ) -> web.WebSocketResponse:
        protocols = [subprotocol] if subprotocol else []
        socket = web.WebSocketResponse(protocols=protocols, heartbeat=HEARTBEAT_S, max_msg_size=_MAX_BODY)
        await socket.prepare(request)
        return socket

    async def on_ws_connect(
        self, context: RequestContext | Connection
    ) -> UnsetType | dict[str, object] | None:
        if isinstance(context, Connection):
            await self._sockets.begin(context)
        return await super().on_ws_connect(context)


def make_app(  # noqa: PLR0913, PLR0917  the parts of an application
    schema: BaseSchema,
    parts: Parts,
    verifier: Verifier,
    health: Health,
    local_keys: KeySet | None,
    lease: Callable[[], int],
) -> web.Application:
    """The application. `local_keys` is the key set of the local issuer, where there is one.

    `lease`: as `ServiceLease.held`.
    """
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[_secure, answering(lease)])
    sockets, at_least = Sockets(verifier, lease), AtLeast(parts.access.database, parts.tokens)
    graphql, page = AuthenticatedGraphQL(schema, parts, sockets), _page("graphiql.html")

    async def ask_graphql(request: web.Request) -> web.StreamResponse:
        try:
            request[_ASKER] = await verifier.asker(bearer(request))
        except TokenRefused as error:
            return _unauthorized(str(error))
        try:
            await at_least.reached(request)
        except NotReachedError as error:
            return _error(error.status, str(error))
        return await graphql(request)

    async def page_or_socket(request: web.Request) -> web.StreamResponse:
        upgrades = request.headers.get("Upgrade", "").lower() == "websocket"
        return await (sockets.serve(request, graphql) if upgrades else page(request))

    async def close_sockets(_app: web.Application) -> None:
        await sockets.close()

    app.on_shutdown.append(close_sockets)
    app.router.add_post("/graphql", ask_graphql)
    app.router.add_get("/graphql", page_or_socket)
    app.router.add_get("/", _page("index.html"))
    for name in ("index.js", "index.css", "graphiql-start.js"):
        app.router.add_get(f"/pages/{name}", _file(PAGES / name))
    for name, path in _GRAPHIQL.items():
        app.router.add_get(f"/graphiql/{name}", _file(path))
    app.router.add_get("/health/live", _live)
    app.router.add_get("/health/ready", _ready(health))
    if local_keys is not None:
        app.router.add_get("/.well-known/jwks.json", _json(local_keys))
    return app


@web.middleware
async def _secure(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPRequestEntityTooLarge:
        response = _error(413, f"the request is too large; at most {_MAX_BODY:,} bytes are read")
    except web.RequestPayloadError:
        response = _error(400, _NOT_READABLE)
    except web.HTTPException as error:
        response = _error(error.status, error.reason)
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


def answering(lease: Callable[[], int]) -> Middleware:
    """Answers only what was begun and finished under one lease; pages, keys and health are for everybody."""

    @web.middleware
    async def leased(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method == "GET" and "Authorization" not in request.headers:
            return await handler(request)
        try:
            begun = lease()
            response = await handler(request)
            if not response.prepared and lease() != begun:
                raise NoLeaseError("this process lost its lease while it answered; try again")
        except NoLeaseError as error:
            unavailable = _error(503, str(error))
            unavailable.headers["Retry-After"] = "1"
            return unavailable
        return response

    return leased


def bearer(request: web.Request) -> str:
    """The token of a request; raises TokenRefused without one."""
    return bearer_token(request.headers.get("Authorization", ""))


def _unauthorized(why: str) -> web.Response:
    response = _error(401, why)
    response.headers["WWW-Authenticate"] = 'Bearer realm="orgraph"'
    return response


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"errors": [{"message": message}]}, status=status)


def _page(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    return _file(PAGES / name)


def _file(path: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    installed = path.is_file()

    async def serve(_request: web.Request) -> web.StreamResponse:
        if installed:
            return web.FileResponse(path)
        return _error(404, f"{path.name} is not installed; run `make env`")

    return serve


def _json(value: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.json_response(value)

    return serve


async def _live(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "live"})


def _ready(health: Health) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(_request: web.Request) -> web.StreamResponse:
        parts = await health.parts()
        ready = all(part.ok for part in parts if part.essential)
        return web.Response(
            status=200 if ready else 503,
            content_type="application/json",
            text=json.dumps(
                {
                    "ready": ready,
                    "parts": [
                        {"name": p.name, "ok": p.ok, "essential": p.essential, "detail": p.detail}
                        for p in parts
                    ],
                }
            ),
        )

    return serve
