"""PDF pages as blocks of text, columns of a table kept beside their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

from pypdf import PageObject, PdfReader
from pypdf.errors import PyPdfError

from discovery.connector import Problem
from discovery.files import UnreadableError, read_bytes
from discovery.passages import Block, rows

#: Pages beyond are refused.
MAX_PAGES = 5000

_COLUMNS = re.compile(r" {3,}")
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class PdfText:
    title: str | None
    blocks: Sequence[Block]
    problems: Sequence[Problem]
    """A page without text, or one that cannot be read."""


def read_pdf(path: Path, name: str) -> PdfText:
    """Text page by page, the first page being 1. Raises UnreadableError for what is not a PDF."""
    data = read_bytes(path)
    if b"%PDF-" not in data[:1024]:
        raise UnreadableError("expected a PDF, found a file that does not begin as one; export it again")
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted:
            raise UnreadableError("the PDF is encrypted; store it without a password")
        count = len(reader.pages)
        title = reader.metadata.title if reader.metadata else None
    except UnreadableError:
        raise
    except Exception as error:  # pypdf raises whatever a hostile file provokes
        raise UnreadableError(f"expected a PDF: {error}; export it again") from error
    if count > MAX_PAGES:
        raise UnreadableError(f"expected at most {MAX_PAGES} pages, found {count}; split it")
    blocks: list[Block] = []
    problems: list[Problem] = []
    for number in range(1, count + 1):
        place = f"{name} page {number}"
        try:
            lines = _lines(reader.pages[number - 1])
        except Exception as error:  # noqa: BLE001 - as above
            problems.append(Problem(place, f"the page cannot be read: {error}; export the PDF again"))
            continue
        found = list(_blocks(lines, number))
        blocks += found
        if not found:
            problems.append(Problem(place, "the page has no text (a scan?); store it with recognized text"))
    title = title.strip() if isinstance(title, str) else ""
    return PdfText(None if title.lower() in ("", "untitled") else title, blocks, problems)


def _lines(page: PageObject) -> list[str]:
    try:
        text = page.extract_text(extraction_mode="layout")
    except (PyPdfError, ArithmeticError, LookupError, TypeError, ValueError):
        text = page.extract_text()  # some fonts have no widths to lay text out by
    return str(text).splitlines()


def _blocks(lines: list[str], page: int) -> Iterator[Block]:
    """Paragraphs and table rows. A line of several columns is a row; blank lines part paragraphs."""
    split = [_COLUMNS.split(line.strip()) for line in lines]
    for columns, group in groupby(split, key=lambda cells: 0 if cells == [""] else min(len(cells), 2)):
        cells = list(group)
        if columns == 1:
            yield Block(" ".join(row[0] for row in cells), (), 0, page)
        elif columns == 2:
            begins = True
            for text in _table(cells):
                yield Block(text, (), 0, page, begins)
                begins = False


def _table(table: list[list[str]]) -> Iterator[str]:
    """Rows with their column's header where the first row can be one, else with the row's own label."""
    widest = max(map(len, table))
    header = table[0]
    if len(header) == widest - 1:
        header = ["", *header]  # no header above the labels
    is_header = widest > 2 and len(header) == widest and not any(map(_NUMBER.search, header[1:]))
    if is_header and len(table) > 1:
        for row in table[1:]:
            yield from rows([header, row]) if len(row) == widest else [_labelled(row)]
    else:
        yield from map(_labelled, table)


def _labelled(row: list[str]) -> str:
    return row[0] if len(row) == 1 else f"{row[0]}: {'; '.join(row[1:])}"
