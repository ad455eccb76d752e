"""The past is searched by words and meaning, and handled as strictly as then and as now; who may not see a
fact now cannot tell that it ever was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import EMBEDDING_DIMENSIONS, Database
from graph.entity_view import EntityView
from graph.handling import Handling
from graph.past import When
from graph.reads import Asker, Reader, View
from graph.rebac.relation_tuples import type_of
from graph.store import FactStore
from graph.system_reads import set_embeddings
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

ADA, EVE = Asker("account:acme/ada"), Asker("account:acme/eve")
ALL, HR = "collection:all", "collection:hr"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
GRANTS = frozenset(t for t, r in load().relationships.items() if r.access_bearing)
CONFIGURATION = SourcePolicy("configuration", GRANTS, frozenset({ALL, HR}), 50, 400 * DAY)
WIKI = replace(CONFIGURATION, name="wiki", grants=frozenset())


def entity(id: str, collection: str = ALL, /, **values: Any) -> EntityClaim:
    class_name = load().class_of_type(type_of(id)).name
    bounds = {name: values.pop(name, None) for name in ("valid_from", "valid_to")}
    return EntityClaim(id, class_name, collection, {"name": id, **values}, "test", **bounds)


def relation(start: str, type: str, end: str) -> RelationshipClaim:
    return RelationshipClaim(start, type, end, "test")


#: Ada sees `all` and `hr`, Eve `all` alone.
ACCESS: list[Claim] = [
    entity(ALL),
    entity(HR, HR),
    *(entity(f"person:{key}") for key in ("ada", "eve")),
    *(entity(f"account:acme/{key}", HR, issuer="acme", subject=key) for key in ("ada", "eve")),
    *(relation(f"person:{key}", "HAS_ACCOUNT", f"account:acme/{key}") for key in ("ada", "eve")),
    *(relation(f"person:{key}", "MAY_VIEW", ALL) for key in ("ada", "eve")),
    relation("person:ada", "MAY_VIEW", HR),
]


def vector(*numbers: float) -> list[float]:
    return [*numbers, *([0.0] * (EMBEDDING_DIMENSIONS - len(numbers)))]


class Wiki:
    """What a source says, crawl by crawl, and what was known after each."""

    def __init__(self, database: Database) -> None:
        self.database, self.now = database, START
        self.store = FactStore(database, load_shapes(), load_authorization(), lambda: self.now)
        policies = [CONFIGURATION, WIKI]
        self.reader = Reader(database, load(), Authorizer(database, load(), load_authorization(), policies))

    async def says(self, *claims: Claim, source: SourcePolicy = WIKI) -> int:
        """Nothing else than this: the revision at which that is known."""
        self.now += DAY
        async with self.store.crawl(source, "all") as crawl:
            assert (await crawl.write(claims)).quarantined == ()
            return (await crawl.complete()).revision

    async def read(self, asker: Asker, work, as_of: int | None = None, at: datetime | None = None) -> Any:
        found, _ = await self.reader.run(asker, work, When(as_of, at))
        return found

    async def embed(self, **numbers: float) -> None:
        await set_embeddings(self.database, {f"document:{key}": vector(x, 1) for key, x in numbers.items()})


@pytest.fixture
async def wiki(neo4j: Database) -> Wiki:
    return await wiki_on(neo4j)


async def wiki_on(neo4j: Database) -> Wiki:
    wiki = Wiki(neo4j)
    await wiki.says(*ACCESS, source=CONFIGURATION)
    return wiki


def ids(found: Sequence[EntityView]) -> list[str]:
    return [one.id for one in found]


async def test_what_was_said_then_is_found_by_its_words(wiki: Wiki) -> None:
    old = await wiki.says(entity("document:a", description="travel by train"), entity("document:b"))
    new = await wiki.says(entity("document:a", description="travel by ship"), entity("document:c"))
    gone = await wiki.says(entity("document:c", description="a train"))

    async def hits(text: str, as_of: int | None) -> list[str]:
        return ids(await wiki.read(EVE, lambda view: view.full_text(text), as_of))

    found = [[await hits(text, at) for text in ("train", "ship")] for at in (old, new, gone, None)]
    assert found == [
        [["document:a"], []],
        [[], ["document:a"]],
        [["document:c"], []],
        [["document:c"], []],
    ]
    [then] = await wiki.read(EVE, lambda view: view.full_text("train"), old)
    assert then.values["description"] == "travel by train"
    for text in ("*:*", "tra*", '"', "document:a) OR (*:*"):
        assert await hits(text, old) in ([], ["document:a"])  # words, not operators


async def test_what_held_then_is_found_among_what_is_known_now(wiki: Wiki) -> None:
    until = wiki.now + 10 * DAY
    await wiki.says(entity("document:a", description="a train", valid_to=until))
    wiki.now = until
    await wiki.store.tick()

    async def work(view: View) -> list[str]:
        return ids(await view.full_text("train"))

    assert await wiki.read(EVE, work) == await wiki.read(EVE, work, at=until) == []
    assert await wiki.read(EVE, work, at=until - DAY) == ["document:a"]


async def test_by_its_meaning_is_found_what_still_says_the_same(wiki: Wiki) -> None:
    old = await wiki.says(*(entity(f"document:{key}", description="old") for key in "abc"))
    await wiki.says(
        entity("document:a", description="old"),
        entity("document:b", description="old"),
        entity("document:c", description="new"),
        *(entity(f"document:{key}") for key in ("d", "e")),
    )
    await wiki.embed(a=0.2, b=0.4, c=0.5, d=0.6, e=0.7)
    question = vector(1)

    async def work(view: View):
        near = await view.by_embedding(question, 2)
        return near, await view.similarities([f"document:{key}" for key in "abcx"], question)

    near, similarities = await wiki.read(EVE, work, old)
    assert ids([one for one, _ in near]) == ["document:b", "document:a"]
    assert similarities.keys() == {"document:a", "document:b"}
    now, of_now = await wiki.read(EVE, work)
    assert ids([one for one, _ in now]) == ["document:e", "document:d"]
    scores = dict(zip(ids([one for one, _ in near]), [score for _, score in near], strict=True))
    assert {id: 2 * score - 1 for id, score in scores.items()} == pytest.approx(similarities)
    assert similarities["document:a"] == of_now["document:a"]


async def everything(view: View) -> Mapping[str, Any]:
    """All reads of a point there are."""
    documents = [f"document:{key}" for key in ("news", "secret", "withdrawn", "released", "left", "planned")]
    return {
        "entities": {id: await view.entity(id) for id in documents},
        "page": await view.entities("Document", 2),
        "among": await view.visible_among(documents),
        "counts": await view.class_counts(),
        "beside": await view.neighbours([*documents, "person:eve"], 50),
        "outgoing": await view.outgoing([*documents, "person:eve"]),
        "words": await view.full_text("salary document"),
        "meaning": await view.by_embedding(vector(1), 3),
        "similar": await view.similarities(documents, vector(1)),
    }


async def seen_by_eve(wiki: Wiki, *, hidden: bool) -> list[str]:
    """What Eve sees at every point, with or without what she may not see now."""

    def news(step: int, *rest: Claim) -> list[Claim]:
        beside = relation("person:eve", "OWNS", "document:news")
        return [entity("document:news", description=f"salary {step}"), beside, *rest]

    def only(*claims: Claim) -> list[Claim]:
        return list(claims) if hidden else []

    secret = [
        entity("document:secret", HR, description="salary"),
        relation("person:eve", "OWNS", "document:secret"),
    ]
    planned = entity("document:planned", HR, description="salary", valid_from=START + 300 * DAY)
    steps = [
        news(1, *only(*secret, entity("document:withdrawn"), entity("document:left"), entity("document:released", HR))),
        news(2, *only(*secret, planned, *(entity(f"document:{k}", HR) for k in ("withdrawn", "left", "released")))),
        news(2, entity("document:released"), *only(planned, entity("document:withdrawn", HR))),
    ]  # fmt: skip
    revisions = [await wiki.says(*step) for step in steps]
    await wiki.embed(news=0.1, released=0.3, **({"withdrawn": 0.9} if hidden else {}))
    found = []
    for revision in [*revisions, None]:
        for at in (None, START + 10 * DAY, START + 301 * DAY):
            found.append(await wiki.read(EVE, everything, revision, at))
    return [_without_revisions(one) for one in found]


def _without_revisions(value: Any) -> Any:
    """Moves between audiences take revisions of their own; tokens hide their numbers."""
    if isinstance(value, EntityView):
        return replace(value, since=0)
    if isinstance(value, Mapping):
        return {key: _without_revisions(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_without_revisions(one) for one in value]
    if hasattr(value, "since"):
        return replace(
            value,
            since=0,
            **({"entity": _without_revisions(value.entity)} if hasattr(value, "entity") else {}),
        )
    if hasattr(value, "items"):
        return _without_revisions(value.items), value.end_cursor, value.total
    return value


async def test_denied_and_absent_look_alike_at_every_point_of_both_times(neo4j: Database) -> None:
    with_hidden = await seen_by_eve(await wiki_on(neo4j), hidden=True)
    async with neo4j.driver.session() as session:
        await (await session.run("MATCH (n) DETACH DELETE n")).consume()
    await neo4j.ensure_schema()
    without = await seen_by_eve(await wiki_on(neo4j), hidden=False)
    for one, other in zip(with_hidden, without, strict=True):
        assert one == other
    assert with_hidden[0]["counts"]["Document"] == 1
    assert with_hidden[-3]["counts"]["Document"] == 2


async def test_who_may_see_it_now_finds_it_then(wiki: Wiki) -> None:
    await seen_by_eve(wiki, hidden=True)
    [record] = await wiki.database.read(
        "MATCH (v:_Version {fact: 'document:secret'}) RETURN v.since AS since"
    )
    found = await wiki.read(ADA, lambda view: view.full_text("salary"), record["since"])
    assert "document:secret" in ids(found)
    assert "document:secret" not in ids(await wiki.read(ADA, lambda view: view.full_text("salary")))


HEALTH, PUBLIC, NEW = "classification:health", "classification:public", "classification:new"


def classified(passage: str, classification: str | None, **rule: Any) -> list[Claim]:
    """A document with a passage, classified so, and a rule for what is about health."""
    claims: list[Claim] = [
        *map(entity, ("document:d", HEALTH, PUBLIC, NEW)),
        entity(passage, text="x", position=1),
        relation("document:d", "HAS_PASSAGE", passage),
        entity("handling_rule:r", **rule),
        relation("handling_rule:r", "GOVERNS", HEALTH),
    ]
    return claims + ([relation("document:d", "CLASSIFIED_AS", classification)] if classification else [])


async def handled(wiki: Wiki, id: str, as_of: int | None) -> tuple[set[str], set[str], set[Handling]]:
    """Sources, classifications, and what the rules ask for them."""

    async def work(view: View):
        return (await view.handling_inputs([id])).get(id), await view.handling_rules()

    inputs, rules = await wiki.read(EVE, work, as_of)
    if inputs is None:
        return set(), set(), set()
    asked = {rule.handling for rule in rules if rule.classifications & inputs.classifications}
    return set(inputs.sources), set(inputs.classifications), asked


async def test_the_past_is_handled_as_strictly_as_then_and_as_now(wiki: Wiki) -> None:
    us, eu = Handling(jurisdictions=frozenset({"US"})), Handling(jurisdictions=frozenset({"EU"}))
    plain = await wiki.says(*classified("passage:p", None, jurisdiction=("US",)))
    health = await wiki.says(*classified("passage:p", HEALTH, jurisdiction=("US",)))
    lifted = await wiki.says(*classified("passage:p", PUBLIC, jurisdiction=("EU",)))
    # Of then: the classification that its document had, and the rule as it was; of now: those of now.
    assert await handled(wiki, "passage:p", health) == ({"wiki"}, {HEALTH, PUBLIC}, {us, eu})
    assert await handled(wiki, "passage:p", plain) == ({"wiki"}, {PUBLIC}, set())
    assert await handled(wiki, "passage:p", lifted) == ({"wiki"}, {PUBLIC}, set())
    assert await handled(wiki, "passage:p", None) == ({"wiki"}, {PUBLIC}, set())
    await wiki.says(*classified("passage:p", NEW, jurisdiction=("EU",)))
    assert (await handled(wiki, "passage:p", plain))[1] == {NEW}
    # Another source describes it now.
    await wiki.says(entity("document:d"))
    await wiki.says(*ACCESS, entity("passage:p", text="x", position=1), source=CONFIGURATION)
    assert (await handled(wiki, "passage:p", health))[0] == {"configuration", "wiki"}
    assert (await handled(wiki, "passage:p", None))[0] == {"configuration"}


async def test_what_is_gone_is_handled_as_strictly_as_it_ever_was_since(wiki: Wiki) -> None:
    first = await wiki.says(*classified("passage:p", PUBLIC))
    await wiki.says(*classified("passage:p", HEALTH))
    await wiki.says(entity("document:other"))
    assert (await handled(wiki, "passage:p", first))[:2] == ({"wiki"}, {HEALTH, PUBLIC})
    assert await handled(wiki, "passage:p", None) == (set(), set(), set())
