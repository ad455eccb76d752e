"""`orgraph ontology`: whether the ontology's files agree, those of the organization among them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from context_manager.cli_support import AsJson, err, fail, load_settings_or_exit, out, run
from context_manager.display import progress
from context_manager.ontology_migration import migrate_ontology
from discovery.sources import ConfigurationError, load_organization
from ontologies.finding import Finding
from ontologies.loader import Parts, assemble
from ontologies.smallest import contradictions

ontology_commands = typer.Typer(
    help="The ontology: its modules and whether they agree.", no_args_is_help=True
)


@ontology_commands.callback()
def ontology() -> None:
    """The ontology: its modules and whether they agree."""


@ontology_commands.command()
def check(
    as_json: AsJson = False,
) -> None:
    """Prove that modules, shapes, authorization model and bindings agree; exit status 1 when they do not."""
    try:
        organization = load_organization(load_settings_or_exit().sources)
    except ConfigurationError as error:
        fail(str(error))
    parts = assemble(organization.ontology_files())
    findings = all_findings(parts)
    if as_json:
        modules = [asdict(module) for module in parts.files.modules]
        typer.echo(json.dumps({"modules": modules, "findings": [asdict(one) for one in findings]}))
    else:
        _show(parts, findings)
    if findings:
        raise typer.Exit(1)


@ontology_commands.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only try it on a copy.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the facts to the ontology's present version: tried on a copy first. While none serves."""
    with progress(err) as step:
        chains = run(migrate_ontology(load_settings_or_exit(), step, dry_run=dry_run))
    done = [one for chain in chains for one in chain]
    if as_json:
        typer.echo(json.dumps([{"module": m.module, "from": m.before, "to": m.after} for m in done]))
        return
    for one in done:
        out.print(
            f"{one.module}: {one.before} to {one.after}, {len(one.steps)} steps",
            highlight=False,
            soft_wrap=True,
        )
    said = "It fits: run it without --dry-run." if dry_run else "All facts are of the present version."
    out.print(said if done or not dry_run else "There is nothing to migrate.")


def all_findings(parts: Parts) -> list[Finding]:
    """What the parts found themselves; if nothing, what the reasoner finds, which takes seconds."""
    if parts.findings or parts.ontology is None or parts.shapes is None:
        return list(parts.findings)
    return contradictions(parts.files.owl, parts.ontology, parts.shapes, parts.files.where)


def _show(parts: Parts, findings: list[Finding]) -> None:
    for module in parts.files.modules:
        out.print(f"{module.iri} {module.version} ({module.file})", highlight=False, soft_wrap=True)
    for one in findings:
        place = ": ".join(part for part in (one.file, one.term) if part)
        out.print(f"[red]{escape(place)}[/]: {escape(one.expected)}", highlight=False, soft_wrap=True)
        out.print(f"    {escape(one.action)}", highlight=False, soft_wrap=True)
    out.print(f"{len(findings)} findings" if findings else "All parts agree.")
