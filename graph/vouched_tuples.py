"""Tuples with who vouches for each, as an index of those that count at present."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from graph.claimed_tuples import Interval, within
from graph.rebac.relation_tuples import TupleIndex, TupleKey, split_userset
from graph.tuples import CONFIGURATION, Scope, Voucher


class VouchedTuples:
    """As `visible_sets.index.VisibilityIndex`, for questions that are asked over tuples themselves."""

    def __init__(self) -> None:
        self.revision = 0
        """All of the feed up to it is in here."""
        self.index = TupleIndex()
        """The tuples that hold at the instant of `at`: those that nobody live vouches for are suspended."""
        #: By tuple, then by relationship.
        self._vouchers: dict[TupleKey, dict[str, Sequence[Voucher]]] = {}
        self._intervals: dict[str, Interval] = {}
        self._named: dict[str, set[TupleKey]] = defaultdict(set)
        self._live: Collection[Scope] = frozenset()
        self._now: datetime | None = None
        self._until: datetime | None = None

    def put(self, key: TupleKey, relationship: str = "", vouchers: Iterable[Voucher] = ()) -> None:
        """Who vouches now for what the relationship says of a tuple; where nobody does, it goes."""
        found = list(vouchers)
        by = self._vouchers.setdefault(key, {})
        if found:
            by[relationship] = found
        else:
            by.pop(relationship, None)
        for name in _entities(key):
            self._named[name].add(key)
        if not by:
            del self._vouchers[key]
            for name in _entities(key):
                self._named[name].discard(key)
                if not self._named[name]:
                    del self._named[name]
        self._weigh(key)

    def put_interval(self, entity: str, interval: Interval) -> None:
        """When an entity holds; one that is not known, or no more, has (None, None)."""
        if interval == self._intervals.get(entity, (None, None)):
            return
        if interval == (None, None):
            del self._intervals[entity]
        else:
            self._intervals[entity] = interval
        for key in self._named.get(entity, ()):
            self._weigh(key)

    def at(self, live: Collection[Scope], now: datetime) -> TupleIndex:
        """The index at an instant, where these scopes are within their age."""
        first = self._now is None
        ended = self._until is not None and now >= self._until
        changed = live != self._live
        self._now, self._live = now, live
        if first or ended or changed:
            self._until = None
            for key in self._vouchers:
                self._weigh(key)
        return self.index

    def held(self) -> Sequence[TupleKey]:
        """Those that hold and are vouched for."""
        return [key for key in self._vouchers if self._worth(key)]

    def _weigh(self, key: TupleKey) -> None:
        if self._now is None:
            return
        worth = self._worth(key)
        if worth is False:
            self.index.remove(key.user, key.relation, key.object)
        else:
            self.index.put(key.user, key.relation, key.object, worth)

    def _worth(self, key: TupleKey) -> bool | None:
        """Whether somebody live vouches for it now; None where only others do, False where nobody does."""
        assert self._now is not None  # noqa: S101  `at` was asked
        found: bool | None = False
        for vouchers in self._vouchers.get(key, {}).values():
            for voucher in vouchers:
                begin, end = self._holds(key, voucher)
                for bound in (begin, end):
                    if bound is not None and bound > self._now:
                        self._until = bound if self._until is None else min(self._until, bound)
                if (begin is None or begin <= self._now) and (end is None or self._now < end):
                    scope = voucher.source, voucher.scope
                    if voucher.source == CONFIGURATION or scope in self._live:
                        return True
                    found = None
        return found

    def _holds(self, key: TupleKey, voucher: Voucher) -> Interval:
        holds = (voucher.valid_from, voucher.valid_to)
        for name in _entities(key):
            holds = within(holds, self._intervals.get(name, (None, None)))
        return holds


def _entities(key: TupleKey) -> tuple[str, str]:
    return key.object, split_userset(key.user)[0]
