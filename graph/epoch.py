"""Whether the database is the one that was left, or an older one, restored from a backup.

Each process keeps a witness outside the database: its epoch and the last revision seen. A database that
does not know that revision has lost what was written since, revocations among it. It begins a new epoch:
its revisions go on after the lost ones, and every grant is suspended until its source was crawled again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from neo4j import AsyncManagedTransaction

from graph.database import Database
from graph.feed import pack_changes

#: Of a revision that `was_lost`.
LOST = "that revision was lost when the database was restored from a backup"


class WitnessError(Exception):
    """The file of the witness is not one; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Witness:
    """The state of a database as last seen."""

    epoch: str
    revision: int


async def seen(database: Database) -> Witness:
    """The database as it is."""
    [record] = await database.read("MATCH (meta:_Meta) RETURN meta.epoch AS epoch, meta.revision AS revision")
    return Witness(record["epoch"], record["revision"])


def read_witness(path: Path) -> Witness | None:
    """The witness in the file; None where there is none yet. Raises WitnessError."""
    try:
        match json.loads(path.read_bytes()):
            case {"epoch": str(epoch), "revision": int(revision)}:
                return Witness(epoch, revision)
    except FileNotFoundError:
        return None
    except ValueError:
        pass
    raise WitnessError(
        f"{path}: expected the epoch and revision of the graph, as Orgraph wrote them. If the file is lost, "
        "remove it, and say `orgraph restored`, so that grants are crawled again before they count"
    )


def write_witness(path: Path, witness: Witness) -> None:
    """Durably, in one step: a crash leaves the one before."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(asdict(witness), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


async def begin_epoch(database: Database, after_revision: int) -> Witness:
    """The database was restored: what it grants is suspended until it was crawled again.

    The next revision comes after all that are known of, lost ones included, so that no number means two
    states. What is declared to be complete, and when, is forgotten.
    """

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            """
            MATCH (meta:_Meta)
            WITH meta, CASE WHEN meta.revision > $after THEN meta.revision ELSE $after END + 1 AS number
            SET meta.earlierEpochs = coalesce(meta.earlierEpochs, []) + meta.epoch,
                meta.epoch = $epoch, meta.epochBegan = $now, meta.epochFrom = number,
                meta.revision = number, meta.accessRevision = number
            CREATE (:_Revision {number: number, at: $now, source: '', scope: ''})
            CREATE (:_Change {revision: number, changes: $changes})
            """,
            after=after_revision,
            epoch=uuid4().hex,
            now=datetime.now(UTC),
            changes=pack_changes([]),
        )
        await tx.run("MATCH (s:_Source) REMOVE s.completedAt")

    await database.write_transaction(work)
    return await seen(database)


async def was_lost(database: Database, *revisions: int) -> bool:
    """Whether one of them is of an epoch of the graph that ended: its number is passed over since."""
    [record] = await database.read(
        """MATCH (meta:_Meta)
           RETURN any(number IN $numbers WHERE coalesce(meta.compactedTo, 0) < number <= meta.revision
              AND NOT EXISTS { (:_Revision {number: number}) }) AS lost""",
        numbers=revisions,
    )
    return bool(record["lost"])


async def _is_known(database: Database, before: Witness, now: Witness) -> bool:
    """Whether the database, or the epoch that another process began in it, comes after the witness."""
    if before.epoch == now.epoch:
        return before.revision <= now.revision
    [record] = await database.read(
        """
        MATCH (meta:_Meta)
        RETURN $epoch IN coalesce(meta.earlierEpochs, []) AND $revision < meta.epochFrom AS known
        """,
        epoch=before.epoch,
        revision=before.revision,
    )
    return bool(record["known"])


async def check_epoch(database: Database, path: Path) -> bool:
    """Compare the database with the witness in the file, which then tells of the database as it is.

    True when it turned out to be a restored one, and has begun a new epoch. Raises WitnessError.
    """
    before, now = read_witness(path), await seen(database)
    restored = before is not None and not await _is_known(database, before, now)
    if before is not None and restored:
        now = await begin_epoch(database, before.revision)
    write_witness(path, now)
    return restored
