"""HTTP to the declared endpoint of a mesh node, and to nowhere else; what goes wrong names the node."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from inference.nodes import MeshNode
from inference.tls import NotTheNode, bound_to

MAX_BODY = 1 << 20
"""Bytes of a response that are read at most."""

_DEAD_S = 2.0
"""Seconds after which who takes no connection, or acknowledges nothing on one, is left."""
_IDLE_S = 4.0
"""How long a connection is kept for the next request: less than engines do (uvicorn 5 s), so that none is
taken up while it is closed at the other end."""
_END_S = 0.05
"""Seconds that the end of a stream may come after its `[DONE]`."""
_JSON = {"Accept-Encoding": "identity", "Content-Type": "application/json"}


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


def engine_session() -> aiohttp.ClientSession:
    """For an EngineClient. As many connections as there are requests; admission bounds those."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S, socket_factory=_socket)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    made = socket.socket(*address[:3])
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_DEAD_S * 1000))
    return made


@dataclass(frozen=True, slots=True)
class EngineClient:
    """A session, and the API keys by the id of the node that they are for."""

    session: aiohttp.ClientSession
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    _ending: set[asyncio.Task[None]] = field(default_factory=set, repr=False, compare=False)

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
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The JSON objects of a stream of server-sent events, until its `[DONE]`: those that came at once.

        The first must be there by `first_by`, the last by `deadline`. Closing the generator closes the
        connection, upon which the engine stops. Raises as `post_json`, also when the stream is cut.
        """
        rest, limit, ended = b"", min(first_by, deadline), False
        with _translated(node):
            async with asyncio.timeout_at(limit):
                response = await self._open(node, "POST", path, body)
        try:
            while not ended:
                # The limit must not be held over a yield: it would strike whatever the consumer awaits.
                with _translated(node):
                    async with asyncio.timeout_at(limit):
                        chunk = await response.content.readany()
                if not chunk:
                    raise NodeUnreachable(node, "cut the stream before its end", "look into its engine's log")
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_BODY:
                    raise _too_much(node)
                events, ended, wrong = _events(node, lines)
                if events:
                    limit = deadline
                    yield events
                if wrong is not None:
                    raise wrong
        finally:
            if ended:
                self._let_end(response)
            else:
                response.close()

    def _let_end(self, response: aiohttp.ClientResponse) -> None:
        """Its connection serves again once its end is there, for which no answer waits."""
        if response.content.at_eof():
            response.release()
            return
        ending = asyncio.create_task(_read_to_end(response))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

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
            data=None if body is None else orjson.dumps(body),
            headers=_JSON if key is None else _JSON | {"Authorization": f"Bearer {key}"},
            ssl=bound_to(node.certificate) if node.certificate else True,
            allow_redirects=False,  # a redirect would carry the prompt to where nobody declared
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_DEAD_S),
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
    scheme = _scheme(node.endpoint)
    if scheme is None:
        raise _invalid_endpoint(node)
    if node.certificate and scheme != "https":
        raise NodeUnreachable(
            node, "it is bound to a TLS certificate, but its endpoint is plain http", "declare it as https"
        )
    return node.endpoint.rstrip("/")


@lru_cache(maxsize=4096)
def _scheme(endpoint: str) -> str | None:
    """`http` or `https` of a plain address; None for anything else."""
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        bare = not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        return None
    return parts.scheme if valid and bare else None


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


def _events(
    node: MeshNode, lines: Iterable[bytes]
) -> tuple[list[dict[str, Any]], bool, NodeAnsweredGarbage | None]:
    """The objects of these lines; whether the stream has ended with them; what came instead of the next."""
    events: list[dict[str, Any]] = []
    for line in lines:
        if not line.startswith(b"data:"):
            continue  # a comment, or the name of an event
        if (data := line[5:].strip()) == b"[DONE]":
            return events, True, None
        try:
            event = _json_object(node, data)
        except NodeAnsweredGarbage as error:
            return events, False, error
        if "error" in event:
            broken = NodeAnsweredGarbage(node, "broke off with an error", "look into its engine's log")
            return events, False, broken
        events.append(event)
    return events, False, None


async def _read_to_end(response: aiohttp.ClientResponse) -> None:
    """After `[DONE]`, so that the connection serves again; it is closed where more than that comes."""
    try:
        with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            async with asyncio.timeout(_END_S):
                await response.content.readany()
    finally:
        response.release() if response.content.at_eof() else response.close()


def _json_object(node: MeshNode, content: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(content)
    except ValueError:
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
