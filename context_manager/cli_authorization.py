"""The commands that ask the authorization API, and `model test`, which needs no service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import typer

from context_manager.at_least import HEADER
from context_manager.cli_support import AsJson, fail, issuer, load_settings_or_exit, out, run, service_url
from context_manager.client import ServiceError
from context_manager.core import configured
from context_manager.display import show_table
from context_manager.openfga_organization import ORGANIZATION_STORE
from context_manager.settings import Settings
from context_manager.store_tests import Outcome, StoreTestError, run_store_tests

User = Annotated[str, typer.Argument(help="An account name, or a user as in a tuple (`type:id`).")]
Relation = Annotated[str, typer.Argument(help="A relation of the authorization model, such as `viewer`.")]
Store = Annotated[str, typer.Option(help="Id of a store; the organization's, without.")]
Context = Annotated[str, typer.Option(help="Context of conditions, as a JSON object.")]
AtLeast = Annotated[str, typer.Option(help="A revision as an answer of GraphQL has it, to wait for.")]
As = Annotated[str | None, typer.Option("--as", help="Account name of who asks; the administrator, without.")]

model = typer.Typer(help="Authorization models.", no_args_is_help=True)


def add_authorization(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check")(check)
    app.command("list-objects")(list_objects)
    app.command("explain")(explain)
    app.add_typer(model, name="model")


def check(  # noqa: PLR0913, PLR0917  the parts of the question
    user: User,
    relation: Relation,
    object: Annotated[str, typer.Argument(help="An object: `type:id`.")],
    store: Store = ORGANIZATION_STORE,
    context: Context = "{}",
    at_least: AtLeast = "",
    asker: As = None,
    as_json: AsJson = False,
) -> None:
    """May the user? Ends with 1 when not, so that a script can ask."""
    settings = load_settings_or_exit()
    body = _question(settings, user, relation, object, context)
    answer = run(_ask(settings, asker, store, "check", body, at_least))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        out.print("allowed" if answer["allowed"] else "denied")
    if not answer["allowed"]:
        raise typer.Exit(1)


def list_objects(  # noqa: PLR0913, PLR0917  the parts of the question
    user: User,
    relation: Relation,
    type_name: Annotated[str, typer.Argument(metavar="TYPE", help="A type of the authorization model.")],
    store: Store = ORGANIZATION_STORE,
    context: Context = "{}",
    at_least: AtLeast = "",
    asker: As = None,
    as_json: AsJson = False,
) -> None:
    """All objects of a type to which the user has the relation."""
    settings = load_settings_or_exit()
    body = {
        "user": _user(settings, user),
        "relation": relation,
        "type": type_name,
        "context": _context(context),
    }
    answer = run(_ask(settings, asker, store, "list-objects", body, at_least))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for name in sorted(answer["objects"]):
            typer.echo(name)


def explain(  # noqa: PLR0913, PLR0917  the parts of the question
    user: User,
    relation: Relation,
    object: Annotated[str, typer.Argument(help="An object: `type:id`.")],
    store: Store = ORGANIZATION_STORE,
    context: Context = "{}",
    at_least: AtLeast = "",
    asker: As = None,
    as_json: AsJson = False,
) -> None:
    """Why the user may: the path that granted; or why not: what came nearest."""
    settings = load_settings_or_exit()
    body = _question(settings, user, relation, object, context)
    answer = run(_ask(settings, asker, store, "explain", body, at_least))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for line in _lines(answer):
            out.print(line, highlight=False, markup=False, soft_wrap=True)


@model.command("test")
def model_test(
    file: Annotated[Path, typer.Argument(help="A file of OpenFGA's store test format (.fga.yaml).")],
    as_json: AsJson = False,
) -> None:
    """Run the tests of a model. Ends with 1 when one fails. Needs no service."""
    try:
        outcomes = run_store_tests(file)
    except StoreTestError as error:
        fail(str(error))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        report = {"passed": len(outcomes) - len(failed), "failed": [_shown(one) for one in failed]}
        typer.echo(json.dumps(report))
    else:
        if failed:
            rows = [(one.test, one.question, str(one.expected), str(one.got)) for one in failed]
            show_table(out, ("Test", "Question", "Expected", "Got"), rows, title="Failed")
        out.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} assertions hold.")
    if failed:
        raise typer.Exit(1)


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    if answer["allowed"]:
        yield "allowed, because"
        for step in answer["path"]:
            yield f"  {_goal(step)}{_tuple(step)}"
        return
    yield "denied; nearest to it" if answer["misses"] else "denied"
    for miss in answer["misses"]:
        detail = f" ({miss['detail']})" if miss["detail"] else ""
        yield f"  {miss['kind'].replace('_', ' ')}: {_goal(miss)}{_tuple(miss)}{detail}"


def _goal(step: Mapping[str, Any]) -> str:
    return f"{step['object']}#{step['relation']}" if step["object"] else "something that you may not see"


def _tuple(step: Mapping[str, Any]) -> str:
    key = step["relationship"]
    return f", by {key['user']} {key['relation']} {key['object']}" if key else ""


def _shown(outcome: Outcome) -> dict[str, Any]:
    return {
        "test": outcome.test,
        "question": outcome.question,
        "expected": outcome.expected,
        "got": outcome.got,
    }


def _question(settings: Settings, user: str, relation: str, object: str, context: str) -> dict[str, Any]:
    return {
        "tuple_key": {"user": _user(settings, user), "relation": relation, "object": object},
        "context": _context(context),
    }


def _user(settings: Settings, user: str) -> str:
    """A bare account name is an account of the organization's issuer."""
    return user if ":" in user else f"account:{configured(settings).issuer}/{user}"


def _context(text: str) -> Any:
    try:
        context = json.loads(text)
    except ValueError:
        context = None
    if not isinstance(context, dict):
        fail(f"--context: expected a JSON object, found {text!r}")
    return context


async def _ask(  # noqa: PLR0913, PLR0917  the parts of the request
    settings: Settings, asker: str | None, store: str, question: str, body: Mapping[str, Any], at_least: str
) -> dict[str, Any]:
    """What the service answers, of the store as it is now. Raises ServiceError."""
    person = asker or configured(settings).administrator.partition(":")[2]
    token = issuer(settings).mint(person, settings.oidc_audience)
    base = service_url(settings)
    headers = {"Authorization": f"Bearer {token}"} | ({HEADER: at_least} if at_least else {})
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{base}/openfga/stores/{quote(store, safe='')}/{question}",
                json={**body, "consistency": "HIGHER_CONSISTENCY"},
                headers=headers,
            ) as response,
        ):
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ServiceError(
            f"no Orgraph answers at {base} ({error}); start it with `orgraph serve`"
        ) from error
    if response.status != 200 or not isinstance(answer, dict):
        raise ServiceError(
            f"{base} answered: {answer.get('message') if isinstance(answer, dict) else answer}"
        )
    return answer
