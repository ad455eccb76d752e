"""Three engines under load, each made to fail in every way: nothing is lost, nothing goes where it must not."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from graph.handling import Handling
from inference import serving
from inference.admission import Admission
from inference.mesh import Mesh
from inference.nodes import CHAT, MeshNode, Status
from inference.probe import EngineProbe
from inference.requirement import Requirement
from inference.serving import CutShort, Gateway, Job, NoNodeAnswered, Refused
from tests.inference import openai_server as said

PATH = "/v1/chat/completions"
EU = Handling(jurisdictions=frozenset({"EU"}))
STREAMED = f"stream {PATH}"
WHOLE = said.stream("Ada", " leads")
TOKEN = said.completion(".")
METRICS = said.metrics("vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")
CLIENTS, EACH = 6, 3


class Rig:
    """Three permitted engines and a forbidden one, idle and for nothing, with a gateway before them."""

    def __init__(self, client, make_node, engines, forbidden):
        self.engines, self.forbidden = engines, forbidden
        self.mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), EngineProbe(client, seconds=5))
        nodes = [make_node(name, endpoint=engine.endpoint, price=5) for name, engine in engines.items()]
        forbidden_node = make_node("us", endpoint=forbidden.endpoint, jurisdiction="US", price=0)
        self.mesh.declare([*nodes, forbidden_node])
        self.gateway = Gateway(client, self.mesh, Admission(slots=32, waiting=(500, 500)))

    def fail(self, name, answer):
        """One engine answers so from now on, also those who look at it; without an answer it hangs."""
        for path in (STREAMED, PATH):
            self.engines[name].answers.pop(path)
            if answer is not None:
                self.engines[name].answers[path] = answer

    async def ask(self):
        """How one request ends; its node, for one that was answered."""
        body = {"messages": [{"role": "user", "content": "secret"}]}
        deadline = asyncio.get_running_loop().time() + 20
        job = Job(PATH, body, Requirement(EU, CHAT), deadline, "team")
        text, name = "", ""
        try:
            async for event, node in self.gateway.stream(job):
                name = node.name
                text += serving.text_of(event)
        except (CutShort, NoNodeAnswered, Refused) as error:
            return type(error)
        assert text == "Ada leads"
        return name

    async def load(self):
        """What many clients get, one request after the other each."""

        async def client():
            return [await self.ask() for _ in range(EACH)]

        return [end for ends in await asyncio.gather(*(client() for _ in range(CLIENTS))) for end in ends]


@pytest.fixture
async def rig(client, make_node, monkeypatch):
    monkeypatch.setattr(serving, "_PREFILL_S", 3.0)
    monkeypatch.setattr(serving, "_PREFILL_FACTOR", 0.0)
    async with AsyncExitStack() as stack:
        engines = {name: await stack.enter_async_context(said.openai_server()) for name in "abc"}
        forbidden = await stack.enter_async_context(said.openai_server())
        for engine in (*engines.values(), forbidden):
            engine.answers |= {STREAMED: WHOLE, PATH: TOKEN, "/metrics": METRICS}
        made = Rig(client, make_node, engines, forbidden)
        await made.mesh.refresh()
        yield made
        assert not [body for _, _, body in forbidden.requests if b"secret" in body]
        assert made.gateway.admission._running == 0
        assert not made.gateway._sent


FAULTS = {
    "hangs": {"answer": None},
    "500": {"answer": said.FAILS},
    "garbage": {"answer": said.NOT_HTTP},
    "no stream": {"answer": said.NOT_JSON},
    "slow loris": {"answer": WHOLE, "drip": 0.2},
    "cut before the first token": {"answer": said.stream(end="")},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_with_one_engine_failing_every_request_is_answered_by_the_others(rig, fault):
    await rig.load()
    engine = rig.engines["a"]
    rig.fail("a", FAULTS[fault]["answer"])
    engine.drip = FAULTS[fault].get("drip", 0.0)
    ends = await rig.load()
    assert set(ends) <= {"b", "c"}
    assert len(ends) == CLIENTS * EACH
    assert rig.mesh.snapshot().state("mesh_node:a").status in (Status.DOWN, Status.DEGRADED)
    engine.answers |= {STREAMED: WHOLE, PATH: TOKEN}
    engine.drip = 0.0
    for _ in range(2):
        await rig.mesh.refresh()
    assert rig.mesh.snapshot().state("mesh_node:a").up, "restarted, it may be taken again"


async def test_an_engine_that_cuts_in_mid_stream_ends_its_requests_with_an_error_and_no_other(rig):
    rig.fail("a", said.stream("Ada", end=""))
    ends = await rig.load()
    assert set(ends) <= {"b", "c", CutShort}
    assert 1 <= ends.count(CutShort) <= CLIENTS, "once it was seen to cut, it gets nothing more"


async def test_a_dead_engine_is_left_by_all_once_the_first_has_noticed(rig):
    rig.fail("a", said.SILENT_CUT)
    ends = await rig.load()
    assert set(ends) <= {"b", "c"}
    assert len(ends) == CLIENTS * EACH
    asked = [path for path, _, body in rig.engines["a"].requests if b"secret" in body]
    assert len(asked) <= CLIENTS
    assert rig.mesh.snapshot().state("mesh_node:a").status is Status.DOWN


async def test_metrics_that_vanish_lower_an_engine_and_widen_nothing(rig):
    rig.engines["a"].answers["/metrics"] = said.FAILS
    await rig.mesh.refresh()
    assert rig.mesh.snapshot().state("mesh_node:a").status is Status.DEGRADED
    assert set(await rig.load()) <= {"b", "c"}
    for name in "bc":
        rig.fail(name, said.FAILS)
    assert set(await rig.load()) == {"a"}, "degraded, it is still permitted"


async def test_when_all_permitted_engines_fail_every_request_ends_with_an_error(rig):
    for name in "abc":
        rig.fail(name, said.FAILS)
    ends = await rig.load()
    assert all(isinstance(end, type) for end in ends), ends


async def test_metrics_of_100_mb_are_not_read_and_the_engine_serves_on(rig):
    rig.engines["a"].answers["/metrics"] = said.metrics("x" * 100_000_000)
    await rig.mesh.refresh()
    state = rig.mesh.snapshot().state("mesh_node:a")
    assert (state.status, state.load.running) == (Status.DEGRADED, None)
