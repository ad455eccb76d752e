"""What a request needs of a mesh node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graph.handling import Handling


@dataclass(frozen=True, slots=True)
class Sent:
    """What this service itself has sent to a node and goes on: telemetry is too old to tell."""

    requests: int
    unread: int
    """Tokens of their prompts that the node is not known to have read yet."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """The handling of its whole context and what it needs; then what only orders the permitted nodes."""

    handling: Handling
    capability: str
    model: str | None = None
    """None: whichever the node prefers."""
    least_tokens: int = 0
    """What its context must take in any case: the words of the prompt, and the tokens of the answer."""
    failed_on: frozenset[str] = frozenset()
    """Ids of nodes on which this very request has failed."""
    sites: Mapping[str, int] = field(default_factory=dict)
    """How many of its facts lie at each site."""
    warm: Mapping[str, float] = field(default_factory=dict)
    """By id of a node that lately read its beginning for the same audience, how much of it: from 0 to 1."""
    sent: Mapping[str, Sent] = field(default_factory=dict)
    """By id of node."""
    prompt_tokens: int = 512
    """An estimate: only a model's own tokenizer knows."""
