"""Sets of users with a wildcard in them, as ListUsers answers: everyone but some, and those named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class UserSet(NamedTuple):
    """The named users and, with `everyone`, all others but the missing.

    A named user is listed beside the wildcard; the missing are not listed. No user is both.
    """

    everyone: bool
    named: frozenset[str]
    missing: frozenset[str]

    def __contains__(self, user: object) -> bool:
        return user in self.named or (self.everyone and user not in self.missing)


NOBODY = UserSet(False, frozenset(), frozenset())
EVERYBODY = UserSet(True, frozenset(), frozenset())


def union(sets: Sequence[UserSet]) -> UserSet:
    """Those in any."""
    named = frozenset[str]().union(*(s.named for s in sets))
    if not any(s.everyone for s in sets):
        return UserSet(False, named, frozenset())
    absent = frozenset[str]().union(*(s.missing for s in sets)) - named
    return UserSet(
        True, named, frozenset(u for u in absent if not any(UserSet.__contains__(s, u) for s in sets))
    )


def intersection(sets: Sequence[UserSet]) -> UserSet:
    """Those in all."""
    if not any(s.everyone for s in sets):
        return UserSet(False, frozenset.intersection(*(s.named for s in sets)), frozenset())
    candidates = frozenset[str]().union(*(s.named for s in sets))
    named = frozenset(u for u in candidates if all(UserSet.__contains__(s, u) for s in sets))
    if not all(s.everyone for s in sets):
        return UserSet(False, named, frozenset())
    return UserSet(True, named, frozenset[str]().union(*(s.missing for s in sets)) - named)


def difference(base: UserSet, subtract: UserSet) -> UserSet:
    """Those in the first and not in the second; who is no longer subtracted from everyone is named."""
    if not base.everyone:
        if not subtract.everyone:
            return UserSet(False, base.named - subtract.named, frozenset())
        return UserSet(False, base.named & subtract.missing, frozenset())
    if subtract.everyone:
        return UserSet(
            False, frozenset(u for u in subtract.missing if UserSet.__contains__(base, u)), frozenset()
        )
    return UserSet(True, base.named - subtract.named, base.missing | subtract.named)


class Bounds(NamedTuple):
    """Who certainly belongs and who possibly does: what is undetermined lies between."""

    certain: UserSet
    possible: UserSet


def combine(operator: Callable[[Sequence[UserSet]], UserSet], parts: Sequence[Bounds]) -> Bounds:
    """A union or an intersection."""
    certain = operator([part.certain for part in parts])
    if all(part.certain is part.possible for part in parts):
        return Bounds(certain, certain)
    return Bounds(certain, operator([part.possible for part in parts]))


def exclude(base: Bounds, subtract: Bounds) -> Bounds:
    """Only who certainly belongs to the one and cannot belong to the other does."""
    certain = difference(base.certain, subtract.possible)
    if base.certain is base.possible and subtract.certain is subtract.possible:
        return Bounds(certain, certain)
    return Bounds(certain, difference(base.possible, subtract.certain))
