"""What governed reads return: entities and neighbours as plain values."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from neo4j.time import DateTime

from graph.claims import Scalar, Value
from graph.inferred import decoded
from graph.rebac.relation_tuples import type_of
from graph.tuples import native
from ontologies.ontology import Ontology


@dataclass(frozen=True, slots=True)
class EntityView:
    """An entity that the asker may see, as it holds now."""

    id: str
    class_name: str
    name: str
    values: Mapping[str, Value]
    """By the names of the ontology's value properties, `name` among them."""
    collection: str | None
    """The collection that it is placed in; None for a collection."""
    sources: tuple[str, ...]
    confidence: float
    since: int
    """Revision since which it is known."""
    valid_from: datetime | None
    valid_to: datetime | None
    same: tuple[str, ...] = ()
    """Where what is told was joined (`graph.joined`): the ids of the others that are one with it."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A relationship of an entity and what is at its other end, both visible."""

    type: str
    outgoing: bool
    entity: EntityView
    sources: tuple[str, ...]
    confidence: float
    since: int
    valid_from: datetime | None
    valid_to: datetime | None
    derivations: tuple[tuple[str, ...], ...] = ()
    """Where it is inferred, what it follows from: premises, each `start TYPE end`; it has no sources."""


@dataclass(frozen=True, slots=True)
class RelationshipView:
    """An asserted relationship whose ends are both visible."""

    start: str
    type: str
    end: str
    sources: tuple[str, ...]
    confidence: float
    since: int
    valid_from: datetime | None
    valid_to: datetime | None

    @property
    def id(self) -> str:
        """As facts are named: `start TYPE end`."""
        return f"{self.start} {self.type} {self.end}"


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the visible entities of a class, by name and id."""

    items: tuple[EntityView, ...]
    end_cursor: str | None
    """Where the next page begins; None at the end."""
    total: int
    """How many are visible in all."""


class CursorError(ValueError):
    """The text is no cursor of a page; the message says what to send instead."""


def entity_view(ontology: Ontology, properties: Mapping[str, Any], collection: str | None) -> EntityView:
    """From a node's properties; those that the ontology does not know are left out."""
    return EntityView(
        properties["id"],
        ontology.class_of_type(type_of(properties["id"])).name,
        properties["name"],
        {name: _value(properties[name]) for name in ontology.values if properties.get(name) is not None},
        collection,
        *_provenance(properties),
    )


def neighbour(type: str, outgoing: bool, properties: Mapping[str, Any], entity: EntityView) -> Neighbour:
    """From a relationship's type and properties, and the entity at its other end."""
    derivations = tuple(map(decoded, properties.get("derivations") or ()))
    return Neighbour(type, outgoing, entity, *_provenance(properties), derivations)


def relationship_view(start: str, type: str, end: str, properties: Mapping[str, Any]) -> RelationshipView:
    """From a relationship's ends, type and properties."""
    return RelationshipView(start, type, end, *_provenance(properties))


def to_cursor(entity: EntityView) -> str:
    """A place in the order by name and id."""
    return base64.urlsafe_b64encode(json.dumps([entity.name, entity.id]).encode()).decode("ascii")


def from_cursor(cursor: str) -> tuple[str, str]:
    """The name and id of the last entity before the place. Raises CursorError."""
    try:
        match json.loads(base64.b64decode(cursor.encode("utf-8", "replace"), altchars=b"-_", validate=True)):
            case [str(name), str(id)]:
                return name, id
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise CursorError("`after` is not the end cursor of a page; send one as it came, unchanged, or none")


def _provenance(
    properties: Mapping[str, Any],
) -> tuple[tuple[str, ...], float, int, datetime | None, datetime | None]:
    return (
        tuple(properties.get("sources", ())),
        float(properties["confidence"]),
        properties["since"],
        _instant(properties.get("validFrom")),
        _instant(properties.get("validTo")),
    )


def _instant(value: DateTime | None) -> datetime | None:
    return None if value is None else native(value)


def _value(value: Any) -> Value:
    return tuple(map(_scalar, value)) if isinstance(value, list) else _scalar(value)


def _scalar(value: Any) -> Scalar:
    scalar: Scalar = native(value) if isinstance(value, DateTime) else value
    return scalar
