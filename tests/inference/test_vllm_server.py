"""The managed vLLM answers in the form asked for, to who has its key, and says why it cannot start."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from pydantic import BaseModel, Field

from inference import vllm_server
from inference.engine_client import EngineClient, NodeAnsweredGarbage, NodeUnreachable
from inference.probe import EngineProbe
from inference.vllm_server import VllmError, VllmServer, VllmSettings


class Cited(BaseModel):
    sentence: str = Field(max_length=80)
    facts: list[str] = Field(max_length=2)


async def chat(engine, node, question, seconds):
    """What the model writes, of the form that it is asked for; and the tokens that it took."""
    form = {"name": "Cited", "schema": Cited.model_json_schema(), "strict": True}
    body = {
        "model": node.models[0],
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 300,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": form},
    }
    deadline = asyncio.get_running_loop().time() + seconds
    answer = await engine.post_json(node, "/v1/chat/completions", body, deadline)
    text = answer["choices"][0]["message"]["content"]
    return Cited.model_validate_json(text), answer["usage"]["completion_tokens"]


@pytest.fixture
async def engine(vllm_node):
    async with aiohttp.ClientSession() as session:
        yield EngineClient(session, {vllm_node.node.id: vllm_node.api_key})


async def test_the_model_keeps_to_the_schema_and_answers_the_same_again(vllm_node, engine):
    cited, tokens = await chat(engine, vllm_node.node, "[f1] Ada leads claims. Who leads?", 120)
    assert cited.sentence
    assert tokens > 0
    again, _ = await chat(engine, vllm_node.node, "[f1] Ada leads claims. Who leads?", 120)
    assert again == cited


async def test_a_probe_finds_the_real_engine_idle_with_its_load_known(vllm_node, engine):
    state = await EngineProbe(engine, seconds=60)(vllm_node.node)
    assert (state.up, state.load.running, state.load.waiting) == (True, 0, 0)


async def test_nobody_is_answered_without_the_key(vllm_node):
    async with aiohttp.ClientSession() as session:
        for keys in ({}, {vllm_node.node.id: "another"}):
            with pytest.raises(NodeAnsweredGarbage, match="HTTP 401; configure its API key"):
                await chat(EngineClient(session, keys), vllm_node.node, "?", 30)


async def test_a_prompt_beyond_the_context_is_refused_and_the_engine_goes_on(vllm_node, engine):
    with pytest.raises(NodeAnsweredGarbage, match=r"HTTP 400; .* too long"):
        await chat(engine, vllm_node.node, "word " * 5000, 60)
    assert (await EngineProbe(engine, seconds=60)(vllm_node.node)).up is True


@pytest.mark.asyncio(loop_scope="session")  # in which its keeper runs
async def test_the_real_engine_that_is_killed_comes_back_and_answers(vllm_node):
    first = vllm_node.pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(400), aiohttp.ClientSession() as session:
        while vllm_node.pid in (None, first):  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.2)
        assert "ended; it is started again" in vllm_node.trouble
        client = EngineClient(session, {vllm_node.node.id: vllm_node.api_key})
        while True:
            with suppress(NodeUnreachable):  # while it starts
                cited, tokens = await chat(client, vllm_node.node, "[f1] Ada leads claims. Who leads?", 120)
                break
            await asyncio.sleep(0.5)
    assert cited.sentence
    assert tokens > 0


def test_the_key_is_not_among_the_arguments_that_every_user_can_read(vllm_node):
    arguments = Path(f"/proc/{vllm_node.pid}/cmdline")
    if not arguments.exists():
        pytest.skip("needs /proc")
    assert vllm_node.api_key.encode() not in arguments.read_bytes()


@pytest.fixture
def server(make_node, free_port, tmp_path):
    """One that is not started yet, with the lines that it says to people."""
    said: list[str] = []
    made = VllmServer(make_node(endpoint=None), VllmSettings(port=free_port), tmp_path / "data", said.append)
    return made, said


async def test_a_taken_port_is_named_before_anything_starts(server):
    managed, _ = server
    port = int(managed.node.endpoint.rpartition(":")[2])
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(VllmError, match=rf"port {port} .*another port"),
    ):
        await managed.start(Path("unused"))
    assert managed.pid is None


async def test_a_missing_package_is_named_with_the_extra_that_has_it(server, monkeypatch):
    monkeypatch.setattr(vllm_server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VllmError, match="extra `cpu`"):
        await server[0].start(Path("unused"))


def run_instead(monkeypatch, script: str) -> None:
    """Have the server start a script in place of the engine: what must end or answer on command."""
    monkeypatch.setattr(VllmServer, "_command", lambda self, _: [sys.executable, "-c", script])


async def test_an_engine_that_ends_early_is_reported_with_the_end_of_its_log(server, monkeypatch):
    run_instead(monkeypatch, "import sys; sys.exit('not enough memory for the cache')")
    managed, _ = server
    with pytest.raises(VllmError, match=r"(?s)exit code 1.*not enough memory for the cache"):
        await managed.start(Path("unused"))
    assert managed.pid is None


ENGINE = """
import http.server, os, sys, time
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if os.path.exists(r"HANGS"):
            time.sleep(600)
        allowed = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        self.answer(200 if allowed else 401, b'{"choices": [{"message": {"content": "."}}]}')
    def do_GET(self):
        global asked
        asked += 1
        self.answer(200, b"vllm:prompt_tokens_total %d\\n" % (asked if os.path.exists(r"BUSY") else 1))
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


def engine_of(managed, folder: Path) -> str:
    """It hangs while the file `hangs` is there; with `busy` it tells all the while that it computes."""
    port = managed.node.endpoint.rpartition(":")[2]
    files = {"HANGS": str(folder / "hangs"), "BUSY": str(folder / "busy")}
    text = ENGINE.replace("PORT", port)
    for name, file in files.items():
        text = text.replace(name, file)
    return text


async def test_an_engine_that_never_completes_a_token_is_ended_and_reported(server, monkeypatch):
    monkeypatch.setattr(vllm_server, "_START_LIMIT", 0.0)
    run_instead(monkeypatch, "import time; time.sleep(600)")
    managed, _ = server
    with pytest.raises(VllmError, match="completed no token"):
        await managed.start(Path("unused"))
    assert managed.pid is None


async def test_a_data_folder_that_cannot_be_written_is_named(make_node, free_port, tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    managed = VllmServer(make_node(), VllmSettings(port=free_port), tmp_path / "data", lambda _: None)
    with pytest.raises(VllmError, match=str(tmp_path)):
        await managed.start(Path("unused"))


async def test_an_engine_that_crashes_is_started_again_and_stopped_in_the_end(server, monkeypatch, tmp_path):
    monkeypatch.setattr(vllm_server, "_BACK_OFF", (0.01,))
    managed, said = server
    run_instead(monkeypatch, engine_of(managed, tmp_path))
    await managed.start(Path("unused"))
    first = managed.pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(30):
        while sum("is ready" in line for line in said) < 2:  # noqa: ASYNC110  it tells by a callback
            await asyncio.sleep(0.02)
    assert managed.pid not in (None, first)
    assert any("ended; it is started again" in line for line in said)
    await managed.stop()
    assert managed.pid is None


async def test_an_engine_that_cannot_come_back_is_tried_on_and_said(server, monkeypatch, tmp_path):
    monkeypatch.setattr(vllm_server, "_BACK_OFF", (0.01,))
    managed, said = server
    run_instead(monkeypatch, engine_of(managed, tmp_path))
    await managed.start(Path("unused"))
    run_instead(monkeypatch, "import sys; sys.exit('the model is gone')")
    os.kill(managed.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while sum("the model is gone" in line for line in said) < 2:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.02)
    await managed.stop()
    assert managed.pid is None


@pytest.fixture
def quick_looks(monkeypatch):
    for name, value in {"_BACK_OFF": (0.01,), "_LOOK": 0.05, "_TOKEN_LIMIT": 1.0, "_MISSES": 2}.items():
        monkeypatch.setattr(vllm_server, name, value)


async def test_an_engine_that_hangs_is_ended_and_started_again_never_two_at_once(
    server, monkeypatch, tmp_path, quick_looks
):
    managed, said = server
    run_instead(monkeypatch, engine_of(managed, tmp_path))
    await managed.start(Path("unused"))
    first = managed.pid
    (tmp_path / "hangs").touch()
    async with asyncio.timeout(60):
        while not any("no token 2 times in a row; it is started again" in line for line in said):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        (tmp_path / "hangs").unlink()
        while sum("is ready" in line for line in said) < 2:  # noqa: ASYNC110  it tells by a callback
            await asyncio.sleep(0.02)
    assert managed.pid not in (None, first)
    await managed.stop()


async def test_an_engine_that_is_only_busy_is_left_alone(server, monkeypatch, tmp_path, quick_looks):
    monkeypatch.setattr(vllm_server, "_TOKEN_LIMIT", 0.3)
    managed, said = server
    run_instead(monkeypatch, engine_of(managed, tmp_path))
    looks = []
    look = vllm_server.done
    monkeypatch.setattr(vllm_server, "done", lambda text: looks.append(text) or look(text))
    await managed.start(Path("unused"))
    first = managed.pid
    (tmp_path / "busy").touch()
    (tmp_path / "hangs").touch()
    seen = len(looks)
    async with asyncio.timeout(60):
        while len(looks) < seen + 6:  # noqa: ASYNC110  it tells by a callback
            await asyncio.sleep(0.02)
    assert managed.pid == first
    assert not any("started again" in line for line in said)
    await managed.stop()


async def test_stopping_in_the_middle_of_a_start_leaves_no_process_and_no_file(server, monkeypatch):
    run_instead(monkeypatch, "import time; time.sleep(600)")
    managed, said = server
    starting = asyncio.create_task(managed.start(Path("unused")))
    while not said:  # noqa: ASYNC110  it tells by a callback
        await asyncio.sleep(0.02)
    pid, scratch = managed.pid, managed._scratch.name
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not os.path.exists(scratch)  # noqa: ASYNC240, PTH110  one look


async def test_what_was_not_started_can_be_stopped(server):
    await server[0].stop()
