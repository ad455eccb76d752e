"""A great many files: listed, made claims of, and crawled to standing claims, in memory that stays flat.

    python -m benchmarks.files [--quick]

Makes empty files in a temporary folder, a thousand to a folder. They are listed with owners and access
control lists, as a local folder is, and plainly by fsspec, as any other store is. Peak memory of listing
and claims is measured in a process of its own at a tenth of the files and at all of them: the growth is
what counts. Standing claims are written into a fresh embedded Neo4j, of fewer files; the rate is of the
whole path.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from fsspec.implementations.local import LocalFileSystem

from discovery.connectors.table import build
from discovery.runner import Runner
from discovery.sources import OrganizationConfig
from discovery.stores.local import LocalStore
from discovery.stores.remote import RemoteStore
from graph.database import connect
from graph.neo4j_server import start
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes

_FOLDER = 1_000


def make(root: Path, count: int) -> None:
    """`count` empty files, a thousand to a folder, a hundred folders to a folder."""
    for number in range(0, count, _FOLDER):
        folder = root / f"{number // _FOLDER // 100:03}" / f"{number // _FOLDER % 100:02}"
        folder.mkdir(parents=True)
        for file in range(min(_FOLDER, count - number)):
            (folder / f"{file:03}.dat").touch()


def organization(folder: Path) -> OrganizationConfig:
    return OrganizationConfig.model_validate(
        {
            "name": "Files",
            "issuer": "files",
            "administrator": "person:admin",
            "collection": [{"id": "all", "name": "All"}],
            "source": [
                {
                    "name": "files",
                    "connector": "files",
                    "collection": "all",
                    "handling": {},
                    "options": {"url": str(folder)},
                }
            ],
            "folder": folder,
        }
    )


def peak() -> int:
    """MiB of this process, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measured(folder: Path) -> dict[str, float]:
    """In this process: rates of listing, of claims, of finding nothing changed; memory beyond the start."""
    config = organization(folder)
    connector = build(config, config.source[0], {})
    [scope] = connector.scopes()
    before = peak()
    begun = time.perf_counter()
    entries = sum(1 for _ in LocalStore(folder).entries())
    listed = time.perf_counter() - begun
    begun = time.perf_counter()
    by_fsspec = sum(1 for _ in RemoteStore(LocalFileSystem(), str(folder)).entries())
    by_fsspec_s = time.perf_counter() - begun
    if by_fsspec != entries:
        raise SystemExit(f"fsspec lists {by_fsspec} files and folders of {entries}")
    begun = time.perf_counter()
    claims = sum(1 for _ in connector.read(scope))
    read = time.perf_counter() - begun
    return {
        "claims": claims,
        "listed": listed,
        "by_fsspec": by_fsspec_s,
        "read": read,
        "MiB": peak() - before,
    }


def apart(folder: Path) -> dict[str, float]:
    """`measured` in a process of its own, so that nothing else is in its peak."""
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.files", "--measure", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(said.stdout)
    return found


async def standing(folder: Path) -> dict[str, float]:
    """Seconds of a first crawl into a fresh Neo4j, and of a second one that finds nothing changed."""
    config = organization(folder)
    with TemporaryDirectory() as data:
        server = start(Path(data))
        try:
            async with connect(server.uri, server.auth) as database:
                await database.ensure_schema()
                runner = Runner(config, FactStore(database, load_shapes(), load_authorization()), database)
                before = peak()
                first = await runner.run(config.source[0])
                memory = peak() - before
                again = await runner.run(config.source[0])
        finally:
            server.stop()
    for report in (first, again):
        if report.outcome != "complete":
            raise SystemExit(f"the crawl was {report.outcome}: {report.error} {report.scopes[0].why}")
    return {
        "claims": first.scopes[0].claims,
        "first": first.duration.total_seconds(),
        "again": again.duration.total_seconds(),
        "MiB": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", type=Path)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured(arguments.measure)))
        return
    count, written = (50_000, 2_000) if arguments.quick else (1_000_000, 5_000)
    with TemporaryDirectory() as few, TemporaryDirectory() as many, TemporaryDirectory() as graph:
        make(Path(few), count // 10)
        make(Path(many), count)
        make(Path(graph), written)
        tenth, whole = apart(Path(few)), apart(Path(many))
        stood = asyncio.run(standing(Path(graph)))
    figures = {
        "files": count,
        "files_listed_per_s": round(count / whole["listed"]),
        "files_listed_by_fsspec_per_s": round(count / whole["by_fsspec"]),
        "files_to_claims_per_s": round(count / whole["read"]),
        "claims_per_file": round(whole["claims"] / count, 2),
        "peak_MiB_tenth": tenth["MiB"],
        "peak_MiB": whole["MiB"],
        "files_written": written,
        "files_to_standing_claims_per_s": round(written / stood["first"]),
        "claims_standing_per_s": round(stood["claims"] / stood["first"]),
        "unchanged_of_first": round(stood["again"] / stood["first"], 3),
        "writing_MiB": stood["MiB"],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
