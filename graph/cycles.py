"""Cycles that new relationships would close, where the ontology declares a type acyclic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

Edge = tuple[str, str]
"""Ids of the start and the end of a relationship of one type."""


def cycles(standing: Iterable[Edge], new: Iterable[Edge]) -> Mapping[Edge, Sequence[str]]:
    """The new edges that would close a cycle, each with the ids along it, the first again at the end.

    New edges are taken in their order: one that closes a cycle with the standing ones and the new ones
    accepted before it is left out, so that the others can be written. `standing` must hold every edge
    on a path from the end of a new edge to the start of one; more does no harm.
    """
    following: dict[str, list[str]] = defaultdict(list)
    for start, end in standing:
        following[start].append(end)
    closing: dict[Edge, Sequence[str]] = {}
    for start, end in dict.fromkeys(new):
        path = _path(following, end, start)
        if path is None:
            following[start].append(end)
        else:
            closing[start, end] = (start, *path)
    return closing


def _path(following: Mapping[str, Sequence[str]], start: str, end: str) -> Sequence[str] | None:
    """A shortest path; None when there is none."""
    came_from: dict[str, str] = {start: start}
    todo = [start]
    for node in todo:  # grows as it is walked
        if node == end:
            path = [node]
            while path[-1] != start:
                path.append(came_from[path[-1]])
            return path[::-1]
        for other in following.get(node, ()):
            if other not in came_from:
                came_from[other] = node
                todo.append(other)
    return None
