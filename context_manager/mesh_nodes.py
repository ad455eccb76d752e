"""The mesh as the graph declares it, with the node that this service manages itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graph.database import Database
from graph.system_reads import mesh_nodes
from inference.mesh import Mesh, MeshNode


async def declare_nodes(database: Database, mesh: Mesh, managed: MeshNode | None) -> None:
    """Make the nodes of the graph those of the mesh. The managed one is where its engine really listens."""
    nodes = [_node(properties) for properties in await mesh_nodes(database)]
    mesh.declare(
        replace(node, endpoint=managed.endpoint, models=managed.models)
        if managed is not None and node.id == managed.id
        else node
        for node in nodes
    )


def _node(properties: Mapping[str, Any]) -> MeshNode:
    return MeshNode(
        id=properties["id"],
        name=properties["name"],
        jurisdiction=_one(properties["jurisdiction"]),
        region=properties.get("region", ""),
        certifications=frozenset(properties.get("certification", ())),
        clearance=properties.get("clearance", 0),
        silicon=properties.get("silicon", ""),
        endpoint=properties.get("endpoint"),
        models=tuple(properties.get("model", ())),
        capabilities=frozenset(properties.get("capability", ())),
    )


def _one(value: str | list[str]) -> str:
    """The shapes see to it that a mesh node has exactly one jurisdiction."""
    return value[0] if isinstance(value, list) else value
