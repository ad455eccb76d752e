"""Who is told of crawls, and what: as they go on, and as they went."""

import asyncio
import threading
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

from cryptography.fernet import Fernet

from context_manager.graphql_schema import Parts, RequestContext, build_schema
from discovery.configuration import configuration_source
from discovery.connectors.table import CONNECTORS
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

FIELDS = "source ended outcome error claims added retracted scopes"
QUERY = f"query ($source: String) {{ crawls(source: $source) {{ {FIELDS} }} }}"
FOLLOW = f"subscription {{ crawls {{ {FIELDS} }} }}"


class Waiting:
    """A directory that waits half-way until it is let go on."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def scopes(self):
        return ("people",)

    def read(self, scope):
        for number in range(1_000):
            if number == 600:
                assert self.go.wait(60)
            yield EntityClaim(f"person:p{number}", "Person", "collection:all", {"name": "P"}, scope)


def context(acme: Acme, asker: Asker) -> RequestContext:  # noqa: F811
    async def operates(asker: Asker) -> bool:
        return asker.agent is None and (await acme.desk.rights(asker)).administrator

    service = SimpleNamespace(
        ontology=acme.desk.ontology,
        reader=acme.desk.reader,
        operations=SimpleNamespace(operates=operates),
    )
    parts = Parts(service, acme.desk, RevisionTokens(Fernet.generate_key()))  # type: ignore[arg-type]
    return RequestContext(parts, asker)


async def asked(acme: Acme, asker: Asker, **variables: Any) -> Any:  # noqa: F811
    schema = build_schema(RevisionTokens(Fernet.generate_key()))
    return await schema.execute(QUERY, variables, context_value=context(acme, asker))


async def test_the_administrator_follows_a_crawl_to_its_end(acme: Acme, monkeypatch: Any) -> None:  # noqa: F811
    waiting = Waiting()
    monkeypatch.setitem(CONNECTORS, "ldif", lambda organization, source: waiting)
    runner = Runner(acme.desk.organization, acme.store, acme.desk.database)
    await runner.run(configuration_source(acme.desk.organization))
    monkeypatch.setattr("discovery.runs.EVERY_S", 0.05)
    people = acme.desk.organization.source_named("directory").model_copy(update={"name": "people"})
    crawl = asyncio.create_task(runner.run(people))
    schema = build_schema(RevisionTokens(Fernet.generate_key()))
    told = []
    async with (
        asyncio.timeout(60),
        aclosing(await schema.subscribe(FOLLOW, context_value=context(acme, ROOT))) as events,
    ):
        async for event in events:
            assert event.errors is None, event.errors
            if event.data["crawls"]["source"] == "people":
                told.append(event.data["crawls"])
                waiting.go.set()
                if told[-1]["outcome"] != "running":
                    break
    await crawl
    assert (told[0]["outcome"], told[0]["ended"], told[0]["claims"]) == ("running", None, 500)
    assert (told[-1]["outcome"], told[-1]["claims"]) == ("complete", 1_000)
    assert told[-1]["scopes"] == ["people: complete"]
    assert (await asked(acme, ROOT, source="people")).data == {"crawls": [told[-1]]}
    assert {one["source"] for one in (await asked(acme, ROOT)).data["crawls"]} == {
        "configuration",
        "people",
    }


async def test_nobody_else_is_told(acme: Acme) -> None:  # noqa: F811
    reading = Asker(ROOT.account, scope=TokenScope(frozenset({"read"})))
    for asker, says in (
        (HANA, "for the administrator"),
        (Asker(ROOT.account, "software_agent:helper"), "for the administrator"),
        (reading, "its scope lacks 'administer'"),
    ):
        assert says in (await asked(acme, asker)).errors[0].message
        schema = build_schema(RevisionTokens(Fernet.generate_key()))
        events = await schema.subscribe(FOLLOW, context_value=context(acme, asker))
        async with aclosing(events) as told:
            event = await anext(told)
        assert event.data is None
        assert says in event.errors[0].message
