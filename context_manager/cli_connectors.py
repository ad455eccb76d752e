"""The commands `orgraph connector` and `orgraph held`: connectors and their conformance; held crawls."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from context_manager.core import Core, open_core
from context_manager.display import progress, show_crawls, show_table
from context_manager.settings import SettingsError, load_settings
from discovery.configuration import all_sources
from discovery.conformance import CannotServeError, findings
from discovery.connector import Connector
from discovery.connectors.table import build, names
from discovery.holds import NothingHeldError, decide, held
from discovery.reports import RunReport
from discovery.scaffold import write_scaffold
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from discovery.specimens import specimen_of
from graph.database import DatabaseError
from graph.neo4j_jars import JarError
from graph.neo4j_server import Neo4jEndedError, Neo4jStartError
from ontologies import OntologyError

T = TypeVar("T")

_EXPECTED = (
    ConfigurationError,
    DatabaseError,
    JarError,
    Neo4jEndedError,
    Neo4jStartError,
    NothingHeldError,
    OntologyError,
    SettingsError,
)

connector_app = typer.Typer(help="Connectors: a list, a new one, and whether one keeps the contract.")
held_app = typer.Typer(help="Crawls that would retract so much that a person must say whether it is gone.")
out = Console()
err = Console(stderr=True)

Source = Annotated[str, typer.Argument(help="Name of a source in sources.toml.")]


@connector_app.command("list")
def list_connectors() -> None:
    """The connectors there are, ours and those that packages register."""
    for name in names():
        typer.echo(name)


@connector_app.command()
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and '-'.")],
    folder: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """Write a package with a connector to begin with, its specimen and its test."""
    try:
        written = write_scaffold(folder, name)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from error
    for path in written:
        typer.echo(path)


@connector_app.command()
def test(
    name: Annotated[str | None, typer.Argument(help="One connector.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every connector there is.")] = False,
) -> None:
    """Run the conformance suite: whatever goes wrong while it reads, nothing may be retracted for it."""
    if (name is None) is not all_:
        raise typer.BadParameter("name a connector, or say --all: one of the two")
    tried = {one: _tried(one) for one in ([name] if name is not None else names())}
    if not all(tried.values()):
        not_run = [one for one, conforms in tried.items() if conforms is None]
        if not_run:
            err.print(f"Not tried, so not known to conform: {', '.join(not_run)}.", highlight=False)
        raise typer.Exit(1)


def _tried(name: str) -> bool | None:
    """Whether it conforms; None where there was nothing to try it on. Says which, and why."""
    try:
        specimen = specimen_of(name)
        with TemporaryDirectory(prefix="orgraph-") as folder:
            found = findings(_connects(name), specimen, Path(folder))
    except (ConfigurationError, CannotServeError) as error:
        typer.echo(f"{name}: not run: {error}")
        return None
    typer.echo(f"{name}: {'conforms' if not found else f'{len(found)} findings'}")
    for finding in found:
        typer.echo(f"  {finding.check}: {finding.says}")
    return not found


def _connects(name: str) -> Callable[[OrganizationConfig, SourceConfig], Connector]:
    def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
        return build(organization, source.model_copy(update={"connector": name}), {})

    return connect


@held_app.command("list")
def list_held() -> None:
    """What waits for a decision."""
    rows = [
        (one.source, one.scope, str(one.gone), str(one.standing), one.why)
        for one in _run(lambda core: held(core.database))
    ]
    headings = ("Source", "Scope", "Would go", "Of", "Why")
    show_table(out, headings, rows, ids=("Source", "Scope"), none="Nothing is held.")


@held_app.command()
def confirm(source: Source) -> None:
    """It is gone: crawl again, and retract at most as many claims as were held."""

    async def work(core: Core) -> RunReport:
        chosen = next((one for one in all_sources(core.organization) if one.name == source), None)
        chosen = chosen or core.organization.source_named(source)  # says which there are
        await decide(core.database, source, "confirmed", getpass.getuser())
        return await core.runner.run(chosen)

    report = _run(work)
    show_crawls(out, [report])
    if report.outcome != "complete":
        raise typer.Exit(1)


@held_app.command()
def drop(source: Source) -> None:
    """It is not gone: keep what stands, and do not ask the same again."""
    for one in _run(lambda core: decide(core.database, source, "dropped", getpass.getuser())):
        typer.echo(f"{one.scope}: {one.standing} claims stay as they are")


def _run(work: Callable[[Core], Awaitable[T]]) -> T:
    """With the graph open; what can be wrong with the surroundings ends the command with a line."""

    async def opened() -> T:
        with progress(err) as step:
            async with open_core(load_settings(), step) as core:
                return await work(core)

    try:
        return asyncio.run(opened())
    except _EXPECTED as error:
        err.print(f"[red]orgraph:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
