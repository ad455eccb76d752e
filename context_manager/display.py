"""What people see in a terminal: progress, crawls, answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unicodedata import category

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from discovery.reports import RunReport

_SHOWN = 5
"""Problems of a crawl that are shown one by one."""


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


def show_crawls(console: Console, reports: Iterable[RunReport]) -> None:
    """What each crawl found, and what it could not read."""
    table = Table(
        "Source", "Outcome", "Added", "Changed", "Retracted", "Unchanged", "Seconds", title="Discovery"
    )
    for report in reports:
        numbers = [
            sum(getattr(scope, name) for scope in report.scopes)
            for name in ("added", "changed", "retracted", "unchanged")
        ]
        seconds = f"{report.duration.total_seconds():.1f}"
        table.add_row(report.source, report.outcome, *map(str, numbers), seconds)
    if table.row_count:
        console.print(table)
    for report in reports:
        for line in _complaints(report):
            console.print(f"{report.source}: {line}", highlight=False, markup=False)


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
