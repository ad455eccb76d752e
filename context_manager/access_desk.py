"""Who asks to decide about access, what they may, and the record of it.

A refusal says the same of what there is not and of what is not the asker's to decide.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from context_manager.audit import AuditLog
from discovery.sources import OrganizationConfig, SourceConfig
from graph.access_snapshot import AccessSnapshot, access_snapshot
from graph.administration import Administration
from graph.audiences import VIEWER
from graph.claims import Claim, SourcePolicy
from graph.database import Database
from graph.merges import Merges, standing_around
from graph.reads import Asker, Reader
from graph.rebac.relation_tuples import TupleKey
from graph.store import FactStore
from ontologies import AuthorizationModel, Ontology

T = TypeVar("T")

MAX_REASON = 500
"""Characters of a reason."""


class AccessRefused(Exception):  # noqa: N818  named for what happened
    """What was asked is not done; the message tells no more than the asker may know."""


@dataclass(frozen=True, slots=True)
class AccessDesk:
    """What decisions about access need of the service."""

    organization: OrganizationConfig
    configured: Callable[[], OrganizationConfig]
    """The configuration as its file is now."""
    said: Callable[[SourceConfig], Awaitable[tuple[Sequence[Claim], frozenset[str]]]]
    """As `Runner.said`."""
    ontology: Ontology
    model: AuthorizationModel
    policies: Sequence[SourcePolicy]
    administration: Administration
    database: Database
    reader: Reader
    audit: AuditLog
    merges: Merges
    store: FactStore

    async def rights(self, asker: Asker) -> Rights:
        """What the asker may decide now."""
        now = datetime.now(UTC)
        snapshot = await access_snapshot(self.database, self.ontology, self.model, self.policies, now)
        persons = snapshot.persons(asker.account)
        merges = await standing_around(self.database, persons)
        return Rights(
            asker,
            snapshot,
            persons,
            persons.union(*((one.kept, one.other) for one in merges)),
            snapshot.check(asker.account, "administrator", self.organization.id),
        )

    def takes_two(self, collection: str) -> bool:
        """Whether what is decided about the collection takes a second person; so where it is not known."""
        declared = self.organization.collection_with(collection)
        return declared is None or declared.four_eyes

    async def knows(self, rights: Rights, id: str) -> bool:
        """Whether there is such an entity, as far as the asker may know; the administrator may."""
        if rights.administrator:
            return await self.exists(id)
        return id in await self.seen(rights.asker, [id])

    async def seen(self, asker: Asker, ids: Sequence[str]) -> frozenset[str]:
        """Those of the entities that the asker sees."""
        found, _revision = await self.reader.run(asker, lambda view: view.present(ids))
        return found

    async def exists(self, id: str) -> bool:
        """Whether there is such an entity, whoever sees it."""
        return bool(await self.database.read("MATCH (n:Entity {id: $id}) RETURN 1", id=id))

    async def carry_out(
        self,
        asker: Asker,
        action: str,
        details: Mapping[str, Any],
        work: Callable[[], Awaitable[T]],
        kind: str = "administration",
    ) -> T:
        """Do it; the intent is on disk before, the outcome after. Raises AuditError and what `work` does."""
        operation = uuid.uuid4().hex
        intent = {"operation": operation, "action": action, **_who(asker), "details": details}
        await self._record(kind, intent)
        outcome = "cut off"
        try:
            done = await work()
            outcome = "done"
        except Exception:
            outcome = "failed"
            raise
        finally:
            await self._record("administration_closing", {"operation": operation, "outcome": outcome})
        return done

    async def refused(self, asker: Asker, action: str, *about: str) -> AccessRefused:
        """The refusal to raise; on record too, since somebody tried."""
        record = {"action": action, **_who(asker), "about": [text[:200] for text in about]}
        await self._record("administration_refused", record)
        return AccessRefused("there is nothing of that name here, or it is not yours to decide")

    async def note(self, asker: Asker, question: str, *about: str) -> None:
        """Who looks into the access of others is on record."""
        await self._record("access_question", {"question": question, **_who(asker), "about": list(about)})

    async def _record(self, kind: str, record: Mapping[str, Any]) -> None:
        await self.audit.record(kind, record)


@dataclass(frozen=True, slots=True)
class Rights:
    """An asker, and what they may decide at one instant."""

    asker: Asker
    snapshot: AccessSnapshot
    persons: frozenset[str]
    """Whose account asks; nobody's for one that no source vouches for."""
    same: frozenset[str]
    """These, and all that were decided to be one with them, whoever may see it."""
    administrator: bool

    def may_take(self, collection: str) -> bool:
        """May deny, and take back what was granted."""
        return self.snapshot.check(self.asker.account, "can_grant", collection)

    def may_give(self, collection: str) -> bool:
        """May grant, and lift a denial: nobody gives what they lack, but for the administrator."""
        return self.may_take(collection) and (
            self.administrator or self.snapshot.check(self.asker.account, VIEWER, collection)
        )

    def linked(self, person: str, account: str) -> AccessSnapshot:
        """Access as it would be if the account were the person's."""
        return self.snapshot.with_tuples(added=[TupleKey(account, "account", person)])

    def gained_by_link(self, person: str, account: str) -> frozenset[str]:
        """The collections that the account would come to view."""
        after = self.linked(person, account).granted(account, VIEWER, "collection")
        return after - self.snapshot.granted(account, VIEWER, "collection")

    def may_link(self, person: str, account: str) -> bool:
        """May decide that the account is the person's: gives all that the account would gain by it."""
        gained = self.gained_by_link(person, account)
        return self.administrator or (bool(gained) and all(map(self.may_give, gained)))

    def other_person_than(self, account: str | None) -> bool:
        """Whether the asker is certainly somebody else than the person of that account."""
        theirs = frozenset() if account is None else self.snapshot.persons(account)
        return bool(self.persons and theirs) and self.same.isdisjoint(theirs)


def check_reason(reason: str) -> None:
    """Raises AccessRefused for a reason that says nothing, or too much."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise AccessRefused(f"reason: expected 1 to {MAX_REASON} characters that say why")


def _who(asker: Asker) -> dict[str, Any]:
    return {
        "account": asker.account,
        "agent": asker.agent,
        "earlier_agents": list(asker.earlier_agents),
        "scope": str(asker.scope),
    }
