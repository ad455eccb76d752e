"""Renders the sample's PDF documents from their texts in `pdf-sources/`.

A text begins with `key: value` lines (file, title, author, date) up to a blank line; then `# ` and
`## ` are headings, lines between `|` are table rows (the first one the header), all else is
paragraphs. The same texts make the same bytes: no time of rendering, no random identifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib.colors import grey
from reportlab.lib.pagesizes import LETTER
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

FOLDER = Path(__file__).resolve().parent

_STYLES = getSampleStyleSheet()
_HEADINGS = {"# ": _STYLES["Title"], "## ": _STYLES["Heading2"]}
_GRID = TableStyle(
    [
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, grey),
        ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
        ("TOPPADDING", (0, 0), (-1, -1), 0),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 30),
    ]
)


def texts(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Header and body of each text of the sample in `folder`, in order of their names."""
    for path in sorted((folder / "pdf-sources").glob("*.txt")):
        head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
        yield dict(line.split(": ", 1) for line in head.splitlines()), body


def render(head: dict[str, str], body: str, target: Path) -> None:
    """Write one PDF to `target`."""
    document = SimpleDocTemplate(
        str(target),
        pagesize=LETTER,
        title=head["title"],
        author=head["author"],
        subject=f"Effective {head['date']}",
        creator="Harborview Benefits",
        invariant=1,
    )
    document.build(list(_flowables(body)))


def _flowables(body: str) -> Iterator[Flowable]:
    for filled, group in groupby(body.splitlines(), key=bool):
        if filled:
            lines = list(group)
            mark = next((mark for mark in _HEADINGS if lines[0].startswith(mark)), None)
            if mark is not None:
                yield _paragraph(lines[0].removeprefix(mark), _HEADINGS[mark])
            elif lines[0].startswith("|"):
                rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
                yield Table(rows, style=_GRID, hAlign="LEFT")
                yield Spacer(0, 12)
            else:
                yield _paragraph(" ".join(lines), _STYLES["BodyText"])


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(text), style)


if __name__ == "__main__":
    for head, body in texts(FOLDER):
        render(head, body, FOLDER / head["file"])
