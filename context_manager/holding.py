"""What this process and its Neo4j may hold of what was found: both are mesh nodes, with handling to meet.

Sources are held against them before they are read; what rules say that were found in documents is known only
once it is here. Whatever they say may not be here is embedded no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from neo4j import AsyncManagedTransaction

from context_manager.handling import Handlings
from context_manager.mesh_nodes import own_node, storage_node
from context_manager.settings import Settings
from discovery.sources import SourceConfig
from graph.database import Database
from graph.handling import Handling
from graph.reads import View
from graph.system_reads import classified
from inference.explanation import handling_checks
from inference.nodes import MeshNode
from ontologies import Ontology

_AT_ONCE = 1_000
_TODO = (
    "declare where these run (ORGRAPH_NODE_*, ORGRAPH_NEO4J_*), or say in sources.toml where the graph may "
    "hold it (`holding`)"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The nodes that hold the graph, and what is said of the handling of what they hold."""

    nodes: tuple[MeshNode, ...]
    handlings: Handlings

    def why_not(self, handling: Handling) -> tuple[str, ...]:
        """Of each node that may not hold what is handled so, its name and why."""
        checks = handling_checks(handling, datetime.now(UTC))
        found = (
            (node, [check.found(node) for check in checks if not check.met_by(node)]) for node in self.nodes
        )
        return tuple(f"{node.name} ({', '.join(failed)})" for node, failed in found if failed)

    def sources(self) -> frozenset[str]:
        """Those that may be held, as they are declared."""
        declared = {**self.handlings.of_source, **self.handlings.holding_of_source}
        return frozenset(name for name, handling in declared.items() if not self.why_not(handling))

    async def barred(self, view: View, ids: Collection[str]) -> frozenset[str]:
        """Those of the entities that may not be held: no embedding is made of what they say."""
        handlings = await self.handlings.of_holding(view, ids)
        forbidden = {handling for handling in set(handlings.values()) if self.why_not(handling)}
        return frozenset(id_ for id_, handling in handlings.items() if handling in forbidden)


def holder_of(settings: Settings, handlings: Handlings) -> Holder:
    """This process and its Neo4j, as the settings declare them."""
    return Holder((own_node(settings), storage_node(settings)), handlings)


def refusal_of(holder: Holder) -> Callable[[SourceConfig], str]:
    """Says of a source why it may not be held, whatever is found in it; nothing when it may."""

    def refusal(source: SourceConfig) -> str:
        why = holder.why_not((source.holding or source.handling).handling())
        if not why:
            return ""
        return (
            f"source {source.name!r} was not crawled, since its handling forbids it to be held by "
            f"{' and by '.join(why)}: {_TODO}"
        )

    return refusal


async def barred_of(
    database: Database, ontology: Ontology, holder: Holder, ids: Iterable[str]
) -> frozenset[str]:
    """As `Holder.barred`, of entities that nobody asks for."""
    listed, found = list(ids), frozenset[str]()
    for start in range(0, len(listed), _AT_ONCE):
        some = listed[start : start + _AT_ONCE]

        async def work(tx: AsyncManagedTransaction, some: Collection[str] = some) -> frozenset[str]:
            return await holder.barred(View(tx, ontology, b"", datetime.now(UTC)), some)

        found |= await database.read_transaction(work)
    return found


async def told_of(
    database: Database, ontology: Ontology, holder: Holder, source: SourceConfig
) -> tuple[str, ...]:
    """What a crawl of the source has to say of rules that forbid to hold what it says."""
    ids = await classified(database, source.name)
    if not (barred := await barred_of(database, ontology, holder, ids)):
        return ()
    some = sorted(barred)
    listed = ", ".join(some[:3]) + (", ..." if len(some) > 3 else "")
    return (
        f"by rules that were found, {len(some)} of what source {source.name!r} says may not be held here "
        f"({listed}): no embedding is made of it, and what there was is gone; {_TODO}",
    )
