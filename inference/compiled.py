"""The declared nodes as sets of bits, one bit a node, so that a filter is a few operations on integers.

Compiled once for all placements until a node is declared differently or a certification begins or ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.handling import silicon_names
from inference.nodes import Load, MeshNode, NodeState, Status

Bits = int
"""A set of nodes: bit `i` is node `i`."""
Floats = NDArray[np.float64]

ASSUMED_LOAD = 8
"""Requests that a node of unknown load counts as having in its queue."""
ASSUMED_PREFILL = 500.0
"""Tokens a second that a node of unknown rate counts as reading."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Nodes by a number that is known of them, for `all with at least so much`."""

    levels: tuple[float, ...]
    at_least: tuple[Bits, ...]
    """Of each level."""

    def reaching(self, level: float) -> Bits:
        place = bisect_left(self.levels, level)
        return self.at_least[place] if place < len(self.levels) else 0


@dataclass(frozen=True, slots=True)
class CompiledNodes:
    """Nodes, in order, and who of them has what; certifications and statements as they hold at `at`."""

    nodes: tuple[MeshNode, ...]
    position: Mapping[str, int]
    at: datetime
    changes: datetime | None
    """When the first certification or statement begins or ends after `at`."""
    all: Bits
    stated: Bits
    """Whose statement has not ended."""
    jurisdiction: Mapping[str, Bits]
    region: Mapping[str, Bits]
    certification: Mapping[str, Bits]
    clearance: Levels
    silicon: Mapping[str, Bits]
    """By the whole name and by the maker, in lower case."""
    owner: Mapping[str, Bits]
    purpose: Mapping[str, Bits]
    capability: Mapping[str, Bits]
    model: Mapping[str, Bits]
    context_length: Levels
    unlimited: Bits
    """Of which no context length is known."""
    ids: NDArray[np.int64]
    """The place of each node in the order of ids, by which ties go."""
    site: Mapping[str, Bits]
    price: Floats
    """From 0 to 1, where 1 is the dearest, and what is not known."""

    def stands(self, now: datetime) -> bool:
        return self.changes is None or now < self.changes

    def array(self, bits: Bits) -> NDArray[np.bool_]:
        """A set of nodes as one truth value for each."""
        size = len(self.nodes)
        packed = np.frombuffer(bits.to_bytes(-(-size // 8), "little"), np.uint8)
        return np.unpackbits(packed, count=size, bitorder="little").view(np.bool_)


@dataclass(frozen=True, slots=True)
class Loads:
    """What the states say of each node, in their order."""

    up: NDArray[np.bool_]
    degraded: NDArray[np.bool_]
    running: Floats
    waiting: Floats
    """Requests that it computes, and in its queue."""
    prefill_rate: Floats
    """Tokens a second."""


def compile_loads(states: Sequence[NodeState]) -> Loads:
    """Numbers for the score; what is unknown counts as busy and slow."""
    running, waiting = np.array([_counts(state.load) for state in states], np.float64).reshape(-1, 2).T
    return Loads(
        np.array([state.up for state in states], np.bool_),
        np.array([state.status is Status.DEGRADED for state in states], np.bool_),
        running,
        waiting,
        np.array([state.load.prefill_rate or ASSUMED_PREFILL for state in states], np.float64),
    )


def compile_nodes(nodes: tuple[MeshNode, ...], at: datetime) -> CompiledNodes:
    """Raises ValueError when two nodes have one id."""
    position = {node.id: i for i, node in enumerate(nodes)}
    if len(position) < len(nodes):
        raise ValueError("two mesh nodes have one id: give each its own")
    order = np.empty(len(nodes), np.int64)
    order[sorted(range(len(nodes)), key=lambda i: nodes[i].id)] = np.arange(len(nodes))
    limited = [(i, node.context_length) for i, node in enumerate(nodes) if node.context_length is not None]
    everyone = (1 << len(nodes)) - 1

    def by(values: Callable[[MeshNode], Iterable[str]]) -> Mapping[str, Bits]:
        having: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(nodes):
            for value in values(node):
                having[value].append(i)
        return {value: _bits(found, len(nodes)) for value, found in having.items()}

    ended = [i for i, node in enumerate(nodes) if node.valid_until is not None and node.valid_until <= at]
    return CompiledNodes(
        nodes=nodes,
        position=position,
        at=at,
        changes=min((bound for node in nodes for bound in _bounds(node) if bound > at), default=None),
        all=everyone,
        stated=everyone & ~_bits(ended, len(nodes)),
        jurisdiction=by(lambda node: (node.jurisdiction,) if node.jurisdiction else ()),
        region=by(lambda node: (node.region,) if node.region else ()),
        certification=by(lambda node: {c.name for c in node.certifications if c.holds(at)}),
        clearance=_levels([(i, node.clearance) for i, node in enumerate(nodes)], len(nodes)),
        silicon=by(lambda node: silicon_names(node.silicon)),
        owner=by(lambda node: node.owners),
        purpose=by(lambda node: node.purposes),
        capability=by(lambda node: node.capabilities),
        model=by(lambda node: set(node.models)),
        context_length=_levels(limited, len(nodes)),
        unlimited=everyone & ~_bits([i for i, _ in limited], len(nodes)),
        ids=order,
        site=by(lambda node: (node.site,) if node.site else ()),
        price=_prices(nodes),
    )


def union(sets: Mapping[str, Bits], names: Collection[str]) -> Bits:
    """Nodes that have one of the names."""
    return reduce(or_, (sets.get(name, 0) for name in names), 0)


def _counts(load: Load) -> tuple[int, int]:
    """Running and waiting; where one is not told, the other tells nothing."""
    if load.running is None or load.waiting is None:
        return 0, ASSUMED_LOAD
    return load.running, load.waiting


def _bounds(node: MeshNode) -> Iterable[datetime]:
    bounds = [node.valid_until, *(b for c in node.certifications for b in (c.starts, c.ends))]
    return (bound for bound in bounds if bound is not None)


def _bits(positions: Iterable[int], size: int) -> Bits:
    array = np.zeros(size, np.uint8)
    array[list(positions)] = 1
    return int.from_bytes(np.packbits(array, bitorder="little").tobytes(), "little")


def _levels(numbers: Sequence[tuple[int, Any]], size: int) -> Levels:
    levels = sorted({number for _, number in numbers})
    at_least, so_far = [], 0
    having: dict[Any, list[int]] = defaultdict(list)
    for i, number in numbers:
        having[number].append(i)
    for level in reversed(levels):
        so_far |= _bits(having[level], size)
        at_least.append(so_far)
    return Levels(tuple(levels), tuple(reversed(at_least)))


def _prices(nodes: Sequence[MeshNode]) -> Floats:
    dearest = max((node.price for node in nodes if node.price is not None), default=0) or 1
    return np.array([1.0 if node.price is None else node.price / dearest for node in nodes], np.float64)
