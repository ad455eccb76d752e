"""Access by hand: grants, denials and disabled accounts, as a source of its own that no crawl touches.

Entries say what was decided; the claims follow from the entries that stand. What takes access away is in the
journal, on disk, before it is committed, and what gives it back only after: a database that was restored
from a backup, or a process that was killed in between, is put right from it, towards less access.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from graph.access_entries import RELATIONSHIPS, AccessEntry, change, create, entries, put
from graph.claims import Claim, RelationshipClaim, SourcePolicy
from graph.journal import Journal, JournalError
from graph.own_claims import keep_claims, relationship_of
from graph.store import FactStore
from graph.tuples import ADMINISTRATION, BY_HAND

_SCOPE = "by hand"
#: Events of `graph.erasure` in the journal.
_OF_ERASURES = frozenset({"erased", "readmitted"})

#: What is decided by hand ages by its own expiry alone.
POLICY = SourcePolicy(ADMINISTRATION, BY_HAND, frozenset(), 0, timedelta(days=365_000))


class Administration:
    """Puts decisions into force, one after the other. Who may decide is not asked here."""

    def __init__(self, store: FactStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._turn = asyncio.Lock()

    async def decide(self, entry: AccessEntry) -> None:
        """Keep the entry; it is in force when this returns, unless it waits for a second person.

        Raises DecisionError, JournalError.
        """
        if entry.restricts:
            await self._note("restricted", entry)
        await create(self._store.database, entry)
        await self._follow([entry])

    async def confirm(self, entry: AccessEntry, by: str) -> AccessEntry | None:
        """A second person confirms what waits, or the lifting of what stands; None when it is too late."""
        if entry.restricts:
            ended = await self.end([entry], by, entry.ending_reason or "")
            return ended[0] if ended else None
        values = {"confirmed_by": by, "confirmed_at": datetime.now(UTC)}
        confirmed = await change(self._store.database, [entry.id], "ended_at", values)
        await self._follow(confirmed)
        return confirmed[0] if confirmed else None

    async def ask_to_end(self, entry: AccessEntry, by: str, reason: str) -> AccessEntry | None:
        """Note that the lifting of a restriction waits for a second person."""
        values = {"ending_by": by, "ending_reason": reason}
        asked = await change(self._store.database, [entry.id], "ended_at", values)
        return asked[0] if asked else None

    async def end(self, ending: Collection[AccessEntry], by: str, reason: str) -> list[AccessEntry]:
        """End the entries; those that were ended by now. Other entries stand on, about the same fact too."""
        values: dict[str, Any] = {"ended_by": by, "ended_at": datetime.now(UTC), "ended_reason": reason}
        for entry in ending:
            if not entry.restricts:
                await self._note("taken back", replace(entry, **values))
        ended = await change(self._store.database, [entry.id for entry in ending], "ended_at", values)
        await self._follow(ended)
        for entry in ended:
            if entry.restricts:
                await self._note("lifted", entry)
        return ended

    async def close_review(self, entry: AccessEntry, by: str, finding: str) -> AccessEntry | None:
        """Close the review of an emergency; None when it is closed already."""
        values = {"reviewed_by": by, "reviewed_at": datetime.now(UTC), "finding": finding}
        closed = await change(self._store.database, [entry.id], "reviewed_at", values)
        return closed[0] if closed else None

    async def rewrite(self, replaced: Callable[[Any], Any], erased: Collection[str]) -> None:
        """Put other names into the journal and the entries; what was granted to the `erased` ends.

        What they are denied stands on, about their pseudonyms. Again is as once.
        """
        known = await entries(self._store.database)
        now = datetime.now(UTC)
        values = {"ended_by": ADMINISTRATION, "ended_at": now, "ended_reason": "erased"}
        ending = [
            entry.id
            for entry in known
            if not entry.restricts and entry.subject in erased and entry.ended_at is None
        ]
        await change(self._store.database, ending, "ended_at", values)
        changed = {
            entry: new
            for entry in await entries(self._store.database)
            if (new := AccessEntry.from_json(replaced(entry.to_json()))) != entry
        }
        await asyncio.to_thread(
            self._journal.rewrite,
            lambda record: replaced(record) if record["event"] not in _OF_ERASURES else record,
        )
        await put(self._store.database, changed.values())
        await self._follow([*changed, *changed.values()])

    async def reconcile(self, *, restored: bool) -> None:
        """Put the database right by the journal; called once at start, before anything is answered.

        After a restore the journal knows what was since taken away, so that what still stands by hand is
        vouched for anew. Otherwise grants that were suspended stay so.
        """
        async with self._turn:
            await self._replay()
            known = await entries(self._store.database)
            now = datetime.now(UTC)
            standing = {entry.fact for entry in known if entry.state(now) == "standing"}
            claimed = await self._claimed()
            await self._write(standing | claimed if restored else standing ^ claimed)
            if restored or not known:
                await self.vouch()

    async def vouch(self) -> None:
        """Somebody, or the journal, says that what stands by hand should stand: nothing is suspended."""
        async with self._store.crawl(POLICY, _SCOPE) as crawl:
            await crawl.confirm()

    async def suspended(self) -> bool:
        """Whether what was granted by hand waits to be vouched for, since the database was restored."""
        [record] = await self._store.database.read(
            """
            OPTIONAL MATCH (s:_Source {name: $name, scope: $scope})
            RETURN s.completedAt IS NULL AS suspended
            """,
            name=ADMINISTRATION,
            scope=_SCOPE,
        )
        return bool(record["suspended"])

    async def _note(self, event: str, entry: AccessEntry) -> None:
        await asyncio.to_thread(self._journal.append, {"event": event, "entry": entry.to_json()})

    async def _replay(self) -> None:
        """Restrictions that were not lifted stand, and what was taken back is ended."""
        restrictions: dict[str, AccessEntry] = {}
        taken_back: dict[str, AccessEntry] = {}
        for number, record in enumerate(self._journal.records(), start=1):
            match record:
                case {"event": "restricted", "entry": dict(row)}:
                    entry = _read(self._journal, number, row)
                    restrictions[entry.id] = entry
                case {"event": str(event)} if event in _OF_ERASURES:
                    pass
                case {"event": "lifted", "entry": {"id": str(id)}}:
                    restrictions.pop(id, None)
                case {"event": "taken back", "entry": dict(row)}:
                    entry = _read(self._journal, number, row)
                    taken_back[entry.id] = entry
                case _:
                    raise JournalError(f"{self._journal.path}:{number}: expected an event of access by hand")
        database = self._store.database
        for entry in restrictions.values():
            await create(database, entry)
        for entry in taken_back.values():
            values = {name: getattr(entry, name) for name in ("ended_by", "ended_at", "ended_reason")}
            await change(database, [entry.id], "ended_at", values)

    async def _claimed(self) -> set[str]:
        """The facts by hand that the graph has."""
        records = await self._store.database.read(
            """
            MATCH (start:Entity)-[r]->(end:Entity) WHERE type(r) IN $types
            RETURN start.id + ' ' + type(r) + ' ' + end.id AS fact
            """,
            types=sorted(BY_HAND),
        )
        return {record["fact"] for record in records}

    async def _follow(self, changed: Iterable[AccessEntry]) -> None:
        async with self._turn:
            await self._write({entry.fact for entry in changed})

    async def _write(self, facts: Set[str]) -> None:
        """Make the claims on the facts what their entries say now."""

        async def follow() -> tuple[list[Claim], list[Claim]]:
            known = await entries(self._store.database, objects={fact.split(" ")[2] for fact in facts})
            now = datetime.now(UTC)
            standing = defaultdict(list)
            for entry in known:
                if entry.fact in facts and entry.state(now) == "standing":
                    standing[entry.fact].append(entry)
            claims: list[Claim] = [claim_of(of_fact) for of_fact in standing.values()]
            return claims, [relationship_of(fact) for fact in facts - standing.keys()]

        if facts:
            await keep_claims(self._store, POLICY, _SCOPE, follow)


def claim_of(standing: Sequence[AccessEntry]) -> RelationshipClaim:
    """What entries say together of one fact: all have begun, so it holds until the last of them ends."""
    first = standing[0]
    ends = [entry.until for entry in standing]
    until = None if None in ends else max(end for end in ends if end is not None)
    evidence = "; ".join(f"{entry.kind} {entry.id} by {entry.by}: {entry.reason}" for entry in standing)
    return RelationshipClaim(first.subject, RELATIONSHIPS[first.kind], first.object, evidence, valid_to=until)


def _read(journal: Journal, number: int, row: dict[str, object]) -> AccessEntry:
    try:
        return AccessEntry.from_json(row)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(
            f"{journal.path}:{number}: expected an entry of access by hand: {error}"
        ) from error
