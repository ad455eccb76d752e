"""What the graph says of an asker beside any facts: what a request to a model needs where none is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from context_manager.kept_readings import KeptReadings
from graph.database import Database
from graph.reads import Asker, Reader, View
from graph.system_reads import is_enabled, team_of
from inference.mesh import Mesh

_FRESH_S = 0.5
"""A reading asks Neo4j five times, which requests that come meanwhile wait for: not ten times a second."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of an asker, at a revision."""

    enabled: bool
    """Whether the account is there and not disabled."""
    visible: bytes
    """The visible set."""
    nodes: frozenset[str]
    """Ids of the mesh nodes that they may see."""
    team: str
    """Whose share of the mesh they have."""
    revision: int


Standings = KeptReadings[Asker, Standing]


def standings_of(database: Database, reader: Reader, mesh: Mesh, followed: Callable[[], int]) -> Standings:
    """Of those who ask this service. `followed`: as `ServiceLease.followed`."""

    async def read(asker: Asker) -> Standing:
        async def seen(view: View) -> tuple[bytes, frozenset[str]]:
            return view.visible, await view.visible_among(mesh.ids())

        enabled = await is_enabled(database, asker.account)
        (visible, nodes), revision = await reader.run(asker, seen)
        team = await team_of(database, asker.account) or asker.account
        return Standing(enabled, visible, nodes, team, revision)

    return KeptReadings(read, followed, _FRESH_S)
