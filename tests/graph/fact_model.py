"""A small model of what sources claim, in memory, and what the graph tells of the same, now and of the past."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy, WriteReport
from graph.crawl import Crawl
from graph.database import Database
from graph.facts import fact_of
from graph.merges import Decision, Merges, decisions
from graph.past import PastView, When, point
from graph.store import FactStore
from ontologies import load
from ontologies.ontology import SAME_AS

COMPANY = "collection:company"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TRUST = {"hr": 90, "it": 10, "identity": 0}
"""Who is believed: two sources, and what was decided of who is one."""
SOURCES = ("hr", "it")
KEYS = ("ada", "eve")


def policy(name: str) -> SourcePolicy:
    return SourcePolicy(name, frozenset(), frozenset({COMPANY}), TRUST.get(name, 50), DAY)


def person(prefix: str, key: str) -> str:
    return f"person:{prefix}{key}"


@dataclass(frozen=True)
class Said:
    """A claim of a source: on a person, with a title or without, or that one owns the other; with days since
    START as bounds."""

    subject: str
    object: str | None
    title: str | None
    since: int | None
    until: int | None

    def claim(self, prefix: str) -> Claim:
        bounds = [None if day is None else START + day * DAY for day in (self.since, self.until)]
        start = person(prefix, self.subject)
        if self.object is None:
            values = {"name": self.subject} | ({} if self.title is None else {"jobTitle": self.title})
            return EntityClaim(start, "Person", COMPANY, values, "line 1", 1.0, *bounds)
        return RelationshipClaim(start, "OWNS", person(prefix, self.object), "line 1", 1.0, *bounds)


days = st.one_of(st.none(), st.integers(0, 4))


@st.composite
def sayings(draw: st.DrawFn, keys: Sequence[str] = KEYS) -> Said:
    object_ = draw(st.sampled_from([None, *keys]))
    since, until = draw(days), draw(days)
    if since is not None and until is not None and until < since:
        since, until = until, since
    title = draw(st.sampled_from(["Analyst", "Boss", None]))
    return Said(draw(st.sampled_from(keys)), object_, title, since, until)


@dataclass(frozen=True)
class Merge:
    """Two persons become one; where they are one, they are two again."""

    kept: str

    def states(self, model: "Model", prefix: str) -> list["Model"]:
        """After its revision."""
        [other] = {*KEYS} - {self.kept}
        same = RelationshipClaim(person(prefix, other), SAME_AS, person(prefix, self.kept), "")
        return [model.having("identity", {} if model.claims["identity"] else {fact_of(same): same})]

    async def carry_out(self, store: FactStore, prefix: str) -> None:
        merges, ids = Merges(store), [person(prefix, key) for key in KEYS]
        if standing := await decisions(store.database, ids, standing=True):
            assert await merges.undo(standing[0].id, "account:acme/ada", "they are two", ())
            return
        number = len(await decisions(store.database, ids))
        [other] = {*ids} - {person(prefix, self.kept)}
        kept, id = person(prefix, self.kept), f"{prefix}{number}"
        await merges.decide(Decision(id, "merge", kept, other, "looked", "account:acme/ada", START))


merges = st.builds(Merge, st.sampled_from(KEYS))


@dataclass
class Model:
    """What is claimed, by source and fact."""

    claims: Mapping[str, Mapping[str, Claim]] = field(default_factory=lambda: {name: {} for name in TRUST})

    def having(self, source: str, claims: Mapping[str, Claim]) -> "Model":
        """The same where the source claims these alone."""
        return Model({**self.claims, source: claims})

    def holding(self, at: datetime) -> dict[str, str]:
        """The facts that hold at an instant: the title of persons, the type of relationships.

        A title stands while one source says one, whoever else says more of the person.
        """
        best: dict[str, Claim] = {}
        titles: dict[str, str] = {}
        for name in sorted(self.claims, key=lambda name: (-policy(name).trust, name), reverse=True):
            best |= self.claims[name]
            titles |= {
                fact: str(claim.values["jobTitle"])
                for fact, claim in self.claims[name].items()
                if isinstance(claim, EntityClaim) and "jobTitle" in claim.values
            }
        found = {fact: claim for fact, claim in best.items() if _within(claim, at)}
        return {
            fact: claim.type if isinstance(claim, RelationshipClaim) else titles.get(fact, "")
            for fact, claim in found.items()
            if isinstance(claim, EntityClaim) or {claim.start, claim.end} <= found.keys()
        }

    def said(self, at: datetime) -> dict[str, list[tuple[str, Claim]]]:
        """What each source says of the facts that hold at an instant, who is believed first."""
        ranked = sorted(self.claims, key=lambda name: (-policy(name).trust, name))
        return {
            fact: [
                (name, replace(self.claims[name][fact], evidence=""))
                for name in ranked
                if fact in self.claims[name]
            ]
            for fact in self.holding(at)
        }


def _within(claim: Claim, at: datetime) -> bool:
    begun = claim.valid_from is None or claim.valid_from <= at
    return begun and (claim.valid_to is None or at < claim.valid_to)


async def live(database: Database, prefix: str) -> dict[str, str]:
    """What holds now, as `Model.holding` tells it."""
    records = await database.read(
        """
        MATCH (n:Person) WHERE n.id STARTS WITH $prefix
        RETURN n.id AS id, coalesce(n.jobTitle, '') AS title, n.audience IS NOT NULL AS placed,
               COLLECT { MATCH (n)-[r]->(m:Person) RETURN [n.id + ' ' + type(r) + ' ' + m.id, type(r)] } AS links
        """,
        prefix=person(prefix, ""),
    )
    assert all(record["placed"] for record in records)
    found = {record["id"]: record["title"] for record in records}
    return found | {fact: type_ for record in records for fact, type_ in record["links"]}


async def past(
    database: Database, prefix: str, as_of: int, valid_at: datetime, keys: Sequence[str] = KEYS
) -> dict[str, str]:
    """The same as it was known at a revision of an instant of the world."""

    async def work(tx):
        view = PastView(tx, load(), b"\1" * 100, START, await point(tx, When(as_of, valid_at)))
        ids = [person(prefix, key) for key in keys]
        persons = {id: one for id in ids if (one := await view.entity(id)) is not None}
        found = {id: str(one.values.get("jobTitle", "")) for id, one in persons.items()}
        links = (one for one in await view.outgoing(ids) if one.end in ids)
        return found | {f"{one.start} {one.type} {one.end}": one.type for one in links}

    return await database.read_transaction(work)


async def past_said(
    database: Database, facts: Collection[str], as_of: int, valid_at: datetime
) -> dict[str, list[tuple[str, Claim]]]:
    """What each source said of the facts, as it was known at a revision of an instant of the world."""

    async def work(tx):
        view = PastView(tx, load(), b"\1" * 100, START, await point(tx, When(as_of, valid_at)))
        return await view.claims(facts)

    found = await database.read_transaction(work)
    return {
        fact: [(one.source, replace(one.claim, evidence="")) for one in stated]
        for fact, stated in found.items()
    }


async def written_at_once(
    store: FactStore, claimed: Iterable[tuple[Crawl, Collection[Claim]]]
) -> Sequence[WriteReport]:
    """What becomes of each crawl's claims, of which none is written before all that write anything wait."""
    together = store._together
    async with together._turn:
        writes = [asyncio.create_task(crawl.write(claims)) for crawl, claims in claimed]
        while len(together._waiting) < sum(not write.done() for write in writes):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.001)
    reports = await asyncio.gather(*writes)
    assert [report.quarantined for report in reports] == [()] * len(reports)
    return reports
