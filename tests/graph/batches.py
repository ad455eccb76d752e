"""A crawl of batches that are alike, and whether those that were written are there whole."""

from datetime import timedelta

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.feed import changes
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

COMPANY = "collection:company"
PAIRS = 20


async def store_of(database: Database) -> FactStore:
    store = FactStore(database, load_shapes(), load_authorization())
    await store.resume()
    policy = SourcePolicy("configuration", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))
    async with store.crawl(policy, "all") as crawl:
        await crawl.write([EntityClaim(COMPANY, "Collection", COMPANY, {"name": "company"}, "line 1")])
    return store


async def crawl_batches(store: FactStore, batches: int) -> None:
    policy = SourcePolicy("directory", frozenset(), frozenset({COMPANY}), 50, timedelta(days=1))
    async with store.crawl(policy, "all") as crawl:
        for batch in range(batches):
            claims: list[Claim] = []
            for pair in range(PAIRS):
                a, b = f"person:a-{batch}-{pair}", f"person:b-{batch}-{pair}"
                claims += [EntityClaim(id, "Person", COMPANY, {"name": id}, "line 1") for id in (a, b)]
                claims.append(RelationshipClaim(a, "REPORTS_TO", b, "line 1"))
            await crawl.write(claims)
        await crawl.complete()


async def whole_batches(database: Database) -> int:
    """How many batches stand; fails where facts, claims, revisions and changes do not tell the same."""
    [found] = await database.read(
        """
        RETURN COUNT { (:Person) } AS persons, COUNT { (n:Person) WHERE n.audience IS NOT NULL } AS placed,
               COUNT { ()-[:REPORTS_TO]->() } AS reports, COUNT { (:Person)-[:IN_COLLECTION]->() } AS within,
               COLLECT { MATCH (p:_Page {source: 'directory'}) RETURN sum(p.count) }[0] AS claims,
               COLLECT { MATCH (r:_Revision) RETURN r.number ORDER BY r.number } AS revisions
        """
    )
    batches, rest = divmod(found["persons"], 2 * PAIRS)
    assert rest == 0
    assert found["placed"] == found["within"] == found["persons"]
    assert found["reports"] == batches * PAIRS
    assert found["claims"] == 3 * batches * PAIRS
    assert found["revisions"] == list(range(1, batches + 2))
    told = [len(revision.changes) for revision in await changes(database, 0, limit=batches + 2)]
    assert told == [2] + [5 * PAIRS] * batches
    return batches
