"""The law of the fact store: any interleaving of sources, retractions and passing time gives, now and as of
every revision, what a small model in memory gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.facts import fact_of
from graph.past import PastView, When, point
from graph.store import FactStore
from ontologies import load, load_authorization, load_shapes

COMPANY = "collection:company"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TRUST = {"hr": 90, "it": 10}
KEYS = ("ada", "eve")
_examples = count()


def policy(name: str) -> SourcePolicy:
    return SourcePolicy(name, frozenset(), frozenset({COMPANY}), TRUST.get(name, 50), DAY)


@dataclass(frozen=True)
class Said:
    """A claim of a source: on a person, or that one owns the other; with days since START as bounds."""

    subject: str
    object: str | None
    title: str
    since: int | None
    until: int | None

    def claim(self, prefix: str) -> Claim:
        bounds = [None if day is None else START + day * DAY for day in (self.since, self.until)]
        if self.object is None:
            values = {"name": self.subject, "jobTitle": self.title}
            return EntityClaim(
                f"person:{prefix}{self.subject}", "Person", COMPANY, values, "line 1", 1.0, *bounds
            )
        start, end = (f"person:{prefix}{key}" for key in (self.subject, self.object))
        return RelationshipClaim(start, "OWNS", end, "line 1", 1.0, *bounds)


days = st.one_of(st.none(), st.integers(0, 4))


@st.composite
def sayings(draw: st.DrawFn) -> Said:
    object_ = draw(st.sampled_from([None, *KEYS]))
    since, until = draw(days), draw(days)
    if since is not None and until is not None and until < since:
        since, until = until, since
    return Said(
        draw(st.sampled_from(KEYS)), object_, draw(st.sampled_from(["Analyst", "Boss"])), since, until
    )


crawls = st.tuples(st.sampled_from(sorted(TRUST)), st.lists(sayings(), max_size=5))
steps = st.lists(st.one_of(crawls, st.just("a day passes")), min_size=2, max_size=7)


@dataclass
class Model:
    """What is claimed, by source and fact."""

    claims: dict[str, dict[str, Claim]] = field(default_factory=lambda: {name: {} for name in TRUST})

    def holding(self, at: datetime) -> dict[str, str]:
        """The facts that hold at an instant, with the title of the persons."""
        best: dict[str, Claim] = {}
        for name in sorted(TRUST, key=lambda name: TRUST[name]):
            best |= self.claims[name]
        found = {fact: claim for fact, claim in best.items() if _within(claim, at)}
        return {
            fact: "owns" if isinstance(claim, RelationshipClaim) else str(claim.values["jobTitle"])
            for fact, claim in found.items()
            if isinstance(claim, EntityClaim) or {claim.start, claim.end} <= found.keys()
        }


def _within(claim: Claim, at: datetime) -> bool:
    begun = claim.valid_from is None or claim.valid_from <= at
    return begun and (claim.valid_to is None or at < claim.valid_to)


async def live(database: Database, prefix: str) -> dict[str, str]:
    records = await database.read(
        """
        MATCH (n:Person) WHERE n.id STARTS WITH $prefix
        RETURN n.id AS id, n.jobTitle AS title, n.audience IS NOT NULL AS placed,
               COLLECT { MATCH (n)-[:OWNS]->(m) RETURN n.id + ' OWNS ' + m.id } AS owns
        """,
        prefix=f"person:{prefix}",
    )
    assert all(record["placed"] for record in records)
    found = {record["id"]: record["title"] for record in records}
    return found | {fact: "owns" for record in records for fact in record["owns"]}


async def past(database: Database, prefix: str, as_of: int, valid_at: datetime) -> dict[str, str]:
    async def work(tx):
        view = PastView(tx, load(), b"\1" * 100, START, await point(tx, When(as_of, valid_at)))
        ids = [f"person:{prefix}{key}" for key in KEYS]
        persons = {id: one for id in ids if (one := await view.entity(id)) is not None}
        found = {id: str(one.values["jobTitle"]) for id, one in persons.items()}
        owned = (one for one in await view.outgoing(ids) if one.type == "OWNS")
        return found | {f"{one.start} OWNS {one.end}": "owns" for one in owned}

    return await database.read_transaction(work)


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization(), lambda: START)
    async with store.crawl(policy("configuration"), "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "sources.toml")])
    return store


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(steps)
async def test_every_interleaving_gives_what_the_model_gives_at_every_revision(store, steps) -> None:
    prefix, now, model = f"e{next(_examples)}-", START, Model()
    [record] = await store.database.read("MATCH (m:_Meta) RETURN m.at AS at")
    now = max(now, record["at"].to_native())
    store._clock = lambda: now
    told: dict[int, Mapping[datetime, dict[str, str]]] = {}
    first = now
    for step in steps:
        if isinstance(step, str):
            now += DAY
            revision = await store.tick()
        else:
            source, said = step
            claims = {fact_of(claim): claim for one in said for claim in [_moved(one.claim(prefix), first)]}
            async with store.crawl(policy(source), prefix) as crawl:
                report = await crawl.write(claims.values())
                assert report.quarantined == ()
                revision = (await crawl.complete()).revision
            model.claims[source] = claims
        assert await live(store.database, prefix) == model.holding(now)
        instants = [first + day * DAY + DAY / 2 for day in (0, 2, 5)]
        told[revision] = {at: model.holding(at) for at in instants}
    for revision, by_instant in told.items():
        for at, expected in by_instant.items():
            assert await past(store.database, prefix, revision, at) == expected, (revision, at)


def _moved(claim: Claim, to: datetime) -> Claim:
    """The examples share one graph, in which time goes on."""
    shift = to - START
    bounds = {
        name: None if (at := getattr(claim, name)) is None else at + shift
        for name in ("valid_from", "valid_to")
    }
    return replace(claim, **bounds)
