"""What people see of a crawl in a terminal, and in a log."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from context_manager.display import progress, show_crawls
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


def test_a_report_tells_each_source_and_what_could_not_be_read() -> None:
    shown = io.StringIO()
    problem = Problem("people.ldif:7", "expected [UTF-8]; export it again")
    scope = ScopeReport("people.ldif", "partial", claims=9, added=7, retracted=0, problems=(problem,))
    report = RunReport("people", datetime.now(UTC), timedelta(seconds=2), (scope,))
    show_crawls(Console(file=shown, width=120), [report])
    assert "partial" in shown.getvalue()
    assert "people: people.ldif:7: expected [UTF-8]; export it again" in shown.getvalue()
