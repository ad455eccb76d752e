"""JSON-LD a node at a time. Its parser holds a document whole, since a context may stand at the end.

An array of nodes, as `orgraph export` writes it, and an object that is a `@context` and then a `@graph` are
taken apart. Anything else is one document, of a bounded size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

_CHUNK = 1 << 16
#: Bytes of a node, or of a document that cannot be taken apart.
LARGEST = 16_000_000

_SPACE = re.compile(rb"[\s,]*")
#: A string, its end in the group where it has one, or a bracket.
_PART = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:(")|\\?\Z)|[\[\]{}]', re.DOTALL)
_HEAD = re.compile(rb'\s*\{\s*(?:"@context"\s*:\s*)?')
_GRAPH = re.compile(rb'\s*,?\s*"@graph"\s*:\s*\[')


class TooLargeError(ValueError):
    """A part of the document is larger than what is held at once; the message says what to do."""


def documents(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each node as a document of its own, with the line that it begins on; all of it as one where it cannot
    be taken apart, and so what stands after the nodes. Raises TooLargeError."""
    text = _Text(file)
    context = text.head()
    if context is not None:
        for line, node in text.nodes():
            yield line, b'{"@context":' + context + b',"@graph":[' + node + b"]}" if context else node
    line, rest = text.line, text.rest()
    if context is None:
        yield line, rest
    elif rest.strip() != (b"}" if context else b""):
        yield line, b"]" + rest  # which no document begins with: what is wrong with it is told


class _Text:
    """What is read of the file, from where it has been taken to."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read = b""
        self.line = 1
        """Of where it has been taken to."""

    def head(self) -> bytes | None:
        """Past the beginning of the nodes: the context, empty for none; None where it begins otherwise."""
        self._more()
        begun = self._read.lstrip()
        if begun.startswith(b"["):
            self._take(len(self._read) - len(begun) + 1)
            return b""
        head = _HEAD.match(self._read)
        if head is None or b"@context" not in head[0] or (end := self._end(head.end())) is None:
            return None
        while len(self._read) < end + _CHUNK and self._more():
            pass
        graph = _GRAPH.match(self._read, end)
        if graph is None:
            return None
        context = self._read[head.end() : end]
        self._take(graph.end())
        return context

    def nodes(self) -> Iterator[tuple[int, bytes]]:
        """Each with its line, to the end of their array."""
        while True:
            while (space := _SPACE.match(self._read)) and space.end() == len(self._read):
                self._take(space.end())
                if not self._more():
                    return
            if space:
                self._take(space.end())
            if self._read.startswith(b"]"):
                self._take(1)
                return
            end = self._end(0)
            if end is None:  # it is no node, or the document ends in the middle of one
                return
            line, node = self.line, self._read[:end]
            self._take(end)
            yield line, node

    def rest(self) -> bytes:
        """All that is left."""
        while self._more():
            self._bound(len(self._read))
        return self._read

    def _end(self, start: int) -> int | None:
        """Where the object or array ends that begins there; None where none does, or it does not end."""
        at, depth = start, 0
        if self._read[start : start + 1] not in (b"{", b"["):
            return None
        while True:
            unfinished = len(self._read)
            for found in _PART.finditer(self._read, at):
                part = found[0]
                if part[:1] == b'"':
                    if found[1] is None:
                        unfinished = found.start()
                        break
                elif part in b"[{":
                    depth += 1
                else:
                    depth -= 1
                    if not depth:
                        return found.end()
            at = unfinished
            self._bound(len(self._read) - start)
            if not self._more():
                return None

    def _bound(self, size: int) -> None:
        if size > LARGEST:
            raise TooLargeError(
                f"expected at most {LARGEST} bytes of a node, or of a document that is neither an array of "
                "nodes nor @context and then @graph; divide it"
            )

    def _more(self) -> bool:
        chunk = self._file.read(_CHUNK)
        self._read += chunk
        return bool(chunk)

    def _take(self, count: int) -> None:
        self.line += self._read.count(b"\n", 0, count)
        self._read = self._read[count:]
