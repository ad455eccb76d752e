"""Erases a person from the whole database, step by step: what breaks off goes on at the next start.

An erasure begins with the journal, outside the database, and with tombstones, which keep claims out and end
the crawls under way. While it lasts an `_Erasure` node knows what is to go; afterwards nothing does. Of the
past only shells stay: that something was known, since when until when, and in whose sight.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from neo4j import AsyncManagedTransaction

from graph import erasure_steps as steps
from graph import stored_tuples
from graph.administration import Administration
from graph.feed import positions, without
from graph.journal import Journal
from graph.live import for_each
from graph.mentions import Known, Names, mentions
from graph.store import FactStore
from graph.tombstones import Pseudonyms, bury
from graph.tuples import native

_BATCH = 100
#: How long an erasure waits for followers before it says that it goes on, in seconds.
_FOLLOW_SECONDS = 3
_POLL_SECONDS = 0.05
#: Records that steps of their own rewrite, or that hold no text.
_APART = frozenset(
    {
        *("_Page", "_Change", "_Version", "_Claimed", "_Aside", "_Bound", "_Move"),
        *("_Quarantined", "_AccessEntry"),
        *("_TupleStore", "_StoreTuple", "_StoreChange", "_StoreModel", "_StoreAssertions"),
        *("_Tombstone", "_Erasure", "_Revision", "_Meta", "_Position"),
    }
)


class ErasureError(Exception):
    """The erasure cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure found and took away. It names nobody."""

    erasure: str
    subject: str
    """The pseudonym."""
    by: str
    began: datetime
    ended: datetime | None
    """None while it goes on."""
    found: Mapping[str, int]
    """By place: how often the person was there."""
    content: Mapping[str, int]
    """By place: how often facts about others mention them, which stay: the content of documents."""
    remaining: Mapping[str, int]
    """By place: what is left; nothing once it has ended."""
    waits_for: tuple[str, ...] = ()
    """Consumers of the feed that have yet to follow it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "erasure": self.erasure,
            "subject": self.subject,
            "by": self.by,
            "began": self.began.isoformat(),
            "ended": None if self.ended is None else self.ended.isoformat(),
            "found": dict(self.found),
            "content": dict(self.content),
            "remaining": dict(self.remaining),
            "waits_for": list(self.waits_for),
        }


class Erasures:
    """Carries erasures out. Who may ask for one is not asked here."""

    def __init__(
        self,
        store: FactStore,
        administration: Administration,
        journal: Journal,
        pseudonyms: Pseudonyms,
        saved: Path | None = None,
    ) -> None:
        """`saved`: the file with the visibility index, which is made anew."""
        self._saved = saved
        self._store, self._database = store, store.database
        self._administration = administration
        self._journal = journal
        self.pseudonyms = pseudonyms
        self.turn = asyncio.Lock()
        """For whoever begins, carries on and forgets: one at a time."""

    async def known(self, person: str) -> Known:
        """Where the person is. Raises ErasureError where nothing is known of them."""
        ids, shared = await self._database.read_transaction(
            partial(steps.belongings, ontology=self._store.shapes.ontology, person=person)
        )
        words = await self._database.read_transaction(
            partial(steps.words_of, ontology=self._store.shapes.ontology, ids=ids)
        )
        names = Names({id: self.pseudonyms.of(id) for id in ids}, words)
        found = await mentions(self._database, names)
        if not found.own:
            raise ErasureError("nothing is known of that person")
        return Known(names, found, shared)

    async def begin(self, known: Known, by: str) -> str:
        """From here on it is certain to be done; the erasure's id."""
        erasure, now = uuid4().hex, datetime.now(UTC)
        tombs = list(known.names.ids.values())
        self._journal.append({"event": "erased", "erasure": erasure, "ids": tombs})
        await self._database.write_transaction(
            partial(steps.begin, erasure=erasure, known=known, by=by, now=now)
        )
        return erasure

    async def carry_on(self, erasure: str) -> Receipt:
        """All that can be done now. Raises JournalError and AdministrationError, and can be called again."""
        job = await self._job(erasure)
        names = Names(dict(zip(job["ids"], job["pseudonyms"], strict=True)), frozenset(job["words"]))
        revision = await self._database.write_transaction(
            partial(steps.take_facts, ontology=self._store.shapes.ontology, erasure=erasure, names=names)
        )
        await self._outbox(names, apart_from=revision)
        await self._administration.rewrite(names.replaced, names.ids)
        await self._rewrite_records(names)
        await stored_tuples.rewrite(self._database, names.replaced)
        behind = await self._behind(revision)
        if not behind:
            await self._outbox(names)
            if self._saved is not None:
                self._saved.unlink(missing_ok=True)
        found = await mentions(self._database, names)
        ended = None if behind or found.own else datetime.now(UTC)
        return Receipt(
            erasure,
            names.person,
            job["by"],
            native(job["began"]),
            ended,
            json.loads(job["found"]),
            found.content,
            found.own,
            tuple(behind),
        )

    async def forget(self, erasure: str) -> None:
        """Once the receipt is on record: nothing here knows any more whose it was."""

        async def work(tx: AsyncManagedTransaction) -> None:
            await tx.run("MATCH (e:_Erasure {id: $id}) DELETE e", id=erasure)

        await self._database.write_transaction(work)

    async def pending(self) -> list[str]:
        """Erasures that were begun and have not ended, those included that a restored database has lost."""
        await self._repeat_lost()
        records = await self._database.read("MATCH (e:_Erasure) RETURN e.id AS id ORDER BY e.began, id")
        return [record["id"] for record in records]

    async def readmit(self, person: str) -> list[str]:
        """Let crawls bring the person back; what was denied them by hand is in force again.

        Returns pseudonyms of what stays out, as something was decided about it, by hand or in a store of an
        application, that only its id puts in force again: readmit each by its id.
        Raises ErasureError where it was not erased.
        """
        pseudonym = self.pseudonyms.of(person)
        records = await self._database.read(
            """MATCH (t:_Tombstone {id: $id}) MATCH (o:_Tombstone {erasure: t.erasure})
               WHERE NOT EXISTS { MATCH (e:_Erasure {id: t.erasure}) }
               RETURN o.id AS id, EXISTS {
                   MATCH (a:_AccessEntry {object: o.id}) WHERE a.ended_at IS NULL
               } OR EXISTS {
                   MATCH (s:_StoreTuple) WHERE s.user CONTAINS o.id OR s.object CONTAINS o.id
               } AS rests""",
            id=pseudonym,
        )
        if not records:
            raise ErasureError("nobody of that id was erased, or their erasure has not ended yet")
        out = {record["id"] for record in records if record["rests"]} - {pseudonym}
        back = {record["id"] for record in records} - out
        self._journal.append({"event": "readmitted", "ids": sorted(back)})
        names = Names({pseudonym: person})
        await self._administration.rewrite(names.replaced, ())
        await stored_tuples.rewrite(self._database, names.replaced)
        await self._database.write_transaction(partial(steps.readmit, pseudonyms=back))
        return sorted(out)

    async def _job(self, erasure: str) -> Mapping[str, Any]:
        records = await self._database.read("MATCH (e:_Erasure {id: $id}) RETURN e {.*} AS job", id=erasure)
        if not records:
            raise ErasureError(f"no erasure {erasure} is under way")
        job: Mapping[str, Any] = records[0]["job"]
        return job

    async def _behind(self, revision: int) -> list[str]:
        """Consumers that have yet to follow it, once they had a moment to."""
        deadline = time.monotonic() + _FOLLOW_SECONDS
        while True:
            reached = await positions(self._database)
            behind = sorted(name for name, at in reached.items() if at < revision)
            if not behind or time.monotonic() > deadline:
                return behind
            await asyncio.sleep(_POLL_SECONDS)

    async def _repeat_lost(self) -> None:
        """A database from before an erasure knows nothing of it; the journal does."""
        erased: dict[str, Sequence[str]] = {}
        for record in self._journal.records():
            match record:
                case {"event": "erased", "erasure": str(erasure), "ids": list(ids)}:
                    erased[erasure] = ids
                case {"event": "readmitted", "ids": list(back)}:
                    erased = {one: [id for id in ids if id not in back] for one, ids in erased.items()}
        records = await self._database.read("MATCH (t:_Tombstone) RETURN t.id AS id")
        there = {record["id"] for record in records}
        lost = {one: ids for one, ids in erased.items() if not there.issuperset(ids)}
        if not lost:
            return
        wanted = {id for ids in lost.values() for id in ids}
        by_pseudonym = {
            pseudonym: record["id"]
            for record in await self._database.read(steps.ALL_IDS)
            if (pseudonym := self.pseudonyms.of(record["id"])) in wanted
        }
        for erasure, tombs in lost.items():
            found = {by_pseudonym[tomb]: tomb for tomb in tombs if tomb in by_pseudonym}
            if found:
                words = await self._database.read_transaction(
                    partial(steps.words_of, ontology=self._store.shapes.ontology, ids=list(found))
                )
                names = Names(found, words)
                known = Known(names, await mentions(self._database, names))
                begin = partial(steps.begin, erasure=erasure, known=known, by="", now=datetime.now(UTC))
                await self._database.write_transaction(begin)
            await self._database.write_transaction(partial(bury, pseudonyms=tombs, erasure=erasure))

    async def _outbox(self, names: Names, apart_from: int | None = None) -> None:
        """Take the person's changes out of all revisions, which stay in their order."""

        async def work(tx: AsyncManagedTransaction, after: int) -> int | None:
            result = await tx.run(
                """MATCH (c:_Change) WHERE c.revision > $after
                   RETURN c.revision AS revision, c.changes AS changes ORDER BY revision LIMIT $limit""",
                after=after,
                limit=_BATCH,
            )
            rows, last = [], None
            async for record in result:
                last = record["revision"]
                if last != apart_from and names.packed_within(zlib.decompress(record["changes"])):
                    rows.append([last, without(record["changes"], names.about, names.person, names.replaced)])
            await for_each(
                tx,
                "UNWIND $rows AS row MATCH (c:_Change {revision: row[0]}) SET c.changes = row[1]",
                rows,
            )
            return last

        reached: int | None = 0
        while reached is not None:
            reached = await self._database.write_transaction(partial(work, after=reached))

    async def _rewrite_records(self, names: Names) -> None:
        """Put pseudonyms into what else the database holds beside the facts."""

        async def work(tx: AsyncManagedTransaction) -> None:
            result = await tx.run(
                """MATCH (n) WHERE NOT n:Entity AND none(label IN labels(n) WHERE label IN $apart)
                   RETURN elementId(n) AS id, properties(n) AS row, n:_ScimResource AS pushed""",
                apart=sorted(_APART),
            )
            rows, gone = [], []
            async for record in result:
                if names.within(record["row"]):
                    if record["pushed"] and record["row"]["kind"] == "User":
                        gone.append(record["id"])
                    else:
                        rows.append({"id": record["id"], "row": names.replaced(record["row"])})
            await for_each(tx, "UNWIND $rows AS id MATCH (n) WHERE elementId(n) = id DELETE n", gone)
            await for_each(
                tx, "UNWIND $rows AS row MATCH (n) WHERE elementId(n) = row.id SET n += row.row", rows
            )

        await self._database.write_transaction(work)
