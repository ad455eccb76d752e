"""What an asker may not see is, in every read, as if it were not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import EMBEDDING_DIMENSIONS, Database
from graph.entity_view import CursorError, from_cursor
from graph.facts import fact_of
from graph.handling import Handling
from graph.reads import Asker, HandlingInput, HandlingRule, Reader, ReadOvertakenError, View
from graph.rebac.relation_tuples import type_of
from graph.store import FactStore
from graph.system_reads import set_embeddings
from graph.visibility import Authorizer, standing
from ontologies import load, load_authorization, load_shapes

ADA, EVE = Asker("account:acme/ada"), Asker("account:acme/eve")
NOW = datetime.now(UTC)


def policy(name: str) -> SourcePolicy:
    """May claim anything."""
    grants = frozenset(t for t, r in load().relationships.items() if r.access_bearing)
    return SourcePolicy(name, grants, frozenset({"collection:all", "collection:hr"}), 50, timedelta(hours=24))


CONFIGURATION, DIRECTORY = policy("configuration"), policy("directory")


def entity(id: str, collection: str = "collection:all", /, **values: Any) -> EntityClaim:
    class_name = load().class_of_type(type_of(id)).name
    bounds = {name: values.pop(name, None) for name in ("valid_from", "valid_to")}
    return EntityClaim(id, class_name, collection, {"name": id, **values}, "test", **bounds)


def relation(start: str, type: str, end: str, **bounds: datetime | None) -> RelationshipClaim:
    return RelationshipClaim(start, type, end, "test", **bounds)


@dataclass(frozen=True)
class Graph:
    """An organization in a store, and its reader. Each source has a single scope."""

    store: FactStore
    reader: Reader
    claims: dict[str, dict[str, Claim]] = field(default_factory=lambda: defaultdict(dict))

    async def write(self, *claims: Claim, source: SourcePolicy = CONFIGURATION) -> None:
        """Claims instead of, or beside, those that the source made before."""
        self.claims[source.name] |= {fact_of(claim): claim for claim in claims}
        await self._crawl(source)

    async def retract(self, *claims: Claim, source: SourcePolicy = CONFIGURATION) -> None:
        for claim in claims:
            del self.claims[source.name][fact_of(claim)]
        await self._crawl(source)

    async def _crawl(self, source: SourcePolicy) -> None:
        async with self.store.crawl(source, "all") as crawl:
            report = await crawl.write(self.claims[source.name].values())
            assert report.quarantined == ()
            await crawl.complete()

    async def age(self, source: SourcePolicy, by: timedelta) -> None:
        """As if the source had completed its crawl that long ago."""

        async def work(tx):
            await tx.run(
                "MATCH (s:_Source {name: $name}) SET s.completedAt = $at", name=source.name, at=NOW - by
            )

        await self.store.database.write_transaction(work)

    async def read(self, asker: Asker, work) -> Any:
        found, _ = await self.reader.run(asker, work)
        return found


ADA_IN_PAYROLL = relation("person:ada", "MEMBER_OF", "group:payroll")
EVE_IN_PAYROLL = relation("person:eve", "MEMBER_OF", "group:payroll")
PAY = entity("compensation:ada", "collection:hr", name="Pay of Ada", annualSalary=90_000)


def vector(*numbers: float) -> list[float]:
    return [*numbers, *([0.0] * (EMBEDDING_DIMENSIONS - len(numbers)))]


@pytest.fixture
async def graph(neo4j: Database) -> Graph:
    """Ada is in a group nested in the readers of `hr`; Eve may view `all` only, as Ada may."""
    authorizer = Authorizer(neo4j, load(), load_authorization(), [CONFIGURATION, DIRECTORY])
    graph = Graph(FactStore(neo4j, load_shapes(), load_authorization()), Reader(neo4j, load(), authorizer))
    people = [
        claim
        for key in ("ada", "eve")
        for claim in (
            entity(f"person:{key}", name=key.title()),
            entity(f"account:acme/{key}", "collection:hr", issuer="acme", subject=key),
            relation(f"person:{key}", "HAS_ACCOUNT", f"account:acme/{key}"),
            relation(f"person:{key}", "MEMBER_OF", "group:staff"),
        )
    ]
    await graph.write(
        entity("collection:all"),
        entity("collection:hr", "collection:hr"),
        *map(entity, ("group:staff", "group:people", "group:payroll")),
        *people,
        relation("group:payroll", "SUBGROUP_OF", "group:people"),
        relation("group:staff", "MAY_VIEW", "collection:all"),
        relation("group:people", "MAY_VIEW", "collection:hr"),
    )
    await graph.write(
        ADA_IN_PAYROLL,
        PAY,
        entity("document:news", name="News of Ada", description="salary"),
        relation("person:ada", "HAS_COMPENSATION", "compensation:ada"),
        source=DIRECTORY,
    )
    await set_embeddings(neo4j, {"compensation:ada": vector(1, 0.1), "document:news": vector(0.5, 1)})
    return graph


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
    await graph.retract(PAY, relation("person:ada", "HAS_COMPENSATION", "compensation:ada"), source=DIRECTORY)
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


async def test_an_account_that_the_graph_does_not_know_sees_nothing(graph: Graph) -> None:
    for account in ("account:acme/nobody", "account:acme/%s", "person:ada", ""):
        seen = await graph.read(Asker(account), everything)
        assert set(seen["counts"].values()) == {0}
        assert seen["entity"] is None
        assert seen["text"] == seen["embedding"] == ()


async def test_a_disabled_account_sees_nothing(graph: Graph) -> None:
    account = entity("account:acme/ada", "collection:hr", issuer="acme", subject="ada", disabled=True)
    await graph.write(account)
    assert await pay_seen(graph, ADA) is False
    assert set((await graph.read(ADA, View.class_counts)).values()) == {0}
    await graph.write(replace(account, values={**account.values, "disabled": False}))
    assert await pay_seen(graph, ADA) is True


async def pay_seen(graph: Graph, asker: Asker) -> bool:
    counts = await graph.read(asker, View.class_counts)
    return counts["Compensation"] == 1


async def audiences(graph: Graph) -> list[tuple[str, int]]:
    records = await graph.store.database.read(
        "MATCH (n:Entity) RETURN n.id AS id, n.audience AS a ORDER BY id"
    )
    return [(record["id"], record["a"]) for record in records]


async def test_a_change_of_membership_counts_at_once_and_touches_no_node(graph: Graph) -> None:
    before = await audiences(graph)
    assert not await pay_seen(graph, EVE)
    await graph.write(EVE_IN_PAYROLL)
    assert await pay_seen(graph, EVE)
    await graph.retract(EVE_IN_PAYROLL)
    assert not await pay_seen(graph, EVE)
    assert await audiences(graph) == before


async def test_an_entity_that_moves_is_seen_by_who_views_its_new_place_only(graph: Graph) -> None:
    assert await graph.read(EVE, lambda view: view.entity("document:news")) is not None
    await graph.write(entity("document:news", "collection:hr", name="News"), source=DIRECTORY)
    assert await graph.read(EVE, lambda view: view.entity("document:news")) is None
    assert await graph.read(ADA, lambda view: view.entity("document:news")) is not None


async def test_a_new_collection_is_seen_by_its_viewers_at_once(graph: Graph) -> None:
    """Also where a reader that has cached the visible set meets the new number."""
    assert not await pay_seen(graph, EVE)
    own = replace(CONFIGURATION, collections=CONFIGURATION.collections | {"collection:new"})
    await graph.write(
        entity("collection:new", "collection:new"),
        entity("compensation:eve", "collection:new"),
        relation("person:eve", "MAY_VIEW", "collection:new"),
        source=own,
    )
    assert await pay_seen(graph, EVE)


async def test_a_collection_inherits_viewers(graph: Graph) -> None:
    await graph.write(relation("collection:hr", "INHERITS_FROM", "collection:all"))
    assert await pay_seen(graph, EVE)


async def test_a_denial_wins(graph: Graph) -> None:
    await graph.write(relation("person:ada", "DENIED", "collection:hr"))
    assert not await pay_seen(graph, ADA)


async def test_grants_of_a_source_past_its_age_are_suspended(graph: Graph) -> None:
    assert await pay_seen(graph, ADA)
    await graph.age(DIRECTORY, timedelta(hours=25))
    assert not await pay_seen(graph, ADA)
    await graph.age(DIRECTORY, timedelta(hours=23))
    assert await pay_seen(graph, ADA)
    await graph.age(DIRECTORY, timedelta(hours=25))
    await graph.write(ADA_IN_PAYROLL)
    assert await pay_seen(graph, ADA)


async def test_the_configuration_never_ages(graph: Graph) -> None:
    await graph.age(CONFIGURATION, timedelta(days=1_000))
    assert await pay_seen(graph, ADA)


async def test_a_source_that_never_completed_a_crawl_grants_nothing(graph: Graph) -> None:
    async with graph.store.crawl(DIRECTORY, "another scope") as crawl:
        await crawl.write([EVE_IN_PAYROLL])
    assert not await pay_seen(graph, EVE)
    async with graph.store.crawl(DIRECTORY, "another scope") as crawl:
        await crawl.write([EVE_IN_PAYROLL])
        await crawl.complete()
    assert await pay_seen(graph, EVE)


async def test_a_source_without_a_policy_grants_nothing(graph: Graph) -> None:
    unknown = policy("unknown")
    async with graph.store.crawl(unknown, "all") as crawl:
        await crawl.write([EVE_IN_PAYROLL])
        await crawl.complete()
    assert not await pay_seen(graph, EVE)


async def test_a_stale_source_lifts_no_denial(graph: Graph) -> None:
    await graph.write(
        relation("person:ada", "MAY_VIEW", "collection:hr"),
        relation("group:payroll", "DENIED", "collection:hr"),
    )
    await graph.age(DIRECTORY, timedelta(hours=25))
    assert not await pay_seen(graph, ADA)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("begin", "end", "seen"),
    [(NOW + HOUR, None, False), (None, NOW - HOUR, False), (NOW - HOUR, NOW + HOUR, True)],
)
async def test_grants_hold_within_their_interval_only(
    graph: Graph, begin: datetime | None, end: datetime | None, seen: bool
) -> None:
    await graph.write(replace(ADA_IN_PAYROLL, valid_from=begin, valid_to=end), source=DIRECTORY)
    assert await pay_seen(graph, ADA) is seen


async def test_a_grant_that_has_ended_does_not_begin_again_with_a_clock_that_goes_back(graph: Graph) -> None:
    await graph.write(replace(ADA_IN_PAYROLL, valid_to=NOW + HOUR), source=DIRECTORY)

    async def audiences(now: datetime) -> int:
        async def work(tx):
            at = await standing(tx, ADA.account, now)
            return await graph.reader._authorizer.visible(ADA.account, at, now)

        return sum(await graph.store.database.read_transaction(work))

    before, after, back = [await audiences(NOW + HOUR * hours) for hours in (0, 2, 0)]
    assert before > after == back


async def test_only_what_holds_now_is_read(graph: Graph) -> None:
    await graph.write(
        entity("document:past", name="salary of old", valid_to=NOW - HOUR),
        entity("document:future", name="salary to come", valid_from=NOW + HOUR),
        entity("document:now", name="salary", valid_from=NOW - HOUR, valid_to=NOW + HOUR),
        relation("person:ada", "OWNS", "document:now", valid_to=NOW - HOUR),
    )

    async def work(view: View):
        page = await view.entities("Document", 10)
        hits = await view.full_text("salary")
        return {e.id for e in page.items}, {e.id for e in hits}, await view.neighbours(["document:now"], 10)

    listed, hits, beside = await graph.read(EVE, work)
    assert listed == hits == {"document:news", "document:now"}
    assert [n.type for n in beside["document:now"]] == ["IN_COLLECTION"]


async def test_pages_follow_each_other_by_name_and_id(graph: Graph) -> None:
    await graph.write(
        *(entity(f"document:{n}", name=f"Plan {n // 2}") for n in range(5)),
        *(entity(f"document:hidden{n}", "collection:hr", name=f"Plan {n}") for n in range(5)),
    )

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
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError, match="end cursor"):
        from_cursor(cursor)


async def test_a_limit_on_neighbours_counts_visible_ones_only(graph: Graph) -> None:
    await graph.write(
        *(entity(f"document:a{n}", "collection:hr", name=f"A {n}") for n in range(3)),
        *(entity(f"document:z{n}", name=f"Z {n}") for n in range(3)),
        *(relation("person:eve", "OWNS", f"document:{kind}{n}") for n in range(3) for kind in "az"),
    )

    async def work(view: View):
        return await view.neighbours(["person:eve", "person:nobody"], 4)

    found = await graph.read(EVE, work)
    assert [n.entity.id for n in found["person:eve"] if n.type == "OWNS"][:2] == [
        "document:z0",
        "document:z1",
    ]
    assert len(found["person:eve"]) == 4
    assert found["person:nobody"] == ()


OPERATORS = (
    "*:*",
    "name:*",
    "sal*",
    "salery~",
    "[a TO z]",
    "/.*/",
    "\\",
    '\\"',
    "!",
    "the of and",
    "",
    "ü" * 50_000,
    " ".join(map(str, range(2_000))),
)


async def test_lucene_syntax_is_data(graph: Graph) -> None:
    for text in OPERATORS:
        assert await graph.read(EVE, lambda view, text=text: view.full_text(text)) == (), text
    for text in ("news AND NOT salary AND nothing", '"salary', "salary) OR (*:*", "+missing -salary"):
        hits = await graph.read(EVE, lambda view, text=text: view.full_text(text))
        assert [entity.id for entity in hits] == ["document:news"], text


async def test_words_are_found_as_written_and_in_parts(graph: Graph) -> None:
    await graph.write(entity("document:mail", description="Write to first.last@example.org, ask for plan-B"))
    for text in ("first.last@example.org?", "(plan-B)", "plan", "EXAMPLE.ORG", "who writes?"):
        hits = await graph.read(EVE, lambda view, text=text: view.full_text(text))
        assert [entity.id for entity in hits] == ["document:mail"], text


async def test_invisible_rows_take_no_place_among_the_nearest(graph: Graph) -> None:
    hidden = {f"document:h{number}": vector(1, number / 1000) for number in range(30)}
    await graph.write(*(entity(id, "collection:hr") for id in hidden))
    await set_embeddings(graph.store.database, hidden)
    found = await graph.read(EVE, lambda view: view.by_embedding(vector(1), 1))
    assert [entity.id for entity, _ in found] == ["document:news"]


async def test_a_read_that_access_overtakes_is_repeated(graph: Graph) -> None:
    attempts = []

    async def work(view: View):
        found = await view.entity("compensation:ada")
        attempts.append(found)
        if len(attempts) == 1:
            await graph.retract(ADA_IN_PAYROLL, source=DIRECTORY)
        return found

    assert await graph.read(ADA, work) is None
    assert len(attempts) == 2
    assert attempts[0] is not None


async def test_a_read_that_is_overtaken_every_time_ends_with_an_error(graph: Graph) -> None:
    async def work(view: View):
        if EVE_IN_PAYROLL in graph.claims["configuration"].values():
            await graph.retract(EVE_IN_PAYROLL)
        else:
            await graph.write(EVE_IN_PAYROLL)

    with pytest.raises(ReadOvertakenError, match="try again"):
        await graph.reader.run(ADA, work)


async def test_a_read_tells_its_revision(graph: Graph) -> None:
    _, first = await graph.reader.run(ADA, View.class_counts)
    await graph.write(EVE_IN_PAYROLL)
    _, second = await graph.reader.run(ADA, View.class_counts)
    assert second == first + 1


async def test_handling_binds_where_the_rule_is_hidden(graph: Graph) -> None:
    await graph.write(
        entity("classification:health", "collection:hr"),
        entity("classification:internal", "collection:hr"),
        entity("handling_rule:r1", "collection:hr", jurisdiction=("US", "CA"), clearance=2),
        entity("handling_rule:r2", "collection:hr", residency=("us-east",), certification=("HIPAA",)),
        relation("handling_rule:r1", "GOVERNS", "classification:health"),
        *map(entity, ("dataset:claims", "table:claims", "column:diagnosis")),
        entity("passage:news-1", text="x", position=1),
        relation("dataset:claims", "HAS_TABLE", "table:claims"),
        relation("table:claims", "HAS_COLUMN", "column:diagnosis"),
        relation("document:news", "HAS_PASSAGE", "passage:news-1"),
        relation("table:claims", "CLASSIFIED_AS", "classification:health"),
        relation("document:news", "CLASSIFIED_AS", "classification:internal"),
        source=DIRECTORY,
    )

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
