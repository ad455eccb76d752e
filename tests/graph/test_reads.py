"""What an asker may not see is, in every read, as if it were not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graph.audiences import assign
from graph.authorization import type_of
from graph.claims import SourcePolicy
from graph.database import EMBEDDING_DIMENSIONS, Database
from graph.entity_view import CursorError
from graph.handling import Handling
from graph.reads import Asker, HandlingInput, HandlingRule, Reader, ReadOvertakenError, View
from graph.visibility import Authorizer
from ontologies import load, load_authorization

ADA, EVE = Asker("account:acme/ada"), Asker("account:acme/eve")
DIRECTORY = SourcePolicy("directory", frozenset(), frozenset(), 50, timedelta(hours=24))
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Graph:
    """Writes live facts as the store leaves them, and reads them."""

    database: Database
    reader: Reader
    revision: list[int] = field(default_factory=lambda: [0])

    async def entity(self, id: str, collection: str | None = None, **values: Any) -> None:
        labels = load().labels(load().class_of_type(type_of(id)).name)
        embedding = values.pop("embedding", None)
        properties = {"name": id, "sources": ["directory"], "confidence": 1.0, "since": 1, **values}

        async def work(tx):
            await tx.run(
                "MERGE (n:Entity {id: $id}) SET n:$($labels), n += $properties",
                id=id,
                labels=list(labels),
                properties=properties,
            )
            if embedding:
                await tx.run(
                    "MATCH (n:Entity {id: $id}) CALL db.create.setNodeVectorProperty(n, 'embedding', $embedding)",
                    id=id,
                    embedding=embedding,
                )

        await self.database.write_transaction(work)
        if collection:
            await self.relate(id, "IN_COLLECTION", collection)
        else:
            await self._commit([id])

    async def relate(
        self, start: str, type: str, end: str, source: str = "configuration", **values: Any
    ) -> None:
        async def work(tx):
            await tx.run(
                "MATCH (a:Entity {id: $start}), (b:Entity {id: $end}) MERGE (a)-[r:$($type)]->(b) SET r += $properties",
                start=start,
                end=end,
                type=type,
                properties={"sources": [source], "confidence": 1.0, "since": 1, **values},
            )

        await self.database.write_transaction(work)
        await self._commit([start] if type == "IN_COLLECTION" else [])

    async def unrelate(self, start: str, type: str, end: str) -> None:
        async def work(tx):
            await tx.run(
                "MATCH (:Entity {id: $start})-[r:$($type)]->(:Entity {id: $end}) DELETE r",
                start=start,
                end=end,
                type=type,
            )

        await self.database.write_transaction(work)
        await self._commit([])

    async def completed(self, source: str, at: datetime) -> None:
        async def work(tx):
            await tx.run(
                "MERGE (s:_Source {name: $source, scope: 'all'}) SET s.completedAt = $at",
                source=source,
                at=at,
            )

        await self.database.write_transaction(work)

    async def _commit(self, ids: list[str]) -> None:
        async def work(tx):
            await tx.run(
                """MERGE (m:_Meta {one: true}) SET m.revision = coalesce(m.revision, 0) + 1,
                   m.accessRevision = coalesce(m.accessRevision, 0) + 1"""
            )
            for id, number in (await assign(tx, load(), load_authorization(), ids)).items():
                await tx.run("MATCH (n:Entity {id: $id}) SET n.audience = $number", id=id, number=number)

        await self.database.write_transaction(work)

    async def read(self, asker: Asker, work) -> Any:
        found, _ = await self.reader.run(asker, work)
        return found


def vector(*numbers: float) -> list[float]:
    return [*numbers, *([0.0] * (EMBEDDING_DIMENSIONS - len(numbers)))]


@pytest.fixture
async def graph(neo4j: Database) -> Graph:
    """Ada is in a group nested in the readers of `hr`; Eve may view `all` only, as Ada may."""
    authorizer = Authorizer(neo4j, load(), load_authorization(), [DIRECTORY])
    graph = Graph(neo4j, Reader(neo4j, load(), authorizer))
    await graph.entity("collection:all", name="Everyone")
    await graph.entity("collection:hr", name="People team")
    for group in ("staff", "people", "payroll"):
        await graph.entity(f"group:{group}", "collection:all", name=f"Group {group}")
    for person in ("ada", "eve"):
        await graph.entity(f"person:{person}", "collection:all", name=person.title())
        await graph.entity(f"account:acme/{person}", "collection:hr", issuer="acme", subject=person)
        await graph.relate(f"person:{person}", "HAS_ACCOUNT", f"account:acme/{person}")
        await graph.relate(f"person:{person}", "MEMBER_OF", "group:staff")
    await graph.relate("person:ada", "MEMBER_OF", "group:payroll", "directory")
    await graph.relate("group:payroll", "SUBGROUP_OF", "group:people")
    await graph.relate("group:staff", "MAY_VIEW", "collection:all")
    await graph.relate("group:people", "MAY_VIEW", "collection:hr")
    await graph.completed("directory", NOW)
    await graph.entity(
        "compensation:ada", "collection:hr", name="Pay of Ada", annualSalary=90_000, embedding=vector(1, 0.1)
    )
    await graph.entity(
        "document:news", "collection:all", name="News of Ada", description="salary", embedding=vector(0.5, 1)
    )
    await graph.relate("person:ada", "HAS_COMPENSATION", "compensation:ada", "directory")
    await graph.database.write_transaction(_await_indexes)
    return graph


async def _await_indexes(tx) -> None:
    # The full-text index is eventually... consistent only when asked to be; this waits for its population.
    await (await tx.run("CALL db.awaitIndexes(60)")).consume()


async def everything(view: View) -> Mapping[str, Any]:
    """All reads there are, about the hidden entity in particular."""
    return {
        "entity": await view.entity("compensation:ada"),
        "entities": await view.entities("Compensation", 10),
        "restricted": await view.entities("RestrictedValue", 10),
        "counts": await view.class_counts(),
        "neighbours": await view.neighbours(["person:ada", "compensation:ada"], 50),
        "text": await view.full_text("pay salary"),
        "embedding": await view.by_embedding(vector(1), 10),
    }


async def test_what_is_denied_looks_as_if_it_were_absent(graph: Graph) -> None:
    as_denied = await graph.read(EVE, everything)
    assert "compensation:ada" not in repr(as_denied).replace("'compensation:ada': ()", "")
    assert as_denied["counts"]["Compensation"] == as_denied["counts"]["Account"] == 0
    assert as_denied["counts"]["Collection"] == 1

    async def remove(tx):
        await tx.run("MATCH (n:Entity) WHERE n.id STARTS WITH 'compensation:' DETACH DELETE n")

    await graph.database.write_transaction(remove)
    assert await graph.read(EVE, everything) == as_denied


async def test_who_may_see_it_gets_it_in_every_read(graph: Graph) -> None:
    seen = await graph.read(ADA, everything)
    assert seen["entity"].values == {"name": "Pay of Ada", "annualSalary": 90_000}
    assert seen["entity"].collection == "collection:hr"
    assert seen["entity"].sources == ("directory",)
    assert [entity.id for entity in seen["entities"].items] == ["compensation:ada"]
    assert seen["entities"].total == seen["restricted"].total == 1
    assert seen["counts"]["Compensation"] == seen["counts"]["RestrictedValue"] == 1
    [pay] = [n for n in seen["neighbours"]["person:ada"] if n.type == "HAS_COMPENSATION"]
    assert (pay.outgoing, pay.entity, pay.sources) == (True, seen["entity"], ("directory",))
    assert {entity.id for entity in seen["text"]} == {"compensation:ada", "document:news"}
    assert [entity.id for entity, _ in seen["embedding"]] == ["compensation:ada", "document:news"]
    assert all(0 <= score <= 1 for _, score in seen["embedding"])


@pytest.mark.parametrize("account", ["account:acme/nobody", "account:acme/%s", "person:ada", ""])
async def test_an_account_that_the_graph_does_not_know_sees_nothing(graph: Graph, account: str) -> None:
    seen = await graph.read(Asker(account), everything)
    assert set(seen["counts"].values()) == {0}
    assert seen["entity"] is None
    assert seen["text"] == seen["embedding"] == ()


async def test_a_disabled_account_sees_nothing(graph: Graph) -> None:
    await graph.entity("account:acme/ada", "collection:hr", disabled=True)
    assert set((await graph.read(ADA, View.class_counts)).values()) == {0}
    await graph.entity("account:acme/ada", "collection:hr", disabled=False)
    assert (await graph.read(ADA, View.class_counts))["Compensation"] == 1


async def audiences(graph: Graph) -> list[tuple[str, int]]:
    records = await graph.database.read(
        "MATCH (n:Entity) RETURN n.id AS id, n.audience AS audience ORDER BY id"
    )
    return [(record["id"], record["audience"]) for record in records]


async def test_a_change_of_membership_counts_at_once_and_touches_no_node(graph: Graph) -> None:
    async def pay(view: View):
        return await view.entity("compensation:ada")

    assert await graph.read(EVE, pay) is None
    before = await audiences(graph)
    await graph.relate("person:eve", "MEMBER_OF", "group:payroll")
    assert await graph.read(EVE, pay) is not None
    await graph.unrelate("person:eve", "MEMBER_OF", "group:payroll")
    assert await graph.read(EVE, pay) is None
    assert await audiences(graph) == before


async def test_a_denial_wins(graph: Graph) -> None:
    await graph.relate("person:ada", "DENIED", "collection:hr")
    assert (await graph.read(ADA, View.class_counts))["Compensation"] == 0


async def test_grants_of_a_source_past_its_age_are_suspended(graph: Graph) -> None:
    await graph.completed("directory", NOW - timedelta(hours=25))
    assert (await graph.read(ADA, View.class_counts))["Compensation"] == 0
    await graph.relate("person:ada", "MEMBER_OF", "group:payroll", "configuration")
    assert (await graph.read(ADA, View.class_counts))["Compensation"] == 1


async def test_a_stale_source_lifts_no_denial(graph: Graph) -> None:
    await graph.relate("person:ada", "MAY_VIEW", "collection:hr")
    await graph.relate("group:payroll", "DENIED", "collection:hr")
    await graph.completed("directory", NOW - timedelta(hours=25))
    assert (await graph.read(ADA, View.class_counts))["Compensation"] == 0


async def test_grants_hold_within_their_interval_only(graph: Graph) -> None:
    for begin, end, seen in ((1, None, 0), (None, -1, 0), (-1, 1, 1)):
        await graph.relate(
            "person:ada",
            "MEMBER_OF",
            "group:payroll",
            "directory",
            validFrom=begin and NOW + timedelta(hours=begin),
            validTo=end and NOW + timedelta(hours=end),
        )
        assert (await graph.read(ADA, View.class_counts))["Compensation"] == seen


async def test_only_what_holds_now_is_read(graph: Graph) -> None:
    hour = timedelta(hours=1)
    await graph.entity("document:past", "collection:all", name="salary of old", validTo=NOW - hour)
    await graph.entity("document:future", "collection:all", name="salary to come", validFrom=NOW + hour)
    await graph.entity(
        "document:now", "collection:all", name="salary", validFrom=NOW - hour, validTo=NOW + hour
    )
    await graph.relate("person:ada", "OWNS", "document:now", "directory", validTo=NOW - hour)

    async def work(view: View):
        page = await view.entities("Document", 10)
        hits = await view.full_text("salary")
        return {e.id for e in page.items}, {e.id for e in hits}, await view.neighbours(["document:now"], 10)

    listed, hits, beside = await graph.read(EVE, work)
    assert listed == hits == {"document:news", "document:now"}
    assert [n.type for n in beside["document:now"]] == ["IN_COLLECTION"]


async def test_pages_follow_each_other_by_name_and_id(graph: Graph) -> None:
    for number in range(5):
        await graph.entity(f"document:{number}", "collection:all", name=f"Plan {number // 2}")
        await graph.entity(f"document:hidden{number}", "collection:hr", name=f"Plan {number}")

    async def pages(view: View):
        cursor, ids, totals = None, [], set()
        while True:
            page = await view.entities("Document", 2, cursor)
            ids += [entity.id for entity in page.items]
            totals.add(page.total)
            cursor = page.end_cursor
            if cursor is None:
                return ids, totals

    ids, totals = await graph.read(EVE, pages)
    assert ids == ["document:news", *(f"document:{number}" for number in range(5))]
    assert totals == {6}


@pytest.mark.parametrize("cursor", ["", "x", "bnVsbA==", "W10=", "ü", "W" * 100_000])
async def test_what_is_no_cursor_is_refused(graph: Graph, cursor: str) -> None:
    with pytest.raises(CursorError, match="end cursor"):
        await graph.reader.run(EVE, lambda view: view.entities("Document", 2, cursor))


async def test_a_limit_on_neighbours_counts_visible_ones_only(graph: Graph) -> None:
    for number in range(3):
        await graph.entity(f"document:a{number}", "collection:hr", name=f"A {number}")
        await graph.entity(f"document:z{number}", "collection:all", name=f"Z {number}")
        for name in (f"document:a{number}", f"document:z{number}"):
            await graph.relate("person:eve", "OWNS", name, "directory")

    async def work(view: View):
        return await view.neighbours(["person:eve", "person:nobody"], 4)

    found = await graph.read(EVE, work)
    assert [n.entity.id for n in found["person:eve"] if n.type == "OWNS"][:2] == [
        "document:z0",
        "document:z1",
    ]
    assert len(found["person:eve"]) == 4
    assert found["person:nobody"] == ()


@pytest.mark.parametrize(
    "text",
    [
        "*:*",
        "name:*",
        "sal*",
        "salery~",
        "news AND NOT salary AND nothing",
        '"salary',
        "salary) OR (*:*",
        "+missing -salary",
        "[a TO z]",
        "/.*/",
        "\\",
        '\\"',
        "!",
        "the of and",
        "",
        "ü" * 50_000,
        " ".join(map(str, range(2_000))),
    ],
)
async def test_lucene_syntax_is_data(graph: Graph, text: str) -> None:
    hits = await graph.read(EVE, lambda view: view.full_text(text))
    literal = {"news", "salary"} & set(
        text.replace('"', " ").replace(")", " ").replace("-", " ").lower().split()
    )
    assert {entity.id for entity in hits} == ({"document:news"} if literal else set())


async def test_words_are_found_as_written_and_in_parts(graph: Graph) -> None:
    await graph.entity(
        "document:mail", "collection:all", description="Write to first.last@example.org, ask for plan-B"
    )
    for text in ("first.last@example.org?", "(plan-B)", "plan", "EXAMPLE.ORG", "who writes?"):
        hits = await graph.read(EVE, lambda view, text=text: view.full_text(text))
        assert [entity.id for entity in hits] == ["document:mail"], text


async def test_invisible_rows_take_no_place_among_the_nearest(graph: Graph) -> None:
    for number in range(30):
        await graph.entity(f"document:h{number}", "collection:hr", embedding=vector(1, number / 1000))
    found = await graph.read(EVE, lambda view: view.by_embedding(vector(1), 1))
    assert [entity.id for entity, _ in found] == ["document:news"]


async def test_a_read_that_access_overtakes_is_repeated(graph: Graph) -> None:
    attempts = []

    async def work(view: View):
        found = await view.entity("compensation:ada")
        attempts.append(found)
        if len(attempts) == 1:
            await graph.unrelate("person:ada", "MEMBER_OF", "group:payroll")
        return found

    assert await graph.read(ADA, work) is None
    assert len(attempts) == 2
    assert attempts[0] is not None


async def test_a_read_that_is_overtaken_every_time_ends_with_an_error(graph: Graph) -> None:
    async def work(view: View):
        await graph.relate("person:eve", "MEMBER_OF", "group:staff")

    with pytest.raises(ReadOvertakenError, match="try again"):
        await graph.reader.run(ADA, work)


async def test_a_read_tells_its_revision(graph: Graph) -> None:
    _, first = await graph.reader.run(ADA, View.class_counts)
    await graph.relate("person:eve", "MEMBER_OF", "group:staff")
    _, second = await graph.reader.run(ADA, View.class_counts)
    assert second == first + 1


async def test_handling_binds_where_the_rule_is_hidden(graph: Graph) -> None:
    for name in ("health", "internal"):
        await graph.entity(f"classification:{name}", "collection:hr")
    await graph.entity("handling_rule:r1", "collection:hr", jurisdiction=["US", "CA"], clearance=2)
    await graph.entity("handling_rule:r2", "collection:hr", residency=["us-east"], certification=["HIPAA"])
    await graph.relate("handling_rule:r1", "GOVERNS", "classification:health")
    for id in ("dataset:claims", "table:claims", "column:diagnosis", "passage:news-1"):
        await graph.entity(id, "collection:all", text="x", position=1)
    await graph.relate("dataset:claims", "HAS_TABLE", "table:claims")
    await graph.relate("table:claims", "HAS_COLUMN", "column:diagnosis")
    await graph.relate("document:news", "HAS_PASSAGE", "passage:news-1")
    await graph.relate("table:claims", "CLASSIFIED_AS", "classification:health")
    await graph.relate("document:news", "CLASSIFIED_AS", "classification:internal")

    async def work(view: View):
        ids = ["column:diagnosis", "dataset:claims", "passage:news-1", "document:absent"]
        return await view.handling_inputs(ids), await view.handling_rules()

    inputs, rules = await graph.read(EVE, work)
    directory, health = frozenset({"directory"}), frozenset({"classification:health"})
    assert inputs == {
        "column:diagnosis": HandlingInput(directory, health),
        "dataset:claims": HandlingInput(directory, frozenset()),
        "passage:news-1": HandlingInput(directory, frozenset({"classification:internal"})),
    }
    assert rules == (
        HandlingRule(health, Handling(frozenset({"US", "CA"}), None, frozenset(), 2), "handling_rule:r1"),
        HandlingRule(
            frozenset(), Handling(None, frozenset({"us-east"}), frozenset({"HIPAA"})), "handling_rule:r2"
        ),
    )
