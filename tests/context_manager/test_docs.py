"""What is written down holds: the README tells of all settings, the map of all modules."""

import re
from pathlib import Path

import pytest

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
