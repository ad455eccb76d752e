"""What becomes of claims, and of versions of facts, by a step of a migration. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graph.claims import Claim, EntityClaim, Value
from graph.rebac.relation_tuples import type_of
from ontologies.migrations import Step, type_of_class


def _id(step: Step, id: str) -> str:
    """The id, with the type of the renamed class."""
    if step.kind == "rename_class" and type_of(id) == type_of_class(step.name):
        return type_of_class(step.to) + id[len(type_of_class(step.name)) :]
    return id


def _is_dropped(step: Step, *ids: str) -> bool:
    return step.kind == "drop_class" and any(type_of(id) == type_of_class(step.name) for id in ids)


def migrated(step: Step, claim: Claim) -> Claim | None:
    """What becomes of a claim; the same one where the step is not about it, None where it goes."""
    if isinstance(claim, EntityClaim):
        if _is_dropped(step, claim.id):
            return None
        class_name = (
            step.to if step.kind == "rename_class" and claim.class_name == step.name else claim.class_name
        )
        made: Claim = replace(
            claim,
            id=_id(step, claim.id),
            class_name=class_name,
            collection=_id(step, claim.collection),
            values=_values(step, claim.values),
        )
    else:
        if _is_dropped(step, claim.start, claim.end):
            return None
        type_ = claim.type
        if step.about == "relationship" and type_ == step.name:
            if step.kind == "drop_relationship":
                return None
            type_ = step.to
        made = replace(claim, start=_id(step, claim.start), type=type_, end=_id(step, claim.end))
    return claim if made == claim else made


def _values(step: Step, values: Mapping[str, Value]) -> dict[str, Value]:
    if step.about != "value" or step.name not in values:
        return dict(values)
    rest = {name: value for name, value in values.items() if name != step.name}
    if step.kind == "drop_value":
        return rest
    value = values[step.name]
    several = value if isinstance(value, (tuple, list)) else (value,)
    mapped = tuple(dict.fromkeys(step.map.get(one, one) for one in several))  # type: ignore[arg-type]
    one = mapped if isinstance(value, (tuple, list)) else mapped[0]
    return {**rest, step.to: rest.get(step.to, one)}


def migrated_version(step: Step, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What becomes of a version; None where it goes."""
    if (type_ := row.get("type")) is not None:
        if _is_dropped(step, row["start"], row["end"]):
            return None
        if step.about == "relationship" and type_ == step.name:
            if step.kind == "drop_relationship":
                return None
            type_ = step.to
        start, end = _id(step, row["start"]), _id(step, row["end"])
        return {**row, "start": start, "type": type_, "end": end, "fact": f"{start} {type_} {end}"}
    if _is_dropped(step, row["id"]):
        return None
    renamed = step.kind == "rename_class" and row["class"] == step.name
    collection = row.get("collection")
    return {
        **_values(step, row),
        "id": _id(step, row["id"]),
        "fact": _id(step, row["id"]),
        "class": step.to if renamed else row["class"],
        "collection": None if collection is None else _id(step, collection),
    }
