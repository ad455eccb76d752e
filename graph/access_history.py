"""What changed for whom between two revisions: the grants that came and went, from the change feed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from graph.database import Database
from graph.epoch import LOST, was_lost
from graph.facts import IN_COLLECTION
from graph.feed import FactChange, changes, compacted_to
from ontologies.ontology import Ontology

_PAGE = 100


class HistoryError(ValueError):
    """The outbox does not tell of that revision, or no more; the message says what to ask instead."""


@dataclass(frozen=True, slots=True)
class AccessChange:
    """A relationship that access rests on, or an account's being disabled, as a commit changed it."""

    at: datetime
    source: str
    subject: str
    relationship: str
    """Its type; `disabled` for what an account's own source says of it."""
    object: str
    change: Literal["came", "went", "changed"]


async def access_changes(
    database: Database,
    ontology: Ontology,
    after: int,
    until: int,
    objects: Collection[str] | None = None,
) -> Sequence[AccessChange]:
    """The changes of the revisions `after < r <= until`, oldest first; those at the objects, where given.

    Placements of entities are left out: they are told by the entities. Raises HistoryError.
    """
    if after < (compacted := await compacted_to(database)):
        raise HistoryError("what was changed then is no longer kept; ask for changes since a later revision")
    if await was_lost(database, after, until):
        raise HistoryError(f"{LOST}; ask for changes since another one")
    found: list[AccessChange] = []
    reached = max(after, compacted)
    while reached < until and (revisions := await changes(database, reached, _PAGE)):
        for revision in revisions:
            if revision.number <= until:
                for change in revision.changes:
                    told = _told(ontology, change, revision.at, revision.source)
                    if told is not None and (objects is None or told.object in objects):
                        found.append(told)
        reached = revisions[-1].number
    return found


def _told(ontology: Ontology, change: FactChange, at: datetime, source: str) -> AccessChange | None:
    described = change.after or change.before
    if described is None:
        return None
    if change.kind == "relationship":
        relationship = ontology.relationships.get(described["type"])
        if relationship is None or not relationship.access_bearing or relationship.type == IN_COLLECTION:
            return None
        return AccessChange(
            at, source, described["start"], relationship.type, described["end"], _direction(change)
        )
    if change.kind == "entity" and described["class"] == "Account":
        was, is_ = (_disabled(side) for side in (change.before, change.after))
        if was != is_:
            return AccessChange(at, source, change.id, "disabled", change.id, "came" if is_ else "went")
    return None


def _direction(change: FactChange) -> Literal["came", "went", "changed"]:
    if change.before is None:
        return "came"
    return "went" if change.after is None else "changed"


def _disabled(side: object) -> bool:
    return isinstance(side, dict) and bool(side["values"].get("disabled"))
