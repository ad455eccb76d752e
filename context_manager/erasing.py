"""Erasing a person: the administrator's to ask, on record before anything is done, with a receipt after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_manager.access_desk import AccessDesk, AccessRefused, Rights, check_reason
from context_manager.audit import AuditLog, verify
from graph.erasure import Erasures
from graph.mentions import Known, Names
from graph.reads import Asker

RECORD = "erasure"


@dataclass(frozen=True, slots=True)
class ErasureDesk:
    """What erasures need of the service."""

    access: AccessDesk
    erasures: Erasures


@dataclass(frozen=True, slots=True)
class Told:
    """A receipt, or what a dry run found, with what only who asked is told."""

    receipt: Mapping[str, Any]
    notes: tuple[str, ...]
    """What stays, where and why."""
    mentioned_by: tuple[str, ...] = ()
    """Ids of entities whose content mentions the person."""
    kept: tuple[str, ...] = ()
    """Accounts that are somebody else's by now."""


async def preview(desk: ErasureDesk, asker: Asker, person: str) -> Told:
    """What erasing the person would reach; nothing is done. Raises AccessRefused and ErasureError."""
    known = await _known(desk, asker, person)
    await desk.access.note(asker, "what would be erased", known.names.person)
    receipt = {"subject": known.names.person, "found": dict(known.found.own)}
    content = dict(known.found.content)
    lines = await asyncio.to_thread(_lines, desk.access.audit, known.names)
    return _told(known, {**receipt, "content": content, "remaining": {}, "audit_lines": lines})


async def erase(desk: ErasureDesk, asker: Asker, person: str, reason: str) -> Told:
    """Erase the person everywhere. What cannot be done now is done as soon as it can; the receipt says so.

    Raises as `preview`, and AuditError, JournalError and AdministrationError.
    """
    check_reason(reason)
    known = await _known(desk, asker, person)
    names = known.names

    async def work() -> Told:
        async with desk.erasures.turn:
            erasure = await desk.erasures.begin(known, asker.account)
            return _told(known, await _carry_on(desk.erasures, desk.access.audit, erasure, names))

    details = {"subject": names.person, "reason": names.replaced(reason)}
    return await desk.access.carry_out(asker, "erase", details, work)


async def readmit(desk: ErasureDesk, asker: Asker, person: str, reason: str) -> Sequence[str]:
    """Let crawls bring an erased person, or one of their accounts, back. What `Erasures.readmit` returns."""
    check_reason(reason)
    await _rights(desk, asker, "readmit")
    details = {"subject": desk.erasures.pseudonyms.of(person), "reason": reason}
    return await desk.access.carry_out(asker, "readmit", details, lambda: desk.erasures.readmit(person))


async def receipts(desk: ErasureDesk, asker: Asker) -> Sequence[Mapping[str, Any]]:
    """All receipts, from the audit log, which is looked through for edits first. Raises AuditError."""
    await _rights(desk, asker, "receipts")
    await desk.access.note(asker, "receipts of erasures")
    return await asyncio.to_thread(_receipts, desk.access.audit.path)


async def finish(erasures: Erasures, audit: AuditLog) -> None:
    """Go on with what was cut off, or waits for somebody."""
    async with erasures.turn:
        for erasure in await erasures.pending():
            await _carry_on(erasures, audit, erasure, None)


async def _carry_on(
    erasures: Erasures, audit: AuditLog, erasure: str, names: Names | None
) -> Mapping[str, Any]:
    receipt = await erasures.carry_on(erasure)
    told = receipt.to_json()
    if names is not None:
        told["audit_lines"] = await asyncio.to_thread(_lines, audit, names)
    if names is not None or receipt.ended is not None:
        await audit.record(RECORD, told)
    if receipt.ended is not None:
        await erasures.forget(erasure)
    return told


async def _known(desk: ErasureDesk, asker: Asker, person: str) -> Known:
    rights = await _rights(desk, asker, "erase")
    if not person.startswith("person:"):
        raise AccessRefused("person: expected the id of a person, as `person:ada`")
    if person in {*rights.persons, desk.access.organization.administrator}:
        raise AccessRefused("the administrator cannot be erased: name another one first")
    return await desk.erasures.known(person)


async def _rights(desk: ErasureDesk, asker: Asker, action: str) -> Rights:
    """The administrator's own, not an agent's."""
    rights = await desk.access.rights(asker)
    if not rights.administrator or asker.agent is not None:
        raise await desk.access.refused(asker, action)
    return rights


def _lines(audit: AuditLog, names: Names) -> int:
    with audit.path.open("rb") as file:
        return sum(names.packed_within(line) for line in file)


def _receipts(path: Path) -> list[Mapping[str, Any]]:
    verify(path)
    with path.open("rb") as file:
        records = [json.loads(line) for line in file]
    return [record for record in records if record["kind"] == RECORD]


def _told(known: Known, receipt: Mapping[str, Any]) -> Told:
    content = sum(receipt["content"].values())
    notes = [
        f"{content} facts about others mention the person. They are the content of documents, and stay: "
        "change the documents, and the next crawl follows; what they said before goes with its age.",
        f"{receipt['audit_lines']} lines of the audit log name the person. It is the proof of what was done "
        "and decided, is only ever added to, and no answer or search is made from it.",
        "Neo4j's files keep what was deleted until they are written anew: `orgraph rebuild-database`.",
        "Backups are not reached: after one is restored, the erasure is done again by itself.",
    ]
    if receipt.get("waits_for"):
        notes.append(f"It goes on by itself once these have followed: {', '.join(receipt['waits_for'])}.")
    return Told(receipt, tuple(notes), tuple(sorted(known.found.entities)), known.shared)
