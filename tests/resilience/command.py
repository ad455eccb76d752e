"""`orgraph` as people run it, on a copy of the sample, and what a graph holds for whom."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import neo4j as driver
from typer.testing import CliRunner, Result

from context_manager.cli import app
from discovery.configuration import all_sources
from discovery.sources import load_organization
from graph.database import connect
from graph.neo4j_server import Neo4jServer
from graph.pages import Page, opened
from graph.visibility import Authorizer, standing
from ontologies import load, load_authorization

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "deploy" / "sample"


def copy_of_sample(folder: Path) -> Path:
    """A copy to break; its `sources.toml`."""
    shutil.copytree(SAMPLE, folder)
    return folder / "sources.toml"


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path}: {before!r} stands there {text.count(before)} times"
    path.write_text(text.replace(before, after), encoding="utf-8")


@dataclass(frozen=True)
class Orgraph:
    """The commands on one data folder and one `sources.toml`."""

    data: Path
    sources: Path
    settings: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("ORGRAPH_")}
        own = {"ORGRAPH_DATA_FOLDER": str(self.data), "ORGRAPH_SOURCES": str(self.sources)}
        return others | own | self.settings

    def invoke(self, *arguments: str) -> Result:
        """In this process, which has loaded all that it needs."""
        self.data.mkdir(parents=True, exist_ok=True)
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment())
        try:
            return CliRunner().invoke(app, list(arguments))
        finally:
            os.environ.clear()
            os.environ.update(before)

    def crawl(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """The reports of `orgraph discover --json`, by their source."""
        result = self.invoke("discover", "--json", *arguments)
        assert result.exit_code == 0, result.output
        return {report["source"]: report for report in json.loads(result.stdout)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """As a process of its own, its output in `orgraph.log` of the data folder."""
        self.data.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [Path(sys.executable).parent / "orgraph", *arguments],
                env=self.environment(),
                cwd=self.data,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> Path:
        return self.data / "orgraph.log"


def on(server: Neo4jServer, data: Path, sources: Path, **settings: str) -> Orgraph:
    """The commands on a Neo4j that runs already."""
    data.mkdir(parents=True, exist_ok=True)
    password = data / "neo4j-password"
    password.write_text(server.auth[1])
    return Orgraph(
        data,
        sources,
        {
            "ORGRAPH_NEO4J_URI": server.uri,
            "ORGRAPH_NEO4J_PASSWORD_FILE": str(password),
            "ORGRAPH_VLLM": "false",
            **settings,
        },
    )


def wipe(server: Neo4jServer) -> None:
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        connection.execute_query("MATCH (n) DETACH DELETE n")


def facts(server: Neo4jServer) -> dict[str, list[Any]]:
    """What stands and whose claims it follows from, but for what tells when it was written.

    The number of a page tells that; the claims in it do not.
    """
    with driver.GraphDatabase.driver(server.uri, auth=server.auth) as connection:
        nodes = connection.execute_query(
            """MATCH (n:Entity) OPTIONAL MATCH (a:_Audience {number: n.audience})
               RETURN labels(n) AS labels, a.place AS place, properties(n) AS properties"""
        ).records
        relationships = connection.execute_query(
            """MATCH (a:Entity)-[r]->(b:Entity)
               RETURN a.id AS start, type(r) AS type, b.id AS end, properties(r) AS properties"""
        ).records
        held = connection.execute_query("MATCH (p:_Page) RETURN p {.*} AS row").records
    pages = {page.number: page for page in (opened(record["row"]) for record in held)}
    return {
        "entities": sorted(
            [
                (id := r["properties"]["id"]),
                sorted(r["labels"]),
                r["place"],
                _lasting(r["properties"]),
                _claims(pages, r["properties"], id),
            ]
            for r in nodes
        ),
        "relationships": sorted(
            [
                *(ends := (r["start"], r["type"], r["end"])),
                _lasting(r["properties"]),
                _claims(pages, r["properties"], " ".join(ends)),
            ]
            for r in relationships
        ),
    }


def _lasting(properties: Mapping[str, Any]) -> str:
    kept = {k: v for k, v in properties.items() if k not in ("since", "audience", "embedding", "pages")}
    return json.dumps(kept, sort_keys=True, default=str)


def _claims(pages: Mapping[int, Page], properties: Mapping[str, Any], fact: str) -> list[str]:
    """Those that a fact rests on; of a placement, which nobody claims itself, none."""
    return sorted(
        json.dumps([*page.scope, page.claims[fact].to_row()], sort_keys=True)
        for page in map(pages.__getitem__, properties.get("pages", ()))
    )


def visible(server: Neo4jServer, sources: Path) -> dict[str, frozenset[str]]:
    """The ids of the entities that each account may see."""
    return asyncio.run(_visible(server, sources))


async def _visible(server: Neo4jServer, sources: Path) -> dict[str, frozenset[str]]:
    policies = [source.policy() for source in all_sources(load_organization(sources))]
    now = datetime.now(UTC)
    async with connect(server.uri, server.auth) as database:
        authorizer = Authorizer(database, load(), load_authorization(), policies)
        placed = await database.read("MATCH (n:Entity) RETURN n.id AS id, n.audience AS audience")
        accounts = await database.read("MATCH (a:Account) RETURN a.id AS id")
        seen = {}
        for account in (record["id"] for record in accounts):

            async def look(tx: driver.AsyncManagedTransaction, account: str = account) -> bytes:
                return await authorizer.visible(account, await standing(tx, account, now), now)

            numbers = await database.read_transaction(look)
            seen[account] = frozenset(
                record["id"]
                for record in placed
                if (n := record["audience"]) is not None and n < len(numbers) and numbers[n] == 1
            )
        return seen


def descendants(pid: int) -> dict[int, str]:
    """The command lines of all processes below one, by their ids."""
    parents, lines = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(_status(folder)[1])
                lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended
    found: dict[int, str] = {}
    grown = {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown}
        found |= {child: lines.get(child, "") for child in grown}
    return found


def wait_until_gone(pids: Iterable[int], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    left = list(pids)
    while left := [pid for pid in left if _runs(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return _status(Path("/proc") / str(pid))[0] != "Z"
    except OSError:
        return False


def _status(folder: Path) -> list[str]:
    """Its state and its parent, from /proc."""
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
