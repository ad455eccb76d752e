"""Tuples with who vouches for each, as an index of those that count at present."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from graph.intervals import Interval, Intervals, holds, within
from graph.rebac.relation_tuples import TupleIndex, TupleKey, split_userset
from graph.tuples import Scope, Voucher, vouches


class VouchedTuples:
    """As `visible_sets.index.VisibilityIndex`, for questions that are asked over tuples themselves."""

    def __init__(self) -> None:
        self.revision = 0
        """All of the feed up to it is in here."""
        self.index = TupleIndex()
        """The tuples that hold at the instant of `at`: those that nobody live vouches for are suspended."""
        #: By tuple, then by relationship.
        self._vouchers: dict[TupleKey, dict[str, Sequence[Voucher]]] = {}
        self._intervals: Intervals[str] = Intervals()
        self._named: dict[str, set[TupleKey]] = defaultdict(set)
        self._live: Collection[Scope] = frozenset()
        self._now: datetime | None = None

    def put(self, key: TupleKey, relationship: str = "", vouchers: Iterable[Voucher] = ()) -> None:
        """Who vouches now for what the relationship says of a tuple; where nobody does, it goes."""
        found = list(vouchers)
        by = self._vouchers.setdefault(key, {})
        for voucher in found:
            self._intervals.bound((voucher.valid_from, voucher.valid_to))
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
        if self._intervals.put(entity, interval):
            for key in self._named.get(entity, ()):
                self._weigh(key)

    def at(self, live: Collection[Scope], now: datetime) -> TupleIndex:
        """The index at an instant, where these scopes are within their age."""
        began = self._now is None or live != self._live
        bounds = self._intervals.bounds
        if began or (bounds and bounds[0] <= now):
            self._now, self._live = now, live
            self._intervals.until(now)
            for key in self._vouchers:
                self._weigh(key)
        self._now = now
        return self.index

    def held(self) -> Sequence[TupleKey]:
        """Those that hold and are vouched for."""
        return [key for key in self._vouchers if self._worth(key)]

    def _weigh(self, key: TupleKey) -> None:
        if self._now is None:
            return
        worth = self._worth(key)
        if worth is self.index.grant(key.user, key.relation, key.object):
            return
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
                if holds(self._interval(key, voucher), self._now):
                    if vouches((voucher.source, voucher.scope), self._live):
                        return True
                    found = None
        return found

    def _interval(self, key: TupleKey, voucher: Voucher) -> Interval:
        interval = (voucher.valid_from, voucher.valid_to)
        for name in _entities(key):
            interval = within(interval, self._intervals.get(name))
        return interval


def _entities(key: TupleKey) -> tuple[str, str]:
    return key.object, split_userset(key.user)[0]
