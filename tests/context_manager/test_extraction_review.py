"""Who may decide on what was extracted; what follows, and what is on record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from context_manager import extraction_review as review
from context_manager.access_desk import AccessRefused
from context_manager.audit import AuditError
from context_manager.graphql_schema import Parts, RequestContext, build_schema
from discovery.extraction import Passage
from discovery.proposed import digest
from discovery.rule_claims import Known, claims_of, standing, statement
from discovery.wording import rules_in
from graph.claims import EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.extractions import (
    Chosen,
    Extraction,
    extracted,
    extraction_with,
    follow,
    packed,
    propose,
    reviewed,
)
from graph.facts import fact_of
from graph.reads import Asker
from graph.revision_token import RevisionTokens
from tests.context_manager.test_administration import ADA, BOARD, HANA, HR, LENA, ROOT, WHY, Acme

TEXT = "Diagnoses must be stored within the United States. Staff may park bikes in the yard."
HIDDEN = "Directors must burn the minutes."
KEY = "diagnoses"


class Reviewed(Acme):
    """With policies of human resources, which Hana owns and sees, and of the board, which she sees too."""

    policy: SourcePolicy

    async def begin(self) -> None:
        await self.crawl()
        await self.desk.administration.reconcile(restored=False)
        self.policy = replace(self.desk.policies[1], name="policies", grants=frozenset(),
                              collections=frozenset({HR, BOARD}))  # fmt: skip
        policies = (*self.desk.policies, self.policy, extracted(self.policy), reviewed(self.policy))
        self.desk = replace(self.desk, policies=policies)
        await self.read(TEXT, HR, "hr")
        await self.read(HIDDEN, BOARD, "board")

    async def read(self, text: str, collection: str, key: str) -> None:
        document, passage = f"policy:{key}", Passage(f"passage:{key}", text, f"policy:{key}", key, collection)
        async with self.store.crawl(self.policy, key) as crawl:
            report = await crawl.write(
                [
                    EntityClaim(document, "Policy", collection, {"name": key}, key),
                    EntityClaim(
                        passage.id, "Passage", collection, {"name": key, "text": text, "position": 0}, key
                    ),
                    RelationshipClaim(document, "HAS_PASSAGE", passage.id, key),
                    EntityClaim(f"classification:{key}", "Classification", collection, {"name": key}, key),
                ]
            )
            assert report.quarantined == ()
        found = []
        for rule in rules_in(text):
            claims = claims_of(rule, passage, Known([KEY]), key, 0.7)
            found.append(
                Extraction("policies", fact_of(claims[0]), passage.id, collection, statement(rule), rule.quote, key,
                           0.7, "wording", digest(text), packed(claims), packed(standing(claims, [KEY])))
            )  # fmt: skip
        await propose(self.desk.database, "policies", found)
        await follow(self.store, self.policy)

    async def told(self, asker: Asker, **chosen: Any) -> dict[str, str]:
        """Ids by statement."""
        found = await review.told(self.desk, asker, Chosen(**chosen), 50)
        return {one.statement: one.id for one in found}

    async def rules(self) -> list[Any]:
        return [
            (row["name"], row["sources"])
            for row in await self.desk.database.read(
                "MATCH (n:Rule) RETURN n.name AS name, n.sources AS sources ORDER BY name"
            )
        ]

    async def requirements(self) -> int:
        [row] = await self.desk.database.read(
            "MATCH (h:HandlingRule)-[:GOVERNS|STATED_IN]->(d) RETURN count(DISTINCT h) AS count"
        )
        return int(row["count"])

    def on_record(self) -> list[Any]:
        return [
            (one["account"], one["details"]["decision"])
            for one in self.audit()
            if one.get("action") == "review extraction"
        ]


STORED, PARK = "Diagnoses must be stored within the United States", "Staff may park bikes in the yard"
BURN = "Directors must burn the minutes"


@pytest.fixture
async def acme(neo4j: Database, tmp_path: Path) -> Reviewed:
    made = Reviewed(neo4j, tmp_path)
    await made.begin()
    return made


async def test_proposals_are_told_to_who_may_decide_and_sees_them(acme: Reviewed) -> None:
    """Hana owns both collections and sees both; Lena owns HR and does not see it; Ada neither."""
    assert set(await acme.told(HANA)) == {STORED, PARK, BURN}
    assert await acme.told(LENA) == {}
    assert await acme.told(ADA) == {}
    assert await acme.told(ROOT) == {}, "the administrator decides as far as they see"
    assert set(await acme.told(HANA, about="passage:board")) == {BURN}
    assert await acme.told(HANA, source="others") == {}


async def test_whose_it_is_not_is_told_the_same_as_of_what_there_is_not(acme: Reviewed) -> None:
    ids = await acme.told(HANA)
    messages = set()
    for asker, id in ((ADA, ids[PARK]), (LENA, ids[PARK]), (ROOT, ids[BURN]), (HANA, "0" * 32)):
        with pytest.raises(AccessRefused) as refused:
            await review.review(acme.desk, asker, id, "accepted", WHY)
        messages.add(str(refused.value))
    assert len(messages) == 1
    assert await acme.rules() == []
    with pytest.raises(AccessRefused, match="reason"):
        await review.review(acme.desk, HANA, ids[PARK], "accepted", " ")


async def test_what_is_accepted_is_a_fact_that_a_person_answers_for(acme: Reviewed) -> None:
    ids = await acme.told(HANA)
    for _ in range(2):
        done = await review.review(acme.desk, HANA, ids[PARK], "accepted", WHY)
        assert (done.decision, done.by, done.reason) == ("accepted", HANA.account, WHY)
        assert await acme.rules() == [(PARK, ["policies/reviewed"])]
    assert acme.on_record() == [(HANA.account, "accepted")], "again is as once"
    assert PARK not in await acme.told(HANA)
    assert set(await acme.told(HANA, decided=True)) == {PARK}
    await review.review(acme.desk, HANA, ids[PARK], "rejected", "a slip")
    assert await acme.rules() == []
    assert acme.on_record() == [(HANA.account, "accepted"), (HANA.account, "rejected")]


async def test_to_reject_what_tightens_is_a_persons_act(acme: Reviewed) -> None:
    ids = await acme.told(HANA)
    assert await acme.requirements() == 1
    await review.review(acme.desk, HANA, ids[STORED], "rejected", WHY)
    assert await acme.requirements() == 0
    await acme.read(TEXT, HR, "hr")
    assert await acme.requirements() == 0, "its passage is the same"
    await acme.read(f"{TEXT} Mind it.", HR, "hr")
    assert await acme.requirements() == 1


async def test_what_cannot_be_put_on_record_is_not_done(acme: Reviewed) -> None:
    ids = await acme.told(HANA)
    acme.desk.audit.close()
    with pytest.raises(AuditError):
        await review.review(acme.desk, HANA, ids[PARK], "accepted", WHY)
    assert await acme.rules() == []
    kept = await extraction_with(acme.desk.database, ids[PARK])
    assert kept is not None
    assert kept.decision is None


PAGE = "query ($after: String) { extractions(first: 2, after: $after) { items { id statement quote } endCursor } }"
ACCEPT = 'mutation ($id: ID!) { acceptExtraction(id: $id, reason: "so") { decision by tightens } }'


async def test_the_api_tells_them_in_pages_and_decides(acme: Reviewed) -> None:
    tokens = RevisionTokens(Fernet.generate_key())
    asking = SimpleNamespace(ontology=acme.desk.ontology, reader=acme.desk.reader)

    async def send(text: str, asker: Asker, **variables: Any) -> Any:
        context = RequestContext(Parts(asking, acme.desk, tokens), asker)  # type: ignore[arg-type]
        return await build_schema(tokens).execute(text, variable_values=variables, context_value=context)

    first = (await send(PAGE, HANA)).data["extractions"]
    second = (await send(PAGE, HANA, after=first["endCursor"])).data["extractions"]
    assert (len(first["items"]), len(second["items"]), second["endCursor"]) == (2, 1, None)
    items = {one["statement"]: one for one in (*first["items"], *second["items"])}
    assert set(items) == {STORED, PARK, BURN}
    assert items[BURN]["quote"] == HIDDEN
    assert (await send(PAGE, ADA)).data["extractions"] == {"items": [], "endCursor": None}
    refused = await send(ACCEPT, ADA, id=items[PARK]["id"])
    assert "not yours" in str(refused.errors[0])
    done = (await send(ACCEPT, HANA, id=items[STORED]["id"])).data["acceptExtraction"]
    assert done == {"decision": "accepted", "by": HANA.account, "tightens": True}
