"""The brake asks in GraphQL too: the administrator alone is told, and answers what was shown."""

from types import SimpleNamespace
from typing import Any

from cryptography.fernet import Fernet

from context_manager.graphql_schema import Parts, RequestContext, build_schema
from discovery.configuration import configuration_source
from discovery.connectors.table import CONNECTORS
from discovery.events import noted
from discovery.holds import held
from discovery.runner import Runner
from graph.claims import EntityClaim
from graph.reads import Asker
from graph.revision_token import RevisionTokens
from graph.token_scope import TokenScope
from tests.context_manager.test_administration import (
    HANA,
    ROOT,
    Acme,
    acme,  # noqa: F401  a fixture
)

FIELDS = "source scope gone standing why"
LIST = f"query ($source: String) {{ heldCrawls(source: $source) {{ {FIELDS} }} }}"
ANSWER = (
    "mutation ($scope: String!, $gone: Int!, $reason: String!) "
    f'{{ answer: WHICH(source: "people", scope: $scope, gone: $gone, reason: $reason) {{ {FIELDS} }} }}'
)
AGENT = Asker(ROOT.account, agent="software_agent:helper")


class People:
    """A directory of as many people as it is told."""

    count = 40

    def scopes(self):
        return ("people",)

    def read(self, scope):
        for number in range(self.count):
            yield EntityClaim(f"person:p{number}", "Person", "collection:all", {"name": "P"}, scope)


async def asked(acme: Acme, asker: Asker, query: str, **variables: Any) -> Any:  # noqa: F811
    tokens = RevisionTokens(Fernet.generate_key())
    asking = SimpleNamespace(ontology=acme.desk.ontology, reader=acme.desk.reader)
    parts = Parts(asking, acme.desk, tokens)  # type: ignore[arg-type]
    return await build_schema(tokens).execute(query, variables, context_value=RequestContext(parts, asker))


async def test_the_administrator_answers_what_was_shown(acme: Acme, monkeypatch: Any) -> None:  # noqa: F811
    people = People()
    monkeypatch.setitem(CONNECTORS, "ldif", lambda organization, source: people)
    database = acme.desk.database
    runner = Runner(acme.desk.organization, acme.store, database)
    await runner.run(configuration_source(acme.desk.organization))
    source = acme.desk.organization.source_named("directory").model_copy(update={"name": "people"})
    assert (await runner.run(source)).outcome == "complete"
    people.count = 5
    assert (await runner.run(source)).outcome == "partial"

    told = (await asked(acme, ROOT, LIST, source="people")).data["heldCrawls"]
    said = {"source": "people", "scope": "people", "gone": 35, "standing": 40}
    assert told == [said | {"why": "more than the source's brake allows"}]
    assert told[0] in (await asked(acme, ROOT, LIST)).data["heldCrawls"]
    assert (await asked(acme, ROOT, LIST, source="another")).data == {"heldCrawls": []}
    confirm, drop = (ANSWER.replace("WHICH", one) for one in ("confirmHeldCrawl", "dropHeldCrawl"))
    shown = {"scope": "people", "gone": 35, "reason": "the year's end"}
    for asker in (HANA, AGENT):
        assert (await asked(acme, asker, LIST)).data == {"heldCrawls": []}, "as where nothing waits"
        for mutation in (confirm, drop):
            refused = await asked(acme, asker, mutation, **shown)
            assert "it is not yours to decide" in refused.errors[0].message
    reading = Asker(ROOT.account, scope=TokenScope(frozenset({"read"})))
    assert "lacks 'administer'" in (await asked(acme, reading, confirm, **shown)).errors[0].message
    for change, why in (
        ({"gone": 34}, "no crawl of 'people' with 34 claims"),
        ({"scope": "elsewhere"}, "from 'elsewhere' waits"),
        ({"reason": " "}, "reason"),
    ):
        assert why in (await asked(acme, ROOT, confirm, **shown | change)).errors[0].message
    assert len(await held(database, "people")) == 1
    assert await noted(database) == {}

    dropped = await asked(acme, ROOT, drop, **shown)
    assert (dropped.errors, dropped.data["answer"]["gone"]) == (None, 35)
    assert (await asked(acme, ROOT, LIST, source="people")).data == {"heldCrawls": []}
    assert await noted(database) == {}
    people.count = 4
    await runner.run(source)
    assert "35 claims" in (await asked(acme, ROOT, confirm, **shown)).errors[0].message, "it is 36 by now"
    confirmed = await asked(acme, ROOT, confirm, **shown | {"gone": 36})
    assert (confirmed.errors, confirmed.data["answer"]["standing"]) == (None, 40)
    assert set(await noted(database)) == {"people"}, "it is crawled at once"
    report = await runner.run(source)
    assert (report.outcome, report.scopes[0].retracted) == ("complete", 36)

    entries = [one for one in acme.audit() if one.get("action", "").startswith("held crawl")]
    assert [one["details"]["decision"] for one in entries if "details" in one] == [
        *("confirmed",) * 2, "dropped", "confirmed", "confirmed",
    ]  # fmt: skip
    assert {one["details"]["reason"] for one in entries if "details" in one} == {"the year's end"}
