"""Answers of models given lately, for the same question of the same asker on the same grounds alone."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field

from context_manager.context import Retrieval
from context_manager.drafting import Draft
from context_manager.grounding import Sentence
from graph.reads import Asker
from inference.nodes import MeshNode

_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What a model wrote that held."""

    ask: str
    """Id of the ask that it was made for."""
    sentences: tuple[Sentence, ...]
    draft: Draft


@dataclass(slots=True)
class AnswerCache:
    """In memory alone, while the graph stays as it is; the least lately used goes first."""

    _known: OrderedDict[str, CachedAnswer] = field(default_factory=OrderedDict)
    _revision: int = 0

    def at(self, revision: int) -> None:
        """The graph is read at the revision. What rests on an earlier one is asked for no more; some of it
        may have been erased since."""
        if revision > self._revision:
            self._known.clear()
            self._revision = revision

    def get(self, key: str) -> CachedAnswer | None:
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def put(self, key: str, answer: CachedAnswer, revision: int) -> None:
        """Of the revision that it rests on."""
        if revision < self._revision:
            return
        self._known[key] = answer
        self._known.move_to_end(key)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)


def cache_key(asker: Asker, text: str, about: str | None, found: Retrieval, node: MeshNode) -> str:
    """Of everything that decides an answer: who asks, through whom and for what; the question; the visible
    set and the handling (both in the salt); the facts and their revision; the node and its model.

    Askers do not share, not even who see the same: how soon an answer comes would tell what others asked.
    """
    decides = [
        [asker.account, asker.agent, asker.earlier_agents, str(asker.scope)],
        [text, about, found.when.record()],
        [found.salt, found.handling.record(), found.context.revision],
        [[match.fact.id, match.fact.statement, match.excerpt] for match in found.context.facts],
        [node.id, node.models],
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
