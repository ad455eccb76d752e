"""All that a database holds, as text: what is packed is unpacked, so that what stands there is found."""

from __future__ import annotations

import zlib
from typing import Any

from graph.database import Database


async def everything(database: Database) -> dict[str, list[str]]:
    """By label or type: all nodes and relationships."""
    found: dict[str, list[str]] = {}
    for record in await database.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS row"):
        found.setdefault(min(record["labels"]), []).append(_text(record["row"]))
    for record in await database.read(
        "MATCH (a)-[r]->(b) RETURN type(r) AS type, [a.id, b.id, properties(r)] AS row"
    ):
        found.setdefault(record["type"], []).append(_text(record["row"]))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return zlib.decompress(value).decode()
        except zlib.error:
            return value.decode(errors="replace")
    if isinstance(value, dict):
        return " ".join(f"{key}={_text(one)}" for key, one in value.items() if key != "embedding")
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)
