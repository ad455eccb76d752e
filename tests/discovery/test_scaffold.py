"""A third party's connector: written by the scaffold, found by its entry point, tested by our suite."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from context_manager.cli import app
from discovery.connectors.table import CONNECTORS, GROUP, build, names
from discovery.scaffold import write_scaffold
from discovery.sources import ConfigurationError
from discovery.specimens import GROUP as SPECIMENS
from graph.claims import EntityClaim


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A scaffold as if installed: on the path, with the entry points of its pyproject.toml."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def install(name, connect="connect", package="one"):
        [project, module, _] = write_scaffold(tmp_path / package, name)
        assert f'[project.entry-points."{GROUP}"]' in project.read_text()
        site = tmp_path / "site"
        metadata = site / f"{package}-1.dist-info"
        metadata.mkdir(parents=True)
        (site / module.name).write_text(module.read_text())
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        points = (
            f"[{GROUP}]\n{name} = {module.stem}:{connect}\n[{SPECIMENS}]\n{name} = {module.stem}:specimen\n"
        )
        (metadata / "entry_points.txt").write_text(points)
        sys.modules.pop(module.stem, None)
        return site / module.name

    return install


def source_of(make_organization, tmp_path, connector):
    declared = {"name": "s", "connector": connector, "options": {"path": "*.json"}}
    organization = make_organization(tmp_path, declared)
    return organization, organization.source[0]


def test_a_scaffold_conforms_as_it_is_and_is_found_by_its_entry_point(installed, make_organization, tmp_path):
    module = installed("wiki-people")
    connector, _ = module.read_text().split("@contextmanager")
    assert len(connector.splitlines()) <= 60
    assert "wiki-people" in names()
    organization, source = source_of(make_organization, tmp_path, "wiki-people")
    (tmp_path / "1.json").write_text('{"people": [{"id": "1", "name": "Ada"}]}')
    [claim] = build(organization, source, {}).read("*.json")
    assert isinstance(claim, EntityClaim)
    result = CliRunner().invoke(app, ["connector", "test", "wiki-people"])
    assert (result.exit_code, result.stdout) == (0, "wiki-people: conforms\n")
    listed = CliRunner().invoke(app, ["connector", "list"]).stdout.split()
    assert {"ldif", "wiki-people"} <= set(listed)


def test_a_scaffold_that_is_installed_is_a_connector_of_the_command(tmp_path):
    """Built as its pyproject.toml says, and installed by pip, beside an Orgraph of another process."""
    [project, *_] = write_scaffold(tmp_path, "wiki-people")
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--target", str(site), str(project.parent)], check=True, capture_output=True)
    assert not (site / "discovery").exists()
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", "from context_manager.cli import app; app()", "connector"]
    for arguments, says in ((["list"], "wiki-people"), (["test", "wiki-people"], "wiki-people: conforms")):
        ran = subprocess.run(
            [*command, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
            capture_output=True,
            text=True,
        )
        assert says in ran.stdout.splitlines()


def test_no_package_takes_the_place_of_another_connector(installed, make_organization, tmp_path):
    installed("ldif")
    organization, source = source_of(make_organization, tmp_path, "ldif")
    assert build(organization, source, {}).__class__.__module__ == CONNECTORS["ldif"].__module__
    installed("wiki", package="two")
    installed("wiki", package="three")
    organization, source = source_of(make_organization, tmp_path, "wiki")
    with pytest.raises(ConfigurationError, match="registered twice"):
        build(organization, source, {})


def test_what_cannot_be_loaded_is_said(installed, make_organization, tmp_path):
    installed("wiki", connect="nosuch")
    organization, source = source_of(make_organization, tmp_path, "wiki")
    with pytest.raises(ConfigurationError, match=r"orgraph_wiki:nosuch cannot be loaded"):
        build(organization, source, {})


@pytest.mark.parametrize("name", ["", "Wiki", "../x", "1x", "a_b"])
def test_a_name_that_is_none_writes_nothing(tmp_path, name):
    result = CliRunner().invoke(app, ["connector", "new", name, "--folder", str(tmp_path)])
    assert result.exit_code != 0
    assert list(tmp_path.iterdir()) == []


def test_new_writes_the_package_once(tmp_path):
    run = lambda: CliRunner().invoke(app, ["connector", "new", "wiki", "--folder", str(tmp_path)])  # noqa: E731
    assert run().exit_code == 0
    assert {path.name for path in (tmp_path / "wiki").iterdir()} == {
        "pyproject.toml",
        "orgraph_wiki.py",
        "test_orgraph_wiki.py",
    }
    assert run().exit_code != 0
