"""Access by hand: who may give it, and take it back; on record before and after it takes effect."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime

from context_manager.access_desk import AccessDesk, AccessRefused, Rights, check_reason
from graph.access_entries import AccessEntry, Kind, entries
from graph.reads import Asker

log = logging.getLogger(__name__)


async def grant(  # noqa: PLR0913, PLR0917  all that a decision says
    desk: AccessDesk, asker: Asker, subject: str, collection: str, reason: str, until: datetime | None
) -> AccessEntry:
    """Let a person or group view a collection. Where it takes two, it waits for the second.

    This and all that follow raise AccessRefused, and AuditError, JournalError or DecisionError when
    it could not be recorded or done.
    """
    entry = _entry(desk, asker, "grant", subject, collection, reason, until)
    rights = await desk.rights(asker)
    if not rights.may_give(collection) or not await desk.knows(rights, subject):
        raise await desk.refused(asker, "grant", subject, collection)
    return await _decide(desk, asker, "grant", entry)


async def deny(  # noqa: PLR0913, PLR0917  all that a decision says
    desk: AccessDesk, asker: Asker, subject: str, collection: str, reason: str, until: datetime | None
) -> AccessEntry:
    """Deny a person or group a collection, whoever grants it. In force at once; where it takes two to
    grant, it takes two to lift it."""
    entry = _entry(desk, asker, "denial", subject, collection, reason, until)
    rights = await desk.rights(asker)
    if not rights.may_take(collection) or not await desk.knows(rights, subject):
        raise await desk.refused(asker, "deny", subject, collection)
    return await _decide(desk, asker, "deny", entry)


async def link(  # noqa: PLR0913, PLR0917  all that a decision says
    desk: AccessDesk, asker: Asker, person: str, account: str, reason: str, until: datetime | None
) -> AccessEntry:
    """Say whose an account is, where no source says so. What the account would gain by it, it gains once
    that was confirmed, with the difference before one's eyes."""
    check_reason(reason)
    now = datetime.now(UTC)
    if not (person.startswith("person:") and account.startswith("account:")):
        raise AccessRefused("expected the id of a person and of an account, `person:ada account:acme/ada`")
    if until is not None and (until.tzinfo is None or until <= now):
        raise AccessRefused("until: expected a time to come, with a time zone")
    rights = await desk.rights(asker)
    if not (
        rights.may_link(person, account)
        and await desk.knows(rights, person)
        and await desk.knows(rights, account)
    ):
        raise await desk.refused(asker, "link", person, account)
    if rights.snapshot.named_persons(account):
        raise AccessRefused(
            f"{account} has a person already, as a source or somebody else says: end that first"
        )
    waits = bool(rights.gained_by_link(person, account))
    entry = AccessEntry(
        uuid.uuid4().hex, "link", person, account, reason, asker.account, now, asker.agent, until, waits
    )
    return await _decide(desk, asker, "link", entry)


async def take_back(desk: AccessDesk, asker: Asker, id: str, reason: str) -> AccessEntry:
    """Take back one grant, or lift one denial; the latter waits for a second person where it takes two."""
    check_reason(reason)
    rights = await desk.rights(asker)
    entry = await _entry_of(desk, id)
    now = datetime.now(UTC)
    if entry is None or entry.kind == "disabling" or entry.state(now) not in ("pending", "standing"):
        raise await desk.refused(asker, "take back", id)
    if not _may_end(rights, entry):
        raise await desk.refused(asker, "take back", id)
    details = {"entry": id, "subject": entry.subject, "object": entry.object, "reason": reason}
    if entry.restricts and entry.second:
        asked = await desk.carry_out(
            asker,
            "ask to lift",
            details,
            lambda: desk.administration.ask_to_end(entry, asker.account, reason),
        )
        return await _done(desk, asker, "take back", id, asked)
    ended = await desk.carry_out(
        asker, "take back", details, lambda: desk.administration.end([entry], asker.account, reason)
    )
    return await _done(desk, asker, "take back", id, ended[0] if ended else None)


async def take_back_all(desk: AccessDesk, asker: Asker, subject: str, reason: str) -> list[AccessEntry]:
    """Take back all that was granted by hand to a person or group, where the asker may; what it was."""
    check_reason(reason)
    rights = await desk.rights(asker)
    now = datetime.now(UTC)
    granted = [
        entry
        for entry in await entries(desk.database, subject=subject)
        if not entry.restricts and entry.state(now) in ("pending", "standing") and _may_end(rights, entry)
    ]
    if not granted:
        return []
    details = {"entries": [entry.id for entry in granted], "subject": subject, "reason": reason}
    return await desk.carry_out(
        asker,
        "take back all",
        details,
        lambda: desk.administration.end(granted, asker.account, reason),
    )


async def confirm(desk: AccessDesk, asker: Asker, id: str) -> AccessEntry:
    """Confirm, as the second person, what another one decided. Not by an agent, and not for oneself."""
    rights = await desk.rights(asker)
    entry = await _entry_of(desk, id)
    if (
        entry is None
        or asker.agent is not None
        or not _waits(entry)
        or not _may_confirm(desk, rights, entry)
        or entry.subject in rights.persons
    ):
        raise await desk.refused(asker, "confirm", id)
    details = {"entry": id, "subject": entry.subject, "object": entry.object, "decided_by": entry.by}
    confirmed = await desk.carry_out(
        asker, "confirm", details, lambda: desk.administration.confirm(entry, asker.account)
    )
    return await _done(desk, asker, "confirm", id, confirmed)


async def disable(desk: AccessDesk, asker: Asker, account: str, reason: str) -> AccessEntry:
    """Take all access from an account at once, whatever its source says. For the administrator, who
    cannot lock themselves out."""
    check_reason(reason)
    rights = await desk.rights(asker)
    if (
        not rights.administrator
        or not account.startswith("account:")
        or not await desk.exists(account)
        or not rights.persons.isdisjoint(rights.snapshot.persons(account))
    ):
        raise await desk.refused(asker, "disable", account)
    now = datetime.now(UTC)
    entry = AccessEntry(
        uuid.uuid4().hex, "disabling", desk.organization.id, account, reason, asker.account, now, asker.agent
    )
    return await _decide(desk, asker, "disable", entry)


async def enable(desk: AccessDesk, asker: Asker, account: str, reason: str) -> list[AccessEntry]:
    """Let an account's own source decide again."""
    check_reason(reason)
    rights = await desk.rights(asker)
    now = datetime.now(UTC)
    disablings = [
        entry
        for entry in await entries(desk.database, objects=[account])
        if entry.kind == "disabling" and entry.state(now) == "standing"
    ]
    if not rights.administrator or not disablings:
        raise await desk.refused(asker, "enable", account)
    details = {"entries": [entry.id for entry in disablings], "object": account, "reason": reason}
    return await desk.carry_out(
        asker, "enable", details, lambda: desk.administration.end(disablings, asker.account, reason)
    )


async def break_glass(
    desk: AccessDesk, asker: Asker, collection: str, reason: str, until: datetime | None
) -> AccessEntry:
    """Take access in an emergency, where the configuration lets the person; an alarm, and to be reviewed."""
    check_reason(reason)
    rights = await desk.rights(asker)
    declared = desk.organization.collection_with(collection)
    if (
        declared is None
        or declared.break_glass is None
        or asker.agent is not None
        or len(rights.persons) != 1
        or not rights.snapshot.check(asker.account, "can_break_glass", collection)
    ):
        raise await desk.refused(asker, "break glass", collection)
    now = datetime.now(UTC)
    latest = now + declared.break_glass.longest
    if until is not None and (until.tzinfo is None or not now < until <= latest):
        raise AccessRefused(
            f"until: expected a time with a zone within {declared.break_glass.longest} from now"
        )
    [person] = rights.persons
    entry = AccessEntry(
        uuid.uuid4().hex, "break_glass", person, collection, reason, asker.account, now, until=until or latest
    )
    log.warning("break glass: %s took access to %s until %s", asker.account, collection, entry.until)
    return await _decide(desk, asker, "break glass", entry, kind="break_glass")


async def close_review(desk: AccessDesk, asker: Asker, id: str, finding: str) -> AccessEntry:
    """Say what came of looking into an emergency. By somebody else than who took access."""
    check_reason(finding)
    rights = await desk.rights(asker)
    entry = await _entry_of(desk, id)
    if (
        entry is None
        or not to_review(entry)
        or asker.agent is not None
        or not rights.may_take(entry.object)
        or not rights.other_person_than(entry.by)
    ):
        raise await desk.refused(asker, "close review", id)
    details = {"entry": id, "subject": entry.subject, "object": entry.object, "finding": finding}
    closed = await desk.carry_out(
        asker,
        "close review",
        details,
        lambda: desk.administration.close_review(entry, asker.account, finding),
    )
    return await _done(desk, asker, "close review", id, closed)


async def vouch(desk: AccessDesk, asker: Asker, reason: str) -> None:
    """After a restore that the service did not see: what stands by hand counts again. The administrator's."""
    check_reason(reason)
    if not (await desk.rights(asker)).administrator or asker.agent is not None:
        raise await desk.refused(asker, "vouch")
    await desk.carry_out(asker, "vouch", {"reason": reason}, desk.administration.vouch)


def to_review(entry: AccessEntry) -> bool:
    """Whether it is an emergency that nobody has looked into yet."""
    return entry.kind == "break_glass" and entry.reviewed_at is None


def _may_end(rights: Rights, entry: AccessEntry) -> bool:
    if entry.kind == "link":
        return rights.administrator or rights.asker.account == entry.by
    return rights.may_give(entry.object) if entry.restricts else rights.may_take(entry.object)


def _may_confirm(desk: AccessDesk, rights: Rights, entry: AccessEntry) -> bool:
    """A link takes a second person only where a collection that is gained by it does."""
    if entry.kind == "link":
        gained = rights.gained_by_link(entry.subject, entry.object)
        alone = not any(map(desk.takes_two, gained))
        return rights.may_link(entry.subject, entry.object) and (alone or rights.other_person_than(entry.by))
    return rights.may_give(entry.object) and rights.other_person_than(
        entry.ending_by if entry.restricts else entry.by
    )


def _waits(entry: AccessEntry) -> bool:
    state = entry.state(datetime.now(UTC))
    if entry.restricts:
        return state == "standing" and entry.second and entry.ending_by is not None
    return state == "pending"


def _entry(  # noqa: PLR0913, PLR0917  all that a decision says
    desk: AccessDesk,
    asker: Asker,
    kind: Kind,
    subject: str,
    collection: str,
    reason: str,
    until: datetime | None,
) -> AccessEntry:
    check_reason(reason)
    now = datetime.now(UTC)
    if subject.partition(":")[0] not in ("person", "group"):
        raise AccessRefused("subject: expected the id of a person or group, as `person:ada` or `group:hr`")
    if until is not None and (until.tzinfo is None or until <= now):
        raise AccessRefused("until: expected a time to come, with a time zone")
    return AccessEntry(
        uuid.uuid4().hex,
        kind,
        subject,
        collection,
        reason,
        asker.account,
        now,
        asker.agent,
        until,
        desk.takes_two(collection),
    )


async def _entry_of(desk: AccessDesk, id: str) -> AccessEntry | None:
    found = await entries(desk.database, ids=[id])
    return found[0] if found else None


async def _decide(
    desk: AccessDesk, asker: Asker, action: str, entry: AccessEntry, kind: str = "administration"
) -> AccessEntry:
    await desk.carry_out(asker, action, entry.to_json(), lambda: desk.administration.decide(entry), kind)
    return entry


async def _done(
    desk: AccessDesk, asker: Asker, action: str, id: str, entry: AccessEntry | None
) -> AccessEntry:
    """The entry as it is now; refused when another decision was quicker."""
    if entry is None:
        raise await desk.refused(asker, action, id)
    return entry
