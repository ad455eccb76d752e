"""Child processes that never outlive us, even when we are killed with SIGKILL.

A small supervisor (this file, run as a script) stands between: it holds the read end of a pipe
from us as its standard input, and ends the child's whole process group when the pipe closes,
however that came about. Should the supervisor be killed, the kernel ends the child (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class ChildStartError(Exception):
    """A child that could not be started; the message says which and why."""


class ChildProcess:
    """A running child with its output in a log file. Methods block: use a thread in async code."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        grace: float = 20.0,
    ) -> None:
        """Start `command`, its output in `log` (overwritten).

        The environment is ours unless given. Stopping waits `grace` seconds between SIGTERM and
        SIGKILL. Raises ChildStartError when the command cannot be executed.
        """
        self.log = log
        with log.open("wb") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(grace), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
        assert self._supervisor.stdout is not None  # noqa: S101  a pipe
        answer = self._supervisor.stdout.readline().decode().strip()
        self._supervisor.stdout.close()
        if not answer.isdigit():
            self.stop()
            raise ChildStartError(f"{command[0]} could not be started: {answer or 'no answer'}; log: {log}")
        self.pid = int(answer)

    def exit_code(self) -> int | None:
        """None while it runs; 128 + the signal's number when a signal ended it."""
        code = self._supervisor.poll()
        return code if code is None or code >= 0 else 128 - code

    def stop(self) -> int:
        """SIGTERM to the child's process group, SIGKILL after the grace; its exit code."""
        assert self._supervisor.stdin is not None  # noqa: S101  a pipe
        self._supervisor.stdin.close()
        return self._supervisor.wait()

    def log_tail(self, lines: int = 15) -> str:
        """The end of what it has written."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def _supervise(grace: float, command: Sequence[str]) -> int:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    supervisor = os.getpid()

    def die_with_supervisor() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(1)

    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            preexec_fn=die_with_supervisor,  # noqa: PLW1509  the supervisor has one thread
        )
    except OSError as error:
        os.write(1, f"{error}\n".encode())
        return 1
    os.write(1, f"{child.pid}\n".encode())
    os.close(1)
    while child.poll() is None:
        ready, _, _ = select.select([0, woken], [], [])
        if 0 in ready or bytes([signal.SIGTERM]) in os.read(woken, 64):
            _end(child, grace)
    _signal_group(child.pid, signal.SIGKILL)  # what the child left behind
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    _signal_group(child.pid, signal.SIGTERM)
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(_supervise(float(sys.argv[1]), sys.argv[2:]))
