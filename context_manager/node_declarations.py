"""Mesh nodes that the administrator declares by hand: a source of their own, through the same gate as any.

A node that another source declares is declared there: two sources about where one node is would contradict
each other, and the wrong one would be believed until somebody looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from context_manager.audit import AuditLog
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.lease import CrawlBusyError, LeaseLostError
from graph.store import FactStore
from graph.tuples import NODES_BY_HAND

_SOURCES = "MATCH (n:MeshNode {id: $id}) RETURN n.sources AS sources"


class DeclarationRefused(Exception):  # noqa: N818  named for what happened
    """The node is declared as before; the message says what is wrong."""


def policy(collections: Iterable[str]) -> SourcePolicy:
    """What is declared by hand may be placed in these collections (their ids), and grants nothing."""
    return SourcePolicy(NODES_BY_HAND, frozenset(), frozenset(collections), 0, timedelta(days=365_000))


@dataclass(frozen=True, slots=True)
class NodeDeclarations:
    """Who may declare is not asked here."""

    store: FactStore
    audit: AuditLog
    collections: Callable[[], Iterable[str]]
    """Ids of those that there are."""

    async def declare(  # noqa: PLR0913  all is on record
        self,
        account: str,
        node_id: str,
        values: Mapping[str, Any],
        *,
        owner: str | None,
        collection: str,
        until: datetime | None,
        reason: str,
    ) -> None:
        """Declare the node, or declare it anew. `values` by the names of the ontology's properties.

        Raises DeclarationRefused, and AuditError before anything is done.
        """
        evidence = f"declared by {account}"
        claims: list[Claim] = [EntityClaim(node_id, "MeshNode", collection, values, evidence, valid_to=until)]
        if owner is not None:
            claims.append(RelationshipClaim(owner, "OWNS", node_id, evidence, valid_to=until))
        told = {
            **values,
            "owner": owner,
            "collection": collection,
            "until": None if until is None else until.isoformat(),
        }
        await self._write(account, "declare", node_id, claims, {"declared": told, "reason": reason})

    async def withdraw(self, account: str, node_id: str, reason: str) -> None:
        """Take back what was declared by hand. Raises as `declare`."""
        await self._write(account, "withdraw", node_id, [], {"reason": reason})

    async def _write(
        self, account: str, what: str, node_id: str, claims: list[Claim], details: Mapping[str, Any]
    ) -> None:
        known = await self.store.database.read(_SOURCES, id=node_id)
        sources = set(known[0]["sources"] or ()) if known else set()
        if others := sources - {NODES_BY_HAND}:
            raise DeclarationRefused(f"{node_id} is declared by {', '.join(sorted(others))}: change it there")
        if not claims and not sources:
            raise DeclarationRefused(f"no node {node_id[:80]!r} is declared by hand")
        record = {"account": account, "operation": what, "node": node_id}
        await self.audit.record("operation", {**record, **details})
        outcome = "cut off"
        try:
            await self._claim(node_id, claims)
            outcome = "done"
        except DeclarationRefused as error:
            outcome = f"refused: {error}"
            raise
        finally:
            await self.audit.record("operation_closing", {**record, "outcome": outcome})

    async def _claim(self, node_id: str, claims: list[Claim]) -> None:
        try:
            async with self.store.crawl(policy(self.collections()), node_id) as crawl:
                for claim in claims:  # what is refused of the node must not leave it another owner
                    report = await crawl.write([claim])
                    if report.quarantined:
                        wrong = report.quarantined[0]
                        raise DeclarationRefused(f"{wrong.entity}: {wrong.value}: {wrong.message}")
                await crawl.complete()
        except (CrawlBusyError, LeaseLostError):
            raise DeclarationRefused(f"{node_id} is being declared by somebody else: try again") from None
