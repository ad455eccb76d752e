"""A way to an engine on which what it answers goes wrong: slowly, as garbage, cut off, without its metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

GARBAGE = b"SSH-2.0-OpenSSH_9.2\r\n"
METRICS = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"


@dataclass
class FaultyWay:
    """Bytes between whoever connects and the engine on `port`; `fault` holds for what is answered next."""

    port: int
    fault: str = ""
    """`slow loris`, `garbage`, `cut`, `no metrics`; empty for none."""
    endpoint: str = ""
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        engine = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /metrics"):
                writer.write(_metrics(self.fault == "no metrics"))
                return
            if self.fault == "garbage":
                writer.write(GARBAGE)
                return
            answer, engine = await asyncio.open_connection("127.0.0.1", self.port)
            engine.write(head[:-2] + b"Connection: close\r\n\r\n")  # each request over a way of its own
            asking = asyncio.create_task(_pass_on(reader, engine))
            try:
                await self._answer(answer, writer)
            finally:
                asking.cancel()
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two has gone, which the other sees when its connection is closed
        finally:
            for one in (writer, engine):
                if one is not None:
                    one.close()

    async def _answer(self, answer: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await answer.read(1 << 16):
            if self.fault == "cut" and b"data:" in chunk:
                writer.write(chunk[: chunk.index(b"data:") + 40])
                await writer.drain()
                writer.transport.abort()
                return
            if self.fault == "slow loris":
                for byte in chunk:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.2)
            else:
                writer.write(chunk)
                await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, engine: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            engine.write(chunk)
            await engine.drain()
    engine.close()  # who asked has gone: the engine is to stop


def _metrics(gone: bool) -> bytes:
    if gone:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(METRICS)}\r\nConnection: close\r\n\r\n"
    return head.encode() + METRICS


@asynccontextmanager
async def faulty_way(port: int) -> AsyncIterator[FaultyWay]:
    way = FaultyWay(port)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
