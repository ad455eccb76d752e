"""Text cut into passages: what is read and cited together, with the headings that it stands under."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

#: Words. A passage is closed when the next block would take it beyond.
MAX_WORDS = 200
#: Words. A passage of at least so many is closed at the end of a group of blocks.
ENOUGH_WORDS = 80

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)|\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a list item or a table row, as plain text."""

    text: str
    heading: tuple[str, ...]
    """The headings above it, outermost first."""
    line: int = 0
    page: int | None = None
    begins_group: bool = True
    """False when it should stay with the block before: the next item of a list, the next row."""


@dataclass(frozen=True, slots=True)
class PassageText:
    text: str
    heading: tuple[str, ...]
    line: int
    page: int | None


def cut(blocks: Iterable[Block]) -> Iterator[PassageText]:
    """Passages in order. None crosses a heading or a page, or holds more than MAX_WORDS, save a
    single sentence or table row that is longer."""
    held: list[Block] = []
    for block in (piece for whole in blocks for piece in _pieces(whole)):
        if held and _closes(held, block):
            yield _passage(held)
            held = []
        held.append(block)
    if held:
        yield _passage(held)


def _closes(held: Sequence[Block], block: Block) -> bool:
    words = sum(_words(b.text) for b in held)
    return (
        (block.heading, block.page) != (held[0].heading, held[0].page)
        or words + _words(block.text) > MAX_WORDS
        or (block.begins_group and words >= ENOUGH_WORDS)
    )


def _passage(held: Sequence[Block]) -> PassageText:
    return PassageText("\n".join(b.text for b in held), held[0].heading, held[0].line, held[0].page)


def _words(text: str) -> int:
    return len(text.split())


def _pieces(block: Block) -> Iterator[Block]:
    """The block, or its sentences where it is too long for one passage."""
    if _words(block.text) <= MAX_WORDS:
        yield block
        return
    sentences: list[str] = []
    words = 0
    for sentence in filter(None, _SENTENCE_END.split(block.text)):
        more = _words(sentence)
        if sentences and words + more > MAX_WORDS:
            yield Block(" ".join(sentences), block.heading, block.line, block.page, False)
            sentences, words = [], 0
        sentences.append(sentence)
        words += more
    yield Block(" ".join(sentences), block.heading, block.line, block.page, False)


def rows(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as `Header: cell; Header: cell`, the first row being the header: a number keeps its label."""
    header = table[0] if table else ()
    for row in table[1:]:
        cells = (
            f"{name}: {cell}" if name else cell
            for name, cell in zip(chain(header, repeat("")), row, strict=False)
            if cell
        )
        if line := "; ".join(cells):
            yield line
