"""Templates of a mapping file: `person:{team.lead}`, `{manager[reports_to]}`, `{title|slug}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from discovery.slugs import slug

Record = Mapping[str, Any]
Lookups = Mapping[str, Mapping[str, str]]

_FIELD = re.compile(r"\{(?:(\w+)\[([^\[\]{}|]+)\]|([^\[\]{}|]+))(?:\|(slug|lower))?\}")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")


class MissingLookupError(Exception):
    """A record refers to what a lookup does not have; the message names field, value and lookup."""


@dataclass(frozen=True, slots=True)
class _Insert:
    lookup: str | None
    path: str
    filter: str | None
    """`slug` or `lower`."""


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and insertions from a record, in order."""

    pieces: Sequence[str | _Insert]

    def lookups(self) -> frozenset[str]:
        return frozenset(p.lookup for p in self.pieces if isinstance(p, _Insert) and p.lookup)

    def render(self, record: Record, lookups: Lookups) -> str | None:
        """None where a field that it inserts is absent. Raises MissingLookupError."""
        rendered = []
        for piece in self.pieces:
            text = piece if isinstance(piece, str) else _inserted(piece, record, lookups)
            if text is None:
                return None
            rendered.append(text)
        return "".join(rendered)


def parse_template(text: str) -> Template:
    """Raises ValueError for braces that are no insertion."""
    pieces: list[str | _Insert] = []
    end = 0
    for match in _FIELD.finditer(text):
        pieces.append(text[end : match.start()])
        pieces.append(_Insert(match[1], (match[2] or match[3]).strip(), match[4]))
        end = match.end()
    pieces.append(text[end:])
    if any(brace in piece for piece in pieces if isinstance(piece, str) for brace in "{}"):
        wanted = "{field}, {lookup[field]}, {field|slug} or {field|lower}"
        raise ValueError(f"expected {wanted} in the template {text!r}")
    return Template(tuple(piece for piece in pieces if piece != ""))


def _inserted(insert: _Insert, record: Record, lookups: Lookups) -> str | None:
    value = field_at(record, insert.path)
    if value is None:
        return None
    text = plain_text(value)
    if insert.lookup is not None:
        if text not in lookups[insert.lookup]:
            raise MissingLookupError(f"{insert.path}: {text!r} is not in the lookup {insert.lookup!r}")
        text = lookups[insert.lookup][text]
    if insert.filter == "lower":
        return text.lower()
    return slug(text) if insert.filter == "slug" else text


def field_at(record: Any, path: str) -> Any:
    """The value at a dotted path; None where a step or the value is absent or empty."""
    value = record
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    if isinstance(value, str):
        return value.strip() or None
    return None if value in ([], {}) else value


def items_at(record: Any, path: str) -> list[tuple[str, str | None, Any]] | None:
    """Key, key of what it lies in, and value of each item of the mappings or lists at a path.

    A step `*` stands for each item: `teams.*.teams` are the teams of all teams. None where a path ends
    at what has no items.
    """
    before, star, after = path.partition(".*.")
    found = field_at(record, before) if before else record
    if isinstance(found, Mapping):
        items = [(str(key), value) for key, value in found.items()]
    elif isinstance(found, list):
        items = [(str(number), value) for number, value in enumerate(found, start=1)]
    else:
        return [] if found is None else None
    if not star:
        return [(key, None, value) for key, value in items]
    inner: list[tuple[str, str | None, Any]] = []
    for outer, value in items:
        of_one = items_at(value, after) or []
        inner += [(key, outer if parent is None else parent, one) for key, parent, one in of_one]
    return inner


def plain_text(value: Any) -> str:
    """A scalar as text, Markdown links as their text. Raises ValueError for a list or mapping."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (str, int, float)):
        return _LINK.sub(r"\1", str(value)).strip()
    raise ValueError(f"expected text or a number, found {type(value).__name__}")
