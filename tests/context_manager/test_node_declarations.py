"""The administrator declares mesh nodes over the API: on record, through the gate, and nobody else does."""

from __future__ import annotations

from typing import Any

from context_manager.mesh_nodes import declare_nodes
from graph.database import Database
from graph.epoch import begin_epoch
from graph.system_reads import mesh_nodes
from graph.token_scope import TokenScope
from tests.context_manager.door import CLAIMS, Door
from tests.context_manager.test_openai_api import graphql

DECLARE = """mutation ($node: NodeInput!, $reason: String!) {
    declareNode(node: $node, collection: "collection:mesh", reason: $reason) }"""
WITHDRAW = 'mutation ($id: ID!) { withdrawNode(id: $id, reason: "It was sold.") }'
NODES = "{ nodes { id jurisdiction models clearance } }"
LYON = {
    "name": "lyon",
    "jurisdiction": "EU",
    "region": "eu-west",
    "silicon": "nvidia-l40s",
    "endpoint": "https://127.0.0.1:1",
    "models": ["small"],
    "clearance": 2,
    "owner": "group:hr",
}


async def declare(door: Door, person: str = "ada", reason: str = "It was bought.", **said: Any) -> Any:
    return await graphql(door, person, DECLARE, node={**LYON, **said}, reason=reason)


async def known(door: Door, neo4j: Database) -> dict[str, Any]:
    """The nodes that Ada is shown once the mesh has followed the graph."""
    await declare_nodes(neo4j, door.api.asking.mesh, None)
    return {one.pop("id"): one for one in (await graphql(door, "ada", NODES)).data["nodes"]}


def operations(door: Door) -> list[tuple[str, str, str | None]]:
    return [
        (r["kind"], r["operation"], r.get("outcome", "")[:7])
        for r in door.records()
        if r["kind"].startswith("operation")
    ]


async def test_a_node_is_declared_changed_and_withdrawn_and_all_is_on_record(
    door: Door, neo4j: Database
) -> None:
    declared = await declare(door)
    assert declared.data == {"declareNode": "mesh_node:lyon"}
    expected = {"jurisdiction": "EU", "models": ["small"], "clearance": 2}
    assert (await known(door, neo4j))["mesh_node:lyon"] == expected
    [node] = [n for n, _ in door.api.asking.mesh.snapshot().members if n.name == "lyon"]
    assert node.owners == {"group:hr"}
    await declare(door, clearance=1, jurisdiction="FR")
    changed = (await known(door, neo4j))["mesh_node:lyon"]
    assert (changed["jurisdiction"], changed["clearance"]) == ("FR", 1)
    withdrawn = await graphql(door, "ada", WITHDRAW, id="mesh_node:lyon")
    assert withdrawn.data == {"withdrawNode": "mesh_node:lyon"}
    assert "mesh_node:lyon" not in await known(door, neo4j)
    assert operations(door) == [
        one
        for what in ("declare", "declare", "withdraw")
        for one in (("operation", what, ""), ("operation_closing", what, "done"))
    ]
    first = next(r for r in door.records() if r["kind"] == "operation")
    assert (first["account"], first["reason"]) == ("account:acme/ada", "It was bought.")
    assert first["declared"]["jurisdiction"] == ["EU"]


async def test_after_a_restore_a_node_counts_once_it_is_declared_again(door: Door, neo4j: Database) -> None:
    """The backup may know nodes that were withdrawn since, by hand or by their source."""

    async def declared() -> set[str]:
        return {node["name"] for node in await mesh_nodes(neo4j)}

    await declare(door)
    crawled = {"mesh_node:boston", "mesh_node:frankfurt"}
    assert await declared() == crawled | {"lyon"}
    await begin_epoch(neo4j, 0)
    assert await declared() == set()
    await door.says(configuration=CLAIMS)
    assert await declared() == crawled
    await declare(door)
    assert await declared() == crawled | {"lyon"}


async def test_what_no_shape_allows_is_refused_and_the_node_is_as_before(door: Door, neo4j: Database) -> None:
    await declare(door)
    for wrong, says in (
        ({"jurisdiction": "Europe"}, "jurisdiction"),
        ({"certificate": "abc"}, "certificateDigest"),
        ({"capabilities": ["dream"]}, "capability"),
    ):
        refused = await declare(door, owner="group:staff", **wrong)
        assert says in str(refused.errors), refused
    assert (await known(door, neo4j))["mesh_node:lyon"]["jurisdiction"] == "EU"
    [node] = [n for n, _ in door.api.asking.mesh.snapshot().members if n.name == "lyon"]
    assert node.owners == {"group:hr"}
    assert operations(door)[-1] == ("operation_closing", "declare", "refused")


async def test_nobody_else_declares_a_node_nor_widens_one_that_a_source_declares(
    door: Door, neo4j: Database
) -> None:
    before = await known(door, neo4j)
    assert "only the administrator" in str((await declare(door, "eve")).errors)
    reading = TokenScope(frozenset({"read", "ask"}))
    scoped = await graphql(door, "ada", DECLARE, reading, node=LYON, reason="I want to.")
    assert "its scope lacks 'administer'" in str(scoped.errors)
    assert "say why" in str((await declare(door, reason=" ")).errors)
    other = await declare(door, name="boston", jurisdiction="EU")
    assert "mesh_node:boston is declared by configuration: change it there" in str(other.errors)
    gone = await graphql(door, "ada", WITHDRAW, id="mesh_node:boston")
    assert "change it there" in str(gone.errors)
    unknown = await graphql(door, "ada", WITHDRAW, id="mesh_node:moon")
    assert "no node 'mesh_node:moon' is declared by hand" in str(unknown.errors)
    assert await known(door, neo4j) == before
    assert operations(door) == []
