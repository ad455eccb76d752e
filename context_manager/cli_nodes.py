"""The commands `orgraph nodes` and `orgraph placement`: the mesh as it is, and why a request went where."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import load_pem_x509_certificate
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from context_manager.audit import verify
from context_manager.cli_support import AsJson, fail, issuer, load_settings_or_exit, out, run, service_url
from context_manager.client import query
from context_manager.core import configured
from context_manager.display import as_table, print_table, printable
from context_manager.node_recipes import RECIPES, joining
from context_manager.placement_log import NotReplayed, replayed
from context_manager.settings import Settings
from discovery.node_statements import LONGEST, SEVERAL, StatementRefused, sign_statement
from inference.placement import Placement

_FIELDS = """id name status why jurisdiction region certifications { name holds } clearance silicon
             models contextLength running waiting kvUse prefillRate decodeRate"""
_LIST = f"{{ nodes {{ {_FIELDS} }} }}"
_DRAIN = f"mutation ($id: ID!) {{ nodes: drainNode(id: $id) {{ {_FIELDS} }} }}"
_RESUME = f"mutation ($id: ID!) {{ nodes: resumeNode(id: $id) {{ {_FIELDS} }} }}"
_COLOURS = {"ready": "green", "degraded": "yellow", "draining": "yellow", "warming": "blue", "down": "red"}
_EVERY_S = 2.0

As = Annotated[str | None, typer.Option("--as", help="Account name of who asks; the administrator, without.")]
NodeId = Annotated[str, typer.Argument(help="Id of a node, or its name.")]

nodes_app = typer.Typer(help="The nodes of the mesh.")
placement_app = typer.Typer(help="Where requests went, and why.", no_args_is_help=True)


@nodes_app.callback(invoke_without_command=True)
def nodes(
    context: typer.Context,
    asker: As = None,
    live: Annotated[bool, typer.Option("--live", help="Go on showing them, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """The nodes of the mesh as they are now."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings_or_exit()
    if as_json:
        typer.echo(json.dumps(run(_ask(settings, asker, _LIST))))
    elif live:
        run(_watch(settings, asker))
    else:
        print_table(out, _table(run(_ask(settings, asker, _LIST)), ids=["Node"]))


@nodes_app.command()
def drain(node: NodeId, asker: As = None) -> None:
    """Send a node nothing new; what it works on it may finish."""
    _operate(_DRAIN, node, asker)


@nodes_app.command()
def resume(node: NodeId, asker: As = None) -> None:
    """Send a node requests again."""
    _operate(_RESUME, node, asker)


@nodes_app.command()
def join(
    name: Annotated[str, typer.Argument(help="What the node is to be called.")] = "NAME",
    silicon: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(RECIPES)}; all of them, without.")
    ] = None,
) -> None:
    """How to run vLLM on a machine and enrol it, for each kind of silicon."""
    if silicon is not None and silicon not in RECIPES:
        fail(f"there is no recipe for {silicon!r}; there are: {', '.join(RECIPES)}")
    settings = load_settings_or_exit()
    service = f"http://{settings.host}:{settings.port}"
    for kind in RECIPES if silicon is None else (silicon,):
        typer.echo(joining(kind, name, service))


@nodes_app.command()
def attest(  # noqa: PLR0913, PLR0917  what a statement says
    name: Annotated[str, typer.Argument(help="Of the node.")],
    fields: Annotated[
        list[str], typer.Argument(help="As jurisdiction=EU; of several values with commas between.")
    ],
    attester: Annotated[str, typer.Option(help="Whose word it is, as sources.toml calls them.")],
    key: Annotated[Path, typer.Option(help="The attester's private key (PEM).", exists=True, dir_okay=False)],
    certificate: Annotated[
        Path, typer.Option(help="The node's TLS certificate (PEM).", exists=True, dir_okay=False)
    ],
    days: Annotated[int, typer.Option(help="How long it holds.", min=1, max=LONGEST.days)] = 90,
) -> None:
    """Say, with an attester's key, where a node is and what it offers: the statement, on standard output."""
    organization = configured(load_settings_or_exit())
    try:
        found = load_pem_x509_certificate(certificate.read_bytes())
        said = {
            "sub": f"mesh_node:{name}",
            "certificate": found.fingerprint(hashes.SHA256()).hex(),
            "node": dict(map(_field, fields)),
        }
        private = key.read_text(encoding="utf-8")
        typer.echo(sign_statement(private, attester, organization.issuer, said, timedelta(days=days)))
    except StatementRefused as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"{certificate} or {key} cannot be read: {error}; expected PEM")


def _field(text: str) -> tuple[str, str | list[str]]:
    name, _, value = text.partition("=")
    return name, value.split(",") if name in SEVERAL else value


@placement_app.command()
def explain(
    ask: Annotated[str, typer.Argument(help="Id of an answer (`id` in GraphQL, `orgraph.id` in /v1).")],
    as_json: AsJson = False,
) -> None:
    """Why a request went where it went: the decision, computed again from what is on record of it."""
    folder = load_settings_or_exit().data_folder
    path = folder / "audit.jsonl"
    found = run(asyncio.to_thread(_records, path, ask))
    if not found:
        fail(f"{path} has no record of {ask!r}; expected the id of an answer that this service gave")
    decisions = [_decision(record) for record in found]
    try:
        again = iter(replayed(folder / "meshes.jsonl", [one for one in decisions if one is not None]))
    except NotReplayed as error:
        fail(f"the decision cannot be computed again: {error}")
    told = [
        (record, one, None if one is None else next(again))
        for record, one in zip(found, decisions, strict=True)
    ]
    if as_json:
        typer.echo(json.dumps([record | _replay(one, placed) for record, one, placed in told]))
    else:
        for record, _, placed in told:
            _show(record, placed)
    if others := [placed for _, one, placed in told if one and placed and one["node"] != _node_of(placed)]:
        fail(
            f"computed again it is {_node_of(others[0])}, which is not what is on record: "
            "the record was made by another version of Orgraph"
        )


def _operate(mutation: str, node: str, asker: str | None) -> None:
    settings = load_settings_or_exit()
    id_ = node if ":" in node else f"mesh_node:{node}"
    print_table(out, _table(run(_ask(settings, asker, mutation, {"id": id_})), ids=["Node"]))


async def _ask(
    settings: Settings, asker: str | None, text: str, variables: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    person = asker or configured(settings).administrator.partition(":")[2]
    token = issuer(settings).mint(person, settings.oidc_audience)
    listed: list[dict[str, Any]] = (await query(service_url(settings), token, text, variables or {}))["nodes"]
    return listed


async def _watch(settings: Settings, asker: str | None) -> None:
    with Live(_table(await _ask(settings, asker, _LIST)), console=out) as shown:
        while True:
            await asyncio.sleep(_EVERY_S)
            shown.update(_table(await _ask(settings, asker, _LIST)))


def _table(listed: Iterable[Mapping[str, Any]], ids: Sequence[str] = ()) -> Table:
    rows = [
        (
            node["name"],
            Text.assemble(
                (node["status"], _COLOURS.get(node["status"], "white")), f" {printable(node['why'])}".rstrip()
            ),
            f"{node['jurisdiction']} {node['region']}, clearance {node['clearance']}",
            Text(", ").join(
                Text(printable(one["name"]), "" if one["holds"] else "strike")
                for one in node["certifications"]
            ),
            node["silicon"],
            ", ".join(node["models"]),
            _known(node["running"], "{} running, ") + _known(node["waiting"], "{} waiting"),
            _known(node["prefillRate"], "{:.0f} in, ") + _known(node["decodeRate"], "{:.0f} out"),
        )
        for node in listed
    ]
    headings = ("Node", "Status", "Where", "Certified", "Silicon", "Models", "Load", "Tokens/s")
    return as_table(headings, rows, ids, title="Mesh")


def _known(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _records(path: Path, ask: str) -> list[dict[str, Any]]:
    """Raises AuditError for a log that is not intact."""
    if not path.is_file():
        return []
    verify(path)
    with path.open(encoding="utf-8") as file:
        return [record for line in file if (record := json.loads(line)).get("ask") == ask]


def _decision(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The placement that decided: of the model, or of the embedding where that was refused."""
    embedding: Mapping[str, Any] | None = record.get("embedding")
    if record.get("placement") is None and embedding is not None and embedding["node"] is None:
        return embedding
    return record.get("placement")


def _node_of(placement: Placement) -> str | None:
    return placement.node.id if placement.node else None


def _replay(record: Mapping[str, Any] | None, placement: Placement | None) -> dict[str, Any]:
    if record is None or placement is None:
        return {}
    verdicts = {
        v.node_id: {"permitted": v.permitted, "up": v.up, "score": v.score, "why": list(v.reasons)}
        for v in placement.verdicts
    }
    node = _node_of(placement)
    return {"replay": {"node": node, "same": node == record["node"], "verdicts": verdicts}}


def _show(record: Mapping[str, Any], placement: Placement | None) -> None:
    out.print(f"[bold]{escape(record['kind'])}[/] {record['at']}")
    if record["kind"] == "closing":
        out.print(f"  {escape(record['outcome'])}, on {escape(str(record['node']))}", soft_wrap=True)
        return
    facts, revision = len(record["facts"]), record["revision"]
    out.print(f"  {escape(str(record['account']))}, {facts} facts, revision {revision}", soft_wrap=True)
    asked = {k: v for k, v in record["decision"]["handling"].items() if v not in (None, [], 0)}
    out.print(f"  handling: {escape(json.dumps(asked)) if asked else 'unrestricted'}", soft_wrap=True)
    if placement is None:
        out.print("  no model was needed")
        return
    for verdict in placement.verdicts:
        mark = "->" if verdict.node_id == _node_of(placement) else "  "
        may = "permitted" if verdict.permitted else "[red]forbidden[/]"
        why = escape(", ".join(verdict.reasons))
        out.print(f"  {mark} {escape(verdict.node_id)}: {may}; {why}", soft_wrap=True)
    if placement.node is None:
        out.print(f"  refused: {escape(placement.refusal())}", soft_wrap=True)
