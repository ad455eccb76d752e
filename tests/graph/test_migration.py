"""A migration makes of the facts what a fresh crawl under the new version would, wherever it is cut off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from neo4j import AsyncManagedTransaction

from discovery.configuration import all_sources
from discovery.runner import Runner
from discovery.sources import OrganizationConfig, load_organization
from graph.claims import EntityClaim
from graph.database import Database
from graph.facts import Stated
from graph.feed import changes, current_revision
from graph.migration import MigrationError, migrate
from graph.ontology_fit import problems
from graph.ontology_versions import OntologyVersionError, check_versions, written_under
from graph.past import When
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from ontologies.migrations import chain, migrations
from tests.ontologies import hospital_versions

MODULE = "https://hospital.example/ontology"


class KilledError(Exception):
    """In place of a kill: right after a commit."""


@dataclass(frozen=True)
class Killed(Database):
    """Killed after so many commits."""

    left: Iterator[int] = field(default_factory=lambda: iter(()))

    async def write_transaction(self, work: Callable[[AsyncManagedTransaction], Awaitable[Any]]) -> Any:
        result = await super().write_transaction(work)
        if next(self.left, None) is None:
            raise KilledError
        return result


@dataclass(frozen=True)
class Hospital:
    """An organization with one version of its module."""

    database: Database
    organization: OrganizationConfig

    @classmethod
    def of(cls, database: Database, sources: Path) -> Hospital:
        return cls(database, load_organization(sources))

    @property
    def added(self) -> tuple[Path, ...]:
        return self.organization.ontology_files()

    async def crawl(self) -> None:
        store = FactStore(self.database, load_shapes(self.added), load_authorization(self.added))
        runner = Runner(self.organization, store, self.database)
        for source in all_sources(self.organization):
            report = await runner.run(source)
            assert report.outcome == "complete", report

    async def migrate(self, database: Database | None = None) -> None:
        ontology = load(self.added)
        [module] = [one for one in ontology.modules if one.iri == MODULE]
        version = (await written_under(self.database))[MODULE]
        steps = chain(migrations(self.added), module, version, ontology)
        await migrate(database or self.database, ontology, steps, lambda _: None)

    def reader(self) -> Reader:
        ontology, model = load(self.added), load_authorization(self.added)
        policies = [source.policy() for source in all_sources(self.organization)]
        return Reader(self.database, ontology, Authorizer(self.database, ontology, model, policies))

    async def said(self, login: str, id: str, when: When) -> tuple[Stated, ...]:
        """What each source said of an entity, as somebody is told."""
        asker = Asker(f"account:hospital/{login}")
        found, _ = await self.reader().run(asker, lambda view: view.claims([id]), when)
        return found[id]

    async def seen(self, login: str, when: When | None = None) -> dict[str, dict[str, Any]]:
        """What somebody sees of wards and beds, with its values."""
        page, _ = await self.reader().run(
            Asker(f"account:hospital/{login}"), lambda view: view.entities("Entity", 50), when or When()
        )
        return {
            one.id: dict(one.values) for one in page.items if one.class_name in ("Ward", "CareUnit", "Bed")
        }


@pytest.fixture
async def older(neo4j: Database, tmp_path: Path) -> Hospital:
    """Crawled under 2.1.0; the ward of the heart was called otherwise first."""
    sources = hospital_versions.before(tmp_path / "before")
    made = Hospital.of(neo4j, sources)
    await check_versions(neo4j, load(made.added))
    yaml = sources.parent / "wards.yaml"
    text = yaml.read_text(encoding="utf-8")
    yaml.write_text(text.replace("name: Cardiology", "name: Hearts"), encoding="utf-8")
    await made.crawl()
    yaml.write_text(text, encoding="utf-8")
    await made.crawl()
    return made


@pytest.fixture
def newer(older: Hospital, tmp_path: Path) -> Hospital:
    return Hospital.of(older.database, hospital_versions.after(tmp_path / "after"))


async def live(database: Database) -> list[str]:
    """All that stands, but for what tells of when and where it was written."""
    records = await database.read(
        """
        MATCH (n:Entity)
        WITH n {.*, embedding: null, since: null, pages: null, audience: null} AS row, labels(n) AS labels
        RETURN [row.id] AS about, row, [label IN labels | label] AS labels
        UNION ALL
        MATCH (a:Entity)-[r]->(b:Entity)
        RETURN [a.id, type(r), b.id] AS about, r {.*, since: null, pages: null} AS row, [] AS labels
        UNION ALL
        MATCH (a:_Aside)
        RETURN [a.fact, a.status] AS about, a {.*, since: null, pages: null, until: null, heldAudience: null}
               AS row, [] AS labels
        """
    )
    return sorted(
        f"{record['about']} {sorted(record['labels'])} {sorted(record['row'].items(), key=str)}"
        for record in records
    )


async def wipe(database: Database) -> None:
    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (n) DETACH DELETE n")

    await database.write_transaction(work)
    await database.ensure_schema()


async def test_the_migrated_graph_is_what_a_fresh_crawl_would_make(newer: Hospital) -> None:
    await newer.migrate()
    migrated = await live(newer.database)
    assert await problems(newer.database, load_shapes(newer.added)) == []
    assert (await written_under(newer.database))[MODULE] == "3.0.0"
    revision = await current_revision(newer.database)
    await newer.crawl()
    assert await current_revision(newer.database) == revision, "the crawl found all as it was"
    await wipe(newer.database)
    await newer.crawl()
    assert migrated == await live(newer.database)


async def test_access_is_as_it_was(newer: Hospital) -> None:
    await newer.migrate()
    assert set(await newer.seen("matron")) == {
        *("care_unit:cardiology", "care_unit:oncology"),
        *("bed:c1", "bed:c2", "bed:c3"),
    }
    assert set(await newer.seen("nurse")) == {"care_unit:cardiology"}
    assert await newer.seen("porter") == {}


async def test_cut_off_again_and_again_it_ends_the_same(newer: Hospital) -> None:
    killed = 0
    while (await written_under(newer.database))[MODULE] != "3.0.0":
        database = newer.database
        with suppress(KilledError):
            await newer.migrate(Killed(database.driver, database.name, left=iter(range(killed))))
            break
        killed += 1
    assert killed > 6, "at least once in each step"
    cut_off = await live(newer.database)
    assert await problems(newer.database, load_shapes(newer.added)) == []
    revision = await current_revision(newer.database)
    await newer.crawl()
    assert await current_revision(newer.database) == revision
    await wipe(newer.database)
    await newer.crawl()
    assert cut_off == await live(newer.database)


async def test_what_waits_aside_goes_with_its_class(newer: Hospital, tmp_path: Path) -> None:
    """The bed whose ward no source tells of waits for it; it goes with what it is from."""
    waiting = "MATCH (a:_Aside) WHERE a.start = 'bed:c3' RETURN a.type AS type"
    assert [record["type"] for record in await newer.database.read(waiting)] == ["STANDS_IN"]
    await newer.migrate()
    emptied = Hospital.of(newer.database, hospital_versions.emptied(tmp_path / "emptied"))
    await emptied.migrate()
    assert await newer.database.read("MATCH (a:_Aside) WHERE a.fact CONTAINS 'bed:' RETURN a.fact") == []
    assert await emptied.seen("matron") == {}
    revision = await current_revision(newer.database)
    await emptied.crawl()
    assert await current_revision(newer.database) == revision, "the crawl found all as it was"


async def test_the_past_is_read_under_todays_names(older: Hospital, newer: Hospital) -> None:
    hearts = When(2)
    found = (await older.seen("matron", hearts)).get("ward:cardiology")
    while found is None:
        hearts = When(int(str(hearts.as_of)) + 1)
        found = (await older.seen("matron", hearts)).get("ward:cardiology")
    assert found == {"name": "Hearts", "wardCode": "C01", "floor": "ground", "nickname": "Heart"}
    await newer.migrate()
    told = await newer.seen("matron", hearts)
    assert told["care_unit:cardiology"] == {"name": "Hearts", "unitCode": "C01", "level": 0}
    [said] = await newer.said("matron", "care_unit:cardiology", hearts)
    assert said.claim == EntityClaim(
        said.fact, "CareUnit", said.claim.collection, told["care_unit:cardiology"], said.claim.evidence
    )


async def test_followers_are_told_in_revisions(newer: Hospital) -> None:
    before = await current_revision(newer.database)
    await newer.migrate()
    told = [change for one in await changes(newer.database, before) for change in one.changes]
    went = {change.id for change in told if change.after is None}
    came = {change.id for change in told if change.before is None}
    assert {"ward:cardiology", "person:nurse ASSIGNED_TO care_unit:cardiology"} <= went
    assert {"care_unit:cardiology", "person:nurse WORKS_AT care_unit:cardiology"} <= came
    assert "ward:oncology ADJACENT_TO ward:cardiology" not in came


async def test_another_version_than_that_of_the_facts_is_refused(older: Hospital, newer: Hospital) -> None:
    await check_versions(older.database, load(older.added))
    with pytest.raises(OntologyVersionError, match=r"ontology 2\.1\.0 \(this is 3\.0\.0\).*ontology migrate"):
        await check_versions(newer.database, load(newer.added))
    with pytest.raises(OntologyVersionError, match=r"2\.1\.0 \(it is not there\)"):
        await check_versions(newer.database, load())
    await newer.migrate()
    await check_versions(newer.database, load(newer.added))
    with pytest.raises(OntologyVersionError, match=r"3\.0\.0 \(this is 2\.1\.0\)"):
        await check_versions(older.database, load(older.added))


async def test_values_that_a_migration_leaves_out_are_named(newer: Hospital, tmp_path: Path) -> None:
    steps = hospital_versions.MIGRATION.replace('drop_value = "nickname"', 'drop_value = "moniker"')
    forgetful = Hospital.of(newer.database, hospital_versions.after(tmp_path / "forgetful", steps))
    with pytest.raises(MigrationError, match="nickname is not of the ontology: add a step for it"):
        await forgetful.migrate()


async def test_relationships_that_a_migration_leaves_out_are_named(newer: Hospital, tmp_path: Path) -> None:
    steps = hospital_versions.MIGRATION.replace('"ADJACENT_TO"', '"NEXT_TO"')
    forgetful = Hospital.of(newer.database, hospital_versions.after(tmp_path / "forgetful", steps))
    await forgetful.migrate()
    assert await problems(forgetful.database, load_shapes(forgetful.added)) == [
        "care_unit:cardiology ADJACENT_TO care_unit:oncology: ADJACENT_TO is not of the ontology: "
        "add a step for it"
    ]


async def test_what_the_new_shapes_refuse_is_named(newer: Hospital, tmp_path: Path) -> None:
    steps = hospital_versions.MIGRATION.replace("first = 1", 'first = "one"')
    wrong = Hospital.of(newer.database, hospital_versions.after(tmp_path / "wrong", steps))
    await wrong.migrate()
    [found] = await problems(wrong.database, load_shapes(wrong.added))
    assert found.startswith("care_unit:oncology: level = 'one'")


async def test_a_claim_whose_fact_is_lost_is_named(newer: Hospital) -> None:
    async def lose(tx: AsyncManagedTransaction) -> None:
        await tx.run("MATCH (n:Ward {id: 'ward:oncology'}) DETACH DELETE n")

    await newer.database.write_transaction(lose)
    with pytest.raises(MigrationError, match="ward:oncology is claimed and stands nowhere"):
        await newer.migrate()
