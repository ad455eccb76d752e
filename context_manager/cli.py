"""The command line: `orgraph`."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from context_manager.cli_access import add_access
from context_manager.cli_authorization import add_authorization
from context_manager.cli_connectors import connector_app, held_app
from context_manager.cli_erasure import add_erasure
from context_manager.cli_export import export_command
from context_manager.cli_identity import app as identity_app
from context_manager.cli_nodes import nodes_app, placement_app
from context_manager.cli_ontology import ontology_commands
from context_manager.cli_quarantine import quarantine_app
from context_manager.cli_review import app as review_app
from context_manager.cli_support import (
    AsJson,
    AsOf,
    ValidAt,
    err,
    fail,
    issuer,
    load_settings_or_exit,
    out,
    run,
    service_url,
)
from context_manager.client import ASK, query, ready
from context_manager.core import configured, open_core
from context_manager.demo import show_demo
from context_manager.display import progress, report_as_json, show_answer, show_crawls, show_table
from context_manager.running import running_service
from context_manager.service import Service, open_service, serve
from context_manager.settings import Settings, describe
from discovery.configuration import all_sources
from discovery.reports import RunReport
from discovery.schedule import in_order
from discovery.sources import load_organization
from graph.epoch import begin_epoch

app = typer.Typer(help="One graph that authorizes and explains.", no_args_is_help=True, add_completion=False)
app.add_typer(ontology_commands, name="ontology")
app.add_typer(connector_app, name="connector")
app.add_typer(held_app, name="held")
app.add_typer(quarantine_app, name="quarantine")
app.command("export")(export_command)
app.add_typer(identity_app, name="identity")
app.add_typer(review_app, name="review")
app.add_typer(nodes_app, name="nodes")
app.add_typer(placement_app, name="placement")
add_authorization(app)
add_access(app)
add_erasure(app)


@app.callback()
def main(verbose: Annotated[bool, typer.Option("--verbose", help="Log what goes on.")] = False) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


@app.command()
def demo() -> None:
    """Bring everything up on the sample organization, ask two questions as two people, then serve."""
    run(_serving(partial(show_demo, out)))


@app.command("serve")
def serve_command() -> None:
    """Serve until Ctrl-C; what is due is crawled first."""

    async def show(service: Service) -> None:
        show_crawls(out, service.crawled)
        out.print(f"Serving on {service.url}; Ctrl-C stops it.")

    run(_serving(show))


@app.command()
def discover(
    source: Annotated[str | None, typer.Argument(help="One source; all, without.")] = None,
    as_json: AsJson = False,
) -> None:
    """Crawl a source now, whether it is due or not."""

    async def work(settings: Settings) -> list[RunReport]:
        organization = load_organization(settings.sources)
        chosen = [one for one in all_sources(organization) if source in (None, one.name)]
        if not chosen:
            organization.source_named(source or "")  # says which there are
        with progress(err) as step:
            async with open_core(settings, step) as core:
                return [await core.runner.run(one) for one in in_order(chosen)]

    reports = run(work(load_settings_or_exit()))
    if as_json:
        typer.echo(json.dumps([report_as_json(report) for report in reports]))
    else:
        show_crawls(out, reports)
    if any(report.outcome == "failed" for report in reports):
        raise typer.Exit(1)


@app.command()
def ask(
    question: str,
    person: Annotated[str, typer.Option("--as", help="Account name of the person who asks.")],
    as_of: AsOf = None,
    valid_at: ValidAt = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running service a question, with a token of the local issuer."""
    settings = load_settings_or_exit()
    token = issuer(settings).mint(person, settings.oidc_audience)
    asked = {"question": question, "asOf": as_of, "validAt": valid_at}
    answer = run(query(service_url(settings), token, ASK, asked))["ask"]
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        show_answer(out, answer)


@app.command()
def token(
    person: Annotated[str | None, typer.Argument(help="Account name of a person.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="For the administrator of the settings.")] = False,
    agent: Annotated[
        str | None, typer.Option(help="Agent that acts for the person; its own token, if no person is named.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="What it is for: read, search, ask, administer, collection:NAME."),
    ] = None,
) -> None:
    """Mint a token of the local issuer."""
    settings = load_settings_or_exit()
    if person is None and agent is not None and not admin:
        typer.echo(issuer(settings).mint(agent, settings.oidc_audience, scope=scope))
        return
    if (person is None) is not admin:
        fail("name a person, or say --admin: one of the two")
    if admin:
        person = run(_administrator(settings))
    typer.echo(issuer(settings).mint(str(person), settings.oidc_audience, agent, scope=scope))


@app.command()
def restored() -> None:
    """The graph was restored from a backup in a way that does not show: suspend all grants until crawled."""

    async def work(settings: Settings) -> None:
        with progress(err) as step:
            async with open_core(settings, step) as core:
                await begin_epoch(core.database, 0)

    run(work(load_settings_or_exit()))
    out.print(
        "Every grant is suspended until its source was crawled again: `orgraph discover`. "
        "Mesh nodes count once they were crawled, or declared, again."
    )


@app.command()
def status(as_json: AsJson = False) -> None:
    """Each setting with its origin, and each part of the running service."""
    settings = load_settings_or_exit()
    running = running_service(settings.data_folder)
    health = run(ready(running.url)) if running else None
    described = describe(settings)
    if as_json:
        listed = [{"name": name, "value": value, "origin": origin} for name, value, origin in described]
        typer.echo(json.dumps({"settings": listed, "service": health}))
        return
    show_table(out, ("Setting", "Value", "Origin"), described, title="Settings")
    if health is None:
        out.print(f"No service runs on {settings.data_folder}.")
        return
    rows = [
        (part["name"], Text("ok", "green") if part["ok"] else Text("down", "red"), part["detail"])
        for part in health["parts"]
    ]
    show_table(out, ("Part", "", "Detail"), rows, title="ready" if health["ready"] else "NOT READY")


async def _serving(show: Callable[[Service], Awaitable[None]]) -> None:
    settings = load_settings_or_exit()
    async with _until_interrupted(), AsyncExitStack() as stack:
        with progress(err) as step:
            service = await stack.enter_async_context(open_service(settings, step))
        await serve(service, partial(show, service))


@asynccontextmanager
async def _until_interrupted() -> AsyncIterator[None]:
    """Ctrl-C and SIGTERM end the block in order; a second one ends at once, and the children with us."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  there is one in any coroutine
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        out.print("Stopping… (once more stops at once)")
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        yield


async def _administrator(settings: Settings) -> str:
    return configured(settings).administrator.partition(":")[2]
