"""Ordinary Cypher, untyped patterns like `(n)--(m)` included, meets only what holds now, whatever lies beside."""

from datetime import UTC, datetime, timedelta

import pytest

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.inferred import Reasoner
from graph.reasoning import compile_rules
from graph.store import FactStore
from ontologies import load, load_authorization, load_shapes

ALL, HR = "collection:all", "collection:hr"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
GRANTS = frozenset(name for name, one in load().relationships.items() if one.access_bearing)
SOURCE = SourcePolicy("configuration", GRANTS, frozenset({ALL, HR}), 50, DAY)


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now


def unit(key: str, collection: str = ALL, *, starts: datetime | None = None, ends: datetime | None = None, **values: str) -> Claim:  # fmt: skip
    named = {"name": key, **values}
    id = f"organizational_unit:{key}"
    return EntityClaim(
        id, "OrganizationalUnit", collection, named, "line 1", valid_from=starts, valid_to=ends
    )


def within(key: str, above: str, **bounds: datetime) -> Claim:
    start, end = f"organizational_unit:{key}", f"organizational_unit:{above}"
    return RelationshipClaim(start, "UNIT_OF", end, "line 1", **bounds)


COLLECTIONS: list[Claim] = [
    EntityClaim(id, "Collection", id, {"name": id}, "sources.toml") for id in (ALL, HR)
]


@pytest.fixture
async def graph(neo4j: Database) -> Database:
    """A graph with versions of all kinds, facts to come, past ones, ones that wait, inferred and refused."""
    clock = Clock()
    store = FactStore(neo4j, load_shapes(), load_authorization(), clock)

    async def says(*claims: Claim) -> int:
        async with store.crawl(SOURCE, "all") as crawl:
            report = await crawl.write([*COLLECTIONS, *claims])
            await crawl.complete()
        return len(report.quarantined)

    for version in range(5):
        await says(
            unit("claims", HR if version == 2 else ALL, description=f"version {version}"),
            unit("sales"),
            unit("company", ends=START + 10 * DAY),
            *([unit("gone"), within("gone", "sales")] if version < 3 else []),
            *([within("claims", "sales")] if version % 2 else []),
        )
    refused = await says(
        unit("claims", description="last"),
        unit("sales"),
        unit("company", ends=START + 10 * DAY),
        unit("closed", ends=START + DAY),
        unit("planned", starts=START + 300 * DAY),
        within("claims", "sales"),
        within("sales", "company"),
        within("closed", "company"),
        within("planned", "company"),
        RelationshipClaim("organizational_unit:claims", "OWNS", "document:missing", "line 1"),
        RelationshipClaim("organizational_unit:claims", "OWNS", "organizational_unit:sales", "line 1", valid_from=START + 300 * DAY),
        EntityClaim("organizational_unit:nameless", "OrganizationalUnit", ALL, {}, "line 1"),
    )  # fmt: skip
    assert refused > 0
    clock.now = START + 2 * DAY
    await store.tick()
    await Reasoner(neo4j, compile_rules(load())).build()
    return neo4j


LIVE = {
    ("claims", "UNIT_OF", "sales"),
    ("sales", "UNIT_OF", "company"),
    ("claims", "PART_OF", "sales"),
    ("sales", "PART_OF", "company"),
    ("claims", "PART_OF", "company"),
    *((key, "IN_COLLECTION", "all") for key in ("claims", "sales", "company", "all")),
    ("hr", "IN_COLLECTION", "hr"),
}
"""What holds now, with what follows from it."""


async def test_everything_that_is_not_now_lies_beside(graph: Database) -> None:
    [beside] = await graph.read(
        """RETURN COUNT { (v:_Version) WHERE v.type IS NOT NULL } AS relationships,
                  COUNT { (v:_Version) WHERE v.class IS NOT NULL } AS entities,
                  COUNT { (a:_Aside {status: 'waiting'}) } AS waiting,
                  COUNT { (a:_Aside {status: 'dormant'}) } AS dormant,
                  COUNT { (:_Quarantined) } AS refused, COUNT { (:_Bound) } AS bounds,
                  COUNT { ()-[r]->() WHERE r.inferred } AS inferred"""
    )
    assert all(count > 0 for count in beside.values()), beside.data()


@pytest.mark.parametrize(
    "pattern",
    [
        "MATCH (n)--(m) MATCH (n)-[r]->(m)",
        "MATCH (n)-[r]->(m)",
        "MATCH (n)-[r]-() WITH DISTINCT r, startNode(r) AS n, endNode(r) AS m",
        "MATCH ()-[rs*1..3]-() UNWIND rs AS r WITH DISTINCT r, startNode(r) AS n, endNode(r) AS m",
        "MATCH ()-[rs]-{1,3}() UNWIND rs AS r WITH DISTINCT r, startNode(r) AS n, endNode(r) AS m",
        "MATCH (x) CALL (x) { MATCH (x)--(m) RETURN m } MATCH (n)-[r]->(m)",
    ],
)
async def test_an_untyped_pattern_meets_what_holds_now_alone(graph: Database, pattern: str) -> None:
    # The patterns are this file's own.
    records = await graph.read(pattern + " RETURN DISTINCT n.id AS start, type(r) AS type, m.id AS end")  # type: ignore[operator]
    key = {record["start"]: record["start"].partition(":")[2] for record in records}
    found = {(key[record["start"]], record["type"], record["end"].partition(":")[2]) for record in records}
    assert found == LIVE


async def test_nothing_beside_has_a_relationship_an_audience_or_a_label_of_the_living(
    graph: Database,
) -> None:
    [record] = await graph.read(
        """RETURN COUNT { MATCH (n) WHERE NOT n:Entity AND (EXISTS { (n)--() } OR n.audience IS NOT NULL) } AS odd,
                  COUNT { MATCH (n:Entity) WHERE any(label IN labels(n) WHERE label STARTS WITH '_') } AS mixed,
                  COUNT { MATCH (n) WHERE n:Entity } AS live,
                  COUNT { MATCH (n) WHERE n.audience IS NOT NULL } AS placed"""
    )
    assert record.data() == {"odd": 0, "mixed": 0, "live": 5, "placed": 5}
