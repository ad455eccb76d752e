"""Fixtures that all rooms share."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from graph.database import Database, connect
from graph.neo4j_server import Neo4jServer, start

pytest_plugins = ["tests.vllm_fixture", "tests.sample_service_fixture"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Inputs of others, beside the checkout; a test that needs them skips without, and says so."""
    folder = Path(os.environ.get("ORGRAPH_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the inputs of others in {folder} (ORGRAPH_SHARED_DATA)")
    return folder


def pytest_configure() -> None:
    """Of a Neo4j that lives for a test, most work would be Java's second compiler."""
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A long text is named by its argument: some are made anew by each worker, whose tests must be the same."""
    return argname if isinstance(val, str | bytes) and len(val) > 60 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """How xdist divides the tests (--dist loadgroup --no-loadscope-reorder): those of the one vLLM go to one
    worker, those of a module to one, and what takes longest is begun first, so that no worker waits at the end.
    """
    for item in items:
        group = item.nodeid.partition("::")[0]
        if "neo4j_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.neo4j)
        if _needs_vllm(item):
            item.add_marker(pytest.mark.model)
            group = "vllm"
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (not _needs_vllm(item), "/resilience/" not in item.nodeid))


def _needs_vllm(item: pytest.Item) -> bool:
    return "vllm_node" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """The one Neo4j of this process, a worker of xdist or all of them; it ends with it, however that ends."""
    server = start(tmp_path_factory.mktemp("data"))
    yield server
    server.stop()


@pytest.fixture
async def neo4j(neo4j_server: Neo4jServer) -> AsyncIterator[Database]:
    """A database with its indexes and counters and nothing else."""
    async with connect(neo4j_server.uri, neo4j_server.auth) as database:
        async with database.driver.session(database=database.name) as session:
            wipe = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS"
            await (await session.run(wipe)).consume()
        await database.ensure_schema()
        yield database
