"""The commands that decide about access by hand, and look into it; all through the running service."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from context_manager.cli_support import AsJson, fail, issuer, load_settings_or_exit, out, run, service_url
from context_manager.client import query
from context_manager.core import configured
from context_manager.display import show_table
from context_manager.settings import Settings

Subject = Annotated[str, typer.Argument(help="A person or group: `person:ada`, `group:hr`.")]
Collection = Annotated[str, typer.Argument(help="A collection: `hr` or `collection:hr`.")]
Account = Annotated[str, typer.Argument(help="An account name, or an account's id.")]
Decision = Annotated[str, typer.Argument(metavar="ID", help="A decision's id, as `orgraph access` lists it.")]
Reason = Annotated[str, typer.Option(help="Why; kept on record.")]
Until = Annotated[str | None, typer.Option(help="A time (2026-12-01T08:00Z), or how long (8h, 7d).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell who would gain and who would lose.")]
As = Annotated[str | None, typer.Option("--as", help="Account name of who decides (local issuer).")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the bearer token of who decides.", exists=True, dir_okay=False)
]

DECISION = """id kind subject object reason by agent at until state confirmedBy liftingAskedBy endedBy
  endedAt endedReason toReview reviewedBy finding"""
EFFECTS = "effects { account gains losses }"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def add_access(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("grant", grant),
        ("deny", deny),
        ("revoke", revoke),
        ("confirm", confirm),
        ("access", access),
        ("who-can-see", who_can_see),
        ("preview-sources", preview_sources),
        ("preview-source", preview_source),
        ("preview-model", preview_model),
        ("disable", disable),
        ("enable", enable),
        ("break-glass", break_glass),
        ("close-review", close_review),
    ):
        app.command(name)(command)


def grant(  # noqa: PLR0913, PLR0917  the parts of a decision
    subject: Subject,
    collection: Collection,
    reason: Reason,
    until: Until = None,
    dry_run: DryRun = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Let a person or group view a collection, for good or until a time."""
    service = asked(person, token_file)
    _give_or_deny("grantAccess", subject, collection, reason, until, dry_run, service, as_json)


def deny(  # noqa: PLR0913, PLR0917  as above
    subject: Subject,
    collection: Collection,
    reason: Reason,
    until: Until = None,
    dry_run: DryRun = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Deny a person or group a collection, whoever grants it; no crawl lifts that."""
    service = asked(person, token_file)
    _give_or_deny("denyAccess", subject, collection, reason, until, dry_run, service, as_json)


def revoke(  # noqa: PLR0913, PLR0917  as above
    decision: Annotated[str, typer.Argument(metavar="ID", help="A decision's id; with --all, a subject.")],
    reason: Reason,
    all_: Annotated[bool, typer.Option("--all", help="All that was granted by hand to a subject.")] = False,
    dry_run: DryRun = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take back one grant, lift one denial; or take back all that was granted to a subject."""
    service = asked(person, token_file)
    if all_ and dry_run:
        fail("--dry-run tells of one decision; leave --all out")
    if all_:
        everything = (
            "mutation ($subject: ID!, $reason: String!) { done: revokeAllAccess(subject: $subject, "
            f"reason: $reason) {{ {DECISION} }} }}"
        )
        show_decisions(service.send(everything, subject=decision, reason=reason), as_json)
        return
    text = (
        "mutation ($id: ID!, $reason: String!, $dry: Boolean!) { done: revokeAccess(id: $id, "
        f"reason: $reason, dryRun: $dry) {{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    )
    _show_outcome(service.send(text, id=decision, reason=reason, dry=dry_run), as_json)


def confirm(
    decision: Decision, person: As = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Confirm, as the second person, what another one decided."""
    text = f"mutation ($id: ID!) {{ done: confirmAccess(id: $id) {{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    _show_outcome(asked(person, token_file).send(text, id=decision), as_json)


def access(
    subject: Annotated[str | None, typer.Option(help="Only of this person or group.")] = None,
    collection: Annotated[str | None, typer.Option(help="Only of this collection.")] = None,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """What was decided by hand about what you may decide, oldest first."""
    text = (
        "query ($subject: ID, $collection: ID) { done: accessDecisions(subject: $subject, "
        f"collection: $collection) {{ {DECISION} }} }}"
    )
    at = None if collection is None else _collection(collection)
    show_decisions(asked(person, token_file).send(text, subject=subject, collection=at), as_json)


def who_can_see(
    entity: Annotated[str, typer.Argument(help="An entity's id.")],
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """The accounts that may view an entity."""
    found = asked(person, token_file).send("query ($id: ID!) { done: whoCanSee(id: $id) }", id=entity)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for account in found:
            typer.echo(account)


def preview_sources(person: As = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Who would gain and who would lose if sources.toml took effect as it is now."""
    found = asked(person, token_file).send("query { done: previewSources { account gains losses } }")
    show_effects(found, as_json)


def preview_source(
    name: Annotated[str, typer.Argument(help="A source of sources.toml.")],
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Who would gain and who would lose if a source were crawled as it and its mapping are now."""
    text = "query ($source: String!) { done: previewSource(source: $source) { account gains losses } }"
    show_effects(asked(person, token_file).send(text, source=name), as_json)


def preview_model(
    file: Annotated[Path, typer.Argument(help="An authorization model in OpenFGA's DSL.")],
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Who would gain and who would lose under another authorization model."""
    try:
        model = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        fail(f"{file} cannot be read: {error}")
    text = "query ($model: String!) { done: previewModel(model: $model) { account gains losses } }"
    show_effects(asked(person, token_file).send(text, model=model), as_json)


def disable(
    account: Account, reason: Reason, person: As = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Take all access from an account at once; no crawl gives it back."""
    service = asked(person, token_file)
    text = (
        "mutation ($account: ID!, $reason: String!) { done: disableAccount(account: $account, "
        f"reason: $reason) {{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    )
    _show_outcome(service.send(text, account=service.account(account), reason=reason), as_json)


def enable(
    account: Account, reason: Reason, person: As = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Let an account's own source decide again whether it is enabled."""
    service = asked(person, token_file)
    text = (
        "mutation ($account: ID!, $reason: String!) { done: enableAccount(account: $account, "
        f"reason: $reason) {{ {DECISION} }} }}"
    )
    show_decisions(service.send(text, account=service.account(account), reason=reason), as_json)


def break_glass(  # noqa: PLR0913, PLR0917  as above
    collection: Collection,
    reason: Reason,
    until: Until = None,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take access in an emergency: an alarm, which somebody else reviews."""
    text = (
        "mutation ($collection: ID!, $reason: String!, $until: DateTime) { done: breakGlass(collection: "
        f"$collection, reason: $reason, until: $until) {{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    )
    service = asked(person, token_file)
    made = service.send(text, collection=_collection(collection), reason=reason, until=instant(until))
    _show_outcome(made, as_json)


def close_review(
    decision: Decision,
    finding: Annotated[str, typer.Argument(help="What came of it.")],
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what came of looking into an emergency of somebody else."""
    text = (
        "mutation ($id: ID!, $finding: String!) { done: closeReview(id: $id, finding: $finding) "
        f"{{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    )
    _show_outcome(asked(person, token_file).send(text, id=decision, finding=finding), as_json)


class Asked:
    """The service, asked with somebody's token."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._settings = settings
        self._token = token

    def send(self, text: str, **variables: Any) -> Any:
        """What the service answers as `done`; ends the command when it refuses."""
        return run(query(service_url(self._settings), self._token, text, variables))["done"]

    def account(self, name: str) -> str:
        """A bare name is an account of the organization's issuer."""
        return name if name.startswith("account:") else f"account:{configured(self._settings).issuer}/{name}"


def asked(person: str | None, token_file: Path | None) -> Asked:
    if (person is None) is (token_file is None):
        fail("say who decides: --as ACCOUNT with the local issuer, or --token-file FILE; one of the two")
    settings = load_settings_or_exit()
    if token_file is not None:
        return Asked(settings, token_file.read_text(encoding="utf-8").strip())
    return Asked(settings, issuer(settings).mint(str(person), settings.oidc_audience))


def _give_or_deny(  # noqa: PLR0913, PLR0917  as above
    mutation: str,
    subject: str,
    collection: str,
    reason: str,
    until: str | None,
    dry_run: bool,
    service: Asked,
    as_json: bool,
) -> None:
    text = (
        "mutation ($subject: ID!, $collection: ID!, $reason: String!, $until: DateTime, $dry: Boolean!) "
        f"{{ done: {mutation}(subject: $subject, collection: $collection, reason: $reason, until: $until, "
        f"dryRun: $dry) {{ decision {{ {DECISION} }} {EFFECTS} }} }}"
    )
    made = service.send(
        text,
        subject=subject,
        collection=_collection(collection),
        reason=reason,
        until=instant(until),
        dry=dry_run,
    )
    _show_outcome(made, as_json)


def _collection(name: str) -> str:
    return name if name.startswith("collection:") else f"collection:{name}"


def instant(until: str | None) -> str | None:
    if until is None:
        return None
    if length := re.fullmatch(r"(\d{1,6})([mhd])", until):
        return (datetime.now(UTC) + timedelta(**{_UNITS[length[2]]: int(length[1])})).isoformat()
    try:
        instant = datetime.fromisoformat(until)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        fail(f"--until {until}: expected a time with its zone (2026-12-01T08:00Z), or how long (8h, 7d)")
    return instant.isoformat()


def _show_outcome(outcome: Mapping[str, Any], as_json: bool) -> None:
    if outcome["effects"] is not None:
        show_effects(outcome["effects"], as_json)
    elif as_json:
        typer.echo(json.dumps(outcome["decision"]))
    else:
        show_decisions([outcome["decision"]], as_json)


def show_decisions(decisions: Sequence[Mapping[str, Any]], as_json: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps(decisions))
        return
    rows = [
        (
            one["id"],
            one["kind"].replace("_", " "),
            one["subject"],
            one["object"],
            f"{one['state']}, to review" if one["toReview"] else one["state"],
            one["until"] or "",
            one["by"],
            one["reason"],
        )
        for one in decisions
    ]
    headings = ("Id", "What", "Of", "On", "State", "Until", "By", "Why")
    show_table(out, headings, rows, ids=("Id", "Of", "On", "By"))


def show_effects(effects: Sequence[Mapping[str, Any]], as_json: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps(effects))
        return
    rows = [(one["account"], str(one["gains"]), str(one["losses"])) for one in effects]
    headings, none = ("Account", "Gains", "Loses"), "Nobody gains or loses anything."
    show_table(out, headings, rows, ids=["Account"], title="Entities", none=none)
