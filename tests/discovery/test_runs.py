"""The records of crawls: kept as long as they are wanted, and the last complete one for ever."""

from datetime import UTC, datetime, timedelta

from discovery.reports import RunReport, ScopeReport
from discovery.runs import last_completed, prune_runs, record_run
from graph.database import Database

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def run(source: str, days_ago: int, outcome: str = "complete") -> RunReport:
    return RunReport(
        source, NOW - timedelta(days=days_ago), timedelta(seconds=1), (ScopeReport("all", outcome=outcome),)
    )


async def test_old_records_go_and_the_last_complete_crawl_of_a_source_stays_known(neo4j: Database) -> None:
    for report in (
        run("people", 500),
        run("people", 410),
        run("people", 405, "failed"),
        run("mesh", 450),
        run("mesh", 1),
    ):
        await record_run(neo4j, report)
    before = await last_completed(neo4j)
    await prune_runs(neo4j, NOW - timedelta(days=400))
    assert await last_completed(neo4j) == before
    [left] = await neo4j.read("MATCH (r:_Run) RETURN collect(r.source) AS sources")
    assert sorted(left["sources"]) == ["mesh", "people"]
