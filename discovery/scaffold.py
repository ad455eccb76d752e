"""A new connector to begin with: a package that reads its specimen and passes the conformance suite."""

from __future__ import annotations

import re
from pathlib import Path

from discovery.sources import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9-]*")


def write_scaffold(folder: Path, name: str) -> list[Path]:
    """The files of a package for the connector `name` in `folder/name`.

    Raises ConfigurationError for a name that is none, or a folder that is there.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"expected a name of lower-case letters, digits and '-', found {name!r}")
    root, module = folder / name, f"orgraph_{name.replace('-', '_')}"
    if root.exists():
        raise ConfigurationError(f"{root} is there already; name another folder or remove it")
    written = []
    for template, text in _FILES.items():
        path = root / template.format(module=module)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("MODULE", module).replace("NAME", name), encoding="utf-8")
        written.append(path)
    return written


_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "orgraph-NAME"
version = "0.1.0"
dependencies = ["orgraph"]

[project.entry-points."orgraph.connectors"]
NAME = "MODULE:connect"

[project.entry-points."orgraph.specimens"]
NAME = "MODULE:specimen"

[tool.hatch.build.targets.wheel]
packages = ["MODULE.py"]
"""

_MODULE = '''\
"""People from a folder of JSON pages: `{"people": [{"id": "1", "name": "Ada"}]}`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from discovery.conformance import Specimen
from discovery.connector import Connector, Item, Problem
from discovery.files import UnreadableError, find, locate, read_bytes
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import EntityClaim, entity_id


class NewOptions(Options):
    path: str
    """A file or a glob."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    return NewConnector(organization, source, parse_options(NewOptions, source))


@dataclass(frozen=True)
class NewConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: NewOptions

    def scopes(self) -> Sequence[str]:
        return (self.options.path,)

    def read(self, scope: str) -> Iterator[Item]:
        parts = Parts(self.organization, self.source)
        for found in find(locate(self.organization, scope)):
            if isinstance(found, Problem):
                yield found
                continue
            path, name = found
            try:
                # read_bytes turns a page; around other I/O call discovery.pages.turn yourself.
                people = json.loads(read_bytes(path))["people"]
                for person in people:
                    id_ = entity_id("person", str(person["id"]))
                    values = {"name": str(person["name"])}
                    yield EntityClaim(id_, "Person", parts.collection(id_), values, f"{name} {person['id']}")
            except (UnreadableError, ValueError, KeyError, TypeError) as error:
                yield Problem(name, f"expected a page of people: {error}; export it again")


@contextmanager
def specimen(folder: Path) -> Iterator[Specimen]:
    """Two pages, for `orgraph connector test NAME`."""

    def write(page: str, *people: tuple[str, str]) -> None:
        records = [{"id": id_, "name": name} for id_, name in people]
        (folder / page).write_text(json.dumps({"people": records}))

    def rename() -> None:
        write("1.json", ("1", "Ada L."))

    def move() -> None:
        (folder / "1.json").rename(folder / "3.json")

    def repeat() -> None:
        write("4.json", ("2", "Bob"))

    write("1.json", ("1", "Ada"))
    write("2.json", ("2", "Bob"))
    yield Specimen({"path": "*.json"}, frozenset({"person:1"}), rename, move, repeat)
'''

_TEST = """\
from discovery.conformance import findings
from MODULE import connect, specimen


def test_it_keeps_the_contract_of_connectors(tmp_path):
    assert findings(connect, specimen, tmp_path) == []
"""

_FILES = {"pyproject.toml": _PROJECT, "{module}.py": _MODULE, "test_{module}.py": _TEST}
