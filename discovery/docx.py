"""Word documents (ECMA-376) as blocks of plain text under their headings."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from xml.etree.ElementTree import Element

from discovery.files import MAX_BYTES, UnreadableError
from discovery.passages import Block, rows
from discovery.xml_text import load_xml

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"


@dataclass(frozen=True, slots=True)
class DocxText:
    title: str | None
    """Of the document's properties, else its paragraph styled as the title."""
    blocks: Sequence[Block]
    """`line` is the number of the paragraph."""


#: What the reader of zip archives raises for broken ones.
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)


def read_docx(data: bytes) -> DocxText:
    """Raises UnreadableError for what is no Word document, is encrypted, or unpacks to too much."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            document = load_xml(_part(archive, "word/document.xml") or b"").root
            styles = _part(archive, "word/styles.xml")
            properties = _part(archive, "docProps/core.xml")
    except _BROKEN as error:
        raise UnreadableError(f"expected a Word document (.docx): {error}; save it again") from error
    body = document.find(f"{_W}body")
    if body is None:
        raise UnreadableError("expected a Word document (.docx), found none in it; save it again")
    reader = _Reader(_style_names(styles))
    blocks = list(reader.blocks(body))
    title = load_xml(properties).root.findtext(_TITLE) if properties else None
    return DocxText((title or "").strip() or reader.title, blocks)


def _part(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """A part of the archive, read no further than the bound, whatever its header says."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        return None
    with archive.open(info) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"{name} unpacks to more than {MAX_BYTES} bytes; split the document")
    return data


def _style_names(data: bytes | None) -> Mapping[str, str]:
    """English names of styles, whatever the language of their ids: `heading 1`, `Title`."""
    if data is None:
        return {}
    names = {}
    for style in load_xml(data).root.iter(f"{_W}style"):
        name = style.find(f"{_W}name")
        if name is not None:
            names[style.get(f"{_W}styleId", "")] = name.get(f"{_W}val", "").lower()
    return names


class _Reader:
    """Walks the body once, keeping the headings that the current paragraph stands under."""

    def __init__(self, style_names: Mapping[str, str]) -> None:
        self.title: str | None = None
        self._style_names = style_names
        self._headings: list[tuple[int, str]] = []
        self._paragraph = 0

    def blocks(self, parent: Element) -> Iterator[Block]:
        in_list = False
        for child in parent:
            if child.tag == f"{_W}p":
                self._paragraph += 1
                item = child.find(f"{_W}pPr/{_W}numPr") is not None
                yield from self._text(child, begins=not (item and in_list))
                in_list = item
            elif child.tag == f"{_W}tbl":
                table = [
                    [
                        " ".join(filter(None, (_plain(p) for p in cell.iter(f"{_W}p"))))
                        for cell in row.findall(f"{_W}tc")
                    ]
                    for row in child.findall(f"{_W}tr")
                ]
                self._paragraph += 1
                for number, row in enumerate(rows(table)):
                    yield self._block(row, number == 0)
            elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins"):
                yield from self.blocks(child)

    def _text(self, paragraph: Element, begins: bool) -> Iterator[Block]:
        text, level = _plain(paragraph), self._level(paragraph)
        if not text:
            return
        if level is None:
            yield self._block(text, begins)
        elif level == 0:
            self.title = self.title or text
        else:
            self._headings = [(n, name) for n, name in self._headings if n < level]
            self._headings.append((level, text))

    def _level(self, paragraph: Element) -> int | None:
        """1 to 9 for a heading, 0 for the title, None for text."""
        style = paragraph.find(f"{_W}pPr/{_W}pStyle")
        id_ = "" if style is None else style.get(f"{_W}val", "")
        name = self._style_names.get(id_, id_.lower())
        if name == "title":
            return 0
        digits = name.removeprefix("heading").strip()
        return int(digits) if name.startswith("heading") and digits in set("123456789") else None

    def _block(self, text: str, begins: bool) -> Block:
        return Block(text, tuple(name for _, name in self._headings), self._paragraph, None, begins)


def _plain(paragraph: Element) -> str:
    """Its text without what is hidden; deleted text stands in elements of its own, which are not read."""
    pieces = []
    for run in paragraph.iter(f"{_W}r"):
        if run.find(f"{_W}rPr/{_W}vanish") is not None:
            continue
        for child in run:
            if child.tag == f"{_W}t":
                pieces.append(child.text or "")
            elif child.tag in (f"{_W}tab", f"{_W}br", f"{_W}cr"):
                pieces.append(" ")
    return " ".join("".join(pieces).split())
