"""Processes, their steps, lanes and data from BPMN 2.0 (ISO/IEC 19510) models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self
from xml.etree.ElementTree import Element

from discovery.connector import Change, Connector, Item, Places, Position, Problem, only_if_unchanged
from discovery.file_source import without_suffix
from discovery.files import UnreadableError, find, listing, locate, read_bytes
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.places import known, read_each
from discovery.sources import OrganizationConfig, SourceConfig
from discovery.xml_text import load_xml
from graph.claims import Claim, EntityClaim, RelationshipClaim, entity_id

_MODEL = "http://www.omg.org/spec/BPMN/20100524/MODEL"
_SUB_PROCESSES = {"subProcess", "transaction", "adHocSubProcess"}
_ACTIVITIES = _SUB_PROCESSES | {
    "task",
    "userTask",
    "manualTask",
    "serviceTask",
    "scriptTask",
    "businessRuleTask",
    "sendTask",
    "receiveTask",
    "callActivity",
}
_EVENTS = {"startEvent", "endEvent", "intermediateCatchEvent", "intermediateThrowEvent", "boundaryEvent"}
_GATEWAYS = {"exclusiveGateway", "inclusiveGateway", "parallelGateway", "complexGateway", "eventBasedGateway"}
_DATA = {"dataObject", "dataObjectReference", "dataStore", "dataStoreReference"}
_STEPS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(_ACTIVITIES, ("Activity", "taskType")),
    **dict.fromkeys(_EVENTS, ("ProcessEvent", "eventType")),
    **dict.fromkeys(_GATEWAYS, ("Gateway", "gatewayType")),
}
# A data store may say in its name or documentation which discovered data it is.
_DISCOVERED = re.compile(r"\b(?:dataset|table):([\w.-]+(?:/[\w.-]+)?)")


class BpmnOptions(Options):
    path: str
    """A file or a glob."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    return BpmnConnector(organization, source, parse_options(BpmnOptions, source))


@dataclass(frozen=True)
class BpmnConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: BpmnOptions
    places: Mapping[str, Places] = field(default_factory=dict)

    def knowing(self, places: Mapping[str, Places]) -> Self:
        return replace(self, places=places)

    def scopes(self) -> Sequence[str]:
        return (self.options.path,)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position())

    def _position(self) -> str:
        return f"{self.options.digest()} {listing(find(locate(self.organization, self.options.path)))}"

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        parts = Parts(self.organization, self.source)
        yield from parts.classifications()
        found = find(locate(self.organization, scope))

        def claims(path: Path, name: str, key: str) -> Iterator[Claim | Problem]:
            return _Model(name, key, _parse(path), parts).claims()

        yield from read_each(found, known(self.places, scope, self.scopes()), claims)
        yield Position(position)


def _parse(path: Path) -> Element:
    root = load_xml(read_bytes(path)).root
    if root.tag != f"{{{_MODEL}}}definitions":
        raise UnreadableError(f"expected BPMN 2.0 definitions, found the root element {root.tag!r}")
    return root


def _kind(element: Element) -> str:
    """Local name of an element of BPMN's model; empty for extensions and diagrams."""
    tag = element.tag if isinstance(element.tag, str) else ""
    return tag.removeprefix(f"{{{_MODEL}}}") if tag.startswith(f"{{{_MODEL}}}") else ""


def _children(element: Element, kind: str) -> list[Element]:
    return element.findall(f"{{{_MODEL}}}{kind}")


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _documentation(element: Element) -> str:
    return " ".join(text for child in _children(element, "documentation") if (text := _text(child)))


def _trigger(element: Element) -> str:
    """What an event waits for or throws, as ` (message)`."""
    kinds = [_kind(child).removesuffix("EventDefinition") for child in element if "EventDef" in _kind(child)]
    return f" ({', '.join(kinds)})" if kinds else ""


@dataclass(frozen=True)
class _Model:
    """One file. Ids of elements are unique in it."""

    file: str
    key: str
    """What ids are made of: the path that it was first read at."""
    root: Element
    parts: Parts

    @cached_property
    def elements(self) -> Mapping[str, Element]:
        return {id_: element for element in self.root.iter() if _kind(element) and (id_ := element.get("id"))}

    @cached_property
    def sub_processes(self) -> Mapping[Element, Element]:
        """The innermost sub-process that each step lies in."""
        within: dict[Element, Element] = {}
        for outer in self.root.iter():  # outermost first: an inner one takes its steps over
            if _kind(outer) in _SUB_PROCESSES and outer.get("id"):
                within |= {inner: outer for inner in outer.iter() if inner is not outer}
        return within

    def claims(self) -> Iterator[Claim | Problem]:
        for element in self.root.iter():
            if _kind(element) in _STEPS and not element.get("id"):
                yield Problem(
                    self.file, f"a {_kind(element)} named {element.get('name')!r} has no id; give it one"
                )
        for process in _children(self.root, "process"):
            if not process.get("id"):
                yield Problem(self.file, f"the process {process.get('name')!r} has no id; give it one")
                continue
            yield from self._process(process)
        yield from self._pools()
        yield from self._data_objects()

    def _id(self, type_name: str, element: Element) -> str:
        return entity_id(type_name, f"{without_suffix(self.key)}/{element.get('id')}")

    def _step_id(self, element: Element) -> str:
        class_name = _STEPS[_kind(element)][0]
        return self._id("process_event" if class_name == "ProcessEvent" else class_name.lower(), element)

    def _evidence(self, element: Element) -> str:
        return f"{self.file} element {element.get('id')}"

    def _entity(self, element: Element, id_: str, class_name: str, **values: str) -> Iterator[Claim]:
        name = " ".join((element.get("name") or "").split())
        values["name"] = name or f"{_kind(element)} {element.get('id')}"
        if documentation := _documentation(element):
            values["description"] = documentation
        evidence = self._evidence(element)
        yield EntityClaim(id_, class_name, self.parts.collection(self.file), values, evidence)
        yield from self.parts.classified(id_, evidence, self.file)

    def _process(self, process: Element) -> Iterator[Claim | Problem]:
        process_id = self._id("process", process)
        yield from self._entity(process, process_id, "Process")
        for element in process.iter():
            kind = _kind(element)
            if kind == "sequenceFlow":
                yield from self._flow(element)
            elif not element.get("id"):
                continue
            elif kind in _STEPS:
                class_name, kind_property = _STEPS[kind]
                step = self._step_id(element)
                yield from self._entity(
                    element, step, class_name, **{kind_property: kind + _trigger(element)}
                )
                yield RelationshipClaim(process_id, "HAS_STEP", step, self._evidence(element))
                if (within := self.sub_processes.get(element)) is not None:
                    yield RelationshipClaim(
                        step, "PART_OF_ACTIVITY", self._step_id(within), self._evidence(element)
                    )
                yield from self._data(element, step)
                yield from self._attached(element, step)
            elif kind == "lane":
                lane = self._id("lane", element)
                yield from self._entity(element, lane, "Lane")
                yield RelationshipClaim(process_id, "HAS_LANE", lane, self._evidence(element))
                yield from self._in_lane(element, lane)

    def _referenced(self, element: Element, attribute: str, reference: str | None) -> Element | Problem:
        """The element that a reference names. Qualified names may carry a prefix of this file."""
        reference = (reference or "").strip()
        target = self.elements.get(reference)
        if target is None:
            target = self.elements.get(reference.rpartition(":")[2])
        if target is None:
            return Problem(
                self._evidence(element),
                f"{attribute} refers to {reference!r}, which is not in this file; correct or remove it",
            )
        return target

    def _flow(self, flow: Element) -> Iterator[Claim | Problem]:
        ends = [self._referenced(flow, end, flow.get(end)) for end in ("sourceRef", "targetRef")]
        steps = []
        for end in ends:
            if isinstance(end, Problem):
                yield end
            elif _kind(end) in _STEPS:
                steps.append(self._step_id(end))
            else:
                yield Problem(
                    self._evidence(flow), f"expected a step at each end, found {_kind(end)} {end.get('id')!r}"
                )
        if len(steps) == 2:
            yield RelationshipClaim(steps[0], "FOLLOWED_BY", steps[1], self._evidence(flow))

    def _attached(self, event: Element, step: str) -> Iterator[Claim | Problem]:
        """A boundary event may follow the activity that it is attached to."""
        if _kind(event) == "boundaryEvent":
            activity = self._referenced(event, "attachedToRef", event.get("attachedToRef"))
            if isinstance(activity, Problem):
                yield activity
            elif _kind(activity) in _STEPS:
                yield RelationshipClaim(self._step_id(activity), "FOLLOWED_BY", step, self._evidence(event))

    def _in_lane(self, lane: Element, lane_id: str) -> Iterator[Claim | Problem]:
        for reference in _children(lane, "flowNodeRef"):
            step = self._referenced(lane, "flowNodeRef", reference.text)
            if isinstance(step, Problem):
                yield step
            elif _kind(step) in _STEPS:
                yield RelationshipClaim(self._step_id(step), "IN_LANE", lane_id, self._evidence(lane))

    def _pools(self) -> Iterator[Claim | Problem]:
        """Participants are lanes of their process, and of its steps that lie in none; messages go between
        them, or between their steps."""
        for collaboration in _children(self.root, "collaboration"):
            for pool in _children(collaboration, "participant"):
                if not pool.get("id"):
                    yield Problem(self.file, f"the participant {pool.get('name')!r} has no id; give it one")
                    continue
                lane = self._id("lane", pool)
                yield from self._entity(pool, lane, "Lane")
                if (reference := pool.get("processRef")) is None:
                    continue  # a black box
                process = self._referenced(pool, "processRef", reference)
                if isinstance(process, Problem):
                    yield process
                elif _kind(process) == "process":
                    yield RelationshipClaim(
                        self._id("process", process), "HAS_LANE", lane, self._evidence(pool)
                    )
                    yield from self._in_pool(pool, lane, process)
            for flow in _children(collaboration, "messageFlow"):
                yield from self._message_flow(flow)

    def _in_pool(self, pool: Element, lane: str, process: Element) -> Iterator[Claim]:
        in_lanes = {
            (reference.text or "").strip().rpartition(":")[2]
            for inner in process.iter(f"{{{_MODEL}}}lane")
            for reference in _children(inner, "flowNodeRef")
        }
        for element in process.iter():
            if _kind(element) in _STEPS and (id_ := element.get("id")) and id_ not in in_lanes:
                yield RelationshipClaim(self._step_id(element), "IN_LANE", lane, self._evidence(pool))

    def _message_flow(self, flow: Element) -> Iterator[Claim | Problem]:
        ends = []
        for attribute in ("sourceRef", "targetRef"):
            end = self._referenced(flow, attribute, flow.get(attribute))
            if isinstance(end, Problem):
                yield end
            elif _kind(end) in _STEPS:
                ends.append(self._step_id(end))
            elif _kind(end) == "participant":
                ends.append(self._id("lane", end))
            else:
                yield Problem(
                    self._evidence(flow), f"expected a step or a participant at each end, found {_kind(end)}"
                )
        if len(ends) == 2:
            yield RelationshipClaim(ends[0], "SENDS_MESSAGE_TO", ends[1], self._evidence(flow))

    def _data(self, step: Element, step_id: str) -> Iterator[Claim | Problem]:
        """What the data associations of a step read or write; other ends (its own inputs) are no data."""
        for association in ("dataInputAssociation", "dataOutputAssociation"):
            end = "sourceRef" if association == "dataInputAssociation" else "targetRef"
            for element in _children(step, association):
                for reference in _children(element, end):
                    data = self._referenced(step, f"{association} {end}", reference.text)
                    if isinstance(data, Problem):
                        yield data
                    elif _kind(data) in _DATA or data in self.process_data:
                        yield RelationshipClaim(
                            step_id, "USES_DATA", self._data_id(data), self._evidence(step)
                        )

    def _data_objects(self) -> Iterator[Claim | Problem]:
        """One for each data object or store, however many references the diagram draws of it."""
        drawn: dict[str, Element] = {}
        for element in self.elements.values():
            if _kind(element) not in _DATA and element not in self.process_data:
                continue
            data = self._behind(element)
            if isinstance(data, Problem):
                yield data
                continue
            id_ = self._data_id(element)
            if not drawn.setdefault(id_, element).get("name"):
                drawn[id_] = element  # what names it describes it best
        for id_, element in drawn.items():
            if id_.startswith("data_object:"):
                yield from self._entity(element, id_, "DataObject")

    @cached_property
    def process_data(self) -> frozenset[Element]:
        """What a process itself takes and gives; the inputs of its steps only stand for other data."""
        return frozenset(
            data
            for process in _children(self.root, "process")
            for specification in _children(process, "ioSpecification")
            for data in specification
            if _kind(data) in ("dataInput", "dataOutput") and data.get("id")
        )

    def _behind(self, reference: Element) -> Element | Problem:
        """The data object or store that a reference draws; itself when it draws none."""
        for attribute in ("dataObjectRef", "dataStoreRef"):
            if (named := reference.get(attribute)) is not None:
                return self._referenced(reference, attribute, named)
        return reference

    def _data_id(self, reference: Element) -> str:
        """Discovered data that the model names as `table:crm/leads` or `dataset:crm`, else a data object."""
        behind = self._behind(reference)
        data = reference if isinstance(behind, Problem) else behind
        words = " ".join((reference.get("name") or "", _documentation(reference), data.get("name") or ""))
        if discovered := _DISCOVERED.search(words):
            return entity_id("table" if "/" in discovered[1] else "dataset", discovered[1])
        return self._id("data_object", data)
