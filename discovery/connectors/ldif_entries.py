"""LDIF records, each parsed alone, so that a broken one ends only itself."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ldif import LDIFParser

from discovery.connector import Problem
from discovery.files import UnreadableError, read_bytes

# Splits at separators that no backslash escapes. Linear, unlike the ldif package's own check of
# a distinguished name, which a hostile one keeps busy for ever: only what passes here reaches it.
_SEPARATOR = re.compile(r"(?:\\.|[^\\,])+")
_COMPONENT = re.compile(r"\s*([\w.;-]+)\s*=\s*(\S.*?)\s*", re.DOTALL)
_MAX_DN = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory. Attribute names are lower-case, `dn` is as `normal_dn` makes it."""

    dn: str
    attributes: Mapping[str, Sequence[str]]
    undecodable: Sequence[str]
    """Attributes that hold bytes that are not UTF-8 (photographs, or text in another encoding)."""
    place: str

    def all(self, attribute: str) -> Sequence[str]:
        return self.attributes.get(attribute.lower(), ())

    def first(self, attribute: str) -> str | None:
        return next(iter(self.all(attribute)), None)

    def is_a(self, object_classes: Set[str]) -> bool:
        return any(name.lower() in object_classes for name in self.all("objectClass"))

    @property
    def parent_dn(self) -> str:
        return ",".join(_SEPARATOR.findall(self.dn)[1:])


def normal_dn(text: str) -> str:
    """A distinguished name as a key: case and white space around separators do not matter in it.

    Raises ValueError when it is not one.
    """
    if len(text) > _MAX_DN:
        raise ValueError(f"expected a distinguished name of at most {_MAX_DN} characters, found {len(text)}")
    components = _SEPARATOR.findall(text)
    if ",".join(components) != text:
        raise ValueError(f"expected a distinguished name, found {text[:200]!r}")
    normal = []
    for component in components:
        match = _COMPONENT.fullmatch(component)
        if match is None:
            raise ValueError(
                f"expected attribute=value in the distinguished name {text[:200]!r}, "
                f"found {component[:200]!r}"
            )
        normal.append(f"{match[1]}={match[2]}".casefold())
    return ",".join(normal)


def read_entries(path: Path, name: str) -> Iterator[Entry | Problem]:
    """The entries of one file; a Problem for each record that is none."""
    try:
        data = read_bytes(path)
    except UnreadableError as error:
        yield Problem(name, str(error))
        return
    for line, record in _records(data):
        place = f"{name}:{line}"
        try:
            entry = _parse(record, place)
        except ValueError as error:
            yield Problem(place, f"expected an LDIF entry: {str(error)[:300]}; correct it (RFC 2849)")
        else:
            if entry is not None:
                yield entry


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Blocks between blank lines, each with the number of its first line."""
    start, lines = 1, list[bytes]()
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            if not lines:
                start = number
            lines.append(line)
        elif lines:
            yield start, b"\n".join(lines)
            lines = []
    if lines:
        yield start, b"\n".join(lines)


def _parse(record: bytes, place: str) -> Entry | None:
    """None for a record that is only comments or the version line. Raises ValueError."""
    _check_dn(record)
    found = list(LDIFParser(BytesIO(record), process_url_schemes=()).parse())
    if not found or found[0][0] is None:
        return None
    dn, attributes = found[0]
    if "changetype" in map(str.lower, attributes):
        raise ValueError("found a change record; export whole entries")
    texts: dict[str, list[str]] = {}
    undecodable = []
    for attribute, values in attributes.items():
        for value in values:
            if isinstance(value, bytes):
                undecodable.append(attribute.lower())
            elif value.strip():
                texts.setdefault(attribute.lower(), []).append(value.strip())
    return Entry(normal_dn(dn), texts, undecodable, place)


def _check_dn(record: bytes) -> None:
    for line in re.sub(rb"\n ", b"", record).split(b"\n"):
        if line.startswith(b"dn::"):
            normal_dn(base64.decodebytes(line[4:]).decode())
        elif line.startswith(b"dn:"):
            normal_dn(line[3:].strip().decode())
