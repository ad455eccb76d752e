"""The mesh knows of a node what a real look at it found, and calls unknown what it does not know."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from inference.mesh import Mesh
from inference.nodes import LOCAL_NODE_ID, NOT_PROBED, Load, MeshNode, NodeState, Status
from inference.probe import EngineProbe
from tests.inference import openai_server as said

CHAT, METRICS = "/v1/chat/completions", "/metrics"
TOKEN = said.completion(".")
LOCAL = MeshNode(LOCAL_NODE_ID, "orgraph", capabilities=frozenset({"embedding"}))
REAL_METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="smol}lm2"} 2.0
vllm:num_requests_running{engine="1",model_name="smol}lm2"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="smollm2",reason="capacity"} 40.0
vllm:num_requests_waiting{engine="0",model_name="smollm2"} 4.0
"""


@pytest.fixture
def probe(client):
    return EngineProbe(client, seconds=2)


async def test_a_node_that_completes_a_token_is_up_with_its_load(probe, server, make_node):
    server.answers |= {CHAT: TOKEN, METRICS: said.metrics(REAL_METRICS)}
    state = await probe(make_node(endpoint=server.endpoint))
    assert (state.up, state.load.running, state.load.waiting) == (True, 3, 4)


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        'vllm:num_requests_waiting_by_reason{reason="capacity"} 5.0',
        "vllm:num_requests_running NaN\nvllm:num_requests_waiting +Inf",
        "vllm:num_requests_running -1\nvllm:num_requests_waiting x",
        "# vllm:num_requests_running 3",
        "vllm:num_requests_running",
    ],
)
async def test_a_load_that_is_not_told_is_unknown_not_zero(probe, server, make_node, metrics):
    server.answers |= {CHAT: TOKEN, METRICS: said.metrics(metrics)}
    state = await probe(make_node(endpoint=server.endpoint))
    assert (state.up, state.load.running, state.load.waiting) == (True, None, None)


async def test_a_node_without_metrics_is_up_with_unknown_load(probe, server, make_node):
    server.answers |= {CHAT: TOKEN, METRICS: said.response(b"", "404 Not Found")}
    state = await probe(make_node(endpoint=server.endpoint))
    assert (state.up, state.load.running) == (True, None)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said.FAILS, "answered HTTP 500"),
        (said.REFUSES_KEY, "answered HTTP 401"),
        (said.NOT_JSON, "not a JSON object"),
        (said.NOT_HTTP, "not HTTP"),
        (said.NO_COMPLETION, "no completion"),
        (said.CUT, "cut the connection"),
    ],
)
async def test_a_node_that_answers_badly_is_down_for_that_reason(probe, server, make_node, answer, why):
    server.answers |= {CHAT: answer, METRICS: said.metrics(REAL_METRICS), "/health": said.response(b"")}
    state = await probe(make_node(endpoint=server.endpoint))
    assert state.up is False
    assert why in state.why
    assert (state.load.running, state.load.waiting) == (None, None)


async def test_a_node_that_is_healthy_but_hangs_is_down(client, server, make_node):
    server.answers |= {"/health": said.response(b""), METRICS: said.metrics(REAL_METRICS)}
    state = await EngineProbe(client, seconds=0.2)(make_node(endpoint=server.endpoint))
    assert state.up is False
    assert "no whole answer in 0." in state.why


async def test_a_node_where_nobody_listens_is_down(probe, make_node, closed_endpoint):
    assert await probe(make_node(endpoint=closed_endpoint)) == NodeState(Status.DOWN, "connection refused")


async def test_a_node_without_an_endpoint_is_down(probe, make_node):
    assert await probe(make_node(endpoint=None)) == NodeState(Status.DOWN, "no endpoint is declared")


async def test_a_node_that_only_embeds_is_probed_by_an_embedding(probe, server, make_node):
    server.answers["/v1/embeddings"] = said.response(b'{"data": [{"embedding": [1.0]}]}')
    server.answers[METRICS] = said.metrics("")
    node = make_node(endpoint=server.endpoint, capabilities=frozenset({"embedding"}))
    assert (await probe(node)).up is True


async def test_one_bad_node_does_not_hide_the_others(probe, server, make_node, closed_endpoint):
    server.answers |= {CHAT: TOKEN, METRICS: said.metrics("")}
    mesh = Mesh(LOCAL, probe)
    mesh.declare([make_node("bad", endpoint=closed_endpoint), make_node("good", endpoint=server.endpoint)])
    snapshot = await mesh.refresh()
    assert snapshot.state("mesh_node:bad").up is False
    assert snapshot.state("mesh_node:good").up is True


async def test_this_process_is_a_node_and_up(probe):
    [(node, state)] = Mesh(LOCAL, probe).snapshot().members
    assert (node.id, node.capabilities, state.up) == (LOCAL_NODE_ID, {"embedding"}, True)


async def test_a_node_is_unknown_until_it_was_probed(probe, make_node):
    mesh = Mesh(LOCAL, probe)
    mesh.declare([make_node()])
    assert mesh.snapshot().state("mesh_node:eu-frankfurt") == NOT_PROBED


async def test_two_nodes_of_one_id_are_refused_and_nothing_changes(probe, make_node):
    mesh = Mesh(LOCAL, probe)
    mesh.declare([make_node("a")])
    with pytest.raises(ValueError, match="'mesh_node:b'"):
        mesh.declare([make_node("b"), make_node("b", region="us-east")])
    with pytest.raises(ValueError, match=LOCAL_NODE_ID):
        mesh.declare([replace(LOCAL, endpoint="http://127.0.0.1:1")])
    assert [n.name for n, _ in mesh.snapshot().members] == ["orgraph", "a"]


class Looks:
    """Notes each look at a node; every node is up."""

    def __init__(self):
        self.names = []
        self.three = asyncio.Event()

    async def __call__(self, node):
        self.names.append(node.name)
        if len(self.names) == 3:
            self.three.set()
        return NodeState(Status.READY, "", Load(running=1, waiting=0))


async def test_on_demand_only_old_knowledge_is_renewed_and_only_of_the_nodes_asked_for(make_node):
    looks = Looks()
    mesh = Mesh(LOCAL, looks)
    mesh.declare([make_node("a"), make_node("b")])
    await mesh.refresh(ids=["mesh_node:a"])
    await mesh.refresh(older_than=timedelta(hours=1))
    assert looks.names == ["a", "b"]
    await mesh.refresh()
    assert looks.names == ["a", "b", "a", "b"]


async def test_many_askers_at_once_cause_one_probe(make_node):
    looks = Looks()
    mesh = Mesh(LOCAL, looks)
    mesh.declare([make_node()])
    await asyncio.gather(*(mesh.refresh(older_than=timedelta(hours=1)) for _ in range(5)))
    assert len(looks.names) == 1


async def test_a_node_that_is_declared_differently_is_unknown_again(make_node):
    mesh = Mesh(LOCAL, Looks())
    mesh.declare([make_node("a"), make_node("b")])
    await mesh.refresh()
    mesh.declare([make_node("a"), make_node("b", endpoint="http://127.0.0.1:2")])
    assert mesh.snapshot().state("mesh_node:a").up is True
    assert mesh.snapshot().state("mesh_node:b") == NOT_PROBED


async def test_what_was_found_at_an_endpoint_is_not_believed_of_the_one_declared_meanwhile(make_node):
    async def look(node):
        mesh.declare([make_node(endpoint="http://127.0.0.1:2")])
        return NodeState(Status.READY)

    mesh = Mesh(LOCAL, look)
    mesh.declare([make_node(endpoint="http://127.0.0.1:1")])
    await mesh.refresh()
    assert mesh.snapshot().state("mesh_node:eu-frankfurt") == NOT_PROBED


async def test_an_old_load_is_unknown(make_node):
    mesh = Mesh(LOCAL, Looks(), interval=timedelta(0))
    mesh.declare([make_node()])
    await mesh.refresh()
    await asyncio.sleep(0.001)
    state = mesh.snapshot().state("mesh_node:eu-frankfurt")
    assert (state.up, state.load.running, state.load.waiting) == (True, None, None)


async def test_watching_goes_on_until_cancelled(make_node):
    looks = Looks()
    mesh = Mesh(LOCAL, looks, interval=timedelta(milliseconds=1))
    mesh.declare([make_node()])
    watch = asyncio.create_task(mesh.watch())
    await looks.three.wait()
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
