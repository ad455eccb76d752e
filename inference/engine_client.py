"""HTTP to the declared endpoint of a mesh node, and to nowhere else; what goes wrong names the node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from inference.nodes import MeshNode

MAX_BODY = 1 << 20
"""Bytes of a response that are read at most."""


class NodeError(Exception):
    """A mesh node did not serve a request. No part of the request or of the answer is in the message."""

    def __init__(self, node: MeshNode, what: str, do: str) -> None:
        super().__init__(f"mesh node {node.name} ({node.endpoint}): {what}; {do}")
        self.node = node
        self.what = what
        self.do = do


class NodeUnreachable(NodeError):  # noqa: N818  named for what happened
    """No connection, or it was cut."""


class NodeTimedOut(NodeError):  # noqa: N818  named for what happened
    """No whole answer before the deadline."""


class NodeAnsweredGarbage(NodeError):  # noqa: N818  named for what happened
    """An answer that is not what was asked for: a status, a size, a form."""


@dataclass(frozen=True, slots=True)
class EngineClient:
    """A session, and the API keys by the id of the node that they are for."""

    session: aiohttp.ClientSession
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def post_json(
        self, node: MeshNode, path: str, body: Mapping[str, Any], deadline: float
    ) -> dict[str, Any]:
        """The JSON object that the node answers. `deadline` is on the clock of the running loop.

        Raises NodeUnreachable, NodeTimedOut, NodeAnsweredGarbage.
        """
        content = await self._request(node, "POST", path, deadline, body)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise NodeAnsweredGarbage(
                node, "answered something that is not a JSON object", "check that its endpoint is an engine"
            )
        return answer

    async def get_text(self, node: MeshNode, path: str, deadline: float) -> str:
        """The text at a path; raises as `post_json`."""
        return (await self._request(node, "GET", path, deadline)).decode(errors="replace")

    async def _request(
        self,
        node: MeshNode,
        method: str,
        path: str,
        deadline: float,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        url = _endpoint(node) + path
        key = self.keys.get(node.id)
        started = asyncio.get_running_loop().time()
        try:
            async with (
                asyncio.timeout_at(deadline),
                self.session.request(
                    method,
                    url,
                    json=body,
                    headers={"Accept-Encoding": "identity"}
                    | ({} if key is None else {"Authorization": f"Bearer {key}"}),
                    allow_redirects=False,  # a redirect would carry the prompt to where nobody declared
                    timeout=aiohttp.ClientTimeout(),
                ) as response,
            ):
                if response.status != 200:
                    raise NodeAnsweredGarbage(
                        node, f"answered HTTP {response.status}", _advice(response.status)
                    )
                return await _read_bounded(node, response)
        except TimeoutError:
            waited = asyncio.get_running_loop().time() - started
            raise NodeTimedOut(
                node, f"gave no whole answer in {waited:.1f} s", "see whether it hangs or is overloaded"
            ) from None
        except aiohttp.ClientConnectorError as error:
            why = (error.os_error.strerror or str(error.os_error)).lower()
            raise NodeUnreachable(node, _plain(why), "start its engine or correct its endpoint") from None
        except (aiohttp.InvalidURL, UnicodeError):
            raise _invalid_endpoint(node) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionError):
            raise NodeUnreachable(node, "cut the connection", "look into its engine's log") from None
        except (aiohttp.ClientError, ValueError):
            raise NodeAnsweredGarbage(
                node, "answered something that is not HTTP", "check that its endpoint is an engine"
            ) from None


def _endpoint(node: MeshNode) -> str:
    if node.endpoint is None:
        raise NodeUnreachable(node, "no endpoint is declared", "declare one")
    try:
        parts = urlsplit(node.endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        bare = not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        valid = bare = False
    if not (valid and bare):
        raise _invalid_endpoint(node)
    return node.endpoint.rstrip("/")


def _invalid_endpoint(node: MeshNode) -> NodeUnreachable:
    return NodeUnreachable(
        node, "its endpoint is no plain http address", "declare one as http://host:port, without /v1"
    )


async def _read_bounded(node: MeshNode, response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > MAX_BODY:
            raise NodeAnsweredGarbage(
                node, f"answered more than {MAX_BODY} bytes", "check that its endpoint is an engine"
            )
    return bytes(content)


def _advice(status: int) -> str:
    if status in (401, 403):
        return "configure its API key"
    if status == 404:
        return "check its declared model and that its endpoint is the server's root, without /v1"
    if status in (400, 413, 422):
        return "the request may be too long for its context, or it may not know JSON schemas"
    if status in (429, 503):
        return "it is overloaded; wait, or add a permitted node"
    return "look into its engine's log"


def _plain(why: str) -> str:
    """aiohttp wraps the system's words: `connect call failed ('127.0.0.1', 1)`."""
    return "connection refused" if "connect call failed" in why else why
