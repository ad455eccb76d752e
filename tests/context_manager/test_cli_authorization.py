"""`orgraph check`, `list-objects` and `explain` ask a running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from context_manager.cli import app
from tests.context_manager.conftest import Authorization

EVE = "account:acme/eve"


@pytest.fixture
def orgraph(
    authorization: Authorization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Runs a command as somebody with the data folder of the service would; exit status and output."""
    monkeypatch.setenv("ORGRAPH_PORT", authorization.url.rpartition(":")[2])
    monkeypatch.setenv("ORGRAPH_DATA_FOLDER", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
        return result.exit_code, result.output

    return run


async def test_a_check_ends_with_what_a_script_can_ask(orgraph: Callable[..., Any]) -> None:
    for asker in ("ada", "eve"):
        assert await orgraph("check", EVE, "viewer", "document:handbook", "--as", asker) == (0, "allowed\n")
        assert await orgraph("check", EVE, "viewer", "document:merger", "--as", asker) == (1, "denied\n")
    status, shown = await orgraph("check", EVE, "viewer", "document:handbook", "--as", "ada", "--json")
    assert (status, json.loads(shown)["allowed"]) == (0, True)


async def test_objects_are_listed_line_by_line(orgraph: Callable[..., Any]) -> None:
    assert await orgraph("list-objects", EVE, "viewer", "document", "--as", "eve") == (
        0,
        "document:handbook\n",
    )
    _, shown = await orgraph(
        "list-objects", "account:acme/ada", "viewer", "document", "--as", "ada", "--json"
    )
    assert sorted(json.loads(shown)["objects"]) == ["document:handbook", "document:merger"]


async def test_an_explanation_tells_the_path_or_what_is_missing(orgraph: Callable[..., Any]) -> None:
    _, granted = await orgraph("explain", EVE, "viewer", "document:handbook", "--as", "ada")
    assert granted.startswith("allowed, because\n")
    assert "group:all#member reader collection:open" in granted
    _, denied = await orgraph("explain", EVE, "viewer", "document:merger", "--as", "ada")
    assert denied.startswith("denied; nearest to it\n")
    _, structured = await orgraph("explain", EVE, "viewer", "document:merger", "--as", "ada", "--json")
    assert json.loads(structured)["misses"]


async def test_a_revision_is_waited_for(authorization: Authorization, orgraph: Callable[..., Any]) -> None:
    check = ("check", EVE, "viewer", "document:handbook", "--as", "eve", "--at-least")
    assert await orgraph(*check, authorization.tokens.seal(1)) == (0, "allowed\n")
    status, shown = await orgraph(*check, "7")
    assert (status, "not issued by this service" in shown.replace("\n", " ")) == (1, True)


async def test_what_is_refused_is_said(orgraph: Callable[..., Any]) -> None:
    for arguments, said in (
        (("check", "account:acme/ada", "viewer", "document:merger", "--as", "eve"), "about yourself only"),
        (("check", EVE, "nope", "document:merger", "--as", "ada"), "relation 'document#nope' not found"),
        (("check", EVE, "viewer", "document:merger", "--store", "../x", "--as", "ada"), "StoreId"),
        (("check", EVE, "viewer", "document:merger", "--context", "5"), "expected a JSON object"),
    ):
        status, shown = await orgraph(*arguments)
        assert status == 1
        assert said in shown.replace("\n", " "), shown
