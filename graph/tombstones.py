"""What is left of an erased person: keyed hashes of ids, by which claims about them are known and kept out.

A pseudonym looks like an id, `person:erased-…`, and stands wherever something must go on without the
person: in denials by hand, in the record of what was known. The key is in the data folder, never in the
database: without it nobody can try out whom a pseudonym is of.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from neo4j import AsyncManagedTransaction

from graph.claims import Claim, EntityClaim, Violation
from graph.facts import Stated
from graph.rebac.relation_tuples import type_of

RULE = "og:erased"
_KEY_BYTES = 32


class PseudonymKeyError(Exception):
    """The key of the pseudonyms is missing or broken; the message names its file and what to do."""


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Makes pseudonyms of ids."""

    key: bytes = field(repr=False)

    def of(self, id: str) -> str:
        """Of the same type, without personal data."""
        digest = blake2b(id.encode(errors="surrogatepass"), key=self.key, digest_size=16).hexdigest()
        return f"{type_of(id)}:erased-{digest}"


def open_pseudonyms(path: Path) -> Pseudonyms:
    """With the key in the file, which is made where there is none. Raises PseudonymKeyError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(file, "wb") as opened:
            opened.write(secrets.token_bytes(_KEY_BYTES))
            opened.flush()
            os.fsync(opened.fileno())
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise PseudonymKeyError(
            f"{path}: expected a key of {_KEY_BYTES} bytes; restore the file: by it erased persons are known"
        )
    return Pseudonyms(key)


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The pseudonyms of what was erased, as a crawl finds them when it begins."""

    pseudonyms: Pseudonyms | None = None
    erased: frozenset[str] = frozenset()
    types: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        if self.erased and self.pseudonyms is None:
            raise PseudonymKeyError(
                "persons were erased here, and the key by which they are known is not at hand: "
                "use the data folder that the database belongs to"
            )
        object.__setattr__(self, "types", frozenset(map(type_of, self.erased)))

    def of(self, id: str) -> str | None:
        """The pseudonym of what was erased; None for anything else."""
        if self.pseudonyms is None or type_of(id) not in self.types:
            return None
        pseudonym = self.pseudonyms.of(id)
        return pseudonym if pseudonym in self.erased else None

    def about(self, claim: Claim) -> str | None:
        """The pseudonym of the erased entity that the claim is about, or that one of its ends is."""
        if not self.erased:
            return None
        ids = (claim.id,) if isinstance(claim, EntityClaim) else (claim.start, claim.end)
        return next(filter(None, map(self.of, ids)), None)


def kept_out(source: str, scope: str, trust: int, pseudonym: str) -> tuple[Stated, Violation]:
    """What is quarantined in place of all that a scope claims of an erased entity, and why."""
    nothing = EntityClaim(pseudonym, "", "", {}, "")
    message = (
        "it was erased, and the source still lists it: take it out of the source, or let the administrator "
        "readmit the person"
    )
    return Stated(source, scope, trust, pseudonym, nothing), Violation(source, pseudonym, RULE, "", message)


async def tombstones(tx: AsyncManagedTransaction, pseudonyms: Pseudonyms | None) -> Tombstones:
    """Those that the database has."""
    result = await tx.run("MATCH (t:_Tombstone) RETURN t.id AS id")
    return Tombstones(pseudonyms, frozenset([record["id"] async for record in result]))


async def bury(tx: AsyncManagedTransaction, pseudonyms: Iterable[str], erasure: str) -> None:
    """Set the tombstones of one erasure."""
    await tx.run(
        "UNWIND $ids AS id MERGE (t:_Tombstone {id: id}) SET t.erasure = $erasure",
        ids=sorted(pseudonyms),
        erasure=erasure,
    )
