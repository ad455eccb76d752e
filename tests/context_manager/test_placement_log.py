"""Each decision is computed again from its record, by command, and what is not what it was is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from typer.testing import CliRunner

from context_manager.audit import AuditLog
from context_manager.cli import app as cli
from context_manager.placement_log import PlacementLog, replayed
from inference.placement import place
from inference.requirement import Requirement
from tests.context_manager.door import EU, PATH, US, Door
from tests.inference.openai_server import FAILS, completion

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORGRAPH_DATA_FOLDER", str(tmp_path))

    async def explain(ask: str, *options: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, cli, ["placement", "explain", ask, *options])

    return explain


async def chat(door: Door, **orgraph: Any) -> str:
    """The id of the answer."""
    made = await door.client().chat.completions.create(
        model="chat", messages=HELLO, extra_body={"orgraph": orgraph}
    )
    return str(made.orgraph["id"])  # type: ignore[attr-defined]  # the extension field


async def test_an_answer_is_explained_as_it_was_decided_also_when_the_mesh_is_another_by_then(
    door: Door, command: Any
) -> None:
    ask = await chat(door, entities=["document:roster"])
    mesh = door.api.asking.mesh
    mesh.declare(
        replace(node, jurisdiction="CN") for node, _ in mesh.snapshot().members if node.id in mesh.ids()
    )
    told = await command(ask)
    assert told.exit_code == 0, told.output
    assert "-> mesh_node:frankfurt: permitted; 0 requests running, 0 waiting" in told.stdout
    assert "mesh_node:boston: forbidden; under the law of US, not of EU" in told.stdout
    assert 'handling: {"jurisdictions": ["EU"]}' in told.stdout
    assert "answered, on frankfurt" in told.stdout
    intent, closing = json.loads((await command(ask, "--json")).stdout)
    assert (intent["replay"]["node"], intent["replay"]["same"]) == ("mesh_node:frankfurt", True)
    assert "replay" not in closing
    assert (await command("another")).exit_code == 1


async def test_a_refusal_is_computed_again_as_the_refusal_that_it_was(door: Door, command: Any) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        await chat(door, handling={"clearance": 9})
    told = await command(door.records()[0]["ask"])
    assert told.exit_code == 0, told.output
    assert "has clearance 0, not 9" in told.stdout
    assert "refused: " in told.stdout
    assert "Refused, on None" in told.stdout


async def test_each_attempt_is_computed_again_without_the_node_that_had_failed(
    door: Door, command: Any
) -> None:
    door.american.answers[PATH] = FAILS
    intent, retry, _ = json.loads((await command(await chat(door), "--json")).stdout)
    assert (intent["replay"]["node"], retry["replay"]["node"]) == ("mesh_node:boston", "mesh_node:frankfurt")
    assert retry["replay"]["verdicts"]["mesh_node:boston"]["why"] == ["failed this request"]


async def test_what_is_not_what_it_was_is_told_and_never_called_the_same(door: Door, command: Any) -> None:
    ask = await chat(door)
    record = door.records()[0]
    forged = AuditLog(door.api.asking.audit.path)
    forged.append(
        "intent",
        {key: value for key, value in record.items() if key not in {"kind", "at", "previous"}}
        | {"ask": "forged", "placement": {**record["placement"], "node": "mesh_node:frankfurt"}},
    )
    forged.close()
    told = await command("forged")
    assert told.exit_code == 1
    assert "computed again it is mesh_node:boston, which is not what is on record" in told.output

    meshes = door.api.asking.audit.path.with_name("meshes.jsonl")
    whole = meshes.read_bytes()
    meshes.write_bytes(whole.replace(b'"jurisdiction":"EU"', b'"jurisdiction":"US"'))
    assert "was changed" in (await command(ask)).output
    meshes.unlink()
    assert "is not the file of this audit log" in (told := await command(ask)).output
    assert told.exit_code == 1
    meshes.write_bytes(whole)
    assert (await command(ask)).exit_code == 0


async def test_a_mesh_is_kept_once_for_all_that_were_placed_on_it(door: Door) -> None:
    for _ in range(3):
        await chat(door)
    lines = door.api.asking.audit.path.with_name("meshes.jsonl").read_bytes().splitlines()
    assert len(lines) == len({orjson.loads(line)["digest"] for line in lines}) == 2  # the nodes; the moment
    assert len({record["placement"]["mesh"] for record in door.records() if "placement" in record}) == 1
    door.api.asking.mesh.drain("mesh_node:boston")
    await chat(door)
    assert len(door.api.asking.audit.path.with_name("meshes.jsonl").read_bytes().splitlines()) == 3


async def test_where_the_mesh_cannot_be_written_nothing_is_sent(door: Door, tmp_path: Path) -> None:
    door.american.answers[PATH] = door.european.answers[PATH] = completion("no")
    (tmp_path / "meshes.jsonl").mkdir()
    with pytest.raises(openai.InternalServerError) as raised:
        await chat(door)
    assert raised.value.status_code == 503
    assert door.american.requests == door.european.requests == []


async def test_a_line_that_a_crash_left_unfinished_spoils_no_other(tmp_path: Path, door: Door) -> None:
    (tmp_path / "torn.jsonl").write_bytes(b'{"digest":"0')
    log, snapshot = PlacementLog(tmp_path / "torn.jsonl"), door.api.asking.mesh.snapshot()
    records = [await log.record(place(Requirement(handling, "chat"), snapshot)) for handling in (US, EU)]
    again = replayed(tmp_path / "torn.jsonl", [record for record in records if record])
    assert [placed.node and placed.node.id for placed in again] == ["mesh_node:boston", "mesh_node:frankfurt"]
