"""A disk that is full: the reason is told, nothing is half written, and once there is room it goes on."""

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from neo4j.exceptions import DatabaseError

from discovery.runner import Runner
from discovery.sources import load_organization
from graph import neo4j_server
from graph.database import connect
from graph.feed import current_revision
from graph.neo4j_server import Neo4jServer, start
from tests.graph.batches import crawl_batches, store_of, whole_batches
from tests.resilience.command import copy_of_sample

pytestmark = pytest.mark.neo4j


@dataclass(frozen=True)
class Small:
    """A file system of its own."""

    folder: Path

    def fill(self, server: Neo4jServer) -> None:
        with (self.folder / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.folder).free)

    def clear(self) -> None:
        (self.folder / "ballast").unlink()


@dataclass(frozen=True)
class Limited:
    """Where none may be mounted: no file of this Neo4j may grow, which it takes in the same way."""

    folder: Path

    def fill(self, server: Neo4jServer) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, 0))

    def clear(self) -> None:
        """The next Neo4j has no such limit."""


Disk = Small | Limited
OWN_NAME = "organization"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield Limited(folder)
        return
    yield Small(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_on_a_full_disk_nothing_is_half_written_and_with_room_it_goes_on(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a Neo4j whose database has a name of its own, as one that was there before may have."""
    own = f"{neo4j_server._CONFIGURATION}initial.dbms.default_database={OWN_NAME}\n"
    monkeypatch.setattr(neo4j_server, "_CONFIGURATION", own)
    organization = load_organization(copy_of_sample(tmp_path / "sample"))
    server = await asyncio.to_thread(start, disk.folder)
    try:
        async with connect(server.uri, server.auth, OWN_NAME) as database:
            await database.ensure_schema()
            store = await store_of(database)
            await crawl_batches(store, 2)
            revision = await current_revision(database)
            disk.fill(server)
            with pytest.raises(DatabaseError, match="Could not append transaction"):
                await crawl_batches(store, 500)
            report = await Runner(organization, store, database).run(organization.source[0])
            assert report.outcome == "failed"
            assert report.error is not None
            assert report.error.startswith("Neo4j failed: ")
            assert "nothing of the batch under way is kept: make room on its disk" in report.error
    finally:
        await asyncio.to_thread(server.stop)
    disk.clear()
    server = await asyncio.to_thread(start, disk.folder)
    try:
        async with connect(server.uri, server.auth, OWN_NAME) as database:
            assert [r["name"] for r in await database.read("CALL db.info() YIELD name")] == [OWN_NAME]
            assert await current_revision(database) >= revision
            written = await whole_batches(database)
            assert 2 <= written < 500
            await crawl_batches(await store_of(database), written + 1)
            assert await whole_batches(database) == written + 1
    finally:
        await asyncio.to_thread(server.stop)
