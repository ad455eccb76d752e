"""What the handlers of the authorization APIs share: who asks, the body, and how refusals are said."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import StreamReader, web
from neo4j.exceptions import DriverError, Neo4jError

from context_manager.at_least import AtLeast, NotReachedError
from context_manager.identity import TokenRefused, Verifier
from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_fields import document_of, parse
from context_manager.openfga_messages import STORE_ID
from graph.reads import Asker, ReadOvertakenError

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
"""Bytes of a request; OpenFGA takes about 600 KB of protobuf."""
_PROVEN = 10_000
_PROVEN_FOR = 1.0
_NOT_REACHED = {400: "validation_error", 503: "unavailable"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AskedHandler = Callable[[web.Request, Asker], Awaitable[web.StreamResponse]]


def asked(askers: Askers, handler: AskedHandler, refusal: Callable[[OpenFgaError], web.Response]) -> Handler:
    """The handler, given who asks, once the graph is at the revision that the request names.

    What it refuses is said by `refusal`.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            asker = await askers.of(request)
            await askers.at_least.reached(request)
            return await handler(request, asker)
        except OpenFgaError as error:
            return refusal(error)
        except NotReachedError as error:
            return refusal(OpenFgaError(_NOT_REACHED[error.status], str(error)))
        except (DriverError, Neo4jError, ReadOvertakenError):
            log.exception("%s %s", request.method, request.path)
            return refusal(OpenFgaError("unavailable", "the graph does not answer at present; try again"))
        except Exception:
            # Whatever goes wrong within a request stays within it, and is told to the log alone.
            log.exception("%s %s", request.method, request.path)
            return refusal(OpenFgaError("internal_error", "Internal Server Error"))

    return handle


class Askers:
    """Who asks, by the bearer token. A person's proof holds for a second: its signature costs more than a
    check."""

    def __init__(self, verifier: Verifier, at_least: AtLeast) -> None:
        self.at_least = at_least
        self._verifier = verifier
        self._proven: dict[str, tuple[Asker, float]] = {}

    async def of(self, request: web.Request) -> Asker:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise OpenFgaError("bearer_token_missing", "send `Authorization: Bearer TOKEN`")
        asker, until = self._proven.get(token, (None, 0.0))
        if asker is None or until < time.monotonic():
            try:
                asker = await self._verifier.asker(token.strip())
            except TokenRefused as error:
                raise OpenFgaError("auth_failed_invalid_bearer_token", str(error)) from error
            if asker.agent is not None:
                return asker  # it acts only for as long as it may, which is asked each time
            if len(self._proven) > _PROVEN:
                self._proven.clear()
            self._proven[token] = asker, time.monotonic() + _PROVEN_FOR
        return asker


async def document(request: web.Request) -> Any:
    """The JSON object in the body. It is not read further than a body may be long."""
    length = request.content_length
    if length is not None and length > MAX_BODY:
        raise _too_large(length)
    content = request.content
    # Of most requests it is all here by now.
    body = content.read_nowait() if content.is_eof() else await _read(content)
    if len(body) > MAX_BODY:
        raise _too_large(len(body))
    return document_of(body)


async def _read(content: StreamReader) -> bytes:
    """All of it, or a little more than a body may be long."""
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) > MAX_BODY:
            break
    return bytes(read)


def store_id(request: web.Request) -> str:
    id: str = parse(STORE_ID, {"store_id": request.match_info["store_id"]})["store_id"]
    return id


def _too_large(size: int) -> OpenFgaError:
    return OpenFgaError(
        "resource_exhausted", f"received message larger than max ({size:,} vs. {MAX_BODY:,} bytes)"
    )
