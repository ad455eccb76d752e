"""What is written down holds: the README tells of all settings, the map of all modules; commands exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from context_manager.cli import app
from context_manager.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_lists_each_setting() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Settings\n")[1].split("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(Settings.model_fields)


@pytest.mark.parametrize("room", ["context_manager", "discovery", "inference", "graph", "ontologies"])
def test_the_map_lists_each_module_of_a_room(room: str) -> None:
    map_ = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"`([\w/]+)`", map_.split(f"### {room}\n")[1].split("\n#")[0])
    modules = {path.stem for path in (ROOT / room).rglob("*.py")} - {"__init__"}
    assert modules - set(listed) == set()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_lead_to_files(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


COMMAND = re.compile(
    r"^    (?:\.venv/bin/)?orgraph (.+)$|\$\((?:\.venv/bin/)?orgraph ([^)]+)\)", re.MULTILINE
)


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{d}.md" for d in ("discovery", "identity", "ontology"))]
)
def test_commands_are_understood_as_they_are_written_down(document: str) -> None:
    written = COMMAND.findall((ROOT / document).read_text(encoding="utf-8"))
    assert written
    for alone, within in written:
        command, arguments = typer.main.get_command(app), shlex.split(alone or within, comments=True)
        while hasattr(command, "commands") and arguments and arguments[0] in command.commands:
            command = command.commands[arguments.pop(0)]
        assert not hasattr(command, "commands") or arguments[0].startswith("-"), (
            f"no such command: {alone or within}"
        )
        command.make_context(alone or within, arguments)


def test_the_commands_that_the_readme_says_print_json_do() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [sentence] = re.findall(r"^(.+) print JSON with `--json`", text, re.MULTILINE)
    for name in re.findall(r"`([\w -]+)`", sentence):
        command = typer.main.get_command(app)
        for word in name.split():
            command = command.commands[word]
        within = (
            [command]
            if not getattr(command, "commands", {}) or name == "nodes"
            else command.commands.values()
        )
        for one in within:
            assert "--json" in {option for parameter in one.params for option in parameter.opts}, one.name
