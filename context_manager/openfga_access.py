"""Who may use which store: the administrator all, an account those that it made, and everybody that of
the organization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from context_manager.kept_readings import KeptReadings
from context_manager.openfga_errors import OpenFgaError, store_not_found
from context_manager.openfga_organization import ORGANIZATION_STORE, Organization, OrganizationView
from context_manager.openfga_stores import ApplicationStore, StoreView
from graph.account_standing import AccountStanding, account_standing
from graph.claims import SourcePolicy
from graph.reads import Asker
from graph.token_scope import EVERYTHING
from graph.tuple_store_records import Store
from graph.tuple_stores import TupleStores


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
    _kept: KeptReadings[tuple[str, str], AccountStanding] = field(init=False)
    """By account and store."""

    def __post_init__(self) -> None:
        def after() -> tuple[int, int]:
            return self.followed(), self.stores.writes

        object.__setattr__(self, "_kept", KeptReadings(self._read, after))

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
        about = asker.account, store
        return await (self._read(about) if current else self._kept.of(about))

    async def _read(self, about: tuple[str, str]) -> AccountStanding:
        account, store = about
        now = datetime.now(UTC)
        return await account_standing(
            self.stores.database, self.policies, account, self.administrator, store, now
        )


#: Where a page of one ended with the organization's own store.
_FIRST = "organization"


def _administers(asker: Asker, standing: AccountStanding) -> bool:
    return standing.administrator and _unrestricted(asker)


def _unrestricted(asker: Asker) -> bool:
    """Whether it is the person, with a token for everything."""
    return asker.agent is None and asker.scope == EVERYTHING
