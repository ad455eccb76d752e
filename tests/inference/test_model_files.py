"""The packaged model is converted once; whatever cut a conversion short, what is used is whole."""

import json
import sys

import pytest

from inference import model_files
from inference.model_files import ModelFilesError, ensure_model


@pytest.fixture
def converter(monkeypatch, tmp_path):
    """The command that converts writes a small file; the real conversion is in the tests with the model."""
    script = tmp_path / "converter.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from inference import model_files as m\n"
        "def convert(gguf, folder):\n"
        "    m._say('writing'); (folder / 'model.safetensors').write_bytes(gguf.read_bytes()[:9])\n"
        "m._convert = convert\n"
        "m._convert_once(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))\n"
    )
    real = model_files.ChildProcess

    def start(command, log, **rest):
        return real([sys.executable, str(script), *command[3:]], log, **rest)

    monkeypatch.setattr(model_files, "ChildProcess", start)
    return script


async def test_the_second_start_converts_nothing(converter, tmp_path):
    said = []
    folder = await ensure_model(tmp_path / "cache", said.append)
    assert said[0].startswith("converting SmolLM2")
    written = (folder / "model.safetensors").stat().st_mtime_ns
    said.clear()
    assert await ensure_model(tmp_path / "cache", said.append) == folder
    assert said == []
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["cut", "gone", "no stamp", "broken stamp", "stamp of nothing", "older"])
async def test_what_is_not_whole_or_of_another_version_is_converted_again(converter, tmp_path, damage):
    folder = await ensure_model(tmp_path / "cache", lambda _: None)
    model, stamp = folder / "model.safetensors", folder / "converted.json"
    whole, valid = model.read_bytes(), json.loads(stamp.read_text())
    if damage == "cut":
        model.write_bytes(whole[:-1])
    elif damage == "gone":
        model.unlink()
    elif damage == "no stamp":
        stamp.unlink()
    elif damage == "broken stamp":
        stamp.write_text("[")
    elif damage == "stamp of nothing":
        stamp.write_text(json.dumps(valid | {"sizes": {}}))
    else:
        stamp.write_text(json.dumps(valid | {"source": "of an older package"}))
    assert await ensure_model(tmp_path / "cache", lambda _: None) == folder
    assert model.read_bytes() == whole
    assert json.loads(stamp.read_text()) == valid


async def test_what_a_killed_conversion_left_is_cleared_away(converter, tmp_path):
    folder = await ensure_model(tmp_path / "cache", lambda _: None)
    leftover = folder.with_name(f"{folder.name}.tmpabc")
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    (folder / "converted.json").unlink()
    await ensure_model(tmp_path / "cache", lambda _: None)
    assert not leftover.exists()


async def test_a_failed_conversion_publishes_nothing_and_shows_the_log(converter, tmp_path):
    converter.write_text("import sys; sys.exit('No space left on device')")
    with pytest.raises(ModelFilesError, match=r"(?s)exit code 1.*No space left on device"):
        await ensure_model(tmp_path / "cache", lambda _: None)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


async def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(model_files, "PACKAGE", "no-such-package")
    with pytest.raises(ModelFilesError, match=r"no-such-package.* not installed"):
        await ensure_model(tmp_path, lambda _: None)


async def test_a_package_without_the_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(model_files, "PACKAGE", "aiohttp")
    with pytest.raises(ModelFilesError, match="one GGUF file"):
        await ensure_model(tmp_path, lambda _: None)
