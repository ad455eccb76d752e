"""The engine that a test tells what to do, and the sample served with it behind one of its nodes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.inference.openai_server import OpenAIServer, openai_server


@contextmanager
def _in_a_thread() -> Iterator[OpenAIServer]:
    """The test server on an event loop of its own: the tests here ask over HTTP and block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = openai_server()
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[OpenAIServer, OpenAIServer, OpenAIServer]]:
    """Three test servers, which hang until told otherwise."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_in_a_thread()) for _ in range(3))
