"""What a transaction keeps beside the facts: revisions with their changes, pages, how far scopes are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from graph import live
from graph.pages import Pages
from graph.tuples import Scope


@dataclass(frozen=True, slots=True)
class Commit:
    """A revision. Source and scope are empty where the store itself makes it."""

    number: int
    at: datetime
    changes: bytes
    access: bool
    """Whether what somebody may see can have changed."""
    by: Scope = ("", "")


@dataclass(slots=True)
class Record:
    """All that is to be kept, of one or several orders; written at once, when the transaction ends."""

    pages: Pages
    commits: list[Commit] = field(default_factory=list)
    next_page: int | None = None
    kinds: dict[Scope, Collection[str]] = field(default_factory=dict)
    """Kinds of what scopes claim, where there are more than before."""
    reached: dict[Scope, Mapping[str, str]] = field(default_factory=dict)
    """What is kept of how far scopes are read."""
    superseded: list[Any] = field(default_factory=list)
    """Claims that are no longer what they were (`graph.past_claims.row`)."""
    moved: list[Any] = field(default_factory=list)
    """Claims whose evidence is no longer what it was, likewise."""

    async def write(self, tx: AsyncManagedTransaction, facts: live.Rows | None = None) -> None:
        """And the facts, in the same query."""
        pages, emptied = self.pages.changed()
        meta: dict[str, Any] = {} if self.next_page is None else {"nextPage": self.next_page}
        if self.commits:
            meta |= {"revision": self.commits[-1].number, "at": self.commits[-1].at}
        if access := [one.number for one in self.commits if one.access]:
            meta["accessRevision"] = access[-1]
        if not (meta or pages or emptied or self.kinds or self.reached or facts):
            return
        kept = {
            "meta": meta,
            "pages": pages,
            "emptied": emptied,
            "kinds": [[*by, sorted(kinds)] for by, kinds in self.kinds.items()],
            "reached": [[*by, reached] for by, reached in self.reached.items()],
            "superseded": self.superseded,
            "commits": [[one.number, one.at, *one.by, one.changes] for one in self.commits],
        }
        await tx.run(_RECORD + (live.WRITE if facts else ""), kept=kept, facts=facts or {})
        if self.moved:
            await tx.run(_MOVED, rows=self.moved)


async def take_revision(tx: AsyncManagedTransaction, commit: Commit) -> None:
    """Record the revision with its changes."""
    await Record(Pages(tx), [commit]).write(tx)


async def write_pages(tx: AsyncManagedTransaction, pages: Pages) -> None:
    """What changed of pages, outside of a crawl."""
    await Record(pages).write(tx)


# What was told first, of those that move twice under one revision, or move where they have just changed.
_MOVED: LiteralString = """
        UNWIND $rows AS row
        MERGE (c:_Claimed {fact: row[0], until: row[1]}) ON CREATE SET c.claims = row[2]
        """
_RECORD: LiteralString = """
        MATCH (meta:_Meta)
        SET meta += $kept.meta
        WITH meta
        CALL () { UNWIND $kept.pages AS row MERGE (p:_Page {number: row.number}) SET p = row }
        CALL () { UNWIND $kept.emptied AS number MATCH (p:_Page {number: number}) DELETE p }
        CALL () {
            UNWIND $kept.superseded AS row
            CREATE (:_Claimed {fact: row[0], until: row[1], claims: row[2]})
        }
        CALL () {
            UNWIND $kept.kinds AS row
            MATCH (s:_Source {name: row[0], scope: row[1]})
            SET s.kinds = row[2]
        }
        CALL () {
            UNWIND $kept.reached AS row
            MERGE (r:_Reading {source: row[0], scope: row[1]})
            SET r += row[2]
        }
        CALL () {
            UNWIND $kept.commits AS row
            CREATE (:_Revision {number: row[0], at: row[1], source: row[2], scope: row[3]})
            CREATE (:_Change {revision: row[0], changes: row[4]})
        }
        """
