"""What a source may not claim is quarantined with its reason, and everything else is written."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy, Value, Violation, WriteReport
from graph.database import Database
from graph.facts import fact_of
from graph.gate import Gate
from graph.quarantine import quarantined
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COMPANY, HR = "collection:company", "collection:hr"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIGURATION = SourcePolicy(
    "configuration", frozenset({"MAY_VIEW"}), frozenset({COMPANY, HR}), 50, timedelta(days=1)
)
PEOPLE = SourcePolicy("people", frozenset({"HAS_ACCOUNT"}), frozenset({COMPANY, HR}), 50, timedelta(days=1))
PAGES = SourcePolicy("pages", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))


def person(key: str, collection: str = COMPANY, **values: Value) -> EntityClaim:
    return EntityClaim(f"person:{key}", "Person", collection, {"name": key, **values}, f"line {key}")


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization())
    claims = [EntityClaim(id, "Collection", id, {"name": id}, "sources.toml") for id in (COMPANY, HR)]
    await crawled(store, CONFIGURATION, claims)
    return store


async def crawled(store: FactStore, source: SourcePolicy, claims: Sequence[Claim]) -> WriteReport:
    async with store.crawl(source, "all") as crawl:
        report = await crawl.write(claims)
        await crawl.complete()
        return report


async def standing(store: FactStore) -> set[str]:
    records = await store.database.read("MATCH (n:Entity) WHERE NOT n:Collection RETURN n.id AS id")
    return {record["id"] for record in records}


def claim(id: str, class_name: str = "Person", **values: Value) -> EntityClaim:
    return EntityClaim(id, class_name, COMPANY, {"name": "x", **values}, "line 1")


REFUSED: dict[str, tuple[Claim, str]] = {
    "a grant that the source has not": (
        RelationshipClaim("person:ada", "MAY_VIEW", HR, "line 1"),
        "og:grant",
    ),
    "a placement as a relationship": (
        RelationshipClaim("person:ada", "IN_COLLECTION", HR, "line 1"),
        "og:placement",
    ),
    "a collection that the source does not name": (person("eve", HR), "og:placement"),
    "a place that is no collection": (person("eve", "group:all"), "og:placement"),
    "a collection": (claim("collection:mine", "Collection"), "og:collection"),
    "an id of another type": (claim("group:eve"), "og:idType"),
    "an id without a key": (claim("person:"), "og:idType"),
    "an id with white space": (claim("person:e ve"), "og:idType"),
    "an id that no index can hold": (claim("person:" + "e" * 1000), "og:idLength"),
    "a class of no module": (claim("wizard:eve", "Wizard"), "og:idType"),
    "an abstract class": (claim("agent:eve", "Agent"), "og:abstractClass"),
    "a value of no module": (claim("person:eve", spell="x"), "og:unknownProperty"),
    "a value of another class": (claim("person:eve", dataType="x"), "og:domain"),
    "a value of another datatype": (claim("person:eve", jobTitle=7), "og:datatype"),
    "several values where one may be": (claim("person:eve", jobTitle=("x", "y")), "og:oneValue"),
    "text that is no Unicode": (claim("person:eve", jobTitle="\ud800"), "og:text"),
    "an id that is no Unicode": (claim("person:\ud800"), "og:text"),
    "an integer that Neo4j cannot hold": (
        EntityClaim("column:c", "Column", COMPANY, {"name": "c", "position": 2**63}, "line 1"),
        "og:datatype",
    ),
    "an entity over 1 MB": (claim("person:eve", jobTitle="x" * 1_000_001), "og:size"),
    "evidence of more than a place": (
        RelationshipClaim("person:ada", "REPORTS_TO", "person:eve", "x" * 10_001),
        "og:evidence",
    ),
    "an interval that ends before it starts": (
        EntityClaim(
            "person:eve", "Person", COMPANY, {"name": "x"}, "line 1", 1.0, NOW, NOW - timedelta(days=1)
        ),
        "og:interval",
    ),
    "a time without a zone": (
        RelationshipClaim("person:ada", "REPORTS_TO", "person:eve", "line 1", 1.0, datetime(2026, 1, 1)),
        "og:interval",
    ),
    "a relationship of no module": (
        RelationshipClaim("person:ada", "x]->() DETACH DELETE n//", "person:eve", "line 1"),
        "og:unknownProperty",
    ),
    "a relationship from another class": (
        RelationshipClaim("group:all", "REPORTS_TO", "person:ada", "line 1"),
        "og:domain",
    ),
    "a relationship to another class": (
        RelationshipClaim("person:ada", "REPORTS_TO", "group:all", "line 1"),
        "og:range",
    ),
    "a value that a shape refuses": (claim("person:eve", email="nobody"), "urn:orgraph:shape:Person"),
    "an entity without what a shape asks for": (
        EntityClaim("person:eve", "Person", COMPANY, {}, "line 1"),
        "urn:orgraph:shape:Entity",
    ),
}


async def test_each_refused_claim_is_quarantined_with_its_reason_and_the_rest_is_written(
    store: FactStore,
) -> None:
    for what, (refused, rule) in REFUSED.items():
        report = await crawled(store, PAGES, [person("ada"), refused])
        assert [(v.source, v.shape) for v in report.quarantined] == [("pages", rule)], what
        assert report.quarantined[0].message, what
        kept_out = await quarantined(store.database, "pages")
        assert [one.violation for one in kept_out] == list(report.quarantined), what
        assert await standing(store) == {"person:ada"}, what
    await crawled(store, PAGES, [person("ada")])
    assert await quarantined(store.database) == []


def test_only_the_authority_of_an_issuer_says_whose_its_accounts_are() -> None:
    """Also where the gate has seen, and let pass, the like."""
    gate = Gate(load_shapes(), replace(PEOPLE, issuers=frozenset({"github"})), frozenset())
    said = [
        RelationshipClaim("person:ada", "HAS_ACCOUNT", f"account:{key}", "") for key in ("github/1", "acme/1")
    ]
    found = [gate.look(fact_of(one), one)[0] for one in said]
    assert found[0] is None
    assert found[1] is not None
    assert (found[1].shape, found[1].value) == ("og:issuer", "account:acme/1")


def test_only_the_authority_of_a_group_says_who_is_in_it() -> None:
    """By its id or how that begins, and also where the gate has seen, and let pass, the like."""
    policy = replace(
        PEOPLE,
        grants=frozenset({"MEMBER_OF", "SUBGROUP_OF", "HAS_ACCOUNT"}),
        authority=frozenset({"group:hr", "group:rust.*"}),
    )
    gate = Gate(load_shapes(), policy, frozenset())

    def refused(start: str, type_: str, end: str) -> str | None:
        claim = RelationshipClaim(start, type_, end, "line 1")
        found, plain = gate.look(fact_of(claim), claim)
        assert plain is (found is None)
        return None if found is None else found.shape

    for group, rule in (
        ("hr", None),
        ("legal", "og:authority"),
        ("rust.core", None),
        ("rust", "og:authority"),
    ):
        assert refused("person:ada", "MEMBER_OF", f"group:{group}") == rule, group
    assert refused("group:legal", "SUBGROUP_OF", "group:hr") is None, "the larger group is what it gives"
    assert refused("group:hr", "SUBGROUP_OF", "group:legal") == "og:authority"
    assert refused("person:ada", "HAS_ACCOUNT", "account:acme/ada") is None, "of accounts the issuer decides"
    assert refused("person:ada", "REPORTS_TO", "person:eve") is None, "no access rests on it"


async def test_two_sources_of_one_kind_of_grant_say_nothing_of_each_other_s(store: FactStore) -> None:
    """What the other's authority does not cover is quarantined, and stays the first one's alone."""
    ours, theirs = (
        replace(PEOPLE, name=name, grants=frozenset({"MEMBER_OF"}), authority=frozenset({f"group:{name}"}))
        for name in ("ours", "theirs")
    )

    def said(*groups: str) -> list[Claim]:
        return [RelationshipClaim("person:ada", "MEMBER_OF", f"group:{group}", "line 1") for group in groups]

    entities: list[Claim] = [
        person("ada"),
        *(
            EntityClaim(f"group:{key}", "Group", COMPANY, {"name": key}, "line 2")
            for key in ("ours", "theirs")
        ),
    ]
    await crawled(store, ours, [*entities, *said("ours")])
    report = await crawled(store, theirs, said("ours", "theirs"))
    assert [(one.shape, one.value) for one in report.quarantined] == [
        ("og:authority", "person:ada MEMBER_OF group:ours")
    ]
    await crawled(store, ours, entities)
    members = "MATCH (:Person)-[:MEMBER_OF]->(g) RETURN g.id AS id"
    assert [record["id"] for record in await store.database.read(members)] == ["group:theirs"]


async def test_a_violation_names_the_shape_the_value_and_what_was_expected(store: FactStore) -> None:
    report = await crawled(store, PAGES, [person("ada", email="nobody")])
    assert report.quarantined == (
        Violation(
            "pages",
            "person:ada",
            "urn:orgraph:shape:Person",
            "email = 'nobody'",
            r"expected a match of ^[^@\s]+@[^@\s]+$",
        ),
    )


async def test_relationships_of_a_quarantined_entity_wait_for_the_one_that_passes(store: FactStore) -> None:
    reports_to = RelationshipClaim("person:ada", "REPORTS_TO", "person:eve", "line 2")
    await crawled(store, PAGES, [person("ada"), person("eve", email="nobody"), reports_to])
    count = "MATCH (:Person)-[r:REPORTS_TO]->() RETURN count(r) AS n"
    assert (await store.database.read(count))[0]["n"] == 0
    await crawled(store, PAGES, [person("ada"), person("eve", email="eve@example.org"), reports_to])
    assert (await store.database.read(count))[0]["n"] == 1
    assert await quarantined(store.database) == []


async def test_a_shape_is_checked_on_what_already_stands_as_well(store: FactStore) -> None:
    def paid(number: int) -> list[Claim]:
        id = f"compensation:{number}"
        return [
            EntityClaim(id, "Compensation", HR, {"name": "pay", "annualSalary": number}, "line 1"),
            RelationshipClaim("person:ada", "HAS_COMPENSATION", id, "line 1"),
        ]

    async with store.crawl(PEOPLE, "all") as crawl:
        await crawl.write([person("ada"), *paid(1)])
        report = await crawl.write(paid(2))
    [violation] = report.quarantined
    assert (violation.entity, violation.shape) == ("person:ada", "urn:orgraph:shape:Person")
    live = await store.database.read("MATCH ()-[:HAS_COMPENSATION]->(c) RETURN c.id AS id")
    assert [record["id"] for record in live] == ["compensation:1"]


async def test_the_last_good_claim_stands_while_its_successor_is_refused(store: FactStore) -> None:
    await crawled(store, PAGES, [person("ada", email="ada@example.org")])
    await crawled(store, PAGES, [person("ada", email="nobody")])
    [ada] = await store.database.read("MATCH (n:Person) RETURN n.email AS email")
    assert ada["email"] == "ada@example.org"


async def test_access_does_not_outlive_a_refused_claim(store: FactStore) -> None:
    account = EntityClaim(
        "account:sample/ada", "Account", COMPANY, {"name": "ada", "issuer": "sample", "subject": "ada"}, "1"
    )
    link = RelationshipClaim("person:ada", "HAS_ACCOUNT", account.id, "line 1")
    await crawled(store, PEOPLE, [person("ada"), account, link])
    disabled = EntityClaim(
        account.id, "Account", COMPANY, {**account.values, "disabled": True, "issuer": "Not/Valid"}, "line 1"
    )
    report = await crawled(store, PEOPLE, [person("ada"), disabled, link])
    assert report.retracted == 2
    [meta] = await store.database.read("MATCH (m:_Meta) RETURN m.revision AS r, m.accessRevision AS a")
    assert (meta["a"], meta["r"]) == (report.revision, report.revision)
    assert await standing(store) == {"person:ada"}
    await crawled(store, PEOPLE, [person("ada"), account, link])
    backwards = RelationshipClaim(
        "person:ada", "HAS_ACCOUNT", account.id, "line 1", 1.0, NOW, NOW - timedelta(1)
    )
    await crawled(store, PEOPLE, [person("ada"), account, backwards])
    links = await store.database.read("MATCH ()-[r:HAS_ACCOUNT]->() RETURN r")
    assert links == []


async def test_a_source_cannot_move_what_another_has_placed(store: FactStore) -> None:
    await crawled(store, PEOPLE, [person("ada", HR)])
    report = await crawled(store, PAGES, [person("ada", COMPANY, jobTitle="Analyst"), person("grace")])
    [violation] = report.quarantined
    assert (violation.shape, violation.value) == ("og:placement", COMPANY)
    assert HR in violation.message
    [ada] = await store.database.read("MATCH (n:Person {id: 'person:ada'}) RETURN properties(n) AS p")
    assert ada["p"]["sources"] == ["people"]
    assert "jobTitle" not in ada["p"]
    assert "person:grace" in await standing(store)


async def test_a_source_that_contradicts_itself_in_one_crawl_is_told_and_does_not_flip(
    store: FactStore,
) -> None:
    claims = [person("ada", jobTitle="Analyst"), person("ada", jobTitle="Boss")]
    first = await crawled(store, PAGES, claims)
    second = await crawled(store, PAGES, claims)
    assert [v.shape for v in first.quarantined] == ["og:claimedTwice"]
    assert (first.revision, first.quarantined) == (second.revision, second.quarantined)
    [ada] = await store.database.read("MATCH (n:Person) RETURN n.jobTitle AS title")
    assert ada["title"] == "Analyst"
