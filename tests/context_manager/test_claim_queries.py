"""What each source says of a fact, where it says so, and what sources contradict each other in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from graph.claims import EntityClaim, RelationshipClaim
from graph.feed import current_revision
from tests.context_manager.test_past_queries import (
    ALL,
    SOURCE,
    Api,
    api,  # noqa: F401  a fixture
)

HIDDEN = "collection:hidden"
REGISTRY = replace(SOURCE, name="registry", trust=90, grants=frozenset({"MEMBER_OF"}))
OWNER = replace(SOURCE, collections=SOURCE.collections | {HIDDEN})
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
CLAIM = "source evidence confidence trust validFrom values { name value }"
QUERY = f"""query ($id: ID!, $asOf: String) {{ entity(id: $id, asOf: $asOf) {{
    name
    claims {{ {CLAIM} }}
    conflicts {{ name label sayings {{ value source trust evidence believed }} }}
    neighbours {{ relationship entity {{ id }} claims {{ {CLAIM} }} }} }} }}"""


def eve(title: str, evidence: str, confidence: float = 1.0) -> EntityClaim:
    values: Any = {"name": "Eve", "jobTitle": title, "accountName": (title,)}
    return EntityClaim("person:eve", "Person", ALL, values, evidence, confidence)


async def test_claims_tell_who_says_what_and_where_and_conflicts_who_is_believed(api: Api) -> None:  # noqa: F811
    group = EntityClaim("group:a", "Group", ALL, {"name": "a"}, "directory.ldif:1")
    hidden = EntityClaim("group:b", "Group", HIDDEN, {"name": "b"}, "directory.ldif:2")
    member = RelationshipClaim("person:eve", "MEMBER_OF", "group:a", "directory.ldif:3", 0.5, YEAR)
    beside = replace(member, end="group:b", evidence="directory.ldif:4")
    place = EntityClaim(HIDDEN, "Collection", HIDDEN, {"name": "hidden"}, "sources.toml")
    directory = [place, group, hidden, member, beside, eve("Analyst", "directory.ldif:5", 0.75)]
    async with api.store.crawl(OWNER, "more") as crawl:
        assert (await crawl.write(directory)).quarantined == ()
        await crawl.complete()
    await api.crawl()
    registered = replace(member, evidence="register.csv:7", confidence=1.0)
    for _ in range(2):  # whoever was crawled last, the answer is the same
        await api.crawl(eve("Boss", "register.csv:8"), registered, source=REGISTRY)
        async with api.store.crawl(OWNER, "more") as crawl:
            await crawl.write(directory)
            await crawl.complete()
        result = await api(QUERY, id="person:eve")
        assert result.errors is None
        found = result.data["entity"]
        assert [
            (one["source"], one["evidence"], one["confidence"], one["trust"]) for one in found["claims"]
        ] == [
            ("registry", "register.csv:8", 1.0, 90),
            ("configuration", "directory.ldif:5", 0.75, 50),
        ]
        assert {"name": "jobTitle", "value": ["Analyst"]} in found["claims"][1]["values"]
        [conflict] = found["conflicts"]
        assert (conflict["name"], conflict["label"]) == ("jobTitle", "job title")
        assert [
            (one["value"], one["source"], one["evidence"], one["believed"]) for one in conflict["sayings"]
        ] == [
            ("Boss", "registry", "register.csv:8", True),
            ("Analyst", "configuration", "directory.ldif:5", False),
        ]
        [beside_her] = [one for one in found["neighbours"] if one["relationship"] == "MEMBER_OF"]
        assert beside_her["entity"]["id"] == "group:a"
        assert [(one["evidence"], one["confidence"], one["values"]) for one in beside_her["claims"]] == [
            ("register.csv:7", 1.0, []),
            ("directory.ldif:3", 0.5, []),
        ]
        assert beside_her["claims"][0]["validFrom"].startswith("2026-01-01")
    assert (await api(QUERY, id="group:b")).data == {"entity": None}

    async def hidden_claims(view: Any) -> Any:
        return await view.claims(["group:b", "person:eve MEMBER_OF group:b", "person:eve OWNS group:a"])

    read, _ = await api.parts.asking.reader.run(api.asker, hidden_claims)
    assert not any(read.values())


async def test_claims_and_conflicts_of_the_past_are_those_of_then(api: Api) -> None:  # noqa: F811
    """As of a revision, whatever the sources say by now; also of who is gone."""
    member = RelationshipClaim("person:eve", "MEMBER_OF", "group:a", "line 2", 0.5)
    group = EntityClaim("group:a", "Group", ALL, {"name": "a"}, "line 1")
    told = {}
    for claims, registered in (
        ([group, member, eve("Analyst", "line 3", 0.75)], [eve("Boss", "line 4")]),
        ([group, replace(member, confidence=1.0), eve("Boss", "line 5")], [eve("Boss", "line 4"), member]),
        ([group, eve("Clerk", "line 6")], [eve("Chief", "line 7")]),
    ):
        await api.crawl(*claims)
        await api.crawl(*registered, source=REGISTRY)
        now = await api(QUERY, id="person:eve")
        assert now.errors is None
        told[now.extensions["revision"]] = now.data
    conflicts = [[one["name"] for one in found["entity"]["conflicts"]] for found in told.values()]
    assert conflicts == [["jobTitle"], [], ["jobTitle"]]
    await api.crawl()
    await api.crawl(source=REGISTRY)
    assert (await api(QUERY, id="person:eve")).data == {"entity": None}
    for token, found in told.items():
        past = await api(QUERY, id="person:eve", asOf=token)
        assert (past.errors, past.data) == (None, found)


async def test_evidence_that_moved_is_told_now_and_of_each_revision_as_it_was_told_last(api: Api) -> None:  # noqa: F811
    """Without a revision of its own, for entities and relationships, and through changes of what is said."""
    said = 'query ($asOf: String) { entity(id: "person:eve", asOf: $asOf) { claims { evidence } neighbours { relationship claims { evidence } } } }'
    database = api.store.database

    async def told(revision: int | None = None) -> tuple[str, ...]:
        result = await api(said, asOf=None if revision is None else api.tokens.seal(revision))
        assert result.errors is None
        found = result.data["entity"]
        beside = [one["claims"] for one in found["neighbours"] if one["relationship"] == "MEMBER_OF"]
        return tuple(one["evidence"] for claims in (found["claims"], *beside) for one in claims)

    async def crawl(line: int, title: str, other: str) -> int:
        group = EntityClaim("group:a", "Group", ALL, {"name": other}, "line 1")
        member = RelationshipClaim("person:eve", "MEMBER_OF", "group:a", f"member {line}", 0.5)
        await api.crawl(group, member, eve(title, f"line {line}"))
        return await current_revision(database)

    def at(line: int) -> tuple[str, str]:
        return f"line {line}", f"member {line}"

    first = await crawl(3, "Boss", "a")
    second = await crawl(3, "Boss", "b")
    assert first < second == await crawl(9, "Boss", "b") == await crawl(12, "Boss", "b")
    assert (await told(first), await told(second), await told()) == (at(3), at(12), at(12))
    third = await crawl(12, "Boss", "c")
    assert third == await crawl(20, "Boss", "c")
    moved_with_a_change = await crawl(25, "Boss", "d")
    changed = await crawl(30, "Chief", "d")
    assert changed == await crawl(35, "Chief", "d")
    assert [await told(one) for one in (first, second, third, moved_with_a_change, changed)] == [
        *(at(line) for line in (3, 12, 20, 25, 35))
    ]
    await crawl(35, "Chief", "e")
    assert await told(changed) == await told() == at(35)
    [kept] = await database.read("MATCH (c:_Claimed {fact: 'person:eve'}) RETURN count(c) AS count")
    assert kept["count"] == 4, "of what moved twice under one revision, one is kept"


TOLD = "sources confidence validFrom validTo since"
FACTS = f"""query ($asOf: String) {{ entity(id: "person:eve", asOf: $asOf) {{
    {TOLD} neighbours {{ relationship {TOLD} }} }} }}"""


async def test_each_fact_tells_its_sources_how_sure_when_it_holds_and_since_which_revision(api: Api) -> None:  # noqa: F811
    """Entities and relationships alike, of now and as it was then told."""
    group = EntityClaim("group:a", "Group", ALL, {"name": "a"}, "line 1")
    member = RelationshipClaim("person:eve", "MEMBER_OF", "group:a", "line 2", 0.5, YEAR)

    async def told(as_of: str | None = None) -> dict[str, tuple[list[str], float, str | None, int]]:
        result = await api(FACTS, asOf=as_of)
        assert result.errors is None
        eve_ = result.data["entity"]
        [beside] = [one for one in eve_["neighbours"] if one["relationship"] == "MEMBER_OF"]
        return {
            what: (one["sources"], one["confidence"], one["validFrom"], api.tokens.open(one["since"]))
            for what, one in (("entity", eve_), ("relationship", beside))
        }

    await api.crawl(group, member, eve("Boss", "line 3", 0.75))
    first = await current_revision(api.store.database)
    before = await told()
    assert before == {
        "entity": (["configuration"], 0.75, None, first),
        "relationship": (["configuration"], 0.5, YEAR.isoformat(), first),
    }
    await api.crawl(replace(member, confidence=1.0, valid_from=None), source=REGISTRY)
    second = await current_revision(api.store.database)
    assert await told() == {
        "entity": before["entity"],
        "relationship": (["configuration", "registry"], 1.0, None, second),
    }
    assert await told(api.tokens.seal(first)) == before
