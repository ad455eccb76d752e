"""The sources load, are read without a problem, fit together, and give each person what the questions say."""

import tomllib
from pathlib import Path

import pytest

from graph.gate import refusal
from graph.handling import Handling, meet_all
from ontologies import load_shapes
from ontologies.shapes import EntityState

QUESTIONS = tomllib.loads(
    (Path(__file__).resolve().parents[2] / "deploy" / "sample" / "questions.toml").read_text(encoding="utf-8")
)["question"]


def test_every_source_is_read_without_a_problem(crawl):
    assert not crawl.problems
    assert {source.connector for source in crawl.organization.source} == {
        "ldif", "sql", "bpmn", "documents", "codeowners", "mapping"
    }  # fmt: skip


def test_every_relationship_has_both_ends(crawl):
    ends = {end for r in crawl.relationships for end in (r.start, r.end)}
    assert ends <= set(crawl.entities)


def test_the_gate_refuses_nothing(crawl):
    shapes = load_shapes()
    assert not [refused for policy, claim in crawl.claims if (refused := refusal(shapes, policy, claim))]
    starting: dict[str, dict[str, tuple[str, ...]]] = {}
    for r in crawl.relationships:
        types = starting.setdefault(r.start, {})
        types[r.type] = (*types.get(r.type, ()), r.end)
    states = [
        EntityState(id_, entity.class_name, entity.values, starting.get(id_, {}))
        for id_, entity in crawl.entities.items()
    ]
    assert not shapes.check(states, {id_: entity.class_name for id_, entity in crawl.entities.items()})


def test_only_the_directory_may_grant(crawl):
    granting = {source.name: set(source.grants) for source in crawl.organization.source if source.grants}
    assert granting == {"directory": {"HAS_ACCOUNT", "MEMBER_OF", "SUBGROUP_OF"}}


def test_readers_and_administrator_are_in_the_directory(crawl):
    named = {reader for c in crawl.organization.collection for reader in c.readers}
    assert named | {crawl.organization.administrator} <= set(crawl.entities)


def test_code_is_owned_by_groups_and_people_of_the_directory(crawl):
    owners = {r.start for r in crawl.relationships if r.type == "OWNS" and r.end.startswith("code_path:")}
    assert {"group:engineering", "group:compliance", "group:data", "person:rosa.jimenez"} <= owners
    assert owners <= set(crawl.entities)


def test_what_fewer_may_see_lies_apart(crawl):
    apart = {e.class_name for e in crawl.entities.values() if e.collection == "collection:hr-private"}
    assert apart == {"Collection", "ContactDetails", "Compensation", "Policy", "Passage"}
    hr = {"patricia.lund", "kwame.asante", "noemi.vidal", "graham.tully"}
    people = {id_ for id_ in crawl.entities if id_.startswith("person:")}
    readers = {p for p in people if "collection:hr-private" in crawl.collections(p)}
    assert readers == {f"person:{uid}" for uid in hr}


def test_one_node_is_declared_for_each_kind_of_work(crawl):
    nodes = [e.values for e in crawl.entities.values() if e.class_name == "MeshNode"]
    names = {node["name"] for node in nodes}
    assert names == {"boston-cpu", "frankfurt-gpu", "oregon-gpu", "montreal-cpu"}
    phi, eu = _stated(crawl, "privacy-policy.md"), _stated(crawl, "data-location-policy.md")
    pay = crawl.organization.source_named("compensation").handling.handling()
    asked = crawl.organization.asker_handling.handling()
    assert _permitted(nodes, phi, asked) == {"boston-cpu"}
    assert _permitted(nodes, pay, asked) == {"boston-cpu"}
    assert _permitted(nodes, eu, asked) == {"frankfurt-gpu"}
    assert _permitted(nodes, asked) == {"boston-cpu", "oregon-gpu", "frankfurt-gpu"}
    assert not _permitted(nodes, phi, eu)


def test_questions_about_the_desk_of_the_union_may_be_processed_in_frankfurt_alone(crawl):
    """The directory's and the policies' facts may come along: they narrow it no further."""
    nodes = [e.values for e in crawl.entities.values() if e.class_name == "MeshNode"]
    sources = ("directory", "policies", "processes", "plans", "eu-documents")
    declared = [crawl.organization.source_named(name).handling.handling() for name in sources]
    assert _permitted(nodes, crawl.organization.asker_handling.handling(), *declared) == {"frankfurt-gpu"}


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda q: f"{q['asker']}: {q['question']}")
def test_what_answers_a_question_is_visible_to_whom_it_should_be(crawl, asked):
    person = f"person:{asked['asker']}"
    assert person in crawl.entities
    seen = crawl.visible_text(person)
    if asked["outcome"] == "answered":
        assert asked["expected"] in seen
    elif asked["outcome"] == "refused":
        assert all(text in seen for text in asked["absent"]), "found, but not to be processed"
    else:
        assert asked["outcome"] in ("not_known", "withheld")
        assert not any(text in seen for text in asked["absent"])


def test_the_demonstration_asks_two_questions_as_two_people_each():
    demo: dict[str, list[tuple[str, str]]] = {}
    for asked in QUESTIONS:
        if asked.get("demo"):
            demo.setdefault(asked["question"], []).append((asked["asker"], asked["outcome"]))
    assert len(demo) == 2
    for asks in demo.values():
        assert len({asker for asker, _ in asks}) == 2
        assert [outcome for _, outcome in asks] == ["answered", "not_known"]


def _stated(crawl, policy):
    values = crawl.entities[f"handling_rule:policies/{policy}"].values
    return Handling(
        frozenset(values["jurisdiction"]),
        frozenset(values["residency"]),
        frozenset(values["certification"]),
        values["clearance"],
    )


def _permitted(nodes, *handlings):
    needed = meet_all(handlings)
    return {
        node["name"]
        for node in nodes
        if (needed.jurisdictions is None or node["jurisdiction"] in needed.jurisdictions)
        and (needed.residency is None or node["region"] in needed.residency)
        and needed.certifications <= set(node["certification"])
        and node["clearance"] >= needed.clearance
    }
