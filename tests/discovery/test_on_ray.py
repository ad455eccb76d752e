"""The same connectors on a Ray cluster of two workers on this machine: they read, and this process writes."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from discovery.configuration import all_sources
from discovery.readings import in_threads
from discovery.runner import Runner
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes

#: A connector of another package; each of its scopes waits half-way until it is let go on.
PACKAGE = """
import os
import time

from discovery.connector import SourceError
from graph.claims import EntityClaim


class Waiting:
    def __init__(self, folder):
        self.folder = folder

    def scopes(self):
        return tuple(sorted(path.name for path in (self.folder / "scopes").iterdir()))

    def read(self, scope):
        (self.folder / "readers" / f"{scope} {os.getppid()} {os.getpid()}").touch()
        for number in range(1_200):
            while number == 600 and not (self.folder / "go").exists():
                time.sleep(0.02)
            id_ = f"person:{scope}-{number}"
            yield EntityClaim(id_, "Person", "collection:all", {"name": f"Person {number}"}, scope)
        if (self.folder / "scopes" / scope).read_text():
            raise SourceError(f"{scope}: it has ended early; look at it")


def connect(organization, source):
    return Waiting(organization.folder)
"""
SCOPES = ("a", "b", "c", "d")
PEOPLE = 1_200 * len(SCOPES)
LDIF = "dn: uid=ada,dc=x\nobjectClass: inetOrgPerson\nuid: ada\ncn: Ada\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Where workers find that package, as if installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "waiting_connector.py").write_text(PACKAGE)
    metadata = site / "waiting-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: waiting\nVersion: 1\n")
    points = "[orgraph.connectors]\nwaiting = waiting_connector:connect\n"
    (metadata / "entry_points.txt").write_text(points)
    return site


def patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a node half a minute to come up, which it may not have on a busy machine."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster(site) -> Iterator[object]:
    """A head that reads nothing, and two workers with a place each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # so that it stays on the loopback interface
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - it reads the environment

        memory = {"object_store_memory": 80 << 20}
        head = {"num_cpus": 0, "include_dashboard": False, **memory}
        cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            for _ in range(2):
                patiently(lambda: cluster.add_node(num_cpus=1, **memory))
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
async def reader(cluster):
    from discovery.on_ray import on_ray  # noqa: PLC0415 - as above

    async with on_ray(cluster.address) as reader:
        yield reader


@pytest.fixture
def runner_on(neo4j, make_organization, tmp_path):
    for name in ("scopes", "readers"):
        (tmp_path / name).mkdir()
    for scope in SCOPES:
        (tmp_path / "scopes" / scope).write_text("")
    (tmp_path / "x.ldif").write_text(LDIF)
    organization = make_organization(
        tmp_path,
        {"name": "people", "connector": "waiting"},
        {"name": "directory", "connector": "ldif", "grants": ["HAS_ACCOUNT"], "options": {"path": "*.ldif"}},
        {"name": "absent", "connector": "bpmn", "options": {"path": "gone.bpmn"}},
        {"name": "wrong", "connector": "bpmn", "options": {"way": "gone.bpmn"}},
    )
    store = FactStore(neo4j, load_shapes(), load_authorization())
    return lambda reader, **more: Runner(organization, store, neo4j, reader=reader, **more)


def readers(folder: Path) -> list[tuple[str, int, int]]:
    """Scope, raylet and process of each reading so far."""
    found = [path.name.split() for path in (folder / "readers").iterdir()]
    return [(scope, int(raylet), int(process)) for scope, raylet, process in found]


async def people(neo4j) -> int:
    return (await neo4j.read("MATCH (n:Person) RETURN count(n) AS n"))[0]["n"]


async def test_a_source_says_the_same_wherever_it_is_read(reader, runner_on):
    there, here = runner_on(reader), runner_on(in_threads)
    for source in all_sources(there.organization):
        if source.connector == "waiting":
            continue
        told, told_here = await there.run(source), await here.run(source)
        assert (told.outcome, told.error) == (told_here.outcome, told_here.error), source.name
        assert [one.why for one in told.scopes] == [one.why for one in told_here.scopes]
        if told.outcome == "complete":
            assert sum(one.added for one in told.scopes) > 0
            assert [(one.added, one.retracted) for one in told_here.scopes] == [(0, 0)]
    [again] = (await there.run(there.organization.source_named("directory"))).scopes
    assert (again.outcome, again.claims) == ("complete", 0)  # followed from its position


async def test_a_cluster_that_is_not_there_is_said_at_once(free_port):
    from discovery.on_ray import on_ray  # noqa: PLC0415 - as above

    with pytest.raises(ConnectionError, match="no Ray cluster answers"):
        async with on_ray(f"127.0.0.1:{free_port}"):
            pass


async def test_a_worker_that_is_killed_is_replaced_and_takes_nothing_away(
    reader, runner_on, neo4j, tmp_path, cluster
):
    written, two_are_read = set[str](), asyncio.Event()

    def progress(source, scope):
        if source == "people":
            written.add(scope.scope)
        if len(written) == 2:
            two_are_read.set()

    runner = runner_on(reader, progress=progress)
    source = runner.organization.source_named("people")
    await runner.run(all_sources(runner.organization)[0])
    crawl = asyncio.create_task(runner.run(source))
    await asyncio.wait_for(two_are_read.wait(), 300)  # each of them waits, so each has a worker of its own
    (tmp_path / "go").touch()
    first = await crawl
    assert [(one.scope, one.outcome, one.added) for one in first.scopes] == [
        (s, "complete", 1_200) for s in SCOPES
    ]
    assert len({raylet for _, raylet, _ in readers(tmp_path)}) == 2, "one worker has read all"

    (tmp_path / "go").unlink()
    for path in (tmp_path / "readers").iterdir():
        path.unlink()
    written.clear()
    two_are_read.clear()
    crawl = asyncio.create_task(runner.run(source))
    await asyncio.wait_for(two_are_read.wait(), 300)
    assert await others_connected(neo4j) == set(), "somebody else is connected with Neo4j"
    lost, raylet, process = readers(tmp_path)[0]
    for pid in (raylet, process):
        os.kill(pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    second = await crawl

    assert [(one.scope, one.outcome) for one in second.scopes] == [(s, "complete") for s in SCOPES]
    assert sum(one.retracted + one.changed + one.added for one in second.scopes) == 0
    assert await people(neo4j) == PEOPLE
    assert await neo4j.read("MATCH (v:_Version) RETURN v LIMIT 1") == []
    assert len([one for one in readers(tmp_path) if one[0] == lost]) == 2, "it was not read again"
    revisions = await neo4j.read("MATCH (r:_Revision) RETURN r.number AS n ORDER BY n")
    assert [record["n"] for record in revisions] == list(range(1, len(revisions) + 1))

    (tmp_path / "scopes" / "b").write_text("broken")
    third = await runner.run(source)  # on the worker that is left
    assert [one.outcome for one in third.scopes] == ["complete", "failed", "complete", "complete"]
    assert third.scopes[1].why == "b: it has ended early; look at it"
    assert await people(neo4j) == PEOPLE


async def others_connected(neo4j) -> set[str]:
    """Addresses of those that are connected with Neo4j and are not this process."""
    ours = {f"{one.laddr.ip}:{one.laddr.port}" for one in psutil.Process().net_connections() if one.laddr}
    found = await neo4j.read("CALL dbms.listConnections() YIELD clientAddress RETURN clientAddress AS at")
    return {record["at"] for record in found} - ours
