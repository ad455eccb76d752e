"""HTTP to the declared endpoint of a mesh node, and to nowhere else; what goes wrong names the node."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from inference.nodes import MeshNode
from inference.tls import NotTheNode, bound_to

MAX_BODY = 1 << 20
"""Bytes of a response that are read at most."""

_CONNECT_S = 2.0
"""Seconds after which who does not take a connection is left."""


class NodeError(Exception):
    """A mesh node did not serve a request. No part of the request or of the answer is in the message."""

    def __init__(self, node: MeshNode, what: str, do: str, status: int | None = None) -> None:
        super().__init__(f"mesh node {node.name} ({node.endpoint}): {what}; {do}")
        self.node = node
        self.what = what
        self.do = do
        self.status = status
        """Of HTTP, where it is the status that was wrong."""

    def told(self, visible: Collection[str]) -> str:
        """The message for one who may see these nodes: of another it says nothing but that it failed."""
        return str(self) if self.node.id in visible else "a mesh node failed"


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
        return _json_object(node, content)

    async def get_text(self, node: MeshNode, path: str, deadline: float) -> str:
        """The text at a path; raises as `post_json`."""
        return (await self._request(node, "GET", path, deadline)).decode(errors="replace")

    async def stream_json(
        self, node: MeshNode, path: str, body: Mapping[str, Any], first_by: float, deadline: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON objects of a stream of server-sent events, until its `[DONE]`.

        The first must be there by `first_by`, the last by `deadline`. Closing the generator closes the
        connection, upon which the engine stops. Raises as `post_json`, also when the stream is cut.
        """
        rest, limit = b"", min(first_by, deadline)
        with _translated(node):
            async with asyncio.timeout_at(limit):
                response = await self._open(node, "POST", path, body)
        try:
            while True:
                # The limit must not be held over a yield: it would strike whatever the consumer awaits.
                with _translated(node):
                    async with asyncio.timeout_at(limit):
                        chunk = await response.content.readany()
                if not chunk:
                    raise NodeUnreachable(node, "cut the stream before its end", "look into its engine's log")
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_BODY:
                    raise _too_much(node)
                for line in lines:
                    if not line.startswith(b"data:"):
                        continue  # a comment, or the name of an event
                    if (data := line[5:].strip()) == b"[DONE]":
                        return
                    event = _json_object(node, data)
                    if "error" in event:
                        raise NodeAnsweredGarbage(
                            node, "broke off with an error", "look into its engine's log"
                        )
                    limit = deadline
                    yield event
        finally:
            response.close()

    async def _request(
        self,
        node: MeshNode,
        method: str,
        path: str,
        deadline: float,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        with _translated(node):
            async with asyncio.timeout_at(deadline):
                response = await self._open(node, method, path, body)
                try:
                    return await _read_bounded(node, response)
                finally:
                    response.release()

    async def _open(
        self, node: MeshNode, method: str, path: str, body: Mapping[str, Any] | None
    ) -> aiohttp.ClientResponse:
        """A response with status 200, its body not yet read."""
        key = self.keys.get(node.id)
        response = await self.session.request(
            method,
            _endpoint(node) + path,
            json=body,
            headers={"Accept-Encoding": "identity"}
            | ({} if key is None else {"Authorization": f"Bearer {key}"}),
            ssl=bound_to(node.certificate) if node.certificate else True,
            allow_redirects=False,  # a redirect would carry the prompt to where nobody declared
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        )
        if response.status != 200:
            response.close()
            raise NodeAnsweredGarbage(
                node, f"answered HTTP {response.status}", _advice(response.status), response.status
            )
        return response


@contextmanager
def _translated(node: MeshNode) -> Iterator[None]:
    """What can go wrong on the way, in words that name the node."""
    started = asyncio.get_running_loop().time()
    try:
        yield
    except TimeoutError:
        waited = asyncio.get_running_loop().time() - started
        raise NodeTimedOut(
            node, f"gave no whole answer in {waited:.1f} s", "see whether it hangs or is overloaded"
        ) from None
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise _untrusted(node, error) from None
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


def _untrusted(node: MeshNode, error: Exception) -> NodeUnreachable:
    inner = getattr(error, "certificate_error", error)
    if isinstance(inner, NotTheNode):
        return NodeUnreachable(node, str(inner.args[0]), "enrol it with a statement of the one that it has")
    if isinstance(inner, ssl.SSLCertVerificationError):
        return NodeUnreachable(
            node, "its TLS certificate is not trusted", "install one that is, or correct its endpoint"
        )
    return NodeUnreachable(node, "it speaks no TLS that is understood here", "correct its endpoint")


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
    if node.certificate and parts.scheme != "https":
        raise NodeUnreachable(
            node, "it is bound to a TLS certificate, but its endpoint is plain http", "declare it as https"
        )
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
            raise _too_much(node)
    return bytes(content)


def _json_object(node: MeshNode, content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NodeAnsweredGarbage(
            node, "answered something that is not a JSON object", "check that its endpoint is an engine"
        )
    return answer


def _too_much(node: MeshNode) -> NodeAnsweredGarbage:
    return NodeAnsweredGarbage(
        node, f"answered more than {MAX_BODY} bytes", "check that its endpoint is an engine"
    )


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
    return "connection refused" if "connect call failed" in why else why or "the connection failed"
