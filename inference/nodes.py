"""Mesh nodes as who vouches for them declares them, and what a look at one finds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum

CHAT = "chat"
EMBEDDING = "embedding"
VLLM = "vllm"
"""The engine that knows `cache_salt`."""
LOCAL_NODE_ID = "mesh_node:orgraph"

_VALIDITY = re.compile(
    r"(?P<name>.*?\S)(?: from (?P<start>\d{4}-\d{2}-\d{2}))?(?: until (?P<end>\d{4}-\d{2}-\d{2}))?"
)


@dataclass(frozen=True, slots=True)
class Certification:
    """What a node is certified for, and from when until when; None is without a bound."""

    name: str
    starts: datetime | None = None
    ends: datetime | None = None
    """The first moment at which it no longer holds."""

    def holds(self, at: datetime) -> bool:
        return (self.starts is None or self.starts <= at) and (self.ends is None or at < self.ends)


def certification(text: str) -> Certification:
    """`HIPAA`, or `HIPAA from 2026-01-01 until 2026-12-31`, both days included, in UTC.

    What has no valid days is the name of a certification as it stands, which no rule asks for.
    """
    found = _VALIDITY.fullmatch(text.strip())
    if found is None:
        return Certification(text)
    try:
        starts, ends = _day(found["start"]), _day(found["end"])
        return Certification(found["name"], starts, None if ends is None else ends + timedelta(days=1))
    except (ValueError, OverflowError):
        return Certification(text)


def certifications(*texts: str) -> frozenset[Certification]:
    """Several, each as `certification` reads it."""
    return frozenset(map(certification, texts))


def _day(text: str | None) -> datetime | None:
    return None if text is None else datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


@dataclass(frozen=True, slots=True)
class MeshNode:
    """A place where models run. Empty and None are unknown: what handling restricts, it then refuses."""

    id: str
    name: str
    jurisdiction: str = ""
    """Whose law it is under: an ISO 3166 code or `EU`."""
    region: str = ""
    """Where its machines stand."""
    site: str = ""
    """The place within the region; facts of the same site are near."""
    certifications: frozenset[Certification] = frozenset()
    clearance: int = 0
    owners: frozenset[str] = frozenset()
    """Ids of the agents that own it."""
    purposes: frozenset[str] = frozenset()
    """All that is done there with what it gets."""
    silicon: str = ""
    """`nvidia-l40s`: the maker, then what it makes."""
    memory: int | None = None
    """GiB for models and their caches."""
    engine: str = ""
    """`vllm`, or any other that is OpenAI-compatible."""
    endpoint: str | None = None
    """Root of its OpenAI-compatible server, without `/v1`: `http://127.0.0.1:8001`. Only this is called."""
    certificate: str = ""
    """SHA-256 of the TLS certificate that it is bound to, in hex: nobody with another is spoken to."""
    models: tuple[str, ...] = ()
    """Served names, the preferred one first."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    capabilities: frozenset[str] = frozenset()
    """`chat`, `embedding`."""
    price: int | None = None
    """Of a million tokens, in hundredths of the organization's currency."""
    valid_until: datetime | None = None
    """When the statement that declares it ends; from then on it is not permitted."""


class Status(Enum):
    """What a node is doing."""

    WARMING = "warming"
    """Not known to have completed a token yet."""
    READY = "ready"
    DEGRADED = "degraded"
    """It answers, but failed lately or no longer tells its load: taken when no better one is."""
    DRAINING = "draining"
    """An operator lets it finish; it gets nothing new."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine tells of itself. None is unknown, never zero."""

    running: int | None = None
    """Requests being computed."""
    waiting: int | None = None
    """Requests in its queue."""
    kv_use: float | None = None
    """Share of its key-value cache in use, 0 to 1."""
    prefill_rate: float | None = None
    """Tokens of prompts a second, measured."""
    decode_rate: float | None = None
    """Tokens a second of one answer, measured."""


UNKNOWN_LOAD = Load()


@dataclass(frozen=True, slots=True)
class NodeState:
    """What the last look found."""

    status: Status
    why: str = ""
    """The reason, for a person, when it is not ready."""
    load: Load = UNKNOWN_LOAD
    at: datetime | None = None
    """When it was looked at; the mesh writes this."""

    @property
    def up(self) -> bool:
        """Whether it gets requests."""
        return self.status in (Status.READY, Status.DEGRADED)


NOT_PROBED = NodeState(Status.WARMING, "not probed yet")
