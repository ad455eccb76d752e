"""Resources that identity providers pushed, kept in Neo4j (`_ScimResource`) beside the live graph.

They are the source that the connector `scim-push` reads: a crawl of it puts right what a push that was
interrupted left undone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, LiteralString

from neo4j import AsyncManagedTransaction

from discovery.scim.filters import Equals
from discovery.scim.resources import ENTERPRISE, Document, Kind, ScimError, ScimOptions, entity_of, references
from graph.database import Database
from graph.tuples import native


@dataclass(frozen=True, slots=True)
class Pushed:
    """A resource as it was pushed."""

    id: str
    kind: Kind
    document: Document
    created: datetime
    modified: datetime


_RETURNED: LiteralString = (
    "r.id AS id, r.kind AS kind, r.document AS document, r.created AS created, r.modified AS modified"
)
_MATCHING: LiteralString = (
    "MATCH (r:_ScimResource {source: $source, kind: $kind}) WHERE $value IS NULL OR r[$name] = $value"
)
#: Attributes that are found by, and what keeps them.
_FOUND_BY = {"username": "userName", "externalid": "externalId", "displayname": "displayName", "id": "id"}


async def pushed(database: Database, source: str) -> Sequence[Pushed]:
    """All resources of a source."""
    query: LiteralString = f"MATCH (r:_ScimResource {{source: $source}}) RETURN {_RETURNED} ORDER BY kind, id"
    return [_pushed(record) for record in await database.read(query, source=source)]


async def some(database: Database, source: str, ids: Sequence[str]) -> Mapping[str, Pushed]:
    """Those of the resources that there are, by id."""
    query: LiteralString = (
        f"MATCH (r:_ScimResource {{source: $source}}) WHERE r.id IN $ids RETURN {_RETURNED}"
    )
    records = await database.read(query, source=source, ids=list(ids))
    return {one.id: one for one in map(_pushed, records)}


async def stale(database: Database, source: str) -> int:
    """How many resources were pushed before the graph was restored from a backup: what was pushed
    afterwards and is lost could have taken them away."""
    [record] = await database.read(
        """MATCH (meta:_Meta) MATCH (r:_ScimResource {source: $source})
           WHERE r.modified < meta.epochBegan RETURN count(r) AS count""",
        source=source,
    )
    return int(record["count"])


async def found(
    database: Database, source: str, kind: Kind, equals: Equals | None, page: tuple[int, int]
) -> tuple[int, Sequence[Pushed]]:
    """How many resources are as the filter says (all without one), and those of a page: from which on (0
    is the first), and how many.

    Raises ScimError for an attribute that is not found by.
    """
    attribute, value = ("id", None) if equals is None else (equals.attribute, equals.value)
    if attribute not in _FOUND_BY:
        known = ", ".join(_FOUND_BY.values())
        raise ScimError("invalidFilter", f"expected a filter on one of {known}, found {attribute!r:.80}")
    name = _FOUND_BY[attribute]
    if isinstance(value, str) and name in ("userName", "displayName"):
        value = value.casefold()
    parameters: dict[str, Any] = {"source": source, "kind": kind, "name": name, "value": value}
    [counted] = await database.read(f"{_MATCHING} RETURN count(r) AS count", **parameters)
    query: LiteralString = f"{_MATCHING} RETURN {_RETURNED} ORDER BY created, id SKIP $start LIMIT $count"
    records = await database.read(query, start=page[0], count=page[1], **parameters)
    return counted["count"], [_pushed(record) for record in records]


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one resource."""

    id: str
    kind: Kind
    make: Callable[[Document | None], Document]
    """Makes it of what it was, None where it is not there. May raise ScimError."""


@dataclass(frozen=True, slots=True)
class Write:
    """What a push changed: the resources whose claims may be others, before and after, by id."""

    before: Mapping[str, Pushed]
    after: Mapping[str, Pushed]


async def write(tx: AsyncManagedTransaction, source: str, options: ScimOptions, edit: Edit) -> Write:
    """Keep a resource as the edit makes it. Raises ScimError: 409 where another is named as it is."""
    await _lock(tx, source)
    id_, kind = edit.id, edit.kind
    affected = await _affected(tx, source, id_)
    now, before = datetime.now(UTC), affected.get(id_)
    if before is not None and before.kind != kind:
        raise absent(id_)
    document = edit.make(None if before is None else before.document)
    resource = Pushed(id_, kind, document, now if before is None else before.created, now)
    entity = entity_of(resource.document, resource.id, resource.kind, options)
    user_name = str(resource.document.get("userName", "")).casefold() or None
    result = await tx.run(
        """
        MATCH (r:_ScimResource {source: $source, kind: $kind}) WHERE r.id <> $id
          AND (r.entity = $entity OR r.userName = $userName) RETURN r.id AS id LIMIT 1
        """,
        source=source, kind=resource.kind, id=resource.id, entity=entity, userName=user_name,
    )  # fmt: skip
    if await result.single() is not None:
        raise ScimError("uniqueness", f"another {resource.kind} is named so; choose another name", 409)
    await tx.run(
        "MERGE (r:_ScimResource {source: $source, id: $id}) SET r += $properties",
        source=source,
        id=resource.id,
        properties={
            "kind": resource.kind,
            "document": json.dumps(resource.document),
            "created": resource.created,
            "modified": resource.modified,
            "entity": entity,
            "userName": user_name,
            "displayName": str(resource.document.get("displayName", "")).casefold() or None,
            "externalId": resource.document.get("externalId"),
            "references": references(resource.document),
        },
    )
    return Write(affected, {**affected, resource.id: resource})


async def remove(tx: AsyncManagedTransaction, source: str, id_: str, kind: Kind) -> Write:
    """Forget a resource, and the memberships that name it. Raises ScimError, 404, where it is not there."""
    await _lock(tx, source)
    affected = await _affected(tx, source, id_)
    if id_ not in affected or affected[id_].kind != kind:
        raise absent(id_)
    await tx.run("MATCH (r:_ScimResource {source: $source, id: $id}) DELETE r", source=source, id=id_)
    after = {}
    for other in affected.values():
        if other.id != id_:
            after[other.id] = replace(
                other, document=_without(other.document, id_), modified=datetime.now(UTC)
            )
            await tx.run(
                """MATCH (r:_ScimResource {source: $source, id: $id})
                   SET r.document = $document, r.references = $references, r.modified = $modified""",
                source=source,
                id=other.id,
                document=json.dumps(after[other.id].document),
                references=references(after[other.id].document),
                modified=after[other.id].modified,
            )
    return Write(affected, after)


async def entities(database: Database, source: str, ids: Sequence[str]) -> Mapping[str, str]:
    """The persons and groups that resources are, by the resources' ids."""
    records = await database.read(
        """MATCH (r:_ScimResource {source: $source}) WHERE r.id IN $ids AND r.entity IS NOT NULL
           RETURN r.id AS id, r.entity AS entity""",
        source=source,
        ids=list(ids),
    )
    return {record["id"]: record["entity"] for record in records}


def _without(document: Document, id_: str) -> Document:
    left = dict(document)
    if "members" in left:
        left["members"] = [member for member in left["members"] if member["value"] != id_]
    if left.get(ENTERPRISE, {}).get("manager", {}).get("value") == id_:
        left[ENTERPRISE] = {k: v for k, v in left[ENTERPRISE].items() if k != "manager"}
    return left


async def _lock(tx: AsyncManagedTransaction, source: str) -> None:
    """Pushes of a source take turns."""
    await tx.run("MERGE (s:_ScimSource {name: $source}) SET s.locked = true REMOVE s.locked", source=source)


async def _affected(tx: AsyncManagedTransaction, source: str, id_: str) -> Mapping[str, Pushed]:
    """The resource, where it is there, and those that name it."""
    result = await tx.run(
        f"""MATCH (r:_ScimResource {{source: $source}}) WHERE r.id = $id OR $id IN r.references
            RETURN {_RETURNED}""",
        source=source,
        id=id_,
    )
    return {one.id: one for one in [_pushed(record) async for record in result]}


def _pushed(record: Any) -> Pushed:
    return Pushed(
        record["id"],
        record["kind"],
        json.loads(record["document"]),
        native(record["created"]),
        native(record["modified"]),
    )


def absent(id_: str) -> ScimError:
    return ScimError("", f"there is no resource {id_[:80]!r}", 404)
