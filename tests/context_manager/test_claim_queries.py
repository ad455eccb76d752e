"""What each source says of a fact, where it says so, and what sources contradict each other in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from graph.claims import EntityClaim, RelationshipClaim
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


async def test_claims_are_of_the_present_alone(api: Api) -> None:  # noqa: F811
    await api.crawl(eve("Boss", "line 1"))
    past = await api(QUERY, id="person:eve", asOf=datetime.now(UTC).isoformat())
    assert past.data["entity"]["name"] == "Eve"
    assert (past.data["entity"]["claims"], past.data["entity"]["conflicts"]) == (None, None)
    assert {"of the present alone" in error.message for error in past.errors} == {True}
