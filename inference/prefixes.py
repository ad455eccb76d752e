"""Which nodes lately read which beginnings of prompts, in blocks, as engines keep them.

vLLM keeps the cache of a block of tokens by the hash of it and of what is before it, the salt first; so a
prompt finds there what it shares with any earlier one, a turn of a conversation the turns before it. Here
the blocks are of bytes, since only a model's own tokenizer knows its tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

_BLOCK = 256
"""Bytes."""
_LONGEST = 8_192
"""Blocks of one prompt that are looked at: what they tell of it is enough."""
_KEPT = 50_000
"""Blocks, of all nodes together."""


class Prefixes:
    """By block, who has read it. Of a loop's single thread."""

    def __init__(self) -> None:
        self._readers: OrderedDict[bytes, dict[str, int]] = OrderedDict()
        """With how often the reader had been forgotten by then."""
        self._forgotten: dict[str, int] = {}

    def shares(self, blocks: Sequence[bytes]) -> Mapping[str, float]:
        """Of each node that has read its beginning, how much of the prompt that is: from 0 to 1."""
        found: dict[str, int] = {}
        for i, block in enumerate(blocks):
            readers = self._readers.get(block, {})
            still = [id_ for id_, times in readers.items() if times == self._forgotten.get(id_, 0)]
            still = [id_ for id_ in still if found.get(id_, 0) == i]
            if not still:
                break
            found.update(dict.fromkeys(still, i + 1))
        return {id_: count / len(blocks) for id_, count in found.items()}

    def has_read(self, blocks: Sequence[bytes], node_id: str) -> None:
        """The node is about to read it, or has it."""
        for block in reversed(blocks):  # so that of a beginning its end is dropped first
            self._readers.setdefault(block, {})[node_id] = self._forgotten.get(node_id, 0)
            self._readers.move_to_end(block)
        while len(self._readers) > _KEPT:
            self._readers.popitem(last=False)

    def forget(self, node_id: str) -> None:
        """It may have started anew, with nothing read."""
        self._forgotten[node_id] = self._forgotten.get(node_id, 0) + 1


def blocks_of(salt: str, model: str | None, body: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Of a chat: what it has to share with others of its salt. A rest that fills no block is left out."""
    text = orjson.dumps([salt, model, body.get("tools"), body.get("messages") or ()], default=str)
    text = text[: _LONGEST * _BLOCK]
    before, blocks = b"", []
    for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
        before = blake2b(before + text[start : start + _BLOCK], digest_size=16).digest()
        blocks.append(before)
    return tuple(blocks)
