"""Triples of a file as they are read, each with its line; what is wrong does not stop the rest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad, RdfFormat, parse

from graph.rdf.json_ld import TooLargeError, documents
from graph.rdf.staging import Staged

#: Of one file; more means that it is something else.
MAX_PROBLEMS = 1_000
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class BadTriple:
    """What could not be read, or is no claim."""

    place: str
    """The file and line."""
    reason: str
    """What was expected, what was found, what to do."""


def triples(file: IO[bytes], name: str, format: RdfFormat) -> Iterator[Staged | BadTriple]:
    """The triples of a file that is open for reading; OSError as the file raises it.

    A line is that on which the triple ends, or the next where what ends it stands there. Nothing is
    fetched: a JSON-LD context of another document is a problem.
    """
    problems = 0
    for one in _json_ld(file, name) if format == RdfFormat.JSON_LD else _by_line(file, name, format):
        yield one
        problems += isinstance(one, BadTriple)
        if problems == MAX_PROBLEMS:
            yield BadTriple(name, f"expected fewer than {MAX_PROBLEMS} problems; the rest is not read")
            return


def _by_line(file: IO[bytes], name: str, format: RdfFormat) -> Iterator[Staged | BadTriple]:
    lines = _Lines(file)
    quads = parse(cast(IO[bytes], lines), format)
    while True:
        try:
            quad = next(quads)
        except StopIteration:
            return
        except SyntaxError as error:
            yield _broken(f"{name}:{error.lineno or lines.number}", format, error)
        except ValueError as error:
            yield _broken(f"{name}:{lines.number}", format, error)
        else:
            yield _staged(quad, f"{name}:{lines.number}")


def _json_ld(file: IO[bytes], name: str) -> Iterator[Staged | BadTriple]:
    """Each node by itself; the line is that on which it begins."""
    try:
        for line, text in documents(file):
            try:
                for quad in parse(text, RdfFormat.JSON_LD):
                    yield _staged(quad, f"{name}:{line}")
            except (SyntaxError, ValueError) as error:
                yield _broken(f"{name}:{line}", RdfFormat.JSON_LD, error)
    except TooLargeError as error:
        yield BadTriple(name, str(error))


def _broken(place: str, format: RdfFormat, error: SyntaxError | ValueError) -> BadTriple:
    if isinstance(error, SyntaxError):
        return BadTriple(place, f"expected {format.name}: {_first_line(error)}; correct the file")
    return BadTriple(place, f"expected {format.name} in UTF-8: {error}; correct the file")


def _staged(quad: Quad, place: str) -> Staged | BadTriple:
    subject, object = quad.subject, quad.object
    if not isinstance(quad.graph_name, DefaultGraph):
        return BadTriple(
            place, f"expected no named graph, found {quad.graph_name}; put it in a file of its own"
        )
    if not isinstance(subject, NamedNode) or not isinstance(object, NamedNode | Literal):
        return BadTriple(
            place, f"expected an IRI, as nothing else is the same next time, found {quad.triple}; name it"
        )
    told = object.value if isinstance(object, NamedNode) else object
    return Staged(subject.value, quad.predicate.value, told, place)


def _first_line(error: SyntaxError) -> str:
    return str(error.msg or error).splitlines()[0]


class _Lines(io.RawIOBase):
    """Gives the parser a line at a time, so that it is known which it has reached."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ended = True
        self.number = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.readline(size if size > 0 else _CHUNK)
        self.number += bool(chunk) and self._ended
        self._ended = chunk.endswith(b"\n")
        return chunk
