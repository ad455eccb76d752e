"""Crawls into a real Neo4j: what is written, what is retracted, and what a failure leaves alone."""

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest

from discovery.configuration import all_sources
from discovery.connector import SourceError
from discovery.connectors.table import CONNECTORS
from discovery.names import entity_names
from discovery.rate import TokenBucket
from discovery.runner import Runner
from discovery.runs import last_completed
from graph.claims import EntityClaim
from graph.feed import current_revision
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes

PERSON = "dn: uid={0},dc=acme\nobjectClass: inetOrgPerson\nuid: {0}\ncn: {1}\n\n"
GROUP = "dn: cn=everyone,dc=acme\nobjectClass: groupOfNames\ncn: everyone\n"
MEMBER = "member: uid={0},dc=acme\n"

ADA, GRACE = PERSON.format("ada", "Ada Lovelace"), PERSON.format("grace", "Grace Hopper")
BOTH = ADA + GRACE + GROUP + MEMBER.format("ada") + MEMBER.format("grace")
ONE = ADA + GROUP + MEMBER.format("ada")

PEOPLE = {
    "name": "people",
    "connector": "ldif",
    "grants": ["HAS_ACCOUNT", "MEMBER_OF"],
    "options": {"path": "directory.ldif"},
}
PAGES = {"name": "pages", "connector": "documents", "options": {"path": "pages", "mentions": False}}


@pytest.fixture
def make_runner(neo4j, make_organization, tmp_path):
    def make(*sources, progress=None):
        organization = make_organization(tmp_path, *sources)
        store = FactStore(neo4j, load_shapes(), load_authorization())
        return Runner(organization, store, neo4j, **({"progress": progress} if progress else {}))

    return make


async def names(neo4j, label):
    assert label.isalpha()
    records = await neo4j.read(f"MATCH (n:{label}) RETURN n.name AS name ORDER BY name")
    return [record["name"] for record in records]


async def test_sources_are_crawled_and_recorded(make_runner, neo4j, tmp_path):
    (tmp_path / "directory.ldif").write_text(BOTH)
    seen = []
    runner = make_runner(PEOPLE, progress=lambda source, scope: seen.append((source, scope.claims)))
    before = datetime.now(UTC)
    reports = await runner.run_all(all_sources(runner.organization))
    assert [(report.source, report.outcome) for report in reports] == [
        ("configuration", "complete"),
        ("people", "complete"),
    ]
    assert [report.violations for report in reports] == [(), ()]
    assert await names(neo4j, "Person") == ["Ada Lovelace", "Grace Hopper"]
    assert await names(neo4j, "Collection") == ["All", "HR"]
    assert seen[-1] == ("people", 9)
    completed = await last_completed(neo4j)
    assert set(completed) == {"configuration", "people"}
    assert before <= completed["people"] <= datetime.now(UTC)
    known = await entity_names(neo4j)
    assert known == {
        "Acme": "organization:acme",
        "Ada Lovelace": "person:ada",
        "@ada": "person:ada",
        "Grace Hopper": "person:grace",
        "@grace": "person:grace",
    }


async def test_texts_mention_systems_and_refer_to_titles_that_other_sources_tell(
    make_runner, neo4j, tmp_path
):
    """And what a source itself is called does not make it read again."""
    with closing(sqlite3.connect(tmp_path / "lake.sqlite")) as database:
        database.execute("CREATE TABLE t (a)")
    for folder, text in (
        ("rules", "# Data Policy\n\nLunch.\n"),
        ("pages", "# Own Guide\n\nThe data lake obeys the Data Policy.\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.md").write_text(text)
        os.utime(tmp_path / folder / "a.md", (1, 1))  # else it might be changed again and nobody see it
    lake = {"name": "lake", "connector": "sql", "options": {"url": "lake.sqlite", "name": "Data lake"}}
    rules = {"name": "rules", "connector": "documents", "options": {"path": "rules", "kind": "policy"}}
    pages = {"name": "pages", "connector": "documents", "options": {"path": "pages"}}
    runner = make_runner(lake, rules, pages)
    for source in all_sources(runner.organization):
        assert (await runner.run(source)).outcome == "complete"
    assert (await entity_names(neo4j)).items() >= {
        "Data lake": "dataset:lake",
        "Data Policy": "policy:rules/a.md",
        "Own Guide": "document:pages/a.md",
    }.items()
    found = await neo4j.read(
        "MATCH (:Passage)-[r:MENTIONS|REFERS_TO]->(n) RETURN type(r) AS type, n.id AS id ORDER BY id"
    )
    assert [(one["type"], one["id"]) for one in found] == [
        ("MENTIONS", "dataset:lake"),
        ("REFERS_TO", "policy:rules/a.md"),
    ]
    again = await runner.run(all_sources(runner.organization)[-1])
    assert sum(scope.claims for scope in again.scopes) == 0, "its own titles are not news"


async def test_of_two_crawls_at_once_on_one_source_the_second_says_so_and_takes_nothing_away(
    make_runner, neo4j, tmp_path
):
    (tmp_path / "directory.ldif").write_text(BOTH)
    runner = make_runner(PEOPLE)
    configuration, people = all_sources(runner.organization)
    assert {(await runner.run(source)).outcome for source in (configuration, people)} == {"complete"}
    (tmp_path / "directory.ldif").write_text(ONE)
    revision = await current_revision(neo4j)
    async with runner.store.crawl(people.policy(), "directory.ldif"):
        report = await runner.run(people)
        assert report.outcome == "failed"
        [scope] = report.scopes
        assert "source people, scope directory.ldif, is being crawled already: wait" in str(scope)
    assert await current_revision(neo4j) == revision
    assert await names(neo4j, "Person") == ["Ada Lovelace", "Grace Hopper"]
    assert (await runner.run(people)).outcome == "complete"
    assert await names(neo4j, "Person") == ["Ada Lovelace"]


async def test_what_a_complete_crawl_no_longer_says_is_retracted(make_runner, neo4j, tmp_path):
    runner = make_runner(PEOPLE)
    await runner.run(all_sources(runner.organization)[0])
    for directory, people in ((BOTH, ["Ada Lovelace", "Grace Hopper"]), (ONE, ["Ada Lovelace"])):
        (tmp_path / "directory.ldif").write_text(directory)
        report = await runner.run(runner.organization.source[0])
        assert report.outcome == "complete"
        assert await names(neo4j, "Person") == people
    assert report.scopes[0].retracted == 4  # the person, her account, her hold on it, her membership


@pytest.mark.parametrize(
    ("left", "outcome"),
    [
        (ONE + "\ndn: broken\nuid: x\n", "partial"),
        ("", "partial"),
        (None, "failed"),
    ],
)
async def test_a_crawl_that_saw_a_part_or_nothing_takes_nothing_away(
    make_runner, neo4j, tmp_path, left, outcome
):
    runner = make_runner(PEOPLE)
    file = tmp_path / "directory.ldif"
    file.write_text(BOTH)
    await runner.run_all(all_sources(runner.organization))
    completed = await last_completed(neo4j)
    if left is None:
        file.unlink()
    else:
        file.write_text(left)
    report = await runner.run(runner.organization.source[0])
    assert report.outcome == outcome
    assert await names(neo4j, "Person") == ["Ada Lovelace", "Grace Hopper"]
    assert await last_completed(neo4j) == completed


async def test_a_failure_ends_only_its_own_source(make_runner, neo4j, tmp_path):
    (tmp_path / "directory.ldif").write_text(BOTH)
    unknown = {"name": "unknown", "connector": "telepathy"}
    absent = {"name": "absent", "connector": "bpmn", "options": {"path": "gone.bpmn"}}
    runner = make_runner(unknown, absent, PEOPLE)
    reports = {r.source: r for r in await runner.run_all(all_sources(runner.organization))}
    assert {name: report.outcome for name, report in reports.items()} == {
        "configuration": "complete",
        "unknown": "failed",
        "absent": "failed",
        "people": "complete",
    }
    assert "no connector 'telepathy'" in reports["unknown"].error
    assert "there is no such file" in reports["absent"].scopes[0].why
    records = await neo4j.read(
        "MATCH (r:_Run {source: 'unknown'}) RETURN r.outcome AS outcome, r.error AS error"
    )
    assert [record["outcome"] for record in records] == ["failed"]


class Interrupted:
    """A directory whose reading breaks off, in the way that the error says, after many claims."""

    def __init__(self, error):
        self.error = error

    def scopes(self):
        return ("directory.ldif",)

    def read(self, scope):
        for number in range(1200):
            name = f"Person {number}"
            yield EntityClaim(f"person:p{number}", "Person", "collection:all", {"name": name}, scope)
        raise self.error


@pytest.mark.parametrize("error", [SourceError("the line went dead"), RuntimeError("a bug")])
async def test_a_read_that_breaks_off_is_reported_and_keeps_what_was_written(
    make_runner, neo4j, monkeypatch, error
):
    runner = make_runner(PEOPLE)
    [configuration, people] = all_sources(runner.organization)
    await runner.run(configuration)
    monkeypatch.setitem(CONNECTORS, "ldif", lambda organization, source: Interrupted(error))
    report = await runner.run(people)
    assert report.outcome == "failed"
    assert str(error) in report.scopes[0].why
    assert report.scopes[0].claims == 1000
    assert len(await names(neo4j, "Person")) == 1000


class Endless:
    """A source that never ends, and says when its reading is over."""

    def __init__(self):
        self.over = threading.Event()

    def scopes(self):
        return ("everything",)

    def read(self, scope):
        try:
            for number in count():
                yield EntityClaim(
                    f"person:p{number % 1000}", "Person", "collection:all", {"name": "P"}, scope
                )
        finally:
            self.over.set()


async def test_a_crawl_that_is_cancelled_ends_its_reading_too(make_runner, monkeypatch):
    endless, written = Endless(), asyncio.Event()
    runner = make_runner(PEOPLE, progress=lambda source, scope: written.set())
    monkeypatch.setitem(CONNECTORS, "ldif", lambda organization, source: endless)
    crawl = asyncio.create_task(runner.run(runner.organization.source[0]))
    await written.wait()
    crawl.cancel()
    with pytest.raises(asyncio.CancelledError):
        await crawl
    assert await asyncio.to_thread(endless.over.wait, 30)


async def test_what_fails_while_writing_ends_the_reading_and_is_reported(make_runner, monkeypatch):
    def interrupt(source, scope):
        raise RuntimeError("stop")

    endless = Endless()
    runner = make_runner(PEOPLE, progress=interrupt)
    monkeypatch.setitem(CONNECTORS, "ldif", lambda organization, source: endless)
    report = await runner.run(runner.organization.source[0])
    assert (report.outcome, report.scopes[0].why) == (
        "failed",
        "RuntimeError: stop (unexpected; the log has the place)",
    )
    assert await asyncio.to_thread(endless.over.wait, 30)


async def test_a_database_that_is_gone_is_reported_not_raised(make_runner, neo4j):
    runner = make_runner(PEOPLE)
    await neo4j.driver.close()
    report = await runner.run(runner.organization.source[0])
    assert report.outcome == "failed"
    assert "the crawl could not be recorded" in report.error


async def test_claims_beyond_the_sources_rights_are_quarantined_and_reported(make_runner, neo4j, tmp_path):
    (tmp_path / "directory.ldif").write_text(BOTH)
    runner = make_runner(PEOPLE | {"grants": ["HAS_ACCOUNT"]})
    _, report = await runner.run_all(all_sources(runner.organization))
    assert {violation.shape for violation in report.violations} == {"og:grant"}
    assert len(report.violations) == 2
    records = await neo4j.read("MATCH (:Person)-[m:MEMBER_OF]->() RETURN count(m) AS count")
    assert records[0]["count"] == 0


async def test_problems_are_kept_with_the_run(make_runner, neo4j, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "good.md").write_text("# Good\n\nText.")
    (tmp_path / "pages" / "bad.pdf").write_text("no PDF")
    runner = make_runner(PAGES)
    _, report = await runner.run_all(all_sources(runner.organization))
    assert [problem.place for problem in report.problems] == ["bad.pdf"]
    [record] = await neo4j.read("MATCH (r:_Run {source: 'pages'}) RETURN r.problems AS problems")
    assert record["problems"] == [f"{p.place}: {p.message}" for p in report.problems]
    assert await names(neo4j, "Document") == ["Good"]


async def test_of_a_great_many_problems_some_are_told_and_how_many_more_there_are(
    make_runner, neo4j, tmp_path
):
    entries = "\n".join(f"dn: uid=p{number},dc=acme\nobjectClass: inetOrgPerson\n" for number in range(1_203))
    (tmp_path / "directory.ldif").write_text(f"{entries}\n{ADA}")
    runner = make_runner(PEOPLE)
    _, report = await runner.run_all(all_sources(runner.organization))
    assert report.outcome == "partial"
    assert len(report.problems) == 1_001
    assert report.problems[-1].message == "203 more like these; correct these first"
    assert await names(neo4j, "Person") == ["Ada Lovelace"]


async def test_a_source_that_the_graph_may_not_hold_is_not_read_and_its_report_says_why(
    make_runner, neo4j, tmp_path
):
    (tmp_path / "directory.ldif").write_text(BOTH)
    runner = make_runner(PEOPLE)
    refusing = replace(runner, refusal=lambda source: f"{source.name} may not be held here")
    report = await refusing.run(runner.organization.source_named("people"))
    assert (report.outcome, report.error) == ("failed", "people may not be held here")
    assert await names(neo4j, "Person") == []
    assert "people" not in await last_completed(neo4j)


UNITS = """
[[rule]]
id = "organizational_unit:{id}"
class = "OrganizationalUnit"
values = { name = "id" }

[[rule.relationship]]
type = "UNIT_OF"
end = "organizational_unit:{above}"
"""


async def test_what_moves_from_its_only_place_is_there_after_one_crawl(make_runner, neo4j, tmp_path):
    """The new place is refused while the old one stands, which goes at the end of the crawl."""
    (tmp_path / "units.toml").write_text(UNITS)
    options = {"path": "units.csv", "mapping": "units.toml"}
    runner = make_runner({"name": "units", "connector": "mapping", "options": options})
    source = runner.organization.source[0]
    for above in ("sales", "company", "sales"):
        (tmp_path / "units.csv").write_text(f"id,above\nclaims,{above}\nsales,\ncompany,\n")
        report = await runner.run(source)
        assert (report.outcome, report.violations) == ("complete", ())
        [record] = await neo4j.read(
            "MATCH (:Entity {id: 'organizational_unit:claims'})-[:UNIT_OF]->(m) RETURN m.name AS name"
        )
        assert record["name"] == above
    assert report.scopes[0].retracted == 1
    assert report.scopes[0].added == 1


class Counting(TokenBucket):
    """A bucket by a clock that only waiting moves."""

    def __init__(self, rate):
        self.now, self.taken = 0.0, []
        super().__init__(rate, lambda: self.now, self.wait)

    def wait(self, seconds):
        self.now += seconds

    def take(self, page):
        super().take(page)
        self.taken.append((page, self.now))


async def test_no_more_pages_of_a_source_are_read_than_it_bears_whoever_else_is_crawled(
    make_runner, tmp_path
):
    """Two a second at once, then one each half second; the other source has its own time."""
    for folder in ("pages", "others"):
        (tmp_path / folder).mkdir()
        for number in range(6):
            (tmp_path / folder / f"{number}.md").write_text(f"# Page {number}\n\nText.")
    others = PAGES | {"name": "others", "options": {"path": "others", "mentions": False}}
    runner = make_runner(PAGES | {"pages_per_second": 2}, others)
    bucket = runner.buckets["pages"] = Counting(2)
    assert {report.outcome for report in await runner.run_all(all_sources(runner.organization))} == {
        "complete"
    }
    assert [page for page, _ in bucket.taken] == [f"{number}.md" for number in range(6)]
    assert [at for _, at in bucket.taken] == pytest.approx([0, 0, 0.5, 1.0, 1.5, 2.0])
