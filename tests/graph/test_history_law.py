"""The law of the fact store: any interleaving of sources, retractions, merges, undoings and passing time gives,
now and as of every revision, what a small model in memory gives, and tells who said what."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graph.claims import Claim, EntityClaim
from graph.database import Database
from graph.facts import fact_of
from graph.feed import current_revision
from graph.store import FactStore
from ontologies import load_authorization, load_shapes
from tests.graph.fact_model import (
    COMPANY,
    DAY,
    SOURCES,
    START,
    Merge,
    Model,
    live,
    merges,
    past,
    past_said,
    policy,
    sayings,
    written_at_once,
)

_examples = count()


said = st.lists(sayings(), max_size=5)
#: One source, or several whose writes share a transaction.
crawls = st.dictionaries(st.sampled_from(SOURCES), said, min_size=1)
steps = st.lists(st.one_of(crawls, st.just("a day passes"), merges), min_size=2, max_size=7)


@pytest.fixture
async def store(neo4j: Database) -> FactStore:
    store = FactStore(neo4j, load_shapes(), load_authorization(), lambda: START)
    async with store.crawl(policy("configuration"), "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "c"}, "sources.toml")])
    return store


async def crawled_at_once(store: FactStore, claimed: Mapping[str, Mapping[str, Claim]], scope: str) -> int:
    """The revision of the last of them; what they write waits until all of it does."""
    async with AsyncExitStack() as stack:
        crawls = [await stack.enter_async_context(store.crawl(policy(source), scope)) for source in claimed]
        await written_at_once(
            store, [(crawl, of.values()) for crawl, of in zip(crawls, claimed.values(), strict=True)]
        )
        return [(await crawl.complete()).revision for crawl in crawls][-1]


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
    told: dict[int, Mapping[datetime, Model]] = {}
    first = now
    for step in steps:
        if isinstance(step, str):
            now += DAY
            revision = await store.tick()
        elif isinstance(step, Merge):
            await step.carry_out(store, prefix)
            [model] = step.states(model, prefix)
            revision = await current_revision(store.database)
        else:
            claimed = {
                source: {
                    fact_of(claim): claim for one in said for claim in [_moved(one.claim(prefix), first)]
                }
                for source, said in step.items()
            }
            revision = await crawled_at_once(store, claimed, prefix)
            for source, claims in claimed.items():
                model = model.having(source, claims)
        assert await live(store.database, prefix) == model.holding(now)
        instants = [first + day * DAY + DAY / 2 for day in (0, 2, 5)]
        told[revision] = dict.fromkeys(instants, model)
    for revision, by_instant in told.items():
        for at, then in by_instant.items():
            holding, said = then.holding(at), then.said(at)
            assert await past(store.database, prefix, revision, at) == holding, (revision, at)
            assert await past_said(store.database, holding, revision, at) == said, (revision, at)


def _moved(claim: Claim, to: datetime) -> Claim:
    """The examples share one graph, in which time goes on."""
    shift = to - START
    bounds = {
        name: None if (at := getattr(claim, name)) is None else at + shift
        for name in ("valid_from", "valid_to")
    }
    return replace(claim, **bounds)
