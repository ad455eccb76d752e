"""The records of crawls: kept as long as they are wanted, and the last complete one for ever."""

from datetime import UTC, datetime, timedelta

from discovery.reports import RunReport, ScopeReport
from discovery.runs import last_completed, last_runs, prune_runs, record_run
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


async def test_a_crawl_of_which_no_end_was_heard_is_said_to_have_ended_by_the_next(neo4j: Database) -> None:
    await record_run(neo4j, run("people", 3), outcome="running")
    await record_run(neo4j, run("mesh", 3), outcome="running")
    assert await last_completed(neo4j) == {}
    await record_run(neo4j, run("people", 2), outcome="running")
    await record_run(neo4j, run("people", 2))
    later, earlier = await last_runs(neo4j, "people", 10)
    assert (later.outcome, later.ended) == ("complete", NOW - timedelta(days=2) + timedelta(seconds=1))
    assert earlier.outcome == "failed"
    assert earlier.error is not None
    assert "ended without a report" in earlier.error
    assert earlier.ended is not None
    [mesh] = await last_runs(neo4j, "mesh", 10)
    assert (mesh.outcome, mesh.ended) == ("running", None)
