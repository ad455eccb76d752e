"""Handling: where a fact may be processed. The handling of a context is the meet over its facts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any


@dataclass(frozen=True, slots=True)
class Handling:
    """A requirement on mesh nodes. `None` means any; an empty set permits none.

    The handlings are a meet-semilattice: `meet` is associative, commutative and idempotent,
    `UNRESTRICTED` is its top, and whatever a meet permits, both of its parts permit.
    """

    jurisdictions: frozenset[str] | None = None
    """Laws (ISO 3166 codes, `EU`) under one of which the node must be; compared as written."""
    residency: frozenset[str] | None = None
    """Regions in one of which the node must stand."""
    certifications: frozenset[str] = frozenset()
    """All of these the node must hold, validly at the time."""
    clearance: int = 0
    """The node's clearance must be at least this."""
    silicon: frozenset[str] | None = None
    """Silicon, or its makers (`nvidia` for `nvidia-l40s`), one of which the node must have."""
    excluded_silicon: frozenset[str] = frozenset()
    """Silicon, or its makers, that the node must not have; a node that does not say is refused."""
    excluded_owners: frozenset[str] = frozenset()
    """Ids of agents of whom none may own the node; a node whose owner is not known is refused."""
    purposes: frozenset[str] | None = None
    """What the node does with what it gets must all be among these; a node that does not say is refused."""
    excluded_jurisdictions: frozenset[str] = frozenset()
    """Laws that the node must not be under (`is_under`); a node that does not say is refused."""

    def meet(self, other: Handling) -> Handling:
        """The stricter of both in every dimension; it never permits a node that either forbids."""
        return Handling(
            _both(self.jurisdictions, other.jurisdictions),
            _both(self.residency, other.residency),
            self.certifications | other.certifications,
            max(self.clearance, other.clearance),
            _both_silicon(self.silicon, other.silicon),
            self.excluded_silicon | other.excluded_silicon,
            self.excluded_owners | other.excluded_owners,
            _both(self.purposes, other.purposes),
            self.excluded_jurisdictions | other.excluded_jurisdictions,
        )

    def record(self) -> dict[str, Any]:
        """Its terms in JSON, sets in order: for the audit log, and to tell one handling from another."""
        return {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name in self.__slots__
            for value in (getattr(self, name),)
        }


#: Member states of the European Union, by ISO 3166.
_EU = frozenset({
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT",
    "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})  # fmt: skip
UNRESTRICTED = Handling()
#: For what has no handling at all: no node is permitted.
FORBIDDEN = Handling(jurisdictions=frozenset())


def meet_all(handlings: Iterable[Handling]) -> Handling:
    """The meet over all of them; without any there is nothing to restrict."""
    return reduce(Handling.meet, handlings, UNRESTRICTED)


def is_under(jurisdiction: str, excluded: Iterable[str]) -> bool:
    """Whether who is under that law is, or may be, under one of others.

    A part is under the law of the whole (`US-CA` of `US`, `DE` of `EU`), and what only says the whole may
    be in any part of it.
    """
    return any(law in _wholes(jurisdiction) or jurisdiction in _wholes(law) for law in excluded)


def _wholes(jurisdiction: str) -> frozenset[str]:
    country = jurisdiction.partition("-")[0]
    return frozenset({jurisdiction, country} | ({"EU"} if country in _EU else set()))


def silicon_names(silicon: str) -> frozenset[str]:
    """What a silicon is called: by its whole name and by its maker, in lower case; nothing for ``."""
    name = silicon.strip().lower()
    return frozenset({name, name.partition("-")[0]}) - {""}


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    if a is None:
        return b
    return a if b is None else a & b


def _both_silicon(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    """As `_both`, where a maker stands for all that it makes: of `nvidia` and `nvidia-l40s` the latter."""
    if a is None or b is None:
        return _both(a, b)
    return _within(a, b) | _within(b, a)


def _within(names: frozenset[str], allowed: frozenset[str]) -> frozenset[str]:
    makers = frozenset(map(str.lower, allowed))
    return frozenset(name for name in names if name in allowed or silicon_names(name) & makers)
