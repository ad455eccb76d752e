"""The table of nodes: asked for as the published schema has it, and nothing unknown shown as a figure."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from context_manager.cli_nodes import _DRAIN, _LIST, _RESUME, _table
from graphql import build_schema, parse, validate

SCHEMA = Path(__file__).resolve().parents[2] / "graphql" / "schema.graphql"
NODE = {
    "id": "mesh_node:boston",
    "name": "boston",
    "status": "ready",
    "why": "",
    "jurisdiction": "US",
    "region": "us-east",
    "certifications": [{"name": "HIPAA", "holds": True}, {"name": "[b]SOC2", "holds": False}],
    "clearance": 2,
    "silicon": "cpu",
    "models": ["small"],
    "running": 3,
    "waiting": 0,
    "prefillRate": 61.4,
    "decodeRate": 4.4,
}
UNKNOWN = {
    **NODE,
    "name": "frankfurt",
    "status": "down",
    "why": "connection refused",
    **dict.fromkeys(("running", "waiting", "prefillRate", "decodeRate")),
}


@pytest.mark.parametrize("text", [_LIST, _DRAIN, _RESUME])
def test_what_is_asked_is_in_the_published_schema(text: str) -> None:
    assert validate(build_schema(SCHEMA.read_text(encoding="utf-8")), parse(text)) == []


def test_the_table_shows_what_is_known_and_leaves_open_what_is_not() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(_table([NODE, UNKNOWN]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    boston, frankfurt = (
        next(line for line in shown.splitlines() if n in line) for n in ("boston", "frankfurt")
    )
    for words in (
        "ready",
        "US us-east, clearance 2",
        "HIPAA, [b]SOC2",
        "3 running, 0 waiting",
        "61 in, 4 out",
    ):
        assert words in boston
    assert "down connection refused" in frankfurt
    assert "running" not in frankfurt
