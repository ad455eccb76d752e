"""What placements rest on, kept so that each can be computed again: `orgraph placement explain`.

The audit log has each placement with its requirement and the digest of the mesh as it then was. The mesh is
in a file beside it, once for all that were placed on it: a JSON object a line, by the SHA-256 of what is in
it; so what the audit log proves of its own lines, it proves of the mesh too.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from context_manager.audit import AuditError
from inference.mesh import MeshSnapshot
from inference.placement import Placement
from inference.replay import moment_record, nodes_record, replay, requirement_record

_REMEMBERED = 256


class PlacementLog:
    """Used from one event loop, made once a process."""

    def __init__(self, path: Path) -> None:
        """`path`: of the meshes; made with the first."""
        self._path = path
        self._kept: OrderedDict[str, None] = OrderedDict()
        """Digests of what this process wrote."""
        self._last: tuple[MeshSnapshot, str] | None = None
        self._writing = asyncio.Lock()

    async def record(self, placement: Placement | None) -> dict[str, Any] | None:
        """For the audit log, once the mesh that it names is on disk.

        Raises AuditError where that cannot be written.
        """
        if placement is None:
            return None
        return {
            "node": placement.node.id if placement.node else None,
            "requirement": requirement_record(placement.requirement),
            "mesh": await self._mesh(placement.snapshot),
        }

    async def _mesh(self, snapshot: MeshSnapshot) -> str:
        async with self._writing:
            if self._last is None or self._last[0] is not snapshot:
                nodes = await self._keep(nodes_record(snapshot))
                self._last = snapshot, await self._keep({"nodes": nodes, **moment_record(snapshot)})
            return self._last[1]

    async def _keep(self, content: Any) -> str:
        encoded = orjson.dumps(content)
        digest = hashlib.sha256(encoded).hexdigest()
        if digest not in self._kept:
            await asyncio.to_thread(
                self._write, b'{"digest":"%b","content":%b}\n' % (digest.encode(), encoded)
            )
        self._kept[digest] = None
        self._kept.move_to_end(digest)
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        return digest

    def _write(self, line: bytes) -> None:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":  # a crash left a line unfinished
                    line = b"\n" + line
                if os.write(file, line) != len(line):
                    raise OSError("only a part was written")
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise AuditError(f"{self._path}: cannot be written: {error}; free the disk") from error


class NotReplayed(Exception):  # noqa: N818  named for what happened
    """A placement cannot be computed again; the message says why."""


def replayed(path: Path, records: Iterable[Mapping[str, Any]]) -> list[Placement]:
    """The placements of audit records, computed again from the meshes at `path`, each once read.

    Raises NotReplayed for one whose mesh is not there, or was changed.
    """
    listed = list(records)
    try:
        moments = _found(path, {record["mesh"] for record in listed})
        nodes = _found(path, {moment["nodes"] for moment in moments.values()})
        return [
            replay(record["requirement"], nodes[moment["nodes"]], moment)
            for record in listed
            for moment in (moments[record["mesh"]],)
        ]
    except (ValueError, KeyError) as error:
        raise NotReplayed(f"the record is of another version of Orgraph: {error!r}") from error


def _found(path: Path, digests: set[str]) -> dict[str, Any]:
    """What was kept under these digests, each held against its own."""
    found: dict[str, Any] = {}
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                try:
                    kept = orjson.loads(line)
                except ValueError:  # what a crash left unfinished was never acted on
                    continue
                if isinstance(kept, dict) and kept.get("digest") in digests:
                    found[kept["digest"]] = kept["content"]
    for digest in digests:
        if digest not in found:
            raise NotReplayed(f"{path} has no mesh {digest[:12]}: it is not the file of this audit log")
        if hashlib.sha256(orjson.dumps(found[digest])).hexdigest() != digest:
            raise NotReplayed(f"{path}: the mesh {digest[:12]} was changed; restore the file")
    return found
