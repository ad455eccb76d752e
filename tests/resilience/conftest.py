"""The engine that a test tells what to do, and the sample served with it behind one of its nodes."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.inference.openai_server import OpenAIServer, in_a_thread


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[OpenAIServer, OpenAIServer, OpenAIServer]]:
    """Three test servers, which hang until told otherwise."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(in_a_thread()) for _ in range(3))
