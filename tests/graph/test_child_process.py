"""Children of ours end with us, however we end, and take their own children along."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graph.child_process import ChildProcess, ChildStartError

SLEEPER = ["sh", "-c", "sleep 600 & echo grandchild $!; wait"]


def _gone(pid: int) -> bool:
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def _grandchild(log: Path) -> int:
    for _ in range(500):
        if words := log.read_text().split():
            return int(words[1])
        time.sleep(0.01)
    raise AssertionError("the child wrote nothing")


def test_stopping_ends_the_child_and_its_children(tmp_path: Path) -> None:
    child = ChildProcess(SLEEPER, tmp_path / "log")
    grandchild = _grandchild(tmp_path / "log")
    assert child.exit_code() is None
    child.stop()
    assert _gone(child.pid)
    assert _gone(grandchild)


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', 0, flush=True); time.sleep(600)"
    )
    child = ChildProcess([sys.executable, "-c", code], tmp_path / "log", grace=0.1)
    _grandchild(tmp_path / "log")
    assert child.stop() == 128 + signal.SIGKILL


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from graph.child_process import ChildProcess\n"
        f"child = ChildProcess({SLEEPER!r}, Path(sys.argv[1])); print(child.pid, flush=True); time.sleep(600)"
    )
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE, cwd=root
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    grandchild = _grandchild(tmp_path / "log")
    parent.kill()
    parent.wait()
    assert _gone(child)
    assert _gone(grandchild)


def test_the_child_s_exit_code_and_last_words_are_known(tmp_path: Path) -> None:
    child = ChildProcess(["sh", "-c", "echo one; echo two >&2; exit 3"], tmp_path / "log")
    assert child.stop() in (3, 128 + signal.SIGTERM)
    child = ChildProcess(["sh", "-c", "echo one; echo two >&2; exit 3"], tmp_path / "log")
    while child.exit_code() is None:
        time.sleep(0.01)
    assert child.exit_code() == 3
    assert child.log_tail(1) == "two"
    killed = ChildProcess(SLEEPER, tmp_path / "log")
    os.kill(killed.pid, signal.SIGKILL)
    while killed.exit_code() is None:
        time.sleep(0.01)
    assert killed.exit_code() == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChildStartError, match="no-such-program"):
        ChildProcess(["no-such-program"], tmp_path / "log")
