"""Every residency case comes out as its table says, over real connections; without any filter some do not."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from inference import placement, serving
from inference.engine_client import EngineClient
from inference.mesh import Mesh, snapshot_of
from inference.nodes import MeshNode, NodeState
from inference.placement import FILTERS, place
from inference.serving import Gateway, Job, NoNodeAnswered, Refused, TooLong
from tests.inference import openai_server as said
from tests.inference.meshes import allowed
from tests.residency.cases import NOW, Case, load_cases

CASES = load_cases()
PATH = "/v1/chat/completions"
FAILURES = {"500": said.FAILS, "garbage": said.NOT_HTTP, "cut": said.CUT}


def names(ids: frozenset[str]) -> set[str]:
    return {id_.removeprefix("mesh_node:") for id_ in ids}


def test_the_cases_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_permitted_set_is_the_tables_and_the_oracles(case: Case) -> None:
    requirement, mesh = await case.requirement(), snapshot_of(case.members(), NOW)
    placed = place(requirement, mesh)
    assert names(placed.permitted_ids) == set(case.told["permitted"])
    assert {n.name for n, _ in mesh.members if allowed(requirement, n, NOW)} == set(case.told["permitted"])
    assert case.told.get("says", "") in placed.refusal()
    assert {v.name for v in placed.verdicts if v.permitted} == set(case.told["permitted"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_outcome_is_the_tables_and_no_forbidden_node_hears_of_it(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_PREFILL_S", 0.1)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        servers: dict[str, said.OpenAIServer] = {}
        states: dict[str, NodeState] = {}
        nodes: list[MeshNode] = []
        for node, state in case.members():
            server = servers[node.name] = await stack.enter_async_context(said.openai_server())
            behaviour = case.told.get("fails", {}).get(node.name)
            if behaviour != "hangs":
                server.answers[PATH] = FAILURES.get(behaviour, said.stream("answered"))
            endpoint = "http://127.0.0.1:9" if behaviour == "gone" else server.endpoint
            nodes.append(replace(node, endpoint=endpoint))
            states[node.id] = state

        async def look(node: MeshNode) -> NodeState:
            return states[node.id]

        mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), look)
        mesh.declare(nodes)
        await mesh.refresh()
        outcome = await _outcome(case, Gateway(EngineClient(session), mesh))
        reached = {name for name, server in servers.items() if server.requests}
    assert outcome == case.told["outcome"]
    may = set(case.told["permitted"])
    assert reached <= may
    if outcome == "refused":
        assert not reached
    if "reached" in case.told:
        assert reached == set(case.told["reached"])


async def _outcome(case: Case, gateway: Gateway) -> str:
    requirement = await case.requirement()
    job = Job(
        PATH,
        {"messages": [{"role": "user", "content": "?"}]},
        requirement,
        asyncio.get_running_loop().time() + 20,
        "team",
        recheck=lambda: case.handling(changed=True),
    )
    try:
        return [node.name async for _, node in gateway.stream(job)][-1]
    except (Refused, TooLong):
        return "refused"
    except NoNodeAnswered:
        return "failed"


@pytest.mark.parametrize("name", FILTERS)
async def test_without_any_one_filter_some_case_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(placement.FILTERS, name, lambda _, compiled: compiled.all)
    wrong = [
        case.name
        for case in CASES
        if names(place(await case.requirement(), snapshot_of(case.members(), NOW)).permitted_ids)
        != set(case.told["permitted"])
    ]
    assert wrong
