"""The mesh as the graph declares it, and the nodes that are this service itself: its process, its Neo4j."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from context_manager.settings import Settings
from graph.database import Database
from graph.system_reads import mesh_nodes
from inference.embeddings import MODEL as EMBEDDING_MODEL
from inference.mesh import Mesh
from inference.nodes import EMBEDDING, LOCAL_NODE_ID, MeshNode, certifications


async def declare_nodes(database: Database, mesh: Mesh, managed: MeshNode | None) -> None:
    """Make the nodes of the graph those of the mesh. The managed one is where its engine really listens."""
    nodes = [_node(properties) for properties in await mesh_nodes(database)]
    mesh.declare(
        replace(
            node,
            endpoint=managed.endpoint,
            models=managed.models,
            engine=managed.engine,
            context_length=managed.context_length,
        )
        if managed is not None and node.id == managed.id
        else node
        for node in nodes
    )


def own_node(settings: Settings) -> MeshNode:
    """Orgraph's process: it has no endpoint, holds what it reads, and offers embeddings."""
    return MeshNode(
        id=LOCAL_NODE_ID,
        name="orgraph",
        jurisdiction=settings.node_jurisdiction,
        region=settings.node_region,
        site=settings.node_site,
        certifications=certifications(*settings.node_certifications),
        clearance=settings.node_clearance,
        owners=frozenset(settings.node_owners),
        purposes=frozenset(settings.node_purposes),
        silicon="cpu",
        models=(EMBEDDING_MODEL,),
        capabilities=frozenset({EMBEDDING}),
    )


def storage_node(settings: Settings) -> MeshNode:
    """Neo4j: where its settings do not say otherwise, it is where the process is."""
    process = own_node(settings)
    return replace(
        process,
        id="mesh_node:neo4j",
        name="neo4j",
        jurisdiction=settings.neo4j_jurisdiction or process.jurisdiction,
        region=settings.neo4j_region or process.region,
        certifications=process.certifications
        if settings.neo4j_certifications is None
        else certifications(*settings.neo4j_certifications),
        clearance=process.clearance if settings.neo4j_clearance is None else settings.neo4j_clearance,
        models=(),
        capabilities=frozenset(),
    )


def _node(properties: Mapping[str, Any]) -> MeshNode:
    until = properties.get("validTo")
    return MeshNode(
        id=properties["id"],
        name=properties["name"],
        jurisdiction=_one(properties["jurisdiction"]),
        region=properties.get("region", ""),
        site=properties.get("site", ""),
        certifications=certifications(*properties.get("certification", ())),
        clearance=properties.get("clearance", 0),
        owners=frozenset(properties["owners"]),
        purposes=frozenset(properties.get("purpose", ())),
        silicon=_one(properties.get("silicon", "")),
        memory=properties.get("memory"),
        engine=properties.get("engine", ""),
        endpoint=properties.get("endpoint"),
        certificate=properties.get("certificateDigest", ""),
        models=tuple(properties.get("model", ())),
        context_length=properties.get("contextLength"),
        capabilities=frozenset(properties.get("capability", ())),
        price=properties.get("price"),
        valid_until=None if until is None else until.to_native(),
    )


def _one(value: str | list[str]) -> str:
    """What rules may have several of; the shapes see to it that a mesh node has one."""
    return value[0] if isinstance(value, list) else value
