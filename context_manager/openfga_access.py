"""Who may use which store: the administrator all, an account those that it made, and everybody that of
the organization."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from context_manager.openfga_errors import OpenFgaError, store_not_found
from context_manager.openfga_organization import ORGANIZATION_STORE, Organization, OrganizationView
from context_manager.openfga_stores import ApplicationStore, StoreView
from graph.account_standing import AccountStanding, account_standing
from graph.claims import SourcePolicy
from graph.reads import Asker
from graph.token_scope import EVERYTHING
from graph.tuple_store_records import Store
from graph.tuple_stores import TupleStores

#: Seconds after which a standing is read again beside the requests, and after which they wait for that.
_FRESH_FOR, _KEPT_FOR = 0.1, 1.0
_KEPT = 10_000


@dataclass(slots=True)
class _Kept:
    """The last standing that was read, when, and after what."""

    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    standing: AccountStanding | None = None
    after: tuple[int, int] = (0, 0)
    at: float = 0.0
    renewal: asyncio.Task[None] | None = None

    def serves(self, after: tuple[int, int], now: float) -> bool:
        return self.standing is not None and self.after == after and now < self.at + _KEPT_FOR


@dataclass(frozen=True, slots=True)
class AuthorizationService:
    """All stores of tuples, each to whom may use it.

    An agent, and who has a token for less than everything, uses none but the organization's.
    """

    stores: TupleStores
    organization: Organization
    policies: Mapping[str, SourcePolicy]
    """By the name of the source."""
    administrator: str
    """Id of the administrator's person."""
    followed: Callable[[], int]
    """The access revision that this process has followed to, as `ServiceLease.followed`: what a commit takes
    away is followed before it returns."""
    _kept: dict[tuple[str, str], _Kept] = field(default_factory=dict)

    async def store(self, asker: Asker, id: str, current: bool = True) -> StoreView:
        """The store. OpenFgaError, the same for one that is not there and one that is not for the asker.

        Where the request need not be current, what another process wrote is seen a moment later; what
        this one wrote is always seen.
        """
        standing = await self._standing(asker, id, current or id == ORGANIZATION_STORE)
        if not standing.enabled or not asker.scope.reads:
            raise store_not_found()
        if id == ORGANIZATION_STORE:
            return OrganizationView(self.organization, asker, _administers(asker, standing))
        store = standing.store
        if store is None:
            self.stores.forget(id)
            raise store_not_found()
        if not (_administers(asker, standing) or (_unrestricted(asker) and store.owner == asker.account)):
            raise store_not_found()
        return ApplicationStore(self.stores, store, asker.account)

    async def create(self, asker: Asker, name: str) -> Store:
        """A new store of the asker's. OpenFgaError for a disabled account, an agent, or a token for less."""
        standing = await self._standing(asker, "")
        if not standing.enabled or not _unrestricted(asker):
            raise OpenFgaError("forbidden", "the principal is not authorized to perform the action")
        return await self.stores.create(name, asker.account)

    async def list(self, asker: Asker, name: str, after: str, size: int) -> tuple[list[Store], str]:
        """Stores of a page and the id that the next one comes after; the organization's is the first."""
        standing = await self._standing(asker, "")
        if not standing.enabled or not asker.scope.reads:
            return [], ""
        found: list[Store] = []
        organization = self.organization.description()
        if not after and name in ("", organization.name):
            found.append(organization)
        if not _unrestricted(asker):
            return found, ""
        owner = None if standing.administrator else asker.account
        page = await self.stores.list(owner, name, "" if after == _FIRST else after, size - len(found))
        found += page.items
        return found, str(page.last or _FIRST) if page.more else ""

    async def _standing(self, asker: Asker, store: str, current: bool = True) -> AccountStanding:
        if current:
            return await self._read(asker, store)
        if len(self._kept) > _KEPT:
            self._kept.clear()
        kept = self._kept.setdefault((asker.account, store), _Kept())
        now = time.monotonic()
        if kept.serves(self._after(), now):
            if now > kept.at + _FRESH_FOR and (kept.renewal is None or kept.renewal.done()):
                kept.renewal = asyncio.create_task(self._read_into(kept, asker, store))
                kept.renewal.add_done_callback(_look_at)
        else:
            async with kept.reading:
                if not kept.serves(self._after(), time.monotonic()):
                    await self._read_into(kept, asker, store)
        assert kept.standing is not None  # noqa: S101  it was read
        return kept.standing

    def _after(self) -> tuple[int, int]:
        """What a standing that was read before any change of it is of no more use."""
        return self.followed(), self.stores.writes

    async def _read_into(self, kept: _Kept, asker: Asker, store: str) -> None:
        after, at = self._after(), time.monotonic()
        standing = await self._read(asker, store)
        if at > kept.at:  # of two readings the one that began last tells
            kept.standing, kept.after, kept.at = standing, after, at

    async def _read(self, asker: Asker, store: str) -> AccountStanding:
        now = datetime.now(UTC)
        return await account_standing(
            self.stores.database, self.policies, asker.account, self.administrator, store, now
        )


def _look_at(renewal: asyncio.Task[None]) -> None:
    """What a renewal failed with is met again by the next request that has to read."""
    if not renewal.cancelled():
        renewal.exception()


#: Where a page of one ended with the organization's own store.
_FIRST = "organization"


def _administers(asker: Asker, standing: AccountStanding) -> bool:
    return standing.administrator and _unrestricted(asker)


def _unrestricted(asker: Asker) -> bool:
    """Whether it is the person, with a token for everything."""
    return asker.agent is None and asker.scope == EVERYTHING
