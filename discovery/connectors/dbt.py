"""Models, sources and their columns, and what is made from what, from dbt's `manifest.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from discovery.connector import Problem
from discovery.fields import as_mapping, list_at, mapping_at, needed, text_at
from discovery.file_source import File, file_connector
from discovery.files import UnreadableError
from graph.claims import Claim, entity_id

_TABLES = {"model", "seed", "snapshot", "source"}


def _interpret(file: File) -> Iterator[Claim | Problem]:
    metadata = mapping_at(file.document, "metadata")
    nodes = {
        str(key): as_mapping(node, str(key))
        for section in ("sources", "nodes")
        for key, node in mapping_at(file.document, section).items()
    }
    if not nodes:
        raise UnreadableError("expected dbt's manifest with nodes or sources, found none; run `dbt compile`")
    project = text_at(metadata, "project_name") or file.key_stem
    dataset = entity_id("dataset", f"{file.source}/{project}")
    yield from file.entity(dataset, "Dataset", name=project, path=file.name)
    tables = {key: node for key, node in nodes.items() if text_at(node, "resource_type") in _TABLES}
    for key, node in tables.items():
        yield from _table(file, dataset, key, node)
        for origin in _origins(key, nodes):
            yield file.relationship(_table_id(file, key), "DERIVED_FROM", _table_id(file, origin), key)


connect = file_connector(_interpret)


def _table_id(file: File, key: str) -> str:
    return entity_id("table", f"{file.source}/{key}")


def _table(file: File, dataset: str, key: str, node: Mapping[str, Any]) -> Iterator[Claim]:
    table = _table_id(file, key)
    relation = [text_at(node, part) for part in ("database", "schema", "alias")]
    location = ".".join(part for part in relation if part) or None
    kind = text_at(mapping_at(node, "config"), "materialized") or text_at(node, "resource_type")
    values = {"description": text_at(node, "description"), "dataType": kind, "location": location}
    path = text_at(node, "original_file_path")
    yield from file.entity(table, "Table", key, name=needed(node, "name"), path=path, **values)
    yield file.relationship(dataset, "HAS_TABLE", table, key)
    for position, (name, column) in enumerate(mapping_at(node, "columns").items(), start=1):
        said, place = as_mapping(column, f"column {name}"), f"{key} column {name}"
        id_ = entity_id("column", f"{file.source}/{key}/{name}")
        described = {"description": text_at(said, "description"), "dataType": text_at(said, "data_type")}
        yield from file.entity(id_, "Column", place, name=str(name), position=position, **described)
        yield file.relationship(table, "HAS_COLUMN", id_, place)


def _origins(key: str, nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The tables that a node is made from, through what is no table itself, such as an ephemeral step."""
    waiting, seen = [key], {key}
    while waiting:
        for origin in map(str, list_at(mapping_at(nodes[waiting.pop()], "depends_on"), "nodes")):
            if origin in nodes and origin not in seen:
                seen.add(origin)
                if text_at(nodes[origin], "resource_type") in _TABLES:
                    yield origin
                else:
                    waiting.append(origin)
