"""The API keys of nodes that enrol later are known without a restart; a broken file takes none away."""

from pathlib import Path

import pytest

from context_manager.node_keys import NodeKeys
from context_manager.settings import SettingsError


def test_a_key_that_is_added_or_changed_is_known_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('"mesh_node:a" = "first"\n')
    keys = NodeKeys(file, {"mesh_node:managed": "own"})
    assert dict(keys) == {"mesh_node:a": "first", "mesh_node:managed": "own"}
    file.write_text('"mesh_node:a" = "second"\n"mesh_node:b" = "new"\n')
    assert (keys["mesh_node:a"], keys.get("mesh_node:b"), len(keys)) == ("second", "new", 3)


@pytest.mark.parametrize("broken", ["not toml", '"mesh_node:a" = 7\n', None])
def test_what_breaks_the_file_later_leaves_the_keys_and_is_said(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('"mesh_node:a" = "s3cr3t"\n')
    keys = NodeKeys(file, {})
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    assert keys.get("mesh_node:a") == keys.get("mesh_node:a") == "s3cr3t"
    assert caplog.text.count("stay as they were") == 1
    assert "s3cr3t" not in caplog.text


def test_a_file_that_is_broken_at_the_start_is_an_error_and_none_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="node_keys_file"):
        NodeKeys(tmp_path / "missing.toml", {})
    assert dict(NodeKeys(None, {"mesh_node:managed": "own"})) == {"mesh_node:managed": "own"}
