"""What the administrator does with mesh nodes: drain and resume them, declare them and withdraw that."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from context_manager.audit import AuditLog
from context_manager.node_declarations import NodeDeclarations
from context_manager.settings import SettingsError
from graph.reads import Asker
from inference.mesh import Mesh


class OperationRefused(Exception):  # noqa: N818  named for what happened
    """The operation was not done; the message says why."""


@dataclass(frozen=True, slots=True)
class MeshOperations:
    """The mesh, and who may operate it."""

    mesh: Mesh
    audit: AuditLog
    file: Path
    """Which nodes are being drained, as a JSON list."""
    operates: Callable[[Asker], Awaitable[bool]]
    """Whether the asker is the administrator, who acts for themselves."""
    declarations: NodeDeclarations

    async def drain(self, asker: Asker, node_id: str) -> None:
        """Send the node nothing new. Raises OperationRefused, and AuditError before anything is done."""
        await self._do(asker, "drain", node_id, self.mesh.drain)

    async def resume(self, asker: Asker, node_id: str) -> None:
        """Send the node requests again. Raises as `drain`."""
        await self._do(asker, "resume", node_id, self.mesh.resume)

    async def declaring(self, asker: Asker, reason: str) -> NodeDeclarations:
        """To declare nodes with; raises OperationRefused for who may not, and without a reason."""
        await self._check(asker)
        if not reason.strip():
            raise OperationRefused("reason: expected words that say why")
        return self.declarations

    async def _check(self, asker: Asker) -> None:
        if not await self.operates(asker):
            raise OperationRefused("only the administrator operates mesh nodes, and no agent for them")

    async def _do(self, asker: Asker, what: str, node_id: str, work: Callable[[str], None]) -> None:
        await self._check(asker)
        if node_id not in self.mesh.ids():
            raise OperationRefused(
                f"the mesh has no node {node_id[:80]!r}; its nodes are: {', '.join(self.mesh.ids())}"
            )
        record = {"account": asker.account, "operation": what, "node": node_id}
        await self.audit.record("operation", record)
        work(node_id)
        await asyncio.to_thread(_write, self.file, sorted(self.mesh.draining))


def drained(file: Path) -> frozenset[str]:
    """The nodes that were being drained when the service ended.

    Raises SettingsError for a file that is not one: without it, requests might go where they must not yet.
    """
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: expected a JSON list of mesh nodes: {error}; remove it") from error
    if not isinstance(listed, list):
        raise SettingsError(f"{file}: expected a JSON list of mesh nodes; remove it")
    return frozenset(map(str, listed))


def _write(file: Path, ids: list[str]) -> None:
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(ids), encoding="utf-8")
    os.replace(temporary, file)  # noqa: PTH105  whole or not at all
