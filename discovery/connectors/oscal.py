"""Controls, and how systems keep them, from NIST OSCAL catalogues, profiles, plans and components."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from discovery.connector import Problem
from discovery.fields import list_at, mapping_at, mappings_at, needed, text_at
from discovery.file_source import File, file_connector
from discovery.files import UnreadableError
from discovery.passages import Block, cut
from graph.claims import Claim, EntityClaim, entity_id

_INSERT = re.compile(r"\{\{\s*insert:\s*param,\s*([\w.-]+)\s*\}\}")
_DEEP = 20
"""Groups, controls and parts within each other."""
_LONG = 20_000
"""Characters of one text; parameters within parameters can make a small one enormous."""


def _interpret(file: File) -> Iterator[Claim | Problem]:
    for kind, read in _KINDS.items():
        if kind in file.document:
            yield from read(file, mapping_at(file.document, kind))
            return
    raise UnreadableError(f"expected one of {', '.join(_KINDS)} at the top, found none")


connect = file_connector(_interpret)


def _document(file: File, root: Mapping[str, Any], class_name: str, id_: str) -> Iterator[Claim]:
    metadata = mapping_at(root, "metadata")
    name = text_at(metadata, "title") or file.stem
    yield from file.entity(id_, class_name, name=name, version=text_at(metadata, "version"), path=file.name)


def _control_id(file: File, control: str) -> str:
    return entity_id("policy", f"{file.source}/control/{control}")


def _catalog(file: File, catalog: Mapping[str, Any]) -> Iterator[Claim]:
    id_ = entity_id("policy", f"{file.source}/{file.key}")
    yield from _document(file, catalog, "Policy", id_)
    params: dict[str, str] = {}
    controls = list(_controls(catalog, ()))
    for _, control in controls:
        params |= {needed(param, "id"): _param(param) for param in mappings_at(control, "params")}
    for heading, control in controls:
        key = needed(control, "id")
        control_id, place = _control_id(file, key), f"control {key}"
        name = f"{_label(control) or key.upper()} {needed(control, 'title')}"
        yield from file.entity(control_id, "Policy", place, name=name, path=file.name)
        yield file.relationship(id_, "REFERS_TO", control_id, place)
        for part, lines in _parts(control).items():
            text = _filled("\n".join(lines), params)
            yield from _passages(file, control_id, name, (*heading, part), text, place)
        for link in mappings_at(control, "links"):
            target = text_at(link, "href") or ""
            if text_at(link, "rel") in ("related", "required") and target.startswith("#"):
                yield file.relationship(control_id, "REFERS_TO", _control_id(file, target[1:]), place)


def _controls(
    parent: Mapping[str, Any], heading: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Controls of groups and enhancements of controls, with the groups that they stand in."""
    if len(heading) > _DEEP:
        raise UnreadableError(f"expected at most {_DEEP} groups within each other; flatten it")
    for group in mappings_at(parent, "groups"):
        yield from _controls(group, (*heading, needed(group, "title")))
    for control in mappings_at(parent, "controls"):
        yield heading, control
        yield from _controls({"controls": control.get("controls")}, (*heading, needed(control, "title")))


def _label(parent: Mapping[str, Any]) -> str | None:
    labels = [prop for prop in mappings_at(parent, "props") if prop.get("name") == "label"]
    plain = [prop for prop in labels if "class" not in prop]
    return text_at((plain or labels)[0], "value") if labels else None


def _parts(control: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Lines of text by the name of the part; how a control is assessed repeats what it asks."""
    parts: dict[str, list[str]] = {}
    for part in mappings_at(control, "parts"):
        if not (name := needed(part, "name")).startswith("assessment-"):
            parts.setdefault(name, []).extend(_prose(part, 0))
    return parts


def _prose(part: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Lines: the part's own text after its label, then those of its parts."""
    if depth > _DEEP:
        raise UnreadableError(f"expected at most {_DEEP} parts within each other; flatten it")
    if prose := text_at(part, "prose"):
        yield " ".join(filter(None, ("  " * depth + (_label(part) or ""), prose))).rstrip()
    for inner in mappings_at(part, "parts"):
        yield from _prose(inner, depth + 1)


def _param(param: Mapping[str, Any]) -> str:
    """What stands for a parameter in text: its value, its choices, else its label."""
    if values := [str(value) for value in list_at(param, "values")]:
        return ", ".join(values)
    if choices := [str(choice) for choice in list_at(mapping_at(param, "select"), "choice")]:
        return f"[{' or '.join(choices)}]"
    return f"[{text_at(param, 'label') or needed(param, 'id')}]"


def _filled(text: str, params: Mapping[str, str]) -> str:
    for _ in range(3):  # choices have parameters themselves
        length = len(text) + sum(len(params.get(match[1], "")) for match in _INSERT.finditer(text))
        if length > _LONG:
            raise UnreadableError(
                f"expected a text of at most {_LONG} characters with its parameters filled in, found {length}"
            )
        text = _INSERT.sub(lambda match: params.get(match[1], f"[{match[1]}]"), text)
    return text


def _passages(  # noqa: PLR0913, PLR0917 - all that a passage says
    file: File, document: str, name: str, heading: tuple[str, ...], text: str, place: str
) -> Iterator[Claim]:
    pieces = [piece.text for piece in cut([Block(text, heading)])] if text.strip() else []
    for number, piece in enumerate(pieces):
        key = f"{document.partition(':')[2]}/{heading[-1]}-{number + 1}"
        passage = f"passage:{key}" if "%" in key else entity_id("passage", key)
        values = {"name": f"{name} > {heading[-1]}", "heading": " > ".join(heading), "text": piece}
        yield from file.entity(passage, "Passage", place, position=number, **values)
        yield file.relationship(document, "HAS_PASSAGE", passage, place)


def _profile(file: File, profile: Mapping[str, Any]) -> Iterator[Claim | Problem]:
    """What it chooses of catalogues it refers to; what it adds to them is passages of its own."""
    id_ = entity_id("policy", f"{file.source}/{file.key}")
    yield from _document(file, profile, "Policy", id_)
    for number, imported in enumerate(mappings_at(profile, "imports"), start=1):
        place = f"import {number}"
        excluded = {
            str(key) for one in mappings_at(imported, "exclude-controls") for key in list_at(one, "with-ids")
        }
        for chosen in mappings_at(imported, "include-controls"):
            for key in list_at(chosen, "with-ids"):
                if str(key) not in excluded:
                    yield file.relationship(id_, "REFERS_TO", _control_id(file, str(key)), place)
        chooses = [*mappings_at(imported, "include-controls"), *mappings_at(imported, "exclude-controls")]
        if "include-all" in imported or any("matching" in one for one in chooses):
            yield Problem(
                f"{file.name} {place}",
                "it chooses controls without naming them, so which they are is not known here; "
                "resolve the profile and have the resolved catalogue read",
            )
    yield from _modified(file, id_, profile)


def _modified(file: File, id_: str, profile: Mapping[str, Any]) -> Iterator[Claim]:
    """Parameters that a profile sets, and what it adds to each control."""
    name = text_at(mapping_at(profile, "metadata"), "title") or file.stem
    modify = mapping_at(profile, "modify")
    params = [(needed(one, "param-id"), one) for one in mappings_at(modify, "set-parameters")]
    set_ = [f"{key}: {_param({'id': key, **one})}" for key, one in params]
    yield from _passages(file, id_, name, ("Parameters",), "\n".join(set_), "set-parameters")
    added: dict[str, list[str]] = {}
    for alter in mappings_at(modify, "alters"):
        lines = added.setdefault(needed(alter, "control-id"), [])
        parts = [part for add in mappings_at(alter, "adds") for part in mappings_at(add, "parts")]
        lines += [line for part in parts for line in _prose(part, 0)]
    for key, lines in added.items():
        for claim in _passages(file, id_, name, (key,), "\n".join(lines), f"alter {key}"):
            yield claim
            if isinstance(claim, EntityClaim) and claim.class_name == "Passage":
                yield file.relationship(claim.id, "REFERS_TO", _control_id(file, key), f"alter {key}")


def _plan(file: File, plan: Mapping[str, Any]) -> Iterator[Claim]:
    """Each requirement that the plan says is kept is a passage, which refers to its control."""
    id_ = entity_id("document", f"{file.source}/{file.key}")
    system = mapping_at(plan, "system-characteristics")
    metadata = {**mapping_at(plan, "metadata")}
    metadata["title"] = f"{text_at(metadata, 'title') or 'Plan'}: {needed(system, 'system-name')}"
    yield from _document(file, {"metadata": metadata}, "Document", id_)
    components = {
        needed(one, "uuid"): needed(one, "title")
        for one in mappings_at(mapping_at(plan, "system-implementation"), "components")
    }
    kept = mapping_at(plan, "control-implementation")
    yield from _requirements(file, id_, kept, str(metadata["title"]), components)


def _components(file: File, definition: Mapping[str, Any]) -> Iterator[Claim]:
    id_ = entity_id("document", f"{file.source}/{file.key}")
    yield from _document(file, definition, "Document", id_)
    for component in mappings_at(definition, "components"):
        name = needed(component, "title")
        for kept in mappings_at(component, "control-implementations"):
            yield from _requirements(file, id_, kept, name, {})


def _requirements(
    file: File, document: str, kept: Mapping[str, Any], name: str, components: Mapping[str, str]
) -> Iterator[Claim]:
    for number, requirement in enumerate(mappings_at(kept, "implemented-requirements")):
        key, place = needed(requirement, "control-id"), f"requirement {needed(requirement, 'uuid')}"
        lines = [text_at(requirement, "description"), *_by_components(requirement, components)]
        for statement in mappings_at(requirement, "statements"):
            lines += [text_at(statement, "description"), *_by_components(statement, components)]
        params = {
            needed(one, "param-id"): ", ".join(map(str, list_at(one, "values")))
            for parent in (kept, requirement)
            for one in mappings_at(parent, "set-parameters")
        }
        text = _filled("\n".join(dict.fromkeys(line for line in lines if line)), params) or f"Keeps {key}."
        passage = entity_id("passage", f"{file.source}/{file.key}/{needed(requirement, 'uuid')}")
        values = {"name": f"{name} > {key}", "heading": key, "text": text}
        yield from file.entity(passage, "Passage", place, position=number, **values)
        yield file.relationship(document, "HAS_PASSAGE", passage, place)
        yield file.relationship(passage, "REFERS_TO", _control_id(file, key), place)


def _by_components(parent: Mapping[str, Any], components: Mapping[str, str]) -> Iterator[str]:
    for by in mappings_at(parent, "by-components"):
        if description := text_at(by, "description"):
            component = components.get(text_at(by, "component-uuid") or "")
            yield f"{component}: {description}" if component else description


_KINDS = {
    "catalog": _catalog,
    "profile": _profile,
    "system-security-plan": _plan,
    "component-definition": _components,
}
