"""The quoting process is whole, and names what the directory and the database have."""

import sqlite3
from contextlib import closing
from xml.etree import ElementTree as ET

import pytest

MODEL = "{http://www.omg.org/spec/BPMN/20100524/MODEL}"
REFERENCES = ("sourceRef", "targetRef", "processRef", "messageRef", "attachedToRef", "default")
TEXTS = "flowNodeRef incoming outgoing sourceRef targetRef dataInputRefs dataOutputRefs".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def model(sample):
    return ET.parse(sample / "processes" / "quoting.bpmn").getroot()  # noqa: S314  our own file


def test_every_reference_is_to_an_element_of_the_model(model):
    ids = [element.get("id") for element in model.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    named = {element.get(name) for element in model.iter() for name in REFERENCES if element.get(name)}
    written = {element.text for kind in TEXTS for element in model.iter(MODEL + kind)}
    assert named | written <= set(ids)


def test_every_step_stands_in_one_lane_and_every_flow_is_told_at_both_ends(model):
    placed = [reference.text for reference in model.iter(MODEL + "flowNodeRef")]
    flows = list(model.iter(MODEL + "sequenceFlow"))
    assert len(placed) == len(set(placed))
    assert {end for flow in flows for end in (flow.get("sourceRef"), flow.get("targetRef"))} == set(placed)
    steps = {step.get("id"): step for step in model.iter() if step.get("id") in placed}
    for flow in flows:
        for end, side in (("sourceRef", "outgoing"), ("targetRef", "incoming")):
            told = [element.text for element in steps[flow.get(end)].findall(MODEL + side)]
            assert flow.get("id") in told


def test_lanes_are_titles_or_teams_of_the_directory(model, having):
    titles = {person["title"][0] for person in having("inetOrgPerson")}
    teams = {unit["ou"][0] for unit in having("organizationalUnit")}
    lanes = [lane.get("name") for lane in model.iter(MODEL + "lane")]
    assert lanes == ["Broker", "Underwriting Liaison", "Compliance"]
    assert set(lanes) <= titles | teams


def test_data_stores_are_tables_of_the_database(model, sample, crawl):
    with closing(sqlite3.connect(f"file:{sample / 'benefits.sqlite'}?mode=ro", uri=True)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    stores = {store.get("name") for store in model.iter(MODEL + "dataStoreReference")}
    assert stores <= tables
    used = {r.end for r in crawl.relationships if r.type == "USES_DATA"}
    assert used == {f"table:benefits/{store}" for store in stores}
