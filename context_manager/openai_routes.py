"""The routes of the OpenAI-compatible API: who asks is proven, errors are in OpenAI's form, and a client that
has gone is worked for no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiohttp import web

from context_manager.audit import AuditError
from context_manager.identity import TokenRefused, Verifier
from context_manager.openai_api import OpenAIApi
from context_manager.openai_errors import ApiError
from graph.reads import Asker, ReadOvertakenError

_WATCH_S = 0.1
"""How often it is looked whether the client is still there."""


def add_openai_routes(
    app: web.Application, api: OpenAIApi, verifier: Verifier, bearer: Callable[[web.Request], str]
) -> None:
    """`/v1/...` on the application; `bearer` takes the token out of a request or raises TokenRefused."""

    def route(
        serve: Callable[[web.Request, Asker], Coroutine[Any, Any, web.StreamResponse]],
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                asker = await verifier.asker(bearer(request))
                if "ask" not in asker.scope.actions:
                    raise ApiError(
                        403, "insufficient_scope", "the token's scope lacks 'ask'; get one that has it"
                    )
                return await _while_there(request, serve(request, asker))
            except TokenRefused as error:
                refused = ApiError(401, "invalid_token", str(error), headers={"WWW-Authenticate": "Bearer"})
                return _response(refused)
            except ApiError as error:
                return _response(error)
            except AuditError:
                return _response(ApiError(503, "audit_unavailable", "the audit log cannot be written"))
            except ReadOvertakenError as error:
                return _response(ApiError(503, "try_again", str(error)))

        return handle

    app.router.add_post("/v1/chat/completions", route(api.chat))
    app.router.add_post("/v1/embeddings", route(api.embeddings))
    app.router.add_get("/v1/models", route(api.models))
    app.router.add_get("/v1/models/{model}", route(api.models))


async def _while_there(
    request: web.Request, work: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    """Do the work, but end it when the client has gone: the engine then stops too."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_WATCH_S)
            if request.transport is None or request.transport.is_closing():
                task.cancel()
        return await task
    finally:
        task.cancel()


def _response(error: ApiError) -> web.Response:
    return web.json_response(error.body(), status=error.status, headers=error.headers)
