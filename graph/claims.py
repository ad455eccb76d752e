"""What a source says: claims, the batches they travel in, and the reports that come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

Scalar = str | int | float | bool | datetime
"""A value as claimed; datetimes are timezone-aware."""
Value = Scalar | tuple[Scalar, ...]

_KEY_SAFE = "".join(c for c in map(chr, range(33, 127)) if c not in ":#*@%")


@lru_cache(maxsize=4096)  # that of a collection or a folder is asked for again and again
def entity_id(type_name: str, key: str) -> str:
    """`type:key`, the key percent-encoding `:`, `#`, `*`, `@`, `%` and white space.

    Raises ValueError for an empty key.
    """
    if not key.strip():
        raise ValueError(f"an id of type {type_name!r} needs a key that is not empty")
    return f"{type_name}:{quote(key.strip(), safe=_KEY_SAFE)}"


@dataclass(frozen=True, slots=True)
class EntityClaim:
    """A source says that an entity is of a class, has these values, and where its access comes from."""

    id: str
    class_name: str
    collection: str
    """Id of the collection (`collection:key`) whose viewers see the entity."""
    values: Mapping[str, Value]
    """Keyed by the names of the ontology's value properties; a tuple for several values."""
    evidence: str
    """Where in the source, for a person to look it up: `directory.ldif:120`, `plan.pdf page 2`."""
    confidence: float = 1.0
    valid_from: datetime | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class RelationshipClaim:
    """A source says that `(start)-[:type]->(end)` holds. It stands once both ends do."""

    start: str
    type: str
    end: str
    evidence: str
    confidence: float = 1.0
    valid_from: datetime | None = None
    valid_to: datetime | None = None


Claim = EntityClaim | RelationshipClaim


def subject(claim: Claim) -> str:
    """The id of the entity that it is of: the start, of a relationship."""
    return claim.id if isinstance(claim, EntityClaim) else claim.start


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What a source may claim, as the organization's configuration declares it."""

    name: str
    grants: frozenset[str]
    """Access-bearing relationship types (IN_COLLECTION apart) that it may claim."""
    collections: frozenset[str]
    """Ids of the collections that it may place entities in."""
    trust: int
    """On contradicting values the source with the higher trust wins; then the name decides."""
    max_age: timedelta
    """Grants of a source that completed no crawl for longer are suspended."""
    issuers: frozenset[str] | None = None
    """Whose accounts it may say to be a person's (`HAS_ACCOUNT`); None where it alone is granted that."""
    authority: frozenset[str] | None = None
    """The groups, collections and so on whose other grants it may claim, by their ids or, before a `*`, how
    these begin; None where it alone is granted them."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a claim was quarantined."""

    source: str
    entity: str
    shape: str
    """The shape or gate rule that refused it."""
    value: str
    message: str
    """What was expected and what to do."""


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What one write changed. `revision` is the current one, unchanged when nothing changed."""

    revision: int
    added: int = 0
    changed: int = 0
    retracted: int = 0
    unchanged: int = 0
    quarantined: tuple[Violation, ...] = field(default=())
