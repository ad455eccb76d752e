"""What people see in a terminal: progress, crawls, answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unicodedata import category

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from discovery.reports import RunReport

_SHOWN = 5
"""Problems of a crawl that are shown one by one."""
_WIDEST = 100_000
"""Columns of a terminal on which everything fits."""


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that moves on, with the time each step takes; where nobody watches, a line for each."""
    if not console.is_terminal:
        steps: set[str] = set()

        def say(line: str) -> None:
            step = re.split(r"[\d%]", line, maxsplit=1)[0]  # a count that goes up is still the same step
            if step not in steps:
                steps.add(step)
                console.print(line, highlight=False, markup=False, soft_wrap=True)

        yield say
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda line: bar.update(task, description=escape(line[: console.width - 20]))


def printable(text: str) -> str:
    """Without what a terminal would obey: texts of sources are data."""
    return "".join("\ufffd" if category(char) == "Cc" and char not in "\n\t" else char for char in text)


def as_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    ids: Collection[str] = (),
    title: str | None = None,
) -> Table:
    """A table of texts, whose markup is not obeyed.

    Nothing is cut: what is long goes on below. What stands under the headings `ids` is kept in one piece.
    """
    table = Table(title=None if title is None else Text(printable(title)))
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ids, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return table


def show_table(  # noqa: PLR0913  what a table is made of
    console: Console,
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    ids: Collection[str] = (),
    title: str | None = None,
    none: str = "Nothing.",
) -> None:
    """What `as_table` makes of them, printed; `none` where there are no rows."""
    table = as_table(headings, rows, ids, title)
    if table.row_count:
        print_table(console, table)
    else:
        console.print(none)


def print_table(console: Console, table: Table) -> None:
    """Wider than a terminal on which an id would not fit."""
    least = Measurement.get(console, console.options.update(width=_WIDEST), table).minimum
    wide = console.options.update(width=max(console.width, least))
    console.print(Segments(console.render(table, wide)), crop=False, end="")


def show_crawls(console: Console, reports: Iterable[RunReport]) -> None:
    """What each crawl found, and what it could not read."""
    reports = list(reports)
    counts = ("added", "changed", "retracted", "unchanged")
    rows = [
        (
            report.source,
            report.outcome,
            *(str(sum(getattr(scope, name) for scope in report.scopes)) for name in counts),
            f"{report.duration.total_seconds():.1f}",
        )
        for report in reports
    ]
    if rows:
        headings = ("Source", "Outcome", *map(str.title, counts), "Seconds")
        show_table(console, headings, rows, ids=["Source"], title="Discovery")
    for report in reports:
        for line in _complaints(report):
            console.print(f"{report.source}: {line}", highlight=False, markup=False, soft_wrap=True)


def report_as_json(report: RunReport) -> dict[str, Any]:
    """A crawl for a program to read."""
    return {
        "source": report.source,
        "outcome": report.outcome,
        "error": report.error,
        "notes": list(report.notes),
        "seconds": report.duration.total_seconds(),
        "scopes": [
            {
                "scope": scope.scope,
                "outcome": scope.outcome,
                "why": scope.why,
                "added": scope.added,
                "changed": scope.changed,
                "retracted": scope.retracted,
                "unchanged": scope.unchanged,
                "problems": [f"{problem.place}: {problem.message}" for problem in scope.problems],
                "quarantined": [f"{v.entity}: {v.message}" for v in scope.violations],
            }
            for scope in report.scopes
        ],
    }


def show_answer(console: Console, answer: Mapping[str, Any]) -> None:
    """An answer of the service, as GraphQL gives it."""
    lines = [escape(str(answer["text"]))]
    for number, fact in enumerate(answer["facts"], start=1):
        lines.append(f"[dim]\\[{number}] {escape(fact['id'])} from {', '.join(fact['sources'])}[/]")
    if answer["node"]:
        lines.append(f"[dim]on {escape(answer['node'])} ({escape(str(answer['model']))})[/]")
    lines += [f"[dim]{escape(note)}[/]" for note in answer["notes"]]
    console.print(Panel("\n".join(lines), title=str(answer["outcome"]).lower().replace("_", " ")))


def _complaints(report: RunReport) -> Iterator[str]:
    if report.error:
        yield report.error
    yield from (f"{scope.scope}: {scope.why}" for scope in report.scopes if scope.why)
    yield from report.notes
    found = [f"{p.place}: {p.message}" for p in report.problems]
    found += [f"kept out: {v.entity} {v.shape}: {v.message}" for v in report.violations]
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more; `orgraph discover {report.source} --json` lists all"
