"""Bodies of requests, as large as the contexts of the models here need, and all together within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from context_manager.openai_errors import ApiError
from inference.mesh import Mesh
from inference.nodes import CHAT

LEAST = 512 * 1024
"""Bytes that are read in any case: the texts that may be embedded at once fit in."""
MOST = 16 * 1024 * 1024
"""Of one body."""
_TOGETHER = 256 * 1024 * 1024
"""Of all bodies larger than LEAST that are worked for at once."""
_BYTES_A_TOKEN = 16
"""At most: four of most texts, three or four a character of some, and six where JSON escapes it."""
_ASSUMED_CONTEXT = 128 * 1024
"""Tokens of a model of which it is not known."""


@dataclass(slots=True)
class Bodies:
    """Those that are worked for. Used from one event loop."""

    mesh: Mesh
    _held: int = 0
    """Bytes that the large ones may have."""

    def most(self) -> int:
        """Bytes that a body may have: what fills the longest context of a model of the mesh."""
        lengths = [
            node.context_length or _ASSUMED_CONTEXT
            for node, _ in self.mesh.snapshot().members
            if CHAT in node.capabilities
        ]
        return min(MOST, max(LEAST, max(lengths, default=0) * _BYTES_A_TOKEN))

    @contextmanager
    def room(self, request: web.Request) -> Iterator[int]:
        """While the request is worked for; gives the bytes that its body may have.

        Raises ApiError where the bodies of others leave it none.
        """
        most = self.most()
        plain = "Content-Encoding" not in request.headers and request.content_length is not None
        size = min(most, request.content_length or 0) if plain else most
        if size <= LEAST:
            yield LEAST
            return
        if self._held + size > _TOGETHER:
            why = "large requests fill the room that there is for them: try again, or send a smaller one"
            raise ApiError(429, "overloaded", why, headers={"Retry-After": "1"})
        self._held += size
        try:
            yield size
        finally:
            self._held -= size


async def read_json(request: web.Request, most: int) -> Any:
    """The JSON of a body of at most so many bytes, unpacked. Raises ApiError."""
    try:
        return orjson.loads(await request.clone(client_max_size=most).read())
    except web.HTTPRequestEntityTooLarge:
        length = request.content_length
        by = f", {length - most:,} fewer than it has" if length is not None and length > most else ""
        why = f"the body is longer than any context here: at most {most:,} bytes are read{by}; shorten it"
        raise ApiError(413, "request_too_large", why) from None
    except web.RequestPayloadError:
        why = "the body is not whole, or not encoded as its Content-Encoding says"
        raise ApiError(400, "invalid_encoding", why) from None
    except ValueError:
        raise ApiError(400, "invalid_json", "the body is not JSON in UTF-8") from None
