"""The command `orgraph quarantine`: what the gate keeps out, and trying it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from context_manager.cli_support import AsJson, err, fail, load_settings_or_exit, out, run
from context_manager.core import open_core
from context_manager.display import progress, report_as_json, show_crawls
from context_manager.settings import Settings
from discovery.configuration import all_sources
from discovery.reports import RunReport
from discovery.retry import NothingQuarantinedError, retry
from graph.quarantine import Quarantined, quarantined

quarantine_app = typer.Typer(help="What sources say and the gate keeps out, with the reason.")


@quarantine_app.command("list")
def list_quarantined(
    source: Annotated[str | None, typer.Argument(help="One source; all, without.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is kept out: of which source and entity, by which shape or rule, for which value."""

    async def work(settings: Settings) -> Sequence[Quarantined]:
        with progress(err) as step:
            async with open_core(settings, step) as core:
                if source not in {None, *(one.name for one in all_sources(core.organization))}:
                    core.organization.source_named(source or "")  # says which there are
                return await quarantined(core.database, source)

    found = run(work(load_settings_or_exit()))
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in found]))
        return
    for one in found:
        told = one.violation
        lines = (
            f"{told.source}: {told.entity} ({one.evidence})",
            f"    {told.value}: {told.message} ({told.shape})",
        )
        for line in lines:
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found:
        out.print("Nothing is quarantined.")


@quarantine_app.command("retry")
def retry_command(
    source: Annotated[str, typer.Argument(help="Name of a source in sources.toml.")], as_json: AsJson = False
) -> None:
    """Read again what something was kept out of, changed or not, once its cause is mended."""

    async def work(settings: Settings) -> RunReport:
        with progress(err) as step:
            async with open_core(settings, step) as core:
                chosen = next((one for one in all_sources(core.organization) if one.name == source), None)
                return await retry(core.runner, chosen or core.organization.source_named(source))

    try:
        report = run(work(load_settings_or_exit()))
    except NothingQuarantinedError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(report_as_json(report)))
    else:
        show_crawls(out, [report])
        out.print(f"{len(report.violations)} claims of {escape(source)} are still kept out.", highlight=False)
    if report.outcome == "failed":
        raise typer.Exit(1)


def _as_json(one: Quarantined) -> dict[str, Any]:
    told = one.violation
    return {
        "source": told.source,
        "scope": one.scope,
        "entity": told.entity,
        "about": list(one.ends),
        "shape": told.shape,
        "value": told.value,
        "expected": told.message,
        "evidence": one.evidence,
    }
