"""`orgraph identity`: which entities are one, as it is proposed and decided; through the running service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from context_manager.cli_access import (
    DECISION,
    EFFECTS,
    Account,
    As,
    Asked,
    DryRun,
    Reason,
    TokenFile,
    Until,
    asked,
    instant,
    show_decisions,
    show_effects,
)
from context_manager.cli_support import AsJson, out
from context_manager.display import show_table

app = typer.Typer(no_args_is_help=True, help="Which entities are one: what is proposed, and decisions.")

One = Annotated[str, typer.Argument(help="An entity's id: `person:ada`.")]
Other = Annotated[str, typer.Argument(help="Another of the same class.")]
About = Annotated[str | None, typer.Option(help="Only of this entity.")]

_PAGE = 100
_PREVIEW = (
    "query ($kept: ID!, $other: ID!) { done: previewMerge(kept: $kept, other: $other) "
    "{ together { id name sameAs sources values { label value } } told } }"
)
_DECISION = "id kind kept other reason by agent at stands endedBy endedAt endedReason"


@app.command("list")
def list_(
    about: About = None,
    decided: Annotated[bool, typer.Option("--decided", help="What was decided, instead.")] = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Pairs that may be one and wait for a decision, the best first."""
    service = asked(person, token_file)
    if decided:
        _show_decisions(_decided(service, about), as_json)
        return
    text = (
        "query ($about: ID) { done: identityProposals(about: $about, first: 100) "
        "{ one { id name } other { id name } score evidence } }"
    )
    found = service.send(text, about=about)
    if as_json:
        typer.echo(json.dumps(found))
        return
    rows = [
        (
            *(cell for end in (one["one"], one["other"]) for cell in (end["id"], end["name"])),
            f"{one['score']:.2f}",
            "; ".join(one["evidence"]),
        )
        for one in found
    ]
    headings = ("One", "Its name", "Other", "Its name", "Score", "Evidence")
    show_table(out, headings, rows, ids=("One", "Other"))


@app.command()
def merge(  # noqa: PLR0913, PLR0917  the parts of a decision
    kept: One,
    other: Other,
    reason: Reason,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would change.")] = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Let two be told as one; the first one's name leads. Nobody sees more for it."""
    service = asked(person, token_file)
    if dry_run:
        _show_preview(service.send(_PREVIEW, kept=kept, other=other), as_json)
        return
    text = (
        "mutation ($kept: ID!, $other: ID!, $reason: String!) "
        f"{{ done: mergeEntities(kept: $kept, other: $other, reason: $reason) {{ {_DECISION} }} }}"
    )
    made = service.send(text, kept=kept, other=other, reason=reason)
    _show_decisions([made], as_json)


@app.command()
def reject(  # noqa: PLR0913, PLR0917  as above
    one: One,
    other: Other,
    reason: Reason,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Say that two that are proposed are not one."""
    text = (
        "mutation ($one: ID!, $other: ID!, $reason: String!) "
        f"{{ done: rejectProposal(one: $one, other: $other, reason: $reason) {{ {_DECISION} }} }}"
    )
    made = asked(person, token_file).send(text, one=one, other=other, reason=reason)
    _show_decisions([made], as_json)


@app.command()
def undo(
    decision: Annotated[str, typer.Argument(metavar="ID", help="A merge's id, as `list --decided` has it.")],
    reason: Reason,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a merge back: all is told as before it."""
    text = (
        "mutation ($id: ID!, $reason: String!) "
        f"{{ done: undoMerge(id: $id, reason: $reason) {{ {_DECISION} }} }}"
    )
    _show_decisions([asked(person, token_file).send(text, id=decision, reason=reason)], as_json)


@app.command()
def link(  # noqa: PLR0913, PLR0917  as above
    of: Annotated[str, typer.Argument(metavar="PERSON", help="A person's id.")],
    account: Account,
    reason: Reason,
    until: Until = None,
    dry_run: DryRun = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Say whose an account is, where no source does. What it gains waits for `orgraph confirm ID`."""
    service = asked(person, token_file)
    text = (
        "mutation ($of: ID!, $account: ID!, $reason: String!, $until: DateTime, $dry: Boolean!) "
        "{ done: linkAccount(person: $of, account: $account, reason: $reason, until: $until, dryRun: $dry) "
        f"{{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    )
    found = service.send(
        text, of=of, account=service.account(account), reason=reason, until=instant(until), dry=dry_run
    )
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_effects(found["effects"])
    if found["decision"] is not None:
        show_decisions([found["decision"]])


def _decided(service: Asked, about: str | None) -> list[Mapping[str, Any]]:
    text = (
        "query ($about: ID, $after: ID) "
        f"{{ done: identityDecisions(about: $about, first: {_PAGE}, after: $after) {{ {_DECISION} }} }}"
    )
    found: list[Mapping[str, Any]] = []
    while page := service.send(text, about=about, after=found[-1]["id"] if found else None):
        found += page
        if len(page) < _PAGE:
            break
    return found


def _show_preview(preview: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(preview))
        return
    together = preview["together"]
    rows = [(value["label"], ", ".join(value["value"])) for value in together["values"]]
    rows.append(("by", ", ".join(together["sources"])))
    rows.append(("told to", "\n".join(preview["told"]) or "nobody whom you see"))
    show_table(out, ("Told of both", ""), rows, title=together["name"])
    out.print("Nobody's access changes.")


def _show_decisions(decisions: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(decisions))
        return
    rows = [
        (
            one["id"],
            one["kind"],
            one["kept"],
            one["other"],
            "yes" if one["stands"] else f"undone: {one['endedReason']}",
            one["by"],
            one["reason"],
        )
        for one in decisions
    ]
    headings = ("Id", "What", "Kept", "Other", "Stands", "By", "Why")
    show_table(out, headings, rows, ids=("Id", "Kept", "Other", "By"))
