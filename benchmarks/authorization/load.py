"""The load generator: a process of its own, the same for every server.

    python -m benchmarks.authorization.load < requests.json

Sends prepared requests over kept connections, each as soon as the one before it on its connection is
answered, and does nothing else meanwhile: bytes are counted, not parsed. `answer_at_once` is what its
own speed is measured against: a server that knows its answer beforehand.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice

_END_OF_HEADERS = b"\r\n\r\n"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Load:
    """Requests that are sent in turn by `clients` at once, the first `warm` of them without being timed."""

    ports: Sequence[int]
    """Where the server listens; connections are spread over them, as a load balancer would."""
    path: str
    bodies: Sequence[str]
    clients: int = 1
    warm: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    marks: str = ""
    """What is counted in the answers."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds from the sending of a request to the last byte of its answer."""

    p50_ms: float
    p99_ms: float
    per_second: float
    answers: int
    marked: int
    """How often `marks` was found."""


def generate(load: Load) -> Timing:
    """The timing, taken by another process. Raises SystemExit where an answer is not 200."""
    command = [sys.executable, "-m", "benchmarks.authorization.load"]
    asked = json.dumps(asdict(load)).encode()
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"the load on {load.path} ended with an error")
    return Timing(**json.loads(done.stdout))


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self.parts: list[bytes] = []
        self.missing: int | None = None

    def send(self, request: bytes) -> None:
        self.parts, self.missing = [], None
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The answer, once it is there whole."""
        part = self.socket.recv(1 << 20)
        if not part:
            raise SystemExit("the server closed the connection")
        self.parts.append(part)
        if self.missing is None:
            self._begin()
        elif self.missing >= 0:
            self.missing -= len(part)
        whole = self.missing == 0 if self.missing != _CHUNKED else part.endswith(b"0\r\n\r\n")
        return b"".join(self.parts) if whole else None

    def _begin(self) -> None:
        answer = b"".join(self.parts)
        head, separator, body = answer.partition(_END_OF_HEADERS)
        if not separator:
            return
        self.parts = [answer]
        fields = head.lower()
        if b"chunked" in fields:
            self.missing = _CHUNKED
        else:
            self.missing = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0]) - len(body)


#: The answer ends with an empty chunk.
_CHUNKED = -1


def _run(load: Load) -> Timing:
    lines = [f"POST {load.path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in load.headers.items()]
    head = "\r\n".join(lines)
    requests = [
        f"{head}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode() for body in load.bodies
    ]
    ready = select.epoll()
    connections: dict[int, _Connection] = {}
    todo = iter(requests)
    for number, request in enumerate(islice(todo, load.clients)):
        connection = _Connection(load.ports[number % len(load.ports)])
        connections[connection.socket.fileno()] = connection
        ready.register(connection.socket, select.EPOLLIN)
        connection.send(request)
    times: list[float] = []
    marked = done = 0
    marks = load.marks.encode()
    started = time.perf_counter()
    gc.disable()
    while done < len(requests):
        events = ready.poll(_TIMEOUT_S)
        if not events:
            raise SystemExit(f"no answer within {_TIMEOUT_S} s")
        for file, _event in events:
            connection = connections[file]
            answer = connection.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            done += 1
            if done > load.warm:
                times.append((now - connection.sent) * 1000)
            else:
                started = now
            request = next(todo, None)
            if request is not None:
                connection.send(request)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer[:1000].decode(errors="replace"))
            marked += answer.count(marks) if marks else 0
    took = time.perf_counter() - started
    times.sort()
    return Timing(
        round(times[len(times) // 2], 4),
        round(times[int(len(times) * 0.99)], 4),
        round(len(times) / took, 1),
        len(requests),
        marked,
    )


def answer_at_once(body: bytes) -> None:
    """Serve `body` as JSON to every request; the port is the first line of the output."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    ready = select.epoll()
    ready.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for file, _event in ready.poll():
            if file == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                ready.register(connection, select.EPOLLIN)
            elif connections[file].recv(1 << 16):
                connections[file].sendall(answer)
            else:
                ready.unregister(file)
                connections.pop(file).close()


if __name__ == "__main__":
    if sys.argv[1:]:
        answer_at_once(sys.argv[1].encode())
    else:
        print(json.dumps(asdict(_run(Load(**json.load(sys.stdin))))))
