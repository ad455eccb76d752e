"""What the fact store promises of several sources, partial crawls, forward references and revisions."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from neo4j import AsyncManagedTransaction

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy, Value, WriteReport
from graph.database import Database
from graph.facts import RelationshipFact
from graph.feed import advance, changes, current_revision, position
from graph.live import places
from graph.pages import Pages
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COLLECTIONS = ("collection:company", "collection:hr")
GRANTS = frozenset({"HAS_ACCOUNT", "MEMBER_OF", "SUBGROUP_OF"})


def policy(name: str, *, trust: int = 50, grants: frozenset[str] = GRANTS) -> SourcePolicy:
    return SourcePolicy(name, grants, frozenset(COLLECTIONS), trust, timedelta(days=1))


CONFIGURATION = policy("configuration", grants=frozenset({"MAY_VIEW", "DENIED", "INHERITS_FROM"}))
DIRECTORY = policy("directory")
PAYROLL = policy("payroll")


def person(key: str, collection: str = "collection:company", **values: Value) -> EntityClaim:
    return EntityClaim(
        f"person:{key}", "Person", collection, {"name": key.title(), **values}, f"people.ldif:{key}"
    )


def group(key: str) -> EntityClaim:
    return EntityClaim(f"group:{key}", "Group", "collection:company", {"name": key}, f"people.ldif:{key}")


def relationship(start: str, type_: str, end: str) -> RelationshipClaim:
    return RelationshipClaim(start, type_, end, f"people.ldif:{start}")


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    collections = [
        EntityClaim(id, "Collection", id, {"name": id.removeprefix("collection:")}, "sources.toml")
        for id in COLLECTIONS
    ]
    await crawled(store, CONFIGURATION, collections)
    return store


async def crawled(
    store: FactStore, source: SourcePolicy, claims: Sequence[Claim], scope: str = "all"
) -> tuple[WriteReport, WriteReport]:
    async with store.crawl(source, scope) as crawl:
        return await crawl.write(claims), await crawl.complete()


async def values_of(store: FactStore, id: str) -> dict[str, Any] | None:
    records = await store.database.read("MATCH (n:Entity {id: $id}) RETURN properties(n) AS values", id=id)
    return dict(records[0]["values"]) if records else None


async def relationships(store: FactStore, type_: str) -> list[tuple[str, str, list[str]]]:
    records = await store.database.read(
        "MATCH (a:Entity)-[r:$($type)]->(b:Entity) RETURN a.id AS a, b.id AS b, r.sources AS s ORDER BY a, b",
        type=type_,
    )
    return [(record["a"], record["b"], record["s"]) for record in records]


async def evidence_of(store: FactStore, fact: str) -> list[str]:
    """What its claims give as evidence."""

    async def work(tx: AsyncManagedTransaction) -> list[str]:
        held = (await places(tx, [fact]))[fact]
        claims = (await Pages(tx).claims_on({fact: held.pages}))[fact]
        return [one.claim.evidence for one, _ in claims.values()]

    return await store.database.read_transaction(work)


async def everything(store: FactStore) -> list[Any]:
    """The whole database, to see that nothing was written."""
    nodes = await store.database.read(
        "MATCH (n) WHERE NOT n:_Source RETURN labels(n) AS l, properties(n) AS p ORDER BY elementId(n)"
    )
    edges = await store.database.read(
        "MATCH ()-[r]->() RETURN type(r) AS t, properties(r) AS p ORDER BY elementId(r)"
    )
    return [record.data() for record in (*nodes, *edges)]


async def test_an_entity_is_written_with_all_that_it_tells_of_itself(store: FactStore) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    ada = EntityClaim(
        "person:ada",
        "Person",
        "collection:company",
        {"name": "Ada Lovelace", "accountName": ("ada", "al")},
        "people.ldif:1",
        confidence=0.9,
        valid_from=start,
        valid_to=end,
    )
    report, _ = await crawled(store, DIRECTORY, [ada])
    assert (report.added, report.changed, report.retracted, report.unchanged) == (1, 0, 0, 0)
    records = await store.database.read(
        "MATCH (n:Person) RETURN labels(n) AS labels, properties(n) AS values"
    )
    values = records[0]["values"]
    assert set(records[0]["labels"]) == {"Person", "Agent", "Entity"}
    assert values.pop("validFrom").to_native() == start
    assert values.pop("validTo").to_native() == end
    assert isinstance(values.pop("audience"), int)
    assert len(values.pop("pages")) == 1
    assert values == {
        "id": "person:ada",
        "name": "Ada Lovelace",
        "accountName": ["ada", "al"],
        "sources": ["directory"],
        "confidence": 0.9,
        "since": report.revision,
    }
    assert await relationships(store, "IN_COLLECTION") == [
        ("collection:company", "collection:company", ["configuration"]),
        ("collection:hr", "collection:hr", ["configuration"]),
        ("person:ada", "collection:company", ["directory"]),
    ]


async def test_full_confidence_is_kept_short_and_told_like_any_other(store: FactStore) -> None:
    sure = [person("ada"), group("analysts"), relationship("person:ada", "MEMBER_OF", "group:analysts")]
    await crawled(store, DIRECTORY, sure)  # at once
    await crawled(store, PAYROLL, sure)  # looked at first
    kept = await store.database.read(
        """
        MATCH (n:Entity)-[r]->() RETURN n.confidence AS confidence
        UNION ALL MATCH ()-[r]->() RETURN r.confidence AS confidence
        """
    )
    assert {(type(one["confidence"]), one["confidence"]) for one in kept} == {(int, 1)}
    [told] = await store.database.read("MATCH ()-[r:MEMBER_OF]->() RETURN properties(r) AS row")
    fact = RelationshipFact.of_properties("person:ada", "MEMBER_OF", "group:analysts", told["row"])
    assert isinstance(fact.confidence, float)


async def test_what_two_sources_claim_stands_when_one_of_them_stops(store: FactStore) -> None:
    claims = [
        person("ada", jobTitle="Analyst"),
        group("analysts"),
        relationship("person:ada", "MEMBER_OF", "group:analysts"),
    ]
    await crawled(store, DIRECTORY, claims)
    await crawled(store, PAYROLL, claims)
    assert (await values_of(store, "person:ada") or {})["sources"] == ["directory", "payroll"]
    _, completed = await crawled(store, DIRECTORY, [])
    assert completed.retracted == 0
    assert (await values_of(store, "person:ada") or {})["jobTitle"] == "Analyst"
    assert await relationships(store, "MEMBER_OF") == [("person:ada", "group:analysts", ["payroll"])]
    _, completed = await crawled(store, PAYROLL, [])
    assert completed.retracted == 3
    assert await values_of(store, "person:ada") is None


async def test_a_contradiction_is_decided_by_trust_then_name_and_never_flips(store: FactStore) -> None:
    trusted, rumour = policy("zeta", trust=90), policy("alpha", trust=10)
    await crawled(store, rumour, [person("ada", jobTitle="Boss", email="ada@example.org")])
    await crawled(store, trusted, [person("ada", jobTitle="Analyst")])
    before = await everything(store)
    for _ in range(2):
        await crawled(store, rumour, [person("ada", jobTitle="Boss", email="ada@example.org")])
        await crawled(store, trusted, [person("ada", jobTitle="Analyst")])
    assert await everything(store) == before
    ada = await values_of(store, "person:ada") or {}
    assert (ada["jobTitle"], ada["email"]) == ("Analyst", "ada@example.org")
    await crawled(store, trusted, [])
    assert (await values_of(store, "person:ada") or {})["jobTitle"] == "Boss"
    await crawled(store, policy("beta", trust=10), [person("ada", jobTitle="Chief")])
    assert (await values_of(store, "person:ada") or {})["jobTitle"] == "Boss"


async def test_a_partial_crawl_retracts_nothing_and_a_complete_one_only_its_own(store: FactStore) -> None:
    await crawled(store, DIRECTORY, [person("ada"), person("grace")], "people")
    await crawled(store, DIRECTORY, [person("edsger")], "contractors")
    await crawled(store, PAYROLL, [person("barbara")], "people")
    async with store.crawl(DIRECTORY, "people") as crawl:
        await crawl.write([person("ada")])
    assert await values_of(store, "person:grace") is not None
    _, completed = await crawled(store, DIRECTORY, [person("ada")], "people")
    assert completed.retracted == 1
    assert await values_of(store, "person:grace") is None
    for key in ("ada", "edsger", "barbara"):
        assert await values_of(store, f"person:{key}") is not None
    sources = await store.database.read(
        "MATCH (s:_Source {name: 'directory'}) RETURN s.scope AS s ORDER BY s"
    )
    assert [record["s"] for record in sources] == ["contractors", "people"]


async def test_what_the_source_itself_withdraws_goes_in_the_same_revision(store: FactStore) -> None:
    await crawled(store, DIRECTORY, [person("ada"), person("bob"), person("eve")])
    await crawled(store, PAYROLL, [person("bob")])
    async with store.crawl(DIRECTORY, "all") as crawl:
        told = [person("bob"), person("ada"), person("nobody")]
        report = await crawl.write([person("ada", jobTitle="CTO"), person("cyd")], withdrawn=told)
        confirmed = await crawl.confirm()
    assert (report.added, report.changed, report.retracted) == (1, 2, 0)  # payroll still says bob
    assert confirmed.revision == report.revision
    records = await store.database.read("MATCH (p:Person) RETURN p.name AS n, p.sources AS s ORDER BY n")
    assert [tuple(record) for record in records] == [
        ("Ada", ["directory"]),
        ("Bob", ["payroll"]),
        ("Cyd", ["directory"]),
        ("Eve", ["directory"]),
    ]


async def test_a_crawl_tells_what_its_completion_would_retract_before_it_does(store: FactStore) -> None:
    await crawled(store, DIRECTORY, [person("ada"), person("bob"), person("eve")])
    async with store.crawl(DIRECTORY, "all") as crawl:
        await crawl.write([person("ada")])
        assert await crawl.gone() == (2, 3)
    assert await values_of(store, "person:bob") is not None


async def test_a_relationship_waits_for_its_end_and_goes_with_it(store: FactStore) -> None:
    member = relationship("person:ada", "MEMBER_OF", "group:analysts")
    await crawled(store, DIRECTORY, [person("ada"), member])
    assert await relationships(store, "MEMBER_OF") == []
    report, _ = await crawled(store, PAYROLL, [group("analysts")])
    assert report.added == 2
    assert await relationships(store, "MEMBER_OF") == [("person:ada", "group:analysts", ["directory"])]
    _, completed = await crawled(store, PAYROLL, [])
    assert completed.retracted == 2
    assert await relationships(store, "MEMBER_OF") == []
    await crawled(store, PAYROLL, [group("analysts")])
    assert len(await relationships(store, "MEMBER_OF")) == 1


async def test_an_entity_without_its_collection_is_seen_by_nobody_until_that_comes(store: FactStore) -> None:
    late = SourcePolicy("late", frozenset(), frozenset({"collection:late"}), 50, timedelta(days=1))
    await crawled(store, late, [person("ada", "collection:late")])
    assert "audience" not in (await values_of(store, "person:ada") or {})
    configuration = SourcePolicy(
        "configuration", frozenset(), frozenset({"collection:late"}), 50, timedelta(days=1)
    )
    collection = EntityClaim(
        "collection:late", "Collection", "collection:late", {"name": "late"}, "sources.toml"
    )
    await crawled(store, configuration, [collection], "late")
    assert (await values_of(store, "person:ada") or {})["audience"] == (
        await values_of(store, "collection:late") or {}
    )["audience"]


async def test_an_unchanged_crawl_writes_nothing_and_takes_no_revision(store: FactStore) -> None:
    claims = [
        person("ada", email="not an address"),
        person("grace"),
        group("analysts"),
        relationship("person:grace", "MEMBER_OF", "group:analysts"),
        relationship("person:grace", "MAY_VIEW", "collection:hr"),
    ]
    first, _ = await crawled(store, DIRECTORY, claims)
    before = await everything(store)
    second, completed = await crawled(store, DIRECTORY, claims)
    assert await everything(store) == before
    assert first.revision == second.revision == completed.revision
    assert (second.added, second.changed, second.retracted, second.unchanged) == (0, 0, 0, 3)
    assert second.quarantined == first.quarantined


async def test_new_evidence_alone_is_kept_without_a_revision(store: FactStore) -> None:
    await crawled(store, DIRECTORY, [person("ada")])
    before = await current_revision(store.database)
    moved = EntityClaim("person:ada", "Person", "collection:company", {"name": "Ada"}, "people.ldif:99")
    await crawled(store, DIRECTORY, [moved])
    assert await current_revision(store.database) == before
    assert await evidence_of(store, "person:ada") == ["people.ldif:99"]


async def test_a_fact_that_a_source_states_in_two_places_keeps_the_first_as_its_evidence(
    store: FactStore,
) -> None:
    again = EntityClaim("person:ada", "Person", "collection:company", {"name": "Ada"}, "people.ldif:99")
    for _ in range(2):
        async with store.crawl(DIRECTORY, "all") as crawl:
            for claims in ([person("ada"), again], [again]):
                report = await crawl.write(claims)
                assert report.quarantined == ()
        assert await evidence_of(store, "person:ada") == ["people.ldif:ada"]


async def test_a_value_that_is_no_longer_claimed_goes(store: FactStore) -> None:
    await crawled(store, DIRECTORY, [person("ada", jobTitle="Analyst", accountName=("a", "b"))])
    report, _ = await crawled(store, DIRECTORY, [person("ada", accountName=("b",))])
    assert report.changed == 1
    ada = await values_of(store, "person:ada") or {}
    assert "jobTitle" not in ada
    assert ada["accountName"] == ["b"]


async def test_an_entity_that_moves_loses_its_audience_before_it_gets_another(store: FactStore) -> None:
    await crawled(store, DIRECTORY, [person("ada"), person("grace", "collection:hr")])
    company, hr = [(await values_of(store, f"person:{key}") or {})["audience"] for key in ("ada", "grace")]
    assert company != hr
    before = await current_revision(store.database)
    settle, store._settle = store._settle, _killed  # type: ignore[method-assign]
    with pytest.raises(InterruptedError):
        await crawled(store, DIRECTORY, [person("ada", "collection:hr")])
    assert "audience" not in (await values_of(store, "person:ada") or {})
    assert await current_revision(store.database) == before + 1
    store._settle = settle  # type: ignore[method-assign]
    await store.resume()
    assert (await values_of(store, "person:ada") or {})["audience"] == hr
    assert await current_revision(store.database) == before + 2
    await store.resume()
    assert await current_revision(store.database) == before + 2
    [moved] = (await changes(store.database, before + 1))[0].changes
    assert (moved.kind, moved.id, moved.after) == ("audience", "person:ada", {"audience": hr})


async def _killed() -> None:
    raise InterruptedError


async def test_only_what_access_rests_on_takes_an_access_revision(store: FactStore) -> None:
    async def access_revision() -> int:
        [record] = await store.database.read("MATCH (m:_Meta) RETURN m.accessRevision AS r")
        return int(record["r"])

    account = EntityClaim(
        "account:sample/ada",
        "Account",
        "collection:company",
        {"name": "ada", "issuer": "sample", "subject": "ada"},
        "people.ldif:1",
    )
    await crawled(store, DIRECTORY, [person("ada"), account])
    before = await access_revision()
    await crawled(store, DIRECTORY, [person("ada", jobTitle="Analyst"), account])
    assert await access_revision() == before
    link = relationship("person:ada", "HAS_ACCOUNT", "account:sample/ada")
    report, _ = await crawled(store, DIRECTORY, [person("ada"), account, link])
    assert await access_revision() == report.revision
    disabled = EntityClaim(
        account.id, "Account", account.collection, {**account.values, "disabled": True}, "people.ldif:1"
    )
    report, _ = await crawled(store, DIRECTORY, [person("ada"), disabled, link])
    assert await access_revision() == report.revision
    _, completed = await crawled(store, DIRECTORY, [person("ada"), disabled])
    assert await access_revision() == completed.revision == report.revision + 1


async def test_the_feed_tells_every_change_in_order_and_keeps_each_consumer_s_place(store: FactStore) -> None:
    start = await current_revision(store.database)
    member = relationship("person:ada", "MEMBER_OF", "group:analysts")
    first, _ = await crawled(store, DIRECTORY, [person("ada"), group("analysts"), member])
    await crawled(store, DIRECTORY, [person("ada", jobTitle="Analyst"), group("analysts")])
    revisions = await changes(store.database, start)
    assert [revision.number for revision in revisions] == [start + 1, start + 2, start + 3]
    assert {revision.source for revision in revisions} == {"directory"}
    added = {change.id for change in revisions[0].changes if change.before is None}
    assert {"person:ada", "group:analysts", member.start + " MEMBER_OF " + member.end} <= added
    [changed] = revisions[1].changes
    assert (changed.before or {})["values"] == {"name": "Ada"}
    assert (changed.after or {})["values"] == {"name": "Ada", "jobTitle": "Analyst"}
    [gone] = revisions[2].changes
    assert (gone.kind, gone.id, gone.after) == ("relationship", "person:ada MEMBER_OF group:analysts", None)
    assert [r.number for r in await changes(store.database, start, limit=1)] == [first.revision]
    assert await position(store.database, "embeddings") == 0
    await advance(store.database, "embeddings", first.revision)
    await advance(store.database, "embeddings", first.revision - 1)
    assert await position(store.database, "embeddings") == first.revision
    assert await position(store.database, "other") == 0


async def test_small_writes_that_come_at_once_have_a_revision_each_in_one_order(store: FactStore) -> None:
    sources = [policy(f"source-{number}") for number in range(8)]
    begun = await current_revision(store.database)
    async with AsyncExitStack() as stack:
        crawls = [await stack.enter_async_context(store.crawl(source, "all")) for source in sources]
        # All describe one person, and each one of its own.
        reports = await asyncio.gather(
            *(
                crawl.write([person("ada", jobTitle=f"Title {number}"), person(f"own-{number}")])
                for number, crawl in enumerate(crawls)
            )
        )
    assert sorted(report.revision for report in reports) == list(range(begun + 1, begun + 9))
    told = await changes(store.database, begun)
    assert {one.number: one.source for one in told} == {
        report.revision: source.name for report, source in zip(reports, sources, strict=True)
    }
    ada = [change.after["sources"] for one in told for change in one.changes if change.id == "person:ada"]
    assert [len(names) for names in ada] == list(range(1, 9))
    values = await values_of(store, "person:ada")
    assert values is not None
    assert (values["sources"], values["jobTitle"]) == ([one.name for one in sources], "Title 0")
