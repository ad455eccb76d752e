"""`orgraph erase`, `readmit` and `erasures`, through the running service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from context_manager.cli_access import As, Reason, TokenFile
from context_manager.cli_support import (
    AsJson,
    err,
    fail,
    issuer,
    load_settings_or_exit,
    out,
    run,
    service_url,
)
from context_manager.client import query
from context_manager.display import progress, show_table
from context_manager.running import running_service
from graph.database_copy import rebuild

Person = Annotated[str, typer.Argument(help="A person's id: `person:ada`.")]

_RECEIPT = """erasure subject by began ended found { place count } content { place count }
  remaining { place count } waitsFor notes mentionedBy kept"""


def add_erasure(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(erase)
    app.command()(readmit)
    app.command()(erasures)
    app.command("rebuild-database")(rebuild_database)


def erase(  # noqa: PLR0913, PLR0917  the parts of the decision
    person: Person,
    reason: Reason,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person everywhere, for good; with a receipt, which is in the audit log too."""
    text = (
        "mutation ($person: ID!, $reason: String!, $dry: Boolean!) "
        f"{{ done: erasePerson(person: $person, reason: $reason, dryRun: $dry) {{ {_RECEIPT} }} }}"
    )
    told = _send(as_person, token_file, text, {"person": person, "reason": reason, "dry": dry_run})
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _show(told)


def readmit(
    person: Annotated[str, typer.Argument(help="The id of an erased person, or of an account of theirs.")],
    reason: Reason,
    as_person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Let crawls bring an erased person back; what was denied them by hand is in force again."""
    text = (
        "mutation ($person: ID!, $reason: String!) { done: readmitPerson(person: $person, reason: $reason) }"
    )
    still_out = _send(as_person, token_file, text, {"person": person, "reason": reason})
    if as_json:
        typer.echo(json.dumps(still_out))
        return
    out.print("The next crawl that lists the person brings them back.")
    for one in still_out:
        out.print(
            f"{one} stays out: something was decided about it; readmit it by its own id.", highlight=False
        )


def erasures(as_person: As = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """The receipts of all erasures, from the audit log."""
    found = _send(as_person, token_file, f"query {{ done: erasures {{ {_RECEIPT} }} }}", {})
    if as_json:
        typer.echo(json.dumps(found))
        return
    rows = [
        (
            one["erasure"],
            one["subject"],
            one["by"],
            one["began"],
            one["ended"] or "goes on",
            str(sum(place["count"] for place in one["found"])),
        )
        for one in found
    ]
    headings = ("Erasure", "Of", "By", "Began", "Ended", "Found")
    show_table(out, headings, rows, ids=("Erasure", "Of", "By"))


def rebuild_database() -> None:
    """Write the embedded database anew, so that its files keep nothing that was deleted."""
    settings = load_settings_or_exit()
    if settings.neo4j_uri is not None:
        fail(f"Neo4j at {settings.neo4j_uri} is not run by Orgraph: use its own tools on its files")
    if running_service(settings.data_folder) is not None:
        fail(f"an Orgraph serves on {settings.data_folder}: stop it, and start it afterwards")
    with progress(err) as step:
        count = run(rebuild(settings.data_folder, step))
    out.print(f"{count} nodes were written anew.")


def _send(person: str | None, token_file: Path | None, text: str, variables: Mapping[str, Any]) -> Any:
    if (person is None) is (token_file is None):
        fail("say who decides: --as ACCOUNT with the local issuer, or --token-file FILE; one of the two")
    settings = load_settings_or_exit()
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
    else:
        token = issuer(settings).mint(str(person), settings.oidc_audience)
    return run(query(service_url(settings), token, text, variables))["done"]


def _show(told: Mapping[str, Any]) -> None:
    dry = told["erasure"] is None
    counts = {
        side: {one["place"]: one["count"] for one in told[side]} for side in ("found", "content", "remaining")
    }
    rows = []
    for place in sorted({place for side in counts.values() for place in side}):
        left = counts["remaining"].get(place, 0)
        stays = counts["content"].get(place, 0) + left
        rows.append((place, str(counts["found"].get(place, 0) - left), str(stays or "")))
    headings = ("Place", "Would go" if dry else "Gone", "Stays")
    show_table(out, headings, rows, title=told["subject"])
    for note in told["notes"]:
        out.print(escape(note), highlight=False, soft_wrap=True)
    for id in told["mentionedBy"]:
        out.print(f"mentioned by {escape(id)}", highlight=False, soft_wrap=True)
    for id in told["kept"]:
        out.print(f"{escape(id)} is somebody else's by now, and stays", highlight=False, soft_wrap=True)
    if dry:
        out.print("Nothing was done.")
    elif told["ended"] is None:
        out.print("It goes on.")
    else:
        out.print(f"Erasure {told['erasure']} ended {told['ended']}.", highlight=False, soft_wrap=True)
