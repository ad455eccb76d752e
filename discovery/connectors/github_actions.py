"""GitHub Actions workflows as processes: what starts them, their jobs and steps, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from discovery.connector import Problem
from discovery.fields import as_mapping, list_at, mapping_at, mappings_at, text_at
from discovery.file_source import File, file_connector
from discovery.files import UnreadableError
from graph.claims import Claim, entity_id


def _interpret(file: File) -> Iterator[Claim | Problem]:
    jobs = {str(key): as_mapping(job, f"job {key}") for key, job in mapping_at(file.document, "jobs").items()}
    if not jobs:
        raise UnreadableError("expected a workflow with jobs, found none; correct it")
    process = entity_id("process", f"{file.source}/{file.key}")
    name = text_at(file.document, "name") or file.name
    yield from file.entity(process, "Process", name=name, path=file.name)
    first = [key for key, job in jobs.items() if not list_at(job, "needs")]
    for trigger in _triggers(file.document):
        event, place = entity_id("process_event", f"{file.source}/{file.key}/on/{trigger}"), f"on {trigger}"
        yield from file.entity(event, "ProcessEvent", place, name=f"On {trigger}", eventType=trigger)
        yield file.relationship(process, "HAS_STEP", event, place)
        for key in first:
            yield file.relationship(event, "FOLLOWED_BY", _job_id(file, key), place)
    for key, job in jobs.items():
        yield from _job(file, process, key, job)
        for needed in list_at(job, "needs"):
            if str(needed) in jobs:
                yield file.relationship(_job_id(file, str(needed)), "FOLLOWED_BY", _job_id(file, key))
            else:
                yield Problem(f"{file.name} job {key}", f"needs {needed!r}, which is no job; correct it")


connect = file_connector(_interpret)


def _job_id(file: File, key: str) -> str:
    return entity_id("activity", f"{file.source}/{file.key}/{key}")


def _triggers(document: Mapping[Any, Any]) -> list[str]:
    """`on` is one event, several, or several with conditions. YAML 1.1 reads the bare word as true."""
    on = document.get("on", document.get(True))
    events = list(on) if isinstance(on, (Mapping, list)) else [on]
    return sorted(str(event) for event in events if event is not None)


def _job(file: File, process: str, key: str, job: Mapping[str, Any]) -> Iterator[Claim]:
    id_, place = _job_id(file, key), f"job {key}"
    said = [_runs_on(job), _environment(job), text_at(job, "uses") and f"Uses {job['uses']}."]
    description = " ".join(text for text in said if text) or None
    name = text_at(job, "name") or key
    yield from file.entity(id_, "Activity", place, name=name, taskType="job", description=description)
    yield file.relationship(process, "HAS_STEP", id_, place)
    before = None
    for number, step in enumerate(mappings_at(job, "steps"), start=1):
        step_id, place = f"{id_}/{number}", f"job {key} step {number}"
        uses = text_at(step, "uses")
        command = (text_at(step, "run") or "").split()[:1]  # no more of it: scripts may hold secrets
        name = text_at(step, "name") or uses or " ".join(("Run", *command))
        described = f"Uses {uses}." if uses else None
        yield from file.entity(
            step_id, "Activity", place, name=name[:200], taskType="step", description=described
        )
        yield file.relationship(process, "HAS_STEP", step_id, place)
        yield file.relationship(step_id, "PART_OF_ACTIVITY", id_, place)
        if before is not None:
            yield file.relationship(before, "FOLLOWED_BY", step_id, place)
        before = step_id


def _runs_on(job: Mapping[str, Any]) -> str | None:
    on = job.get("runs-on")
    labels = [str(one) for one in (on if isinstance(on, list) else [on]) if isinstance(one, str)]
    return f"Runs on {', '.join(labels)}." if labels else None


def _environment(job: Mapping[str, Any]) -> str | None:
    found = job.get("environment")
    name = text_at(found, "name") if isinstance(found, Mapping) else found
    return f"Deploys to the environment {name}." if isinstance(name, str) else None
