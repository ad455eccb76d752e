"""What people see of a crawl in a terminal, and in a log."""

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from context_manager import display
from context_manager.display import progress, show_crawls, show_table
from discovery.connector import Problem
from discovery.reports import RunReport, ScopeReport


def test_in_a_terminal_one_line_moves_on_with_what_is_read() -> None:
    shown = io.StringIO()
    with progress(Console(file=shown, force_terminal=True, width=80)) as say:
        for claims in (500, 1_000):
            say(f"crawling people [all]: {claims} claims")
    assert "crawling people [all]: 1000 claims" in shown.getvalue()
    assert "\x1b[2K" in shown.getvalue(), "the line is not taken away in the end"


def test_where_nobody_watches_each_step_is_one_line() -> None:
    shown = io.StringIO()
    with progress(Console(file=shown)) as say:
        for line in (
            "crawling people: 500 claims",
            "crawling people: 1000 claims",
            "crawling pages: 7 claims",
        ):
            say(line)
    assert shown.getvalue().splitlines() == ["crawling people: 500 claims", "crawling pages: 7 claims"]


@pytest.mark.parametrize("width", [20, 80, 300])
def test_no_id_is_cut_and_no_text_of_a_table_is_lost_on_however_narrow_a_terminal(width: int) -> None:
    ids = ["account:https%3A//issuer.example/carlos.ibarra", "person:a" + "b" * 60]
    why = "because [red]somebody[/] said so " * 4 + "x" * 90
    shown = io.StringIO()
    rows = [(id, why, "5\x1b[2J") for id in ids]
    show_table(Console(file=shown, width=width), ("Id", "Why", "Gains"), rows, ids=["Id"], title="[b]Who[/b]")
    assert all(id in shown.getvalue() for id in ids)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.getvalue().splitlines()]
    told = "".join("".join(row[1].split()) for row in cells if len(row) == 3)
    assert told == "".join(why.split()) * 2, "markup is text, and what is long goes on below"
    assert "[b]Who[/b]" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()


def test_a_table_without_rows_says_so() -> None:
    shown = io.StringIO()
    show_table(Console(file=shown), ["Id"], [], none="Nothing is held.")
    assert shown.getvalue() == "Nothing is held.\n"


def test_every_table_is_one_that_cuts_nothing() -> None:
    """Whoever makes one does it by `as_table`."""
    package = Path(display.__file__).parent
    made = {path.name for path in package.glob("*.py") if re.search(r"\bTable\(", path.read_text())}
    assert made == {"display.py"}


def test_a_report_tells_each_source_and_what_could_not_be_read() -> None:
    shown = io.StringIO()
    problem = Problem("people.ldif:7", "expected [UTF-8]; export it again")
    scope = ScopeReport("people.ldif", "partial", claims=9, added=7, retracted=0, problems=(problem,))
    report = RunReport("people", datetime.now(UTC), timedelta(seconds=2), (scope,))
    show_crawls(Console(file=shown, width=120), [report])
    assert "partial" in shown.getvalue()
    assert "people: people.ldif:7: expected [UTF-8]; export it again" in shown.getvalue()
