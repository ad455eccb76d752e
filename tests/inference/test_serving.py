"""A request is tried on permitted nodes alone, retried before the first token alone, and never lost silently."""

import asyncio
import json

import pytest

from graph.handling import Handling
from inference import serving
from inference.admission import Admission
from inference.engine_client import NodeTimedOut, NodeUnreachable
from inference.mesh import Mesh
from inference.nodes import CHAT, Load, MeshNode, NodeState, Status
from inference.requirement import Requirement
from inference.serving import CutShort, Gateway, Job, NoNodeAnswered, Refused, TooLong, cache_salt
from tests.inference import openai_server as said

PATH = "/v1/chat/completions"
EU = Handling(jurisdictions=frozenset({"EU"}))
WHOLE = said.stream("Ada", " leads")


async def ready(node):
    return NodeState(Status.READY, "", Load(0, 0, prefill_rate=1e6))


@pytest.fixture
async def gateway(client, make_node, server, other_server):
    """Two nodes in the EU, `a` before `b`, and a cheap idle one in the US, where nobody may hear of it."""
    mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), ready)
    mesh.declare(
        [
            make_node("a", endpoint=server.endpoint, price=1),
            make_node("b", endpoint=other_server.endpoint, price=9),
            make_node("us", endpoint="http://127.0.0.1:9", jurisdiction="US", price=0),
        ]
    )
    await mesh.refresh()
    return Gateway(client, mesh)


def job(seconds=5.0, handling=EU, **fields):
    body = {"messages": [{"role": "user", "content": "Who leads?"}], "max_tokens": 5}
    deadline = asyncio.get_running_loop().time() + seconds
    fields = {"requirement": Requirement(handling, CHAT), "team": "t", **fields}
    return Job(PATH, body, deadline=deadline, **fields)


async def text_of(events):
    return "".join([e["choices"][0]["delta"]["content"] async for e, _ in events if e["choices"]])


async def test_a_stream_comes_event_by_event_with_its_node(gateway, server):
    server.answers[PATH] = WHOLE
    events = [(event, node.name) async for event, node in gateway.stream(job())]
    assert [name for _, name in events] == ["a"] * 3
    assert events[-1][0]["usage"]["completion_tokens"] == 2
    assert json.loads(server.requests[0][2])["stream"] is True


@pytest.mark.parametrize(
    "failing",
    [
        said.FAILS,
        said.NOT_JSON,
        said.NOT_HTTP,
        said.SILENT_CUT,
        said.stream(end=""),
        said.stream(end="data: {nonsense\n\n"),
        said.stream(end='data: {"error": {"message": "no"}}\n\n'),
        said.stream(end="data: " + "x" * (2 << 20)),
    ],
)
async def test_before_the_first_token_the_next_permitted_node_is_tried(
    gateway, server, other_server, failing
):
    server.answers[PATH], other_server.answers[PATH] = failing, WHOLE
    assert await text_of(gateway.stream(job())) == "Ada leads"
    assert (len(server.requests), len(other_server.requests)) == (1, 1)


@pytest.mark.parametrize("end", ["", 'data: {"error": {"message": "no"}}\n\n', "data: [1]\n\n"])
async def test_after_the_first_token_a_failure_is_an_error_and_nothing_is_switched(
    gateway, server, other_server, end
):
    server.answers[PATH], other_server.answers[PATH] = said.stream("Ada", end=end), WHOLE
    got = []
    with pytest.raises(CutShort, match=r"broke off: mesh node a .* not whole"):
        async for event, _ in gateway.stream(job()):
            got.append(event)
    assert len(got) >= 1
    assert other_server.requests == []


async def test_a_hung_node_is_left_at_its_missed_prefill_deadline(gateway, server, other_server, monkeypatch):
    monkeypatch.setattr(serving, "_PREFILL_S", 0.2)
    other_server.answers[PATH] = WHOLE
    assert await text_of(gateway.stream(job(60))) == "Ada leads"
    await server.left.wait()
    assert gateway.mesh.snapshot().state("mesh_node:a").status is Status.DOWN


async def test_a_slow_loris_is_left_as_a_hung_node_is(gateway, server, other_server, monkeypatch):
    monkeypatch.setattr(serving, "_PREFILL_S", 0.2)
    server.answers[PATH], server.drip, other_server.answers[PATH] = WHOLE, 0.05, WHOLE
    assert await text_of(gateway.stream(job(60))) == "Ada leads"


async def test_a_node_that_stops_in_mid_stream_is_an_error_at_the_deadline(gateway, server, other_server):
    server.answers[PATH], server.delay = said.stream("Ada", "x" * 500), 60
    with pytest.raises(CutShort) as raised:
        await text_of(gateway.stream(job(0.5)))
    assert isinstance(raised.value.failure, NodeTimedOut)
    assert other_server.requests == []


async def test_when_all_permitted_nodes_fail_each_is_named_and_no_other_was_asked(
    gateway, server, other_server
):
    server.answers[PATH], other_server.answers[PATH] = said.FAILS, said.CUT
    for asked in (gateway.complete(job()), text_of(gateway.stream(job()))):
        with pytest.raises(NoNodeAnswered) as raised:
            await asked
        assert "us" not in {failure.node.name for failure in raised.value.failures}
        assert len(raised.value.failures) == len({f.node.id for f in raised.value.failures})


async def test_without_a_permitted_node_nothing_is_sent(gateway, server, other_server):
    canada = Handling(jurisdictions=frozenset({"CA"}))
    for asked in (gateway.complete(job(handling=canada)), text_of(gateway.stream(job(handling=canada)))):
        with pytest.raises(Refused) as raised:
            await asked
        assert "under the law of CA" in raised.value.placement.refusal()
    assert server.requests == other_server.requests == []


async def test_a_client_that_leaves_ends_the_request_at_the_engine(gateway, server):
    server.answers[PATH], server.delay = said.stream("Ada", "x" * 500), 60
    events = gateway.stream(job(60))
    await anext(events)
    await events.aclose()
    server.delay = 0
    assert gateway.admission._running == 0

    del server.answers[PATH]
    asked = asyncio.create_task(gateway.complete(job(60)))
    server.asked.clear()
    await server.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await server.left.wait()


async def test_the_whole_answer_says_where_it_was_made_and_what_failed(gateway, server, other_server):
    server.answers[PATH], other_server.answers[PATH] = said.FAILS, said.completion("Ada")
    served = await gateway.complete(job())
    assert served.answer["choices"][0]["message"]["content"] == "Ada"
    assert (served.node.name, [f.node.name for f in served.failures]) == ("b", ["a"])


async def test_the_placement_is_on_record_before_a_byte_leaves_and_a_record_that_fails_ends_it(
    gateway, server
):
    server.answers[PATH], seen = said.completion("Ada"), []

    async def placed(placement):
        seen.append((placement.node.name, len(server.requests)))

    await gateway.complete(job(placed=placed))
    assert seen == [("a", 0)]

    async def full(placement):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await gateway.complete(job(placed=full))
    assert len(server.requests) == 1
    assert gateway.admission._running == 0


async def test_a_policy_that_changed_meanwhile_narrows_a_retry_and_never_widens_it(
    gateway, server, other_server
):
    async def nowhere():
        return Handling(jurisdictions=frozenset({"JP"}))

    async def anywhere():
        return Handling()

    server.answers[PATH], other_server.answers[PATH] = said.FAILS, said.completion("Ada")
    with pytest.raises(NoNodeAnswered):
        await gateway.complete(job(recheck=nowhere))
    assert other_server.requests == []
    only_a = Handling(jurisdictions=frozenset({"EU"}))
    assert (await gateway.complete(job(handling=only_a, recheck=anywhere))).node.name == "b"


async def test_a_node_that_begins_to_drain_gets_nothing_new(gateway, server, other_server):
    server.answers[PATH] = other_server.answers[PATH] = said.completion("Ada")
    gateway.mesh.drain("mesh_node:a")
    assert (await gateway.complete(job())).node.name == "b"
    gateway.mesh.resume("mesh_node:a")
    assert (await gateway.complete(job())).node.name == "a"


async def test_three_bad_answers_open_the_breaker_and_two_good_looks_close_it(gateway, server, other_server):
    server.answers[PATH], other_server.answers[PATH] = said.FAILS, said.completion("Ada")
    statuses = []
    for _ in range(2):
        await gateway.complete(job())
        statuses.append(gateway.mesh.snapshot().state("mesh_node:a").status)
    assert statuses == [Status.DEGRADED, Status.DEGRADED]
    assert len(server.requests) == 1, "degraded, it is not taken while another is ready"
    other_server.answers[PATH] = said.FAILS
    for _ in range(2):
        with pytest.raises(NoNodeAnswered):
            await gateway.complete(job())
    assert gateway.mesh.snapshot().state("mesh_node:a").status is Status.DOWN
    await gateway.mesh.refresh()
    assert gateway.mesh.snapshot().state("mesh_node:a").status is Status.DEGRADED
    await gateway.mesh.refresh()
    assert gateway.mesh.snapshot().state("mesh_node:a").status is Status.READY


async def test_what_an_engine_refuses_of_a_request_is_no_failing_of_the_engine(gateway, server, other_server):
    server.answers[PATH] = other_server.answers[PATH] = said.response(b"{}", "400 Bad Request")
    with pytest.raises(NoNodeAnswered):
        await gateway.complete(job())
    assert gateway.mesh.snapshot().state("mesh_node:a").status is Status.READY


async def test_a_prompt_over_every_context_is_refused_by_how_much_and_nothing_is_sent(
    gateway, make_node, server
):
    gateway.mesh.declare([make_node("a", endpoint=server.endpoint, context_length=100)])
    await gateway.mesh.refresh()
    with pytest.raises(TooLong, match=r"at least 250 tokens.* is 100: at least 150 too many"):
        await gateway.complete(job(requirement=Requirement(EU, CHAT, least_tokens=250)))
    assert server.requests == []


def turns(*texts, salt="audience"):
    """A conversation, of four million tokens: what has to be read decides."""
    roles = ("system", "user", "assistant")
    messages = [{"role": roles[min(i, 1 + (i + 1) % 2)], "content": text} for i, text in enumerate(texts)]
    requirement = Requirement(EU, CHAT, prompt_tokens=4_000_000)
    return serving.replace(job(requirement=requirement, salt=salt), body={"messages": messages})


BEGINNING = "The rules of the house. " * 100


async def test_a_node_that_lately_read_the_beginning_is_preferred_for_each_further_turn(
    gateway, server, other_server
):
    server.answers[PATH] = other_server.answers[PATH] = said.completion("Ada")
    gateway.mesh.drain("mesh_node:a")
    assert (await gateway.complete(turns(BEGINNING, "Who leads?"))).node.name == "b"
    gateway.mesh.resume("mesh_node:a")
    further = turns(BEGINNING, "Who leads?", "Ada", "And who follows?")
    assert (await gateway.complete(further)).node.name == "b", "its cache has the beginning"
    assert (await gateway.complete(turns(BEGINNING, "Another"))).node.name == "b"
    assert (await gateway.complete(turns(BEGINNING, "Who leads?", salt="other"))).node.name == "a"
    assert (await gateway.complete(turns("Other rules. " * 100, "Who leads?"))).node.name == "a"


async def test_a_node_that_failed_is_not_thought_to_have_read_anything(gateway, server, other_server):
    server.answers[PATH], other_server.answers[PATH] = said.completion("Ada"), said.FAILS
    gateway.mesh.drain("mesh_node:a")
    for _ in range(2):
        with pytest.raises(NoNodeAnswered):
            await gateway.complete(turns(BEGINNING, "Who leads?"))
    gateway.mesh.resume("mesh_node:a")
    other_server.answers[PATH] = said.completion("Ada")
    await gateway.mesh.refresh()
    assert (await gateway.complete(turns(BEGINNING, "Who leads?"))).node.name == "a"


async def test_a_queue_of_prompts_whose_beginning_is_there_is_short(gateway, server, other_server):
    """Nine of them ahead are read sooner than one whole prompt."""
    server.answers[PATH] = other_server.answers[PATH] = WHOLE
    await text_of(gateway.stream(turns(BEGINNING, "Who leads?")))
    server.delay = 0.3
    await asyncio.gather(*(text_of(gateway.stream(turns(BEGINNING, f"Who? {i}"))) for i in range(9)))
    assert (len(server.requests), other_server.requests) == (10, [])


async def test_the_salt_goes_to_engines_that_know_it_alone(gateway, make_node, server, other_server):
    gateway.mesh.declare(
        [
            make_node("a", endpoint=server.endpoint, engine="vllm"),
            make_node("b", endpoint=other_server.endpoint),
        ]
    )
    await gateway.mesh.refresh()
    server.answers[PATH], other_server.answers[PATH] = said.FAILS, said.completion("Ada")
    await gateway.complete(job(salt="s"))
    assert json.loads(server.requests[0][2])["cache_salt"] == "s"
    assert "cache_salt" not in json.loads(other_server.requests[0][2])


def test_the_salt_is_the_audiences_and_the_handlings_own():
    salts = {
        cache_salt(key, visible, handling)
        for key in (b"k", b"l")
        for visible in (b"\x01", b"\x01\x00", b"\x00\x01")
        for handling in (EU, Handling())
    }
    assert len(salts) == 12
    assert cache_salt(b"k", b"\x01", EU) == cache_salt(b"k", b"\x01", Handling(frozenset({"EU"})))


async def test_a_stranger_that_takes_no_connection_is_left_soon(gateway, make_node, server, monkeypatch):
    gateway.mesh.declare([make_node("b", endpoint="http://127.0.0.1:1")])
    await gateway.mesh.refresh()
    with pytest.raises(NoNodeAnswered) as raised:
        await gateway.complete(job())
    assert isinstance(raised.value.failures[0], NodeUnreachable)


async def test_under_load_with_nodes_failing_no_request_is_lost_and_none_reaches_a_forbidden_node(
    client, make_node, server, other_server
):
    """One node answers badly, then hangs, then comes back; a forbidden one listens all the while."""
    async with said.openai_server() as forbidden:
        forbidden.answers[PATH] = said.completion("stolen")
        mesh = Mesh(MeshNode("mesh_node:orgraph", "orgraph"), ready)
        mesh.declare(
            [
                make_node("a", endpoint=server.endpoint),
                make_node("b", endpoint=other_server.endpoint),
                make_node("us", endpoint=forbidden.endpoint, jurisdiction="US"),
            ]
        )
        await mesh.refresh()
        gateway = Gateway(client, mesh, Admission(slots=16, waiting=(200, 200)))
        other_server.answers[PATH] = said.completion("b")

        async def asks(count):
            return await asyncio.gather(
                *(gateway.complete(job(4, team=f"t{i % 3}")) for i in range(count)), return_exceptions=True
            )

        for behaviour in (said.completion("a"), said.FAILS, said.NOT_HTTP, None, said.CUT):
            if behaviour is None:
                del server.answers[PATH]
            else:
                server.answers[PATH] = behaviour
            outcomes = await asks(20)
            assert all(not isinstance(outcome, BaseException) for outcome in outcomes), outcomes
            await mesh.refresh()
        assert forbidden.requests == []
        assert gateway.admission._running == 0
