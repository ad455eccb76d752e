"""Keeps proposals of entities that are one up with the feed, and merges what a key decides.

What is compared is held in memory, read anew at each start; the same facts make the same proposals.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Collection
from datetime import UTC, datetime

from context_manager.audit import AuditLog
from discovery.resolution import Resolver
from graph.database import Database
from graph.feed import changes, current_revision, wait_beyond
from graph.merges import KEY, Decision, MergeError, Merges, check_merge, decisions, standing_around
from graph.proposals import described, proposal_of, replace_proposals
from ontologies import Ontology

log = logging.getLogger(__name__)

_REVISIONS = 20


async def keep_proposals(database: Database, ontology: Ontology, merges: Merges, audit: AuditLog) -> None:
    """Until cancelled. Raises what the database, the audit log and the store do."""
    resolver = Resolver(ontology)
    reached = await compare_all(resolver, database, merges, audit)
    while True:
        await wait_beyond(database, reached)
        reached = await compare_changed(resolver, database, merges, audit, reached)


async def compare_all(resolver: Resolver, database: Database, merges: Merges, audit: AuditLog) -> int:
    """Compare all entities; the revision that was reached."""
    reached = await current_revision(database)
    found = await described(database, resolver.ontology)
    resolver.update(found, found)
    await replace_proposals(database, await asyncio.to_thread(lambda: list(resolver.proposals())))
    await _follow_keys(resolver, database, merges, audit, None)
    return reached


async def compare_changed(
    resolver: Resolver, database: Database, merges: Merges, audit: AuditLog, reached: int
) -> int:
    """Compare what changed in the next revisions with all; the revision that was reached."""
    deciding = {one.type for one in resolver.ontology.relationships.values() if one.identifies}
    revisions = await changes(database, reached, _REVISIONS)
    touched = set()
    for change in (change for revision in revisions for change in revision.changes):
        if change.kind == "entity":
            touched.add(change.id)
        elif change.kind == "relationship" and change.id.split(" ")[1] in deciding:
            touched.add(change.id.split(" ")[0])
    if touched:
        touched |= resolver.update(touched, await described(database, resolver.ontology, touched))
        proposals = await asyncio.to_thread(lambda: list(resolver.proposals(touched)))
        await replace_proposals(database, proposals, touched)
        await _follow_keys(resolver, database, merges, audit, touched)
    return revisions[-1].number if revisions else reached


async def _follow_keys(
    resolver: Resolver, database: Database, merges: Merges, audit: AuditLog, ids: Collection[str] | None
) -> None:
    """Merge what shares a key that decides, unless a person decided otherwise on the same; undo what a key
    decided and decides no more."""
    for one in await decisions(database, ids, standing=True):
        if one.by == KEY and not resolver.share_a_key(one.kept, one.other):
            reason = "no key decides it any more"
            await _record(audit, "undo merge", one, reason)
            await merges.undo(one.id, KEY, reason, one.digests)
    for key, kept, other in resolver.one_by_key(ids):
        async with merges.turn:
            proposal = await proposal_of(database, kept, other)
            digest = "" if proposal is None else proposal.digest
            before = await decisions(database, [other])
            if any(kept in {one.kept, one.other} and digest in one.digests for one in before):
                continue
            try:
                check_merge(await standing_around(database, [kept, other]), kept, other)
            except MergeError as error:
                log.info("%s: %s", key, error)
                continue
            reason = f"both have {key}"
            now = datetime.now(UTC)
            made = Decision(uuid.uuid4().hex, "merge", kept, other, reason, KEY, now, digests=(digest,))
            await _record(audit, "merge", made, reason)
            await merges.decide(made)


async def _record(audit: AuditLog, action: str, decision: Decision, reason: str) -> None:
    record = {
        "action": action,
        "by": KEY,
        "merge": decision.id,
        "kept": decision.kept,
        "other": decision.other,
        "reason": reason,
    }
    await audit.record("identity", record)
