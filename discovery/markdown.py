"""Markdown as blocks of plain text under their headings, with its front matter and links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from discovery.files import UnreadableError
from discovery.html import feed
from discovery.passages import Block, rows
from discovery.yaml_text import load_yaml

_PARSER = MarkdownIt("commonmark", {"html": True, "maxNesting": 50}).enable("table")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_HTML_BLOCKS = {"p", "div", "tr", "li", "br", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol"}


@dataclass(frozen=True, slots=True)
class MarkdownText:
    front_matter: Mapping[str, Any]
    title: str | None
    """Of the front matter, else the first heading of the first level."""
    blocks: Sequence[Block]
    links: Sequence[str]
    """Targets of links and images, as written, without repetition."""


def read_markdown(text: str) -> MarkdownText:
    """Raises UnreadableError for front matter that is no YAML mapping."""
    match = _FRONT_MATTER.match(text)
    front_matter = _front_matter(match[1]) if match else {}
    head = match[0] if match else ""
    tokens = _PARSER.parse(text[len(head) :])
    tree = SyntaxTreeNode(tokens)
    reader = _Reader(head.count("\n"))
    blocks = list(reader.blocks(tree))
    title = front_matter.get("title")
    links = [
        str(child.attrs["href"])
        for token in tokens
        for child in token.children or ()
        if child.type == "link_open" and child.attrs.get("href")
    ]
    return MarkdownText(
        front_matter,
        title if isinstance(title, str) and title.strip() else reader.title,
        blocks,
        tuple(dict.fromkeys(links)),
    )


def _front_matter(text: str) -> Mapping[str, Any]:
    try:
        found = load_yaml(text) or {}
    except UnreadableError as error:
        raise UnreadableError(f"front matter: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableError("front matter: expected `key: value` lines between the two `---`")
    return found


class _Reader:
    """Walks the tree once, keeping the headings that the current block stands under."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.title: str | None = None
        self.headings: list[tuple[int, str]] = []

    def blocks(self, root: SyntaxTreeNode) -> Iterator[Block]:
        for node in root.children:
            if node.type == "heading":
                self._enter(int(node.tag[1]), _plain(node))
            else:
                yield from self._block(node)

    def _enter(self, level: int, text: str) -> None:
        if level == 1 and self.title is None and text:
            self.title = text
            self.headings = []
            return
        self.headings = [(n, name) for n, name in self.headings if n < level]
        if text:
            self.headings.append((level, text))

    def _block(self, node: SyntaxTreeNode) -> Iterator[Block]:
        if node.type in ("bullet_list", "ordered_list"):
            for position, item in enumerate(node.children):
                yield from self._made(node, [_list_item(item, 0)], position == 0)
        elif node.type == "table":
            cells = [
                [_plain(cell) for cell in row.children] for part in node.children for row in part.children
            ]
            yield from self._made(node, rows(cells), False)
        elif node.type in ("fence", "code_block"):
            yield from self._made(node, [node.content.strip()], False)
        elif node.type == "html_block":
            yield from self._made(node, html_text(node.content), True)
        elif node.type == "blockquote":
            for child in node.children:
                yield from self._block(child)
        elif node.type != "hr":
            yield from self._made(node, [_plain(node)], True)

    def _made(self, node: SyntaxTreeNode, texts: Iterator[str] | list[str], begins: bool) -> Iterator[Block]:
        line = self.offset + (node.map[0] if node.map else 0) + 1
        for text in texts:
            if text.strip():
                yield Block(text, tuple(name for _, name in self.headings), line, None, begins)
                begins = False


def _plain(node: SyntaxTreeNode) -> str:
    """Text of a node without its markup: links to their text, images to their description."""
    pieces = []
    for child in node.walk():
        if child.type in ("text", "code_inline"):
            pieces.append(child.content)
        elif child.type in ("softbreak", "hardbreak", "html_inline"):
            pieces.append(" ")
    return " ".join("".join(pieces).split())


def _list_item(item: SyntaxTreeNode, depth: int) -> str:
    lines = []
    for child in item.children:
        if child.type in ("bullet_list", "ordered_list"):
            lines += [_list_item(nested, depth + 1) for nested in child.children]
        elif child.type in ("fence", "code_block"):
            lines.append(child.content.strip())
        elif text := _plain(child):
            lines.append(f"{'  ' * depth}- {text}" if not lines else f"{'  ' * depth}  {text}")
    return "\n".join(lines)


class _HtmlText(HTMLParser):
    """Lines of text, and the rows of tables as cells."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.table: list[list[str]] = []
        self.text: list[str] = []
        self.silent = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.silent = tag in ("script", "style")
        if tag == "tr":
            self.flush()
            self.table.append([])
        elif tag in ("td", "th"):
            self.text = []
        elif tag in _HTML_BLOCKS and not self.table:
            self.flush()

    def handle_endtag(self, tag: str) -> None:
        self.silent = False
        if tag in ("td", "th") and self.table:
            self.table[-1].append(" ".join("".join(self.text).split()))
            self.text = []
        elif tag == "table":
            self.lines += rows(self.table)
            self.table = []
        elif tag in _HTML_BLOCKS and not self.table:
            self.flush()

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.text.append(data)

    def flush(self) -> None:
        if line := " ".join("".join(self.text).split()):
            self.lines.append(line)
        self.text = []


def html_text(html: str) -> list[str]:
    """The lines of text in a piece of HTML, table rows as `Header: cell`; comments and scripts left out."""
    parser = _HtmlText()
    feed(parser, html)
    parser.lines += rows(parser.table)
    parser.flush()
    return parser.lines
