"""HTML as blocks of plain text under their headings, with its links. Nothing is fetched or run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

from discovery.passages import Block, rows

_BLOCKS = {"p", "div", "li", "br", "pre", "dt", "dd", "blockquote", "section", "article", "figcaption"} | {
    *("main", "header", "footer", "nav", "ul", "ol", "dl", "form", "address", "hr", "caption", "body")
}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
#: What nobody who reads the page sees.
_UNSEEN = {"script", "style", "template", "noscript", "svg", "head", "object", "iframe", "textarea", "select"}
_VOID = {"br", "hr", "img", "input", "meta", "link", "area", "base", "col", "embed", "source", "track", "wbr"}


@dataclass(frozen=True, slots=True)
class HtmlText:
    title: str | None
    """The page's title, else its first heading of the first level."""
    blocks: Sequence[Block]
    links: Sequence[str]
    """Targets of links, as written, without repetition."""


def read_html(text: str) -> HtmlText:
    """Whatever the markup: browsers read broken pages, too."""
    reader = _Reader()
    feed(reader, text)
    reader.flush()
    return HtmlText(reader.title or reader.first_heading, reader.blocks, tuple(dict.fromkeys(reader.links)))


def feed(parser: HTMLParser, text: str) -> None:
    """All of it. The parser takes the square of many tags that never end, which are text."""
    whole = text.rfind(">") + 1
    parser.feed(text[:whole] + text[whole:].replace("<", "&lt;"))
    parser.close()


class _Reader(HTMLParser):
    """Walks the page once, keeping the headings that the current text stands under."""

    def __init__(self) -> None:
        super().__init__()
        self.title: str | None = None
        self.first_heading: str | None = None
        self.blocks: list[Block] = []
        self.links: list[str] = []
        self._headings: list[tuple[int, str]] = []
        self._text: list[str] = []
        self._line = 1
        self._table: list[list[str]] | None = None
        self._unseen: list[str] = []
        """Open elements from the first unseen one on."""
        self._unseen_of = Counter[str]()
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._in_title = tag == "title"
        if self._unseen or tag in _UNSEEN or _is_hidden(attributes):
            if tag not in _VOID:
                self._unseen.append(tag)
                self._unseen_of[tag] += 1
            return
        if tag == "a" and (target := attributes.get("href")):
            self.links.append(target)
        elif tag == "table":
            self.flush()
            self._table = []
        elif self._table is not None:
            if tag == "tr":
                self._table.append([])
            elif tag in ("td", "th"):
                self._text = []
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.flush()

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if self._unseen:
            while self._unseen_of[tag]:
                ended = self._unseen.pop()
                self._unseen_of[ended] -= 1
                if ended == tag:
                    return
            return
        if self._table is not None:
            if tag in ("td", "th") and self._table:
                self._table[-1].append(self._taken())
            elif tag == "table":
                table, self._table = self._table, None
                for number, row in enumerate(rows(table)):
                    self._block(row, begins=number == 0)
        elif tag in _HEADINGS:
            self._enter(_HEADINGS[tag], self._taken())
        elif tag in _BLOCKS:
            self.flush()

    def handle_data(self, data: str) -> None:
        if self._in_title and self.title is None and data.strip():
            self.title = " ".join(data.split())
        elif not self._unseen:
            if not self._text:
                self._line = self.getpos()[0]
            self._text.append(data)

    def flush(self) -> None:
        """What was read since the last block is one."""
        if self._table is None and (text := self._taken()):
            self._block(text)

    def _taken(self) -> str:
        text, self._text = " ".join("".join(self._text).split()), []
        return text

    def _block(self, text: str, begins: bool = True) -> None:
        self.blocks.append(Block(text, tuple(name for _, name in self._headings), self._line, None, begins))

    def _enter(self, level: int, text: str) -> None:
        if not text:
            return
        if level == 1 and self.first_heading is None:
            self.first_heading = text
            self._headings = []
            return
        self._headings = [(n, name) for n, name in self._headings if n < level]
        self._headings.append((level, text))


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    style = (attributes.get("style") or "").replace(" ", "").lower()
    unseen = "display:none" in style or "visibility:hidden" in style
    return "hidden" in attributes or unseen or attributes.get("aria-hidden") == "true"
