"""Handling: where a fact may be processed. The handling of a context is the meet over its facts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce


@dataclass(frozen=True, slots=True)
class Handling:
    """A requirement on mesh nodes. `None` means any; an empty set of jurisdictions permits none."""

    jurisdictions: frozenset[str] | None = None
    """Laws (ISO 3166 codes, `EU`) under one of which the node must be."""
    residency: frozenset[str] | None = None
    """Regions in one of which the node must stand."""
    certifications: frozenset[str] = frozenset()
    """All of these the node must hold."""
    clearance: int = 0
    """The node's clearance must be at least this."""

    def meet(self, other: Handling) -> Handling:
        """The stricter of both in every dimension; it never permits a node that either forbids."""
        return Handling(
            _both(self.jurisdictions, other.jurisdictions),
            _both(self.residency, other.residency),
            self.certifications | other.certifications,
            max(self.clearance, other.clearance),
        )


UNRESTRICTED = Handling()
#: For what has no handling at all: no node is permitted.
FORBIDDEN = Handling(jurisdictions=frozenset())


def meet_all(handlings: Iterable[Handling]) -> Handling:
    """The meet over all of them; without any there is nothing to restrict."""
    return reduce(Handling.meet, handlings, UNRESTRICTED)


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    if a is None:
        return b
    return a if b is None else a & b
