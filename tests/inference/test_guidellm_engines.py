"""GuideLLM's mock engines under load, made to fail: nothing is lost, and nothing goes where it must not.

They are processes: they hang (SIGSTOP), die (SIGKILL) and start again as engines do, and answer 500 of
themselves; what else goes wrong is put in on the way. The engines that fail on command in every way are in
`test_faults`; real vLLM is in `test_vllm_server`.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import AsyncExitStack, ExitStack

import pytest

from graph.handling import Handling
from inference import serving
from inference.admission import Admission
from inference.engine_client import EngineClient, engine_session
from inference.mesh import Mesh
from inference.nodes import CHAT, MeshNode, Status
from inference.probe import EngineProbe
from inference.requirement import Requirement
from inference.serving import CutShort, Gateway, Job, NoNodeAnswered, Refused, text_of
from tests.inference import openai_server as said
from tests.inference.faulty_way import faulty_way

COMMAND = shutil.which("guidellm")
pytestmark = pytest.mark.skipif(
    COMMAND is None, reason="needs GuideLLM's command on the PATH (PyPI: guidellm)"
)

PATH = "/v1/chat/completions"
EU = Handling(jurisdictions=frozenset({"EU"}))
SPEED = "--ttft-ms 20 --itl-ms 5 --output-tokens 4 --request-latency 0.02"
CLIENTS = 6


class MockEngine:
    """GuideLLM's mock server on a port of its own."""

    def __init__(self, options=""):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = unused.getsockname()[1]
        self.options = options
        self.begin()

    def begin(self):
        self.process = subprocess.Popen(
            f"{COMMAND} mock-server --port {self.port} --model small {SPEED} {self.options}".split(),
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def await_start(self):
        while True:
            assert self.process.poll() is None, "GuideLLM's mock server ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5):
                    return self
            except OSError:
                time.sleep(0.1)

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def engines():
    """Three, and a fourth that answers 500 from its tenth request on. They start at once."""
    with ExitStack() as stack:
        made = {name: MockEngine() for name in "abc"} | {"d": MockEngine("--fail-after-requests 9")}
        for engine in made.values():
            stack.callback(lambda engine=engine: engine.end())
        yield {name: engine.await_start() for name, engine in made.items()}


class Rig:
    """A gateway before three permitted engines, the first of them over a faulty way, and a forbidden one."""

    def __init__(self, ways, endpoints, forbidden, make_node, client):
        self.ways, self.forbidden = ways, forbidden
        self.sent = Counter()
        self.ends = []
        self.mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), EngineProbe(client, seconds=2))
        nodes = [make_node(name, endpoint=endpoint, price=5) for name, endpoint in endpoints.items()]
        cheap = make_node("us", endpoint=forbidden.endpoint, jurisdiction="US", price=0)
        self.mesh.declare([*nodes, cheap])
        self.gateway = Gateway(client, self.mesh, Admission(slots=32, waiting=(500, 500)))

    async def placed(self, placement):
        self.sent[placement.node.name] += 1

    async def ask(self):
        """How one request ends: the node that answered it whole, or the error."""
        body = {"messages": [{"role": "user", "content": "secret"}]}
        deadline = asyncio.get_running_loop().time() + 30
        job = Job(PATH, body, Requirement(EU, CHAT), deadline, "team", placed=self.placed)
        text, name, finished = "", "", False
        try:
            async for event, node in self.gateway.stream(job):
                text, name = text + text_of(event), node.name
                finished = finished or any(choice["finish_reason"] for choice in event["choices"])
        except (CutShort, NoNodeAnswered, Refused) as error:
            return type(error)
        assert text and finished, "an answer that ends without an error is whole"
        return name

    async def client(self, stop):
        while not stop.is_set():
            self.ends.append(await self.ask())

    async def under_load(self, break_it, until):
        """Break something while clients ask, and go on until `until` says that it is seen; what came then."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self.client(stop))
            await self.reach(lambda: set(self.sent) >= {"a", "b", "c"})
            self.ends.clear()
            break_it()
            await self.reach(until)
            self.sent.clear()
            many = len(self.ends) + 5 * CLIENTS
            await self.reach(lambda: len(self.ends) >= many)
            stop.set()
        return Counter(self.ends)

    async def reach(self, what):
        async with asyncio.timeout(60):
            while not what():  # noqa: ASYNC110  what is awaited is told by no event
                await asyncio.sleep(0.01)

    def noticed(self):
        """That something is wrong with the first engine: while the others are whole, it gets nothing."""
        return self.mesh.snapshot().state("mesh_node:a").status is not Status.READY

    async def back(self):
        for _ in range(2):
            await self.mesh.refresh()
        assert self.mesh.snapshot().state("mesh_node:a").up
        assert await self.ask() in "abc"


@pytest.fixture
async def rig(engines, make_node, monkeypatch):
    monkeypatch.setattr(serving, "_PREFILL_S", 1.0)
    monkeypatch.setattr(serving, "_PREFILL_FACTOR", 0.0)
    async with AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(faulty_way(engines[name].port)) for name in "abc"]
        forbidden = await stack.enter_async_context(said.openai_server())
        forbidden.answers |= {PATH: said.completion("stolen"), "/metrics": said.metrics("")}
        client = EngineClient(await stack.enter_async_context(engine_session()))
        endpoints = {name: way.endpoint for name, way in zip("abc", ways, strict=True)}
        made = Rig(ways, endpoints, forbidden, make_node, client)
        await made.mesh.refresh()
        yield made
        assert not [body for _, _, body in forbidden.requests if b"secret" in body]
        assert made.gateway.admission._running == 0
        assert not made.gateway._sent


async def test_a_hung_engine_is_left_at_its_missed_prefill_deadline_and_nothing_is_lost(rig, engines):
    try:
        ends = await rig.under_load(lambda: engines["a"].send(signal.SIGSTOP), rig.noticed)
        assert rig.sent["a"] == 0, "once the first has noticed, all have left it"
    finally:
        engines["a"].send(signal.SIGCONT)
    assert set(ends) <= {"a", "b", "c", CutShort}
    await rig.back()


async def test_a_killed_engine_is_left_and_taken_again_once_it_was_restarted(rig, engines):
    ends = await rig.under_load(engines["a"].end, rig.noticed)
    assert rig.sent["a"] == 0
    assert set(ends) <= {"a", "b", "c", CutShort}
    assert ends[CutShort] <= CLIENTS, "only what it was writing is cut"
    engines["a"].begin()
    await asyncio.to_thread(engines["a"].await_start)
    await rig.back()


@pytest.mark.parametrize("fault", ["garbage", "cut", "slow loris"])
async def test_what_goes_wrong_on_the_way_ends_with_an_answer_or_an_error(rig, fault):
    def break_it():
        rig.ways[0].fault = fault

    ends = await rig.under_load(break_it, rig.noticed)
    assert rig.sent["a"] == 0
    assert set(ends) <= {"a", "b", "c", CutShort}
    assert ends[CutShort] <= CLIENTS
    rig.ways[0].fault = ""
    await rig.back()


async def test_metrics_that_vanish_under_load_lower_the_engine_and_widen_nothing(rig):
    def break_it():
        rig.ways[0].fault = "no metrics"

    loading = asyncio.create_task(rig.under_load(break_it, rig.noticed))
    await rig.reach(lambda: rig.ways[0].fault)
    await rig.mesh.refresh()
    assert set(await loading) <= {"a", "b", "c"}
    assert rig.sent["a"] == 0, "while others are whole"


async def test_an_engine_that_answers_500_from_some_request_on_is_left(rig, engines):
    broken = rig.ways[0]
    broken.port = engines["d"].port
    ends = await rig.under_load(lambda: None, rig.noticed)
    assert set(ends) <= {"a", "b", "c"}
    assert rig.sent["a"] == 0
    with pytest.raises(urllib.error.HTTPError, match="500"):
        await asyncio.to_thread(_chat, engines["d"].port)


async def test_with_all_permitted_engines_hung_every_request_ends_with_an_error(rig, engines):
    for name in "abc":
        engines[name].send(signal.SIGSTOP)
    try:
        ends = await asyncio.gather(*(rig.ask() for _ in range(CLIENTS)))
    finally:
        for name in "abc":
            engines[name].send(signal.SIGCONT)
    assert set(ends) <= {NoNodeAnswered, Refused}


def _chat(port):
    body = b'{"model": "small", "messages": [{"role": "user", "content": "."}], "max_tokens": 1}'
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{PATH}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
