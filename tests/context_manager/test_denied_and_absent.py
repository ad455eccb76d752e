"""Through every door of GraphQL: what an asker may not see is as if it were not there, to the last byte.

Hidden texts are made to match the questions better than anything visible, and more of them than a search
looks at: one that took a place, was counted, or weighed a word would show.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from context_manager.indexer import index_pending
from graph.claims import Claim, EntityClaim
from graph.database import Database
from tests.context_manager.door import CLAIMS, PATH, Door, entity, relation
from tests.inference.openai_server import stream

WON, SALARY = "Who won the cup?", "What is the annual salary in Pay of Eve?"
DOORS = """query ($q: String!, $ids: [ID!]!) {
    classes { name count }
    entities(className: "Entity", first: 100) { totalCount items { id name neighbours { label entity { id } } } }
    documents: entities(className: "Document", first: 100) { totalCount items { id } }
    hidden: entity(id: "document:hidden-1") { id }
    pay: entity(id: "compensation:eve") { id }
    person: entity(id: "person:eve") { values { name value } neighbours { label entity { id } } }
    search(text: $q, first: 50) { id name }
    context(question: $q) { facts { id statement title entities sources path } }
    ask(question: $q) { outcome text node model notes
        facts { id statement title entities sources } placement { node permitted up reasons } }
    placement(entities: $ids) { node refusal facts verdicts { node permitted reasons } } }"""

PAY = next(c for c in CLAIMS if isinstance(c, EntityClaim) and c.id == "compensation:eve")
#: More than are looked at for their meaning and for their words; a hidden relationship to somebody who shows.
HIDDEN: list[Claim] = [
    *(
        entity(f"document:hidden-{i}", "Document", "hr", name=f"Who won the cup? {i}", description=said)
        for i, said in enumerate(["We won the cup, who lost the cup in Ghent: Pay of Eve."] * 45)
    ),
    relation("person:eve", "HAS_COMPENSATION", PAY.id),
]
VISIBLE = [claim for claim in CLAIMS if claim != PAY]


async def everything(door: Door, person: str, *questions: str) -> list[Any]:
    """What each question gives through each door, and what the engine was sent for it."""
    found = []
    async with aiohttp.ClientSession() as session:
        for question in questions:
            door.american.requests.clear()
            headers = {"Authorization": f"Bearer {door.issuer.mint(person, 'orgraph')}"}
            body = {"query": DOORS, "variables": {"q": question, "ids": ["document:news"]}}
            async with session.post(f"{door.url}/graphql", json=body, headers=headers) as response:
                answer = await response.json()
            answer.get("extensions", {}).pop("revision", None)
            sent = [json.loads(raw) for _, _, raw in door.american.requests]
            found.append((response.status, answer, sent))
    return found


async def test_what_is_hidden_changes_nothing_through_any_door(door: Door, neo4j: Database) -> None:
    door.american.answers[PATH] = stream('{"sentences": [{"text": "We won the cup.", "facts": [1]}]}')
    asking = door.api.asking

    async def says(*claims: Claim) -> None:
        await door.says(configuration=claims)
        await index_pending(neo4j, asking.ontology, asking.embedder, asking.holder)

    await says(*VISIBLE, PAY, *HIDDEN)
    denied, allowed = await everything(door, "eve", WON, SALARY), await everything(door, "ada", WON)
    assert "hidden-" not in json.dumps(denied)
    assert "hidden-" in json.dumps(allowed)
    await says(*VISIBLE)
    absent = await everything(door, "eve", WON, SALARY)
    assert denied == absent
    (_, won, sent), _ = absent
    assert (won["data"]["ask"]["outcome"], len(sent)) == ("ANSWERED", 1)
