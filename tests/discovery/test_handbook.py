"""A whole company by deploy/handbook: its people, teams, pages, and who may read which."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from discovery.configuration import all_sources
from discovery.runner import Runner
from discovery.sources import load_organization
from graph.store import FactStore
from ontologies.loader import load, load_authorization, load_shapes

pytestmark = pytest.mark.shared_data

SOURCES = Path(__file__).parents[2] / "deploy" / "handbook" / "sources.toml"


@pytest.fixture
def handbook(shared_data, monkeypatch):
    monkeypatch.setenv("ORGRAPH_SHARED_DATA", str(shared_data))
    return load_organization(SOURCES)


@pytest.fixture
def team(shared_data):
    return yaml.safe_load((shared_data / "handbook" / "data" / "team.yml").read_text(encoding="utf-8"))


def test_everyone_is_one_person_whatever_number_of_roles_they_have(crawl_source, handbook, team):
    said = crawl_source(handbook, handbook.source_named("people"))
    assert said.problems == []
    people = said.of("Person")
    assert Counter(p.values["name"] for p in people) == Counter({e["name"] for e in team.values()})
    assert len(people) == 167
    assert said.entities["person:quinn_slack"].values["jobTitle"] == "CEO, co-founder, Board of Directors"
    assert said.typed("HAS_ACCOUNT") == {(p.id, p.id.replace("person:", "account:handbook/")) for p in people}


def test_everyone_but_the_first_reports_to_who_holds_the_managers_role(crawl_source, handbook):
    said = crawl_source(handbook, handbook.source_named("people"))
    reports = said.typed("REPORTS_TO")
    assert len(reports) == 166
    assert Counter(start for start, _ in reports).most_common(1)[0][1] == 1
    assert ("person:keegan_carruthers-smith", "person:matt_manela") in reports
    assert ("person:craig_furman", "person:nelson_araujo") in reports
    assert not [end for start, end in reports if start == "person:quinn_slack"]


def test_teams_are_led_by_persons_and_say_in_which_role(crawl_source, handbook):
    said = crawl_source(handbook, handbook.source_named("teams"))
    assert said.problems == []
    assert len(said.of("OrganizationalUnit")) == 10
    assert {start for start, end in said.typed("LEADS") if end == "organizational_unit:ship-release"} == {
        "person:nelson_araujo",
        "person:jacob_pleiness",
    }
    assert said.entities["organizational_unit:ship-release"].values == {
        "name": "Releases team",
        "description": "Engineering manager: Nelson Araujo. Tech lead: Jacob Pleiness.",
    }


def test_pages_are_documents_and_a_departments_pages_are_its_own(crawl_source, handbook, shared_data):
    said = crawl_source(handbook, handbook.source_named("pages"))
    assert said.problems == []
    pages = list((shared_data / "handbook" / "content").rglob("*.md"))
    documents = said.of("Document")
    assert len(documents) == len(pages) == 883
    restricted = ("finance", "people-talent", "sales", "legal")
    for claim in [*documents, *said.of("Passage")]:
        path = claim.id.partition(":pages/")[2]
        department = next(
            (name for name in restricted if path.startswith(f"departments/{name}/")), "handbook"
        )
        assert claim.collection == f"collection:{department}"
    assert {d.collection.partition(":")[2] for d in documents} == {"handbook", *restricted}
    assert all(p.values["text"].strip() for p in said.of("Passage"))


def test_every_value_is_one_that_the_ontology_has(crawl_source, handbook):
    ontology = load()
    for source in all_sources(handbook):
        for claim in crawl_source(handbook, source).entities.values():
            assert claim.class_name in ontology.classes
            assert claim.values.keys() <= ontology.values.keys()


async def test_people_groups_and_teams_stand_in_the_graph(neo4j, handbook):
    runner = Runner(handbook, FactStore(neo4j, load_shapes(), load_authorization()), neo4j)
    sources = [source for source in all_sources(handbook) if source.name != "pages"]
    reports = await runner.run_all(sources)
    assert [(r.source, r.outcome, r.violations) for r in reports] == [
        (s.name, "complete", ()) for s in sources
    ]
    [counted] = await neo4j.read(
        """RETURN COUNT {(:Person)} AS people, COUNT {(:OrganizationalUnit)} AS teams,
                  COUNT {(:Person)-[:MEMBER_OF]->(:Group {id: 'group:everyone'})} AS everyone,
                  COUNT {(:Person)-[:LEADS]->(:OrganizationalUnit)} AS leads"""
    )
    assert counted.data() == {"people": 167, "teams": 10, "everyone": 167, "leads": 14}
    readers = await neo4j.read(
        """MATCH (p:Person)-[:MEMBER_OF]->(:Group)-[:MAY_VIEW]->(:Collection {id: 'collection:legal'})
           RETURN p.name AS name ORDER BY name"""
    )
    assert [record["name"] for record in readers] == ["Dan Adler", "Samantha (Sam) Mandell"]
