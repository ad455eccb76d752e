"""The visible set of an account: a byte for each audience number, from an index that follows the feed.

Membership, grants and denials are followed here, and nowhere in the nodes, so that changing them touches
none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import orjson

from graph.audiences import rested_on
from graph.claims import SourcePolicy
from graph.database import Database
from graph.epoch import Witness
from graph.following import Following
from graph.tuples import Scope, Transaction, live_scopes, native
from graph.visible_sets.evaluation import Evaluation
from graph.visible_sets.feeding import by_relationship, load, load_audiences, load_audiences_whole
from graph.visible_sets.index import VisibilityIndex
from graph.visible_sets.saved import SavedIndexError, load_saved, meaning, save
from ontologies.authorization_model import AuthorizationModel
from ontologies.ontology import Ontology

log = logging.getLogger(__name__)

#: Accounts whose visible set is kept.
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What a read transaction sees of the counters, the sources and the account that asks."""

    revision: int
    access_revision: int
    next_audience: int
    enabled: bool
    """Whether the account exists and is not disabled, by its source or by hand."""
    completed: Mapping[Scope, datetime]
    """When each scope last completed a crawl; those that never did are left out."""

    @property
    def access(self) -> tuple[int, bool]:
        """What must not have changed between the first and the last query of a read."""
        return self.access_revision, self.enabled


#: Whether the node `account` is an account that may do anything at `$now`.
ENABLED: LiteralString = """account IS NOT NULL AND NOT coalesce(account.disabled, false)
    AND NOT EXISTS { (account)<-[:DISABLES]-(:Organization) }
    AND coalesce(account.validFrom <= $now, true) AND coalesce($now < account.validTo, true)"""


async def standing(tx: Transaction, account: str, now: datetime) -> Standing:
    """Read it all in one query."""
    result = await tx.run(
        """
        OPTIONAL MATCH (meta:_Meta)
        OPTIONAL MATCH (account:Account {id: $account})
        RETURN meta.revision AS revision, meta.accessRevision AS accessRevision,
               meta.nextAudience AS nextAudience,
               """
        + ENABLED
        + """ AS enabled,
               COLLECT {
                   MATCH (s:_Source) WHERE s.completedAt IS NOT NULL
                   RETURN [s.name, s.scope, s.completedAt]
               } AS completed
        """,
        account=account,
        now=now,
    )
    record = await result.single(strict=True)
    return Standing(
        record["revision"] or 0,
        record["accessRevision"] or 0,
        record["nextAudience"] or 0,
        record["enabled"],
        {(name, scope): native(at) for name, scope, at in record["completed"]},
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Visible sets, and what they hold for."""

    version: int
    live: frozenset[Scope]
    until: datetime | None
    """The next instant at which something begins or ceases to hold."""
    visible: OrderedDict[tuple[str, bytes], bytes] = field(default_factory=OrderedDict)
    """By account and context, the last used last."""

    def serves(self, version: int, live: frozenset[Scope], now: datetime) -> bool:
        return self.version == version and self.live == live and (self.until is None or now < self.until)


class Authorizer:
    """Visible sets of accounts, of an index in memory that follows the change feed."""

    def __init__(
        self,
        database: Database,
        ontology: Ontology,
        model: AuthorizationModel,
        policies: Iterable[SourcePolicy],
        saved: Path | None = None,
    ) -> None:
        """A source that no policy names is never live: what only it claims is suspended.

        `saved`: the file that the index is loaded from at first, where it fits, and that `save` writes.
        """
        self._database = database
        self._model = model
        self._policies = {policy.name: policy for policy in policies}
        self._saved = saved
        bindings = by_relationship(rested_on(ontology, model))
        self._following = Following(database, bindings, load, self._load)
        self._clock = datetime.min.replace(tzinfo=UTC)
        self._kept: _Kept | None = None
        self._turn = asyncio.Lock()

    async def visible(
        self, account: str, at: Standing, now: datetime, context: Mapping[str, Any] | None = None
    ) -> bytes:
        """1 at the numbers of the audiences that the account belongs to, in a context of conditions.

        At the access revision of `at`, or at a newer one: a read that it overtook repeats anyway.
        """
        if not at.enabled:
            return bytes(at.next_audience)
        index = self._following.index
        if index is None or index.revision < at.access_revision or index.next_audience < at.next_audience:
            index = await self._followed(at)
        now = self._clock = max(now, self._clock)  # what has ended does not begin again with the clock
        live = live_scopes(self._policies, at.completed, now)
        if self._kept is None or not self._kept.serves(index.version, live, now):
            self._kept = _Kept(index.version, live, index.until(now))
        kept = self._kept.visible
        key = account, orjson.dumps(context or {}, option=orjson.OPT_SORT_KEYS)
        if key not in kept:
            kept[key] = Evaluation(index, self._model, account, live, now, context or {}).visible()
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]

    async def follow(self, revision: int) -> int:
        """Follow the feed to the revision, and to all that is committed; the revision that was reached.

        Raises TimeoutError where the feed does not go as far.
        """
        async with self._turn:
            return (await self._following.reach(revision)).revision

    async def _followed(self, at: Standing) -> VisibilityIndex:
        async with self._turn:
            index = await self._following.reach(at.access_revision)
            if index.next_audience < at.next_audience and not await self._database.read_transaction(
                partial(load_audiences, index=index)
            ):
                await self._database.write_transaction(partial(load_audiences_whole, index=index))
            return index

    async def save(self) -> None:
        """Save the index, unless nothing is known yet."""
        async with self._turn:
            index, epoch = self._following.index, self._following.epoch
            if self._saved is not None and index is not None:
                means = meaning(self._model, self._following.bindings)
                await asyncio.to_thread(save, index, self._saved, epoch, means)

    async def _load(self, now: Witness) -> VisibilityIndex | None:
        return await asyncio.to_thread(self._load_saved, now)

    def _load_saved(self, now: Witness) -> VisibilityIndex | None:
        if self._saved is None:
            return None
        try:
            index = load_saved(self._saved, now.epoch, meaning(self._model, self._following.bindings))
            if index is not None and index.revision > now.revision:
                raise SavedIndexError(f"it knows revision {index.revision}, the graph is at {now.revision}")
        except SavedIndexError as error:
            log.warning("%s is not used, who may see what is read from the graph: %s", self._saved, error)
            return None
        return index
