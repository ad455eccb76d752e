"""A real OpenFGA server for the tests of a module that ask one."""

from collections.abc import Iterator

import pytest

from tests.graph.openfga_server import OpenFga, binary, running


@pytest.fixture(scope="module")
def openfga() -> Iterator[OpenFga]:
    command = binary()
    if command is None:
        pytest.skip("needs an openfga binary: name one in OPENFGA, or put it on the PATH")
    with running(command) as server:
        yield server
