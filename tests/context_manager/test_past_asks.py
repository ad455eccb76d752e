"""Questions asked of the past are answered from what was known then, where facts of then and of now may be
processed, and the point that was asked of is on record."""

import json
from datetime import UTC, datetime
from typing import Any

from cryptography.fernet import Fernet

from context_manager.graphql_schema import Parts, RequestContext, build_schema
from graph.claims import Claim
from graph.reads import Asker
from graph.revision_token import RevisionTokens
from tests.context_manager.door import (
    CLAIMS,
    EU_CLAIMS,
    PATH,
    Door,
    door,  # noqa: F401  a fixture
    embedder,  # noqa: F401  a fixture
    entity,
)
from tests.inference.openai_server import stream

TOKENS = RevisionTokens(Fernet.generate_key())
BOLT = "The office plants are watered by Bolt Gardening every Monday."
ZED = "The office plants are watered by Zed Landscapes every Friday."
QUESTION = "Who waters the office plants?"
ASK = """query ($q: String!, $asOf: String, $validAt: DateTime) {
    ask(question: $q, asOf: $asOf, validAt: $validAt) {
        id outcome text node facts { id statement } handling { jurisdictions } } }"""


def guide(text: str) -> Claim:
    return entity("passage:guide-1", "Passage", "all", name="Office guide", text=text, position=1)


async def graphql(door: Door, text: str, person: str = "eve", **variables: Any) -> Any:  # noqa: F811
    parts = Parts(door.api.asking, None, TOKENS)  # type: ignore[arg-type]
    context = RequestContext(parts, Asker(f"account:acme/{person}"))
    result = await build_schema(TOKENS).execute(text, variable_values=variables, context_value=context)
    assert result.errors is None, result.errors
    return result


async def ask_graphql(door: Door, text: str, **variables: Any) -> tuple[Any, str]:  # noqa: F811
    """The data, and the token of the revision."""
    result = await graphql(door, text, **variables)
    return result.data, result.extensions["revision"]


def written(text: str) -> bytes:
    return stream(json.dumps({"sentences": [{"text": text, "facts": [1]}]}))


async def test_the_past_is_answered_where_facts_of_then_and_of_now_may_be(door: Door) -> None:  # noqa: F811
    await door.says(european=[*EU_CLAIMS, guide(BOLT)])
    _, then = await ask_graphql(door, "{ classes { name } }")
    instant = datetime.now(UTC)
    await door.says(european=EU_CLAIMS, configuration=[*CLAIMS, guide(ZED)])
    _, new = await ask_graphql(door, "{ classes { name } }")
    door.european.answers[PATH], door.american.answers[PATH] = written(BOLT), written(ZED)
    for as_of in (then, instant.isoformat()):
        found, _ = await ask_graphql(door, ASK, q=QUESTION, asOf=as_of)
        assert (found["ask"]["outcome"], found["ask"]["text"]) == ("ANSWERED", BOLT)
        assert [fact["statement"] for fact in found["ask"]["facts"]] == [BOLT]
        assert (found["ask"]["node"], found["ask"]["handling"]["jurisdictions"]) == ("frankfurt", ["EU"])
        [intent] = [one for one in door.records() if one["kind"] == "intent"][-1:]
        assert intent["facts"] == ["passage:guide-1"]
        assert intent["as_of"] == (as_of if as_of != then else TOKENS.open(then))
        assert intent["revision"] == TOKENS.open(then)
    now, _ = await ask_graphql(door, ASK, q=QUESTION)
    assert (now["ask"]["text"], now["ask"]["node"]) == (ZED, "boston")
    claims = "query ($q: String!) { context(question: $q) { facts { since claims { source evidence } } } }"
    cited, newest = await ask_graphql(door, claims, q=QUESTION)
    [fact] = cited["context"]["facts"]
    assert fact["claims"] == [{"source": "configuration", "evidence": "test"}]
    assert TOKENS.open(then) < TOKENS.open(fact["since"]) <= TOKENS.open(newest)
    [intent] = [one for one in door.records() if one["kind"] == "intent"][-1:]
    assert "as_of" not in intent
    # What may be processed more freely then is not by that now: Europe speaks of it again.
    await door.says(european=[*EU_CLAIMS, guide(BOLT)], configuration=CLAIMS)
    door.european.answers[PATH] = written(ZED)
    found, _ = await ask_graphql(door, ASK, q=QUESTION, asOf=new)
    assert (found["ask"]["text"], found["ask"]["node"]) == (ZED, "frankfurt")


async def test_search_context_and_insight_are_of_the_point_that_is_asked_of(door: Door) -> None:  # noqa: F811
    await door.says(european=[*EU_CLAIMS, guide(BOLT)])
    _, then = await ask_graphql(door, "{ classes { name } }")
    await door.says(european=EU_CLAIMS)
    door.european.answers[PATH] = written(BOLT)
    query = """query ($q: String!, $asOf: String) {
        search(text: $q, asOf: $asOf) { id values { name value } neighbours { entity { id } } }
        context(question: $q, asOf: $asOf) { facts { id statement } handling { jurisdictions } }
        entity(id: "passage:guide-1", asOf: $asOf) { insight(question: $q) { text } }
        classes(asOf: $asOf) { name count }
    }"""
    past, told = await ask_graphql(door, query, q=QUESTION, asOf=then)
    assert TOKENS.open(told) == TOKENS.open(then)
    assert past["search"][0]["id"] == "passage:guide-1"
    assert past["search"][0]["neighbours"] == [{"entity": {"id": "collection:all"}}]
    assert [fact["statement"] for fact in past["context"]["facts"]] == [BOLT]
    assert past["context"]["handling"]["jurisdictions"] == ["EU"]
    assert past["entity"]["insight"]["text"] == BOLT
    assert {one["name"]: one["count"] for one in past["classes"]}["Passage"] == 1
    now, _ = await ask_graphql(door, query, q=QUESTION)
    assert "passage:guide-1" not in [one["id"] for one in now["search"]]
    assert (now["context"]["facts"], now["entity"]) == ([], None)
    assert {one["name"]: one["count"] for one in now["classes"]}["Passage"] == 0


async def test_every_answer_carries_its_revision_and_each_inference_its_placement(door: Door) -> None:  # noqa: F811
    revision = await door.api.asking.reader.revision()
    question = '(question: "Who won the cup?")'
    inferring = {
        '{ search(text: "cup") { id } }': ["embedding"],
        f"{{ context{question} {{ facts {{ id }} }} }}": ["embedding"],
        f"{{ placement{question} {{ node }} }}": ["embedding"],
        f"{{ ask{question} {{ text }} }}": ["embedding", "answer"],
        '{ entity(id: "document:news") { name } }': [],
        "{ nodes { name } }": [],
        "{ __typename }": [],
    }
    for text, purposes in inferring.items():
        told = (await graphql(door, text)).extensions
        assert TOKENS.open(told["revision"]) == revision, text
        assert [one["for"] for one in told.get("placement", ())] == purposes, text
        assert all(one["node"] == "orgraph" for one in told.get("placement", ()) if one["for"] == "embedding")
    drained = await graphql(door, 'mutation { drainNode(id: "mesh_node:boston") { name } }', "ada")
    assert TOKENS.open(drained.extensions["revision"]) == revision
