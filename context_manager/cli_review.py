"""`orgraph review`: what was extracted from texts and samples, and decisions on it; through the service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from context_manager.cli_access import As, Reason, TokenFile, asked
from context_manager.cli_support import AsJson, out
from context_manager.display import printable

app = typer.Typer(no_args_is_help=True, help="Rules and classifications that were extracted, and decisions.")

Id = Annotated[str, typer.Argument(metavar="ID", help="As `list` has it.")]

_FIELDS = (
    "id source fact about statement quote evidence extractor confidence tightens found decision reason by"
)


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    decided: Annotated[bool, typer.Option("--decided", help="What was decided, instead.")] = False,
    person: As = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """What waits for you to decide."""
    service, after = asked(person, token_file), None
    found: list[Mapping[str, Any]] = []
    text = (
        "query ($source: String, $decided: Boolean!, $after: String) { done: extractions(source: $source, "
        f"decided: $decided, first: 100, after: $after) {{ items {{ {_FIELDS} }} endCursor }} }}"
    )
    while True:
        page = service.send(text, source=source, decided=decided, after=after)
        found += page["items"]
        if (after := page["endCursor"]) is None:
            break
    _show(found, as_json)


@app.command()
def accept(
    id: Id, reason: Reason, person: As = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Answer for it: it is a fact from then on."""
    _decide("acceptExtraction", id, reason, person, token_file, as_json)


@app.command()
def reject(
    id: Id, reason: Reason, person: As = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Say that it is not so: it goes, also where handling rested on it."""
    _decide("rejectExtraction", id, reason, person, token_file, as_json)


def _decide(  # noqa: PLR0913, PLR0917  the parts of a decision
    mutation: str, id: str, reason: str, person: As, token_file: TokenFile, as_json: bool
) -> None:
    text = (
        f"mutation ($id: ID!, $reason: String!) {{ done: {mutation}(id: $id, reason: $reason) "
        f"{{ {_FIELDS} }} }}"
    )
    _show([asked(person, token_file).send(text, id=id, reason=reason)], as_json)


def _show(found: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    for one in found:
        for line in _lines(one):
            out.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if not found:
        out.print("Nothing.")


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    state = one["decision"] or "waits"
    if one["tightens"] and one["decision"] is None:
        state += ", tightens already"
    yield f"{one['id']}  {state}" + ("" if one["found"] else ", not found again")
    yield f"    {one['statement']}"
    if one["quote"]:
        yield f"    “{one['quote']}”"
    yield f"    {one['about']}, by {one['extractor']}, {one['confidence']:.2f} sure"
    if one["decision"]:
        yield f"    {one['decision']} by {one['by']}: {one['reason']}"
