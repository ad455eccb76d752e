"""Processes: steps in their order, who does them, and what data they use."""

from collections import Counter

import pytest

from discovery.connector import SourceError
from discovery.xml_text import load_xml

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" targetNamespace="urn:x">
  <dataStore id="store" name="Quotes"/>
  <process id="quoting" name="Quoting">
    <documentation>How a quote is made.</documentation>
    <laneSet id="lanes"><lane id="broker" name="Broker">
      <flowNodeRef>begin</flowNodeRef><flowNodeRef>collect</flowNodeRef>
    </lane></laneSet>
    <startEvent id="begin" name="Asked for a quote"/>
    <userTask id="collect" name="Collect the census">
      <dataInputAssociation id="in">
        <sourceRef>census</sourceRef><targetRef>input</targetRef>
      </dataInputAssociation>
      <dataOutputAssociation id="out"><targetRef>quotes</targetRef></dataOutputAssociation>
      <ioSpecification><dataInput id="input"/></ioSpecification>
    </userTask>
    <exclusiveGateway id="enough" name="Enough?"/>
    <subProcess id="compare" name="Compare"><task id="read" name="Read the plans"/></subProcess>
    <boundaryEvent id="late" name="Too late" attachedToRef="compare"/>
    <endEvent id="end"/>
    <sequenceFlow id="f1" sourceRef="begin" targetRef="collect"/>
    <sequenceFlow id="f2" sourceRef="collect" targetRef="enough"/>
    <sequenceFlow id="f3" sourceRef="enough" targetRef="end"/>
    <dataObject id="censusData"/>
    <dataObjectReference id="census" name="Census" dataObjectRef="censusData"/>
    <dataStoreReference id="quotes" name="table:benefits/quotes" dataStoreRef="store"/>
  </process>
</definitions>
"""


def write(folder, text, name="quoting.bpmn"):
    (folder / name).write_text(text, encoding="utf-8")
    return {"path": name}


def test_a_model_becomes_a_process_with_its_steps(say, tmp_path):
    said = say(tmp_path, "bpmn", write(tmp_path, MODEL))
    assert said.problems == []
    process = "process:quoting/quoting"
    assert said.entities[process].values == {"name": "Quoting", "description": "How a quote is made."}
    assert said.entities["activity:quoting/collect"].values["taskType"] == "userTask"
    assert said.entities["process_event:quoting/begin"].values["eventType"] == "startEvent"
    assert said.entities["gateway:quoting/enough"].values["gatewayType"] == "exclusiveGateway"
    assert said.entities["activity:quoting/collect"].evidence == "quoting.bpmn element collect"
    assert len(said.typed("HAS_STEP")) == 7
    assert said.typed("FOLLOWED_BY") == {
        ("process_event:quoting/begin", "activity:quoting/collect"),
        ("activity:quoting/collect", "gateway:quoting/enough"),
        ("gateway:quoting/enough", "process_event:quoting/end"),
        ("activity:quoting/compare", "process_event:quoting/late"),
    }
    assert said.typed("IN_LANE") == {
        ("process_event:quoting/begin", "lane:quoting/broker"),
        ("activity:quoting/collect", "lane:quoting/broker"),
    }


def test_a_step_uses_data_objects_and_the_tables_that_a_store_names(say, tmp_path):
    said = say(tmp_path, "bpmn", write(tmp_path, MODEL))
    assert said.typed("USES_DATA") == {
        ("activity:quoting/collect", "data_object:quoting/censusData"),
        ("activity:quoting/collect", "table:benefits/quotes"),
    }
    assert said.entities["data_object:quoting/censusData"].values["name"] == "Census"


@pytest.mark.parametrize(
    ("before", "after", "element"),
    [
        ('targetRef="enough"', 'targetRef="gone"', "f2"),
        ("<flowNodeRef>begin<", "<flowNodeRef>gone<", "broker"),
        ('attachedToRef="compare"', 'attachedToRef="gone"', "late"),
        ("<sourceRef>census<", "<sourceRef>gone<", "collect"),
        ('dataObjectRef="censusData"', 'dataObjectRef="gone"', "census"),
    ],
)
def test_a_dangling_reference_is_named_and_the_rest_goes_on(say, tmp_path, before, after, element):
    assert before in MODEL
    said = say(tmp_path, "bpmn", write(tmp_path, MODEL.replace(before, after)))
    [problem] = said.problems
    assert problem.place == f"quoting.bpmn element {element}"
    reference = before.strip("<").partition("=")[0].partition(">")[0]
    assert f"{reference} refers to 'gone'" in problem.message
    assert len(said.typed("HAS_STEP")) == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no xml at all", "expected XML"),
        (MODEL[:400], "expected XML"),
        ("<a/>", "found the root element 'a'"),
        (
            '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">&x;</definitions>',
            "document types and entities are refused",
        ),
        (
            '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
            '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">&b;</definitions>',
            "document types and entities are refused",
        ),
    ],
)
def test_a_file_that_is_no_model_is_named_and_the_others_are_read(say, tmp_path, text, says):
    write(tmp_path, MODEL)
    write(tmp_path, text, "broken.bpmn")
    said = say(tmp_path, "bpmn", {"path": "*.bpmn"})
    [problem] = said.problems
    assert problem.place == "broken.bpmn"
    assert says in problem.message
    assert len(said.of("Process")) == 1


def test_a_link_out_of_the_folder_is_not_followed(say, tmp_path):
    (tmp_path / "outside.bpmn").write_text(MODEL)
    folder = tmp_path / "processes"
    folder.mkdir()
    write(folder, MODEL)
    (folder / "link.bpmn").symlink_to(tmp_path / "outside.bpmn")
    said = say(tmp_path, "bpmn", {"path": "processes/*.bpmn"})
    assert [problem.place for problem in said.problems] == ["link.bpmn"]
    assert {e.evidence.split()[0] for e in said.entities.values()} == {"quoting.bpmn"}


def test_a_glob_without_files_fails_the_scope(say, tmp_path):
    with pytest.raises(SourceError, match="no file matches"):
        say(tmp_path, "bpmn", {"path": "*.bpmn"})


@pytest.mark.shared_data
def test_the_interchange_groups_reference_models_are_read_whole(say, shared_data):
    said = say(shared_data / "bpmn-miwg" / "Reference", "bpmn", {"path": "*.bpmn"})
    assert said.problems == []
    assert len(said.of("Process")) == 37
    assert len(said.typed("HAS_STEP")) == sum(
        len(said.of(name)) for name in ("Activity", "ProcessEvent", "Gateway")
    )
    known = set(said.entities)
    assert all(end in known for pair in said.typed("FOLLOWED_BY") | said.typed("USES_DATA") for end in pair)
    names = {e.values["name"] for i, e in said.entities.items() if i.startswith("activity:C.1.0/")}
    assert "Approve Invoice" in names


POOLS = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d">
  <collaboration id="c">
    <participant id="us" name="Claims" processRef="p"/><participant id="them" name="Member"/>
    <messageFlow id="m1" sourceRef="them" targetRef="s"/><messageFlow id="m2" sourceRef="t" targetRef="them"/>
    <messageFlow id="m3" sourceRef="t" targetRef="{end}"/>
  </collaboration>
  <process id="p">
    <laneSet id="l"><lane id="desk" name="Desk"><flowNodeRef>t</flowNodeRef></lane></laneSet>
    <ioSpecification id="io"><dataInput id="claim" name="Claim"/><dataOutput id="letter" name="Letter"/></ioSpecification>
    <startEvent id="s"><messageEventDefinition id="e"/></startEvent>
    <subProcess id="outer"><subProcess id="inner"><task id="deep"/></subProcess><task id="shallow"/></subProcess>
    <task id="t">
      <ioSpecification id="io2"><dataInput id="own"/></ioSpecification>
      <dataInputAssociation id="a"><sourceRef>claim</sourceRef><targetRef>own</targetRef></dataInputAssociation>
    </task>
  </process>
</definitions>"""


def test_pools_messages_sub_processes_and_what_a_process_takes_and_gives(say, tmp_path):
    said = say(tmp_path, "bpmn", write(tmp_path, POOLS.format(end="them")))
    assert said.problems == []
    us, them = "lane:quoting/us", "lane:quoting/them"
    assert said.entities[them].values["name"] == "Member"
    assert ("process:quoting/p", us) in said.typed("HAS_LANE")
    assert not [start for start, end in said.typed("HAS_LANE") if end == them]  # a black box
    assert said.typed("SENDS_MESSAGE_TO") == {
        (them, "process_event:quoting/s"),
        ("activity:quoting/t", them),
    }
    lanes = dict(said.typed("IN_LANE"))
    assert (lanes["activity:quoting/t"], lanes["process_event:quoting/s"]) == ("lane:quoting/desk", us)
    assert said.typed("PART_OF_ACTIVITY") == {
        ("activity:quoting/inner", "activity:quoting/outer"),
        ("activity:quoting/shallow", "activity:quoting/outer"),
        ("activity:quoting/deep", "activity:quoting/inner"),
    }
    assert {claim.values["name"] for claim in said.of("DataObject")} == {"Claim", "Letter"}
    assert said.typed("USES_DATA") == {("activity:quoting/t", "data_object:quoting/claim")}
    assert said.entities["process_event:quoting/s"].values["eventType"] == "startEvent (message)"


@pytest.mark.parametrize(("end", "says"), [("nowhere", "not in this file"), ("p", "a step or a participant")])
def test_a_message_to_nothing_that_takes_one_is_a_problem(say, tmp_path, end, says):
    said = say(tmp_path, "bpmn", write(tmp_path, POOLS.format(end=end)))
    assert [says in problem.message for problem in said.problems] == [True]


def test_all_of_the_interchange_group_s_references_are_read(say, shared_data):
    said = say(shared_data / "bpmn-miwg", "bpmn", {"path": "Reference/*.bpmn"})
    assert said.problems == []
    assert len(said.of("Process")) == 37
    assert len(said.typed("SENDS_MESSAGE_TO")) == 18
    ids = said.entities.keys()
    assert [claim for claim in said.relationships if not {claim[0], claim[2]} <= ids] == []
    in_lane = [start for start, _ in said.typed("IN_LANE")]
    assert len(in_lane) == len(set(in_lane))  # the ontology has a step in one lane


def test_each_element_of_the_references_that_matters_is_told(say, shared_data):
    """Pools, lanes, events, sub-processes, data objects and message flows: as many as their XML holds."""
    said = say(shared_data / "bpmn-miwg", "bpmn", {"path": "Reference/*.bpmn"})
    model = "{http://www.omg.org/spec/BPMN/20100524/MODEL}"
    holds = Counter(
        element.tag.removeprefix(model)
        for path in (shared_data / "bpmn-miwg" / "Reference").glob("*.bpmn")
        for element in load_xml(path.read_bytes()).root.iter()
        if element.tag.startswith(model)
    )
    told = Counter(
        str(claim.values[kind]).partition(" (")[0]
        for claim in said.entities.values()
        for kind in ("eventType", "taskType", "gatewayType")
        if kind in claim.values
    )
    ends = ("Task", "Event", "Gateway", "subProcess", "callActivity")
    steps = {kind for kind in holds if kind == "task" or kind.endswith(ends)}
    steps -= {"globalTask", "globalUserTask"}  # which stand in no process
    assert told == {kind: holds[kind] for kind in steps}
    assert sum(told.values()) > 400
    assert len(said.of("Lane")) == holds["lane"] + holds["participant"]
    assert len(said.typed("SENDS_MESSAGE_TO")) == holds["messageFlow"]
    triggers = sum(" (" in str(claim.values["eventType"]) for claim in said.of("ProcessEvent"))
    assert triggers == sum(count for kind, count in holds.items() if kind.endswith("EventDefinition"))
    assert {claim.id for claim in said.of("DataObject")} >= {
        f"data_object:{path.stem}/{element.get('id')}"
        for path in (shared_data / "bpmn-miwg" / "Reference").glob("*.bpmn")
        for kind in ("dataObject", "dataStore")
        for element in load_xml(path.read_bytes()).root.iter(f"{model}{kind}")
    }
