"""A test server, no engine: it says what a test tells it to say, well-formed or not, over a real socket.

It stands where no engine can be made to fail on command. Whatever an engine does well is tested on vLLM.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

SECRET = "echo-of-the-prompt"
"""Stands in every failing body: no error message may repeat it."""


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body


def completion(content: object, finish_reason: str = "stop") -> bytes:
    """A chat completion that carries `content`."""
    return response(
        json.dumps(
            {
                "choices": [
                    {"message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
                ],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3},
            }
        ).encode()
    )


def stream(*texts: str, end: str = "data: [DONE]\n\n", pad: str = "") -> bytes:
    """A streamed chat completion, a chunk for each text, then usage; without `end` it is cut."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(texts)}}
    events = "".join(
        f"data: {json.dumps(chunk)}\n\n" for chunk in [*chunks, *([usage] if texts and end else [])]
    )
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return (head + pad + events + end).encode()


def metrics(text: str) -> bytes:
    return response(text.encode())


FAILS = response(SECRET.encode(), "500 Internal Server Error")
REFUSES_KEY = response(b"", "401 Unauthorized")
NOT_JSON = response(f"<html>{SECRET}</html>".encode())
NOT_HTTP = b"SSH-2.0-OpenSSH_9.2\r\n"
NO_COMPLETION = response(json.dumps({"object": SECRET}).encode())
ENDLESS = response(b"[" + b"1," * (1 << 20))
CUT = completion(SECRET)[:-20]
SILENT_CUT = b""
DEEP = response(b"[" * 200_000)


@dataclass
class OpenAIServer:
    """Answers each path with the bytes set for it; an unset path hangs until the client goes.

    What is asked to stream gets what is set for `stream PATH`, if that is.
    """

    endpoint: str
    answers: dict[str, bytes] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds between the first half of an answer and the second."""
    drip: float = 0.0
    """Seconds between two bytes of an answer: a slow loris."""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers (lower case), body of each."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come; when a client went away from one that hung."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = head[0].split()[1]
            self.requests.append((path, headers, body))
            self.asked.set()
            if f"stream {path}" in self.answers and json.loads(body).get("stream"):
                path = f"stream {path}"
            if path not in self.answers:
                await reader.read()  # ends when the client does
                self.left.set()
            else:
                answer = self.answers[path]
                for byte in answer if self.drip else b"":
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(self.drip)
                answer = b"" if self.drip else answer
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                await asyncio.sleep(self.delay)
                writer.write(answer[len(answer) // 2 :])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()  # the client went away, as some tests want it to
        finally:
            writer.close()


@asynccontextmanager
async def openai_server(tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[OpenAIServer]:
    """A test server on loopback, on a free port without one. It hangs until `answers` are set."""
    double = OpenAIServer("")
    server = await asyncio.start_server(double.serve, "127.0.0.1", port, ssl=tls)
    scheme = "http" if tls is None else "https"
    double.endpoint = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield double
    finally:
        server.close()


@contextmanager
def in_a_thread() -> Iterator[OpenAIServer]:
    """The test server on an event loop of its own: for tests that ask over HTTP and block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = openai_server()
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
