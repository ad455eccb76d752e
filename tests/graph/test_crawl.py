"""One crawl of a scope at a time; what a dead process leaves behind; input that is too much."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from neo4j.exceptions import TransientError

from graph.claims import EntityClaim, RelationshipClaim, SourcePolicy
from graph.crawl import Step
from graph.database import Database
from graph.feed import FactChange, changes, current_revision
from graph.lease import CrawlBusyError, LeaseLostError
from graph.record import Record
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
CONFIGURATION = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))


def directory(trust: int = 50) -> SourcePolicy:
    return SourcePolicy("directory", frozenset(), frozenset({COMPANY}), trust, timedelta(days=1))


def person(key: str, title: str = "Analyst") -> EntityClaim:
    return EntityClaim(f"person:{key}", "Person", COMPANY, {"name": key, "jobTitle": title}, f"line {key}")


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    async with store.crawl(CONFIGURATION, "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "sources.toml")])
    return store


async def run(store: FactStore, query: str, **parameters: object) -> None:
    async def work(tx):
        await (await tx.run(query, parameters)).consume()

    await store.database.write_transaction(work)


async def test_a_second_crawl_of_a_scope_is_refused_while_the_first_goes_on(store: FactStore) -> None:
    async with store.crawl(directory(), "people"):
        with pytest.raises(CrawlBusyError, match="source directory, scope people"):
            async with store.crawl(directory(), "people"):
                pass
        async with store.crawl(directory(), "contractors") as other:
            assert (await other.write([person("ada")])).added == 1
    async with store.crawl(directory(), "people") as crawl:
        assert (await crawl.write([person("eve")])).added == 1


async def test_a_lease_that_nobody_renews_is_taken_over_and_its_crawl_writes_no_more(
    store: FactStore,
) -> None:
    lapse = """MATCH (s:_Source {scope: 'people'})
               SET s.lease = 'another process', s.leaseUntil = datetime() - duration({seconds: 1})"""
    async with store.crawl(directory(), "people") as first:
        await run(store, lapse)
        before = await current_revision(store.database)
        with pytest.raises(LeaseLostError, match="another crawl of directory, scope people, has begun"):
            await first.write([person("ada")])
        with pytest.raises(LeaseLostError):
            await first.complete()
        assert await current_revision(store.database) == before
        async with store.crawl(directory(), "people") as second:
            assert (await second.write([person("ada")])).added == 1


async def test_a_hundred_thousand_claims_of_one_crawl_on_one_fact_leave_the_first_and_one_reason(
    store: FactStore,
) -> None:
    async with store.crawl(directory(), "people") as crawl:
        report = await crawl.write([person("ada", f"Title {number}") for number in range(100_000)])
    assert (report.added, [one.shape for one in report.quarantined]) == (1, ["og:claimedTwice"])
    [ada] = await store.database.read("MATCH (n:Person) RETURN n.jobTitle AS title")
    assert ada["title"] == "Title 0"


async def test_a_fact_of_which_too_many_scopes_speak_takes_no_more(
    store: FactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.batch.MOST_CLAIMS", 3)
    reports = []
    for scope in "abcd":
        async with store.crawl(directory(), scope) as crawl:
            reports.append(await crawl.write([person("ada")]))
    assert [one.shape for report in reports for one in report.quarantined] == ["og:claims"]
    assert "crawl it in fewer scopes" in reports[-1].quarantined[0].message


async def test_claims_move_to_new_pages_when_the_trust_in_their_source_changes(store: FactStore) -> None:
    other = SourcePolicy("payroll", frozenset(), frozenset({COMPANY}), 60, timedelta(days=1))

    async def title(source: SourcePolicy, value: str) -> str:
        async with store.crawl(source, "all") as crawl:
            await crawl.write([person("ada", value)])
            await crawl.complete()
        [ada] = await store.database.read("MATCH (n:Person) RETURN n.jobTitle AS title")
        return str(ada["title"])

    assert await title(other, "Boss") == "Boss"
    assert await title(directory(50), "Analyst") == "Boss"
    assert await title(directory(70), "Analyst") == "Analyst"
    assert await title(directory(50), "Analyst") == "Boss"
    pages = await store.database.read("MATCH (p:_Page) WHERE p.source <> 'configuration' RETURN p.count AS n")
    assert [record["n"] for record in pages] == [1, 1]


async def test_more_claims_than_a_page_holds_are_found_again_and_retracted_alone(store: FactStore) -> None:
    claims = [person(f"p{number:04}") for number in range(1_200)]
    reports = [
        RelationshipClaim(f"person:p{number:04}", "REPORTS_TO", "person:p0000", "line 1")
        for number in range(1, 1_200)
    ]
    async with store.crawl(directory(), "people") as crawl:
        assert (await crawl.write([*claims, *reports])).added == 2_399
    async with store.crawl(directory(), "people") as crawl:
        report = await crawl.write([*claims, *reports[:-1]])
        assert (report.unchanged, report.added, report.changed) == (2_398, 0, 0)
        assert (await crawl.complete()).retracted == 1
    [found] = await store.database.read(
        "RETURN COUNT { ()-[:REPORTS_TO]->() } AS n, COLLECT { MATCH (p:_Page) RETURN sum(p.count) }[0] AS c"
    )
    assert (found["n"], found["c"]) == (1_198, 2_399)


async def test_a_relationship_that_would_close_a_cycle_is_refused_where_none_may_be(store: FactStore) -> None:
    def unit(key: str) -> EntityClaim:
        return EntityClaim(f"organizational_unit:{key}", "OrganizationalUnit", COMPANY, {"name": key}, "1")

    def of(key: str, whole: str) -> RelationshipClaim:
        start, end = f"organizational_unit:{key}", f"organizational_unit:{whole}"
        return RelationshipClaim(start, "UNIT_OF", end, "line 1")

    async with store.crawl(directory(), "units") as crawl:
        first = await crawl.write([unit("a"), unit("b"), of("a", "b"), of("b", "c")])
        second = await crawl.write([unit("c"), of("c", "a"), of("d", "d")])
    assert first.quarantined == ()
    assert sorted((one.shape, one.value) for one in second.quarantined) == [
        (
            "og:acyclic",
            "organizational_unit:c -> organizational_unit:a -> organizational_unit:b -> organizational_unit:c",
        ),
        ("og:acyclic", "organizational_unit:d -> organizational_unit:d"),
    ]
    [found] = await store.database.read("RETURN COUNT { ()-[:UNIT_OF]->() } AS n")
    assert found["n"] == 2


async def test_a_source_that_is_followed_may_say_something_else_in_each_change(store: FactStore) -> None:
    async with store.crawl(directory(), "people") as crawl:
        for title in ("Analyst", "Boss", "Analyst"):
            [report] = await crawl.write_steps([Step([person("ada", title)])])
            assert report.quarantined == ()
            [ada] = await store.database.read("MATCH (n:Person) RETURN n.jobTitle AS title")
            assert ada["title"] == title


def states() -> list[Step]:
    """Of which one says nothing new, one is refused in part, and one takes back what the one before said."""
    return [
        Step([person("ada"), person("eve")], reached={"position": "1"}),
        Step([person("ada")]),
        Step(
            [person("ada", "Boss"), EntityClaim("person:x", "Person", "collection:other", {"name": "x"}, "l")]
        ),
        Step([person("kim")], [person("eve")], {"position": "4"}),
        Step([person("eve", "Back")], [person("kim")]),
    ]


async def told(store: FactStore) -> list[Sequence[FactChange]]:
    """By revision, those of people."""
    return [
        [change for change in one.changes if change.kind == "entity"]
        for one in await changes(store.database, 0)
        if one.source == "directory"
    ]


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_source_changed_in_steps_is_as_if_each_was_written_alone(
    store: FactStore, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """`fails`: the transaction is rolled back at its end, and tried again."""
    record, tries = Record.write, 0

    async def write(self: Record, *arguments: Any) -> None:
        nonlocal tries
        tries += 1
        await record(self, *arguments)
        if tries == 1 and fails:
            raise TransientError

    async with store.crawl(directory(), "alone") as crawl:
        alone = [report for step in states() for report in await crawl.write_steps([step])]
    expected = await told(store)
    async with store.crawl(directory(), "alone") as crawl:
        await crawl.complete()
    before = len(await told(store))
    monkeypatch.setattr(Record, "write", write)
    async with store.crawl(directory(), "alone") as crawl:
        reports = await crawl.write_steps(states())
        assert tries == 1 + fails
        assert (await crawl.write_steps([Step([person("eve", "Back")]), Step()]))[0].unchanged == 1
    assert (await told(store))[before:] == expected
    assert [replace(one, revision=0) for one in reports] == [replace(one, revision=0) for one in alone]
    assert [one.revision - reports[0].revision for one in reports] == [0, 0, 1, 2, 3]
    [reading] = await store.database.read("MATCH (r:_Reading {source: 'directory'}) RETURN r.position AS at")
    assert reading["at"] == "4"


async def batches(*of: list[EntityClaim], then: Exception | None = None) -> AsyncIterator[list[EntityClaim]]:
    for batch in of:
        yield batch
    if then is not None:
        raise then


async def test_batches_that_are_looked_at_ahead_are_written_as_one_after_the_other(store: FactStore) -> None:
    many = [[person(f"{at}-{number}") for number in range(900)] for at in range(3)]  # so that the table grows
    other = [person("0-0", "Boss"), person("1-0"), person("new")]
    async with store.crawl(directory(), "people") as crawl:
        reports = [one async for one in crawl.write_each(batches(*many, other))]
        assert [report.added for report in reports] == [900, 900, 900, 1]
        assert [one.shape for one in reports[-1].quarantined] == ["og:claimedTwice"]
        assert (await crawl.complete()).retracted == 0
    async with store.crawl(directory(), "people") as crawl:
        again = [one async for one in crawl.write_each(batches(*many))]
        assert sum(report.unchanged for report in again) == 2700
        assert (await crawl.complete()).retracted == 1


async def test_where_reading_fails_what_was_read_before_is_written(store: FactStore) -> None:
    read = batches([person("ada")], [person("eve")], then=OSError("cut off"))
    added = 0
    async with store.crawl(directory(), "people") as crawl:
        with pytest.raises(OSError, match="cut off"):
            async for report in crawl.write_each(read):
                added += report.added
    assert added == 2
    assert len(await store.database.read("MATCH (n:Person) RETURN n")) == 2


async def test_what_was_not_written_may_be_said_again(store: FactStore) -> None:
    async with store.crawl(directory(), "people") as crawl:
        taken = "MATCH (s:_Source {scope: 'people'}) SET s.held = s.lease, s.lease = 'another process'"
        await run(store, taken)
        with pytest.raises(LeaseLostError):
            await crawl.write([person("ada")])
        await run(store, "MATCH (s:_Source {scope: 'people'}) SET s.lease = s.held REMOVE s.held")
        assert (await crawl.write([person("ada")])).added == 1
