"""What the graph says of an asker beside any facts: what a request to a model needs where none is in it.

It is used again for a moment, and read anew beside the requests, so that none of them waits for that. Each
change of access that this process has followed is always seen: a revocation returns only once all processes
have followed it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from graph.database import Database
from graph.reads import Asker, Reader, View
from graph.system_reads import is_enabled, team_of
from inference.mesh import Mesh

_FRESH_S, _KEPT_S = 0.1, 1.0
"""Seconds after which it is read again beside the requests, and after which they wait for that."""
_KEPT = 10_000


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


@dataclass(slots=True)
class _Kept:
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    standing: Standing | None = None
    followed: int = -1
    until: float = 0.0
    renewal: asyncio.Task[Standing] | None = None


@dataclass(frozen=True, slots=True)
class Standings:
    """Of those who ask. Used from one event loop."""

    read: Callable[[Asker], Awaitable[Standing]]
    followed: Callable[[], int]
    """The access revision that this process has followed to: what a commit takes away is followed before it
    returns."""
    _kept: OrderedDict[Asker, _Kept] = field(default_factory=OrderedDict)

    async def of(self, asker: Asker) -> Standing:
        """Raises what the reading raises."""
        kept = self._kept.setdefault(asker, _Kept())
        self._kept.move_to_end(asker)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        left = self._left(kept)
        if kept.standing is None or left <= 0:
            async with kept.reading:
                if kept.standing is None or self._left(kept) <= 0:
                    return await self._read(asker, kept)
        elif left < _KEPT_S - _FRESH_S and (kept.renewal is None or kept.renewal.done()):
            kept.renewal = asyncio.create_task(self._renewed(asker, kept))
            kept.renewal.add_done_callback(_look_at)
        return kept.standing

    def _left(self, kept: _Kept) -> float:
        """Seconds for which it may still be used."""
        return kept.until - asyncio.get_running_loop().time() if kept.followed == self.followed() else 0.0

    async def _renewed(self, asker: Asker, kept: _Kept) -> Standing:
        async with kept.reading:
            return await self._read(asker, kept)

    async def _read(self, asker: Asker, kept: _Kept) -> Standing:
        followed, until = self.followed(), asyncio.get_running_loop().time() + _KEPT_S
        standing = await self.read(asker)
        kept.standing, kept.followed, kept.until = standing, followed, until
        return standing


def standings_of(database: Database, reader: Reader, mesh: Mesh, followed: Callable[[], int]) -> Standings:
    """Of those who ask this service. `followed`: as `ServiceLease.followed`."""

    async def read(asker: Asker) -> Standing:
        async def seen(view: View) -> tuple[bytes, frozenset[str]]:
            return view.visible, await view.visible_among(mesh.ids())

        enabled = await is_enabled(database, asker.account)
        (visible, nodes), revision = await reader.run(asker, seen)
        team = await team_of(database, asker.account) or asker.account
        return Standing(enabled, visible, nodes, team, revision)

    return Standings(read, followed)


def _look_at(renewal: asyncio.Task[Standing]) -> None:
    """What a renewal failed with is met again by the next request that has to read."""
    if not renewal.cancelled():
        renewal.exception()
