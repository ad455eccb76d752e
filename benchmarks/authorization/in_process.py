"""Orgraph's index and evaluator alone, without a service: `python -m benchmarks.authorization.in_process`.

The figures are one line of JSON: seconds and MiB that the index takes, microseconds of a check.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.authorization.apis import RELATION
from benchmarks.authorization.data import FULL, MODEL, QUICK, Size, questions, tuples
from graph.long_lived import long_lived
from graph.rebac.evaluator import Request, check
from graph.rebac.relation_tuples import TupleIndex
from ontologies.authorization_model import parse_dsl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tuples")
    parser.add_argument("--write", type=Path, help="write the tuples and questions there, and end")
    arguments = parser.parse_args()
    if arguments.write is not None:
        _write(QUICK if arguments.quick else FULL, arguments.write)
        return
    # Made by another process, so that no memory that it freed is used again.
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.authorization.in_process", "--write", folder]
        subprocess.run([*command, *(["--quick"] if arguments.quick else [])], check=True)
        print(json.dumps(_figures(Path(folder))))


def _write(size: Size, folder: Path) -> None:
    keys = tuples(size)
    lines = "\n".join(f"{key.user} {key.relation} {key.object}" for key in keys)
    (folder / "tuples").write_text(lines)
    asked = [(question.user, question.object) for question in questions(size, keys, 10_000)]
    (folder / "questions").write_text(json.dumps(asked))


def _figures(folder: Path) -> Mapping[str, float]:
    asked = json.loads((folder / "questions").read_text())
    before = resident()
    started = time.perf_counter()
    index = TupleIndex()
    with long_lived(), (folder / "tuples").open() as lines:
        for line in lines:
            index.put(*line.split())
    took = time.perf_counter() - started
    memory = resident() - before
    model = parse_dsl(MODEL)
    times: list[float] = []
    for _ in range(2):
        times.clear()
        for user, object in asked:
            began = time.perf_counter()
            check(Request(model, index), user, RELATION, object)
            times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return {
        "tuples": len(index),
        "index_s": round(took, 2),
        "index_mib": round(memory / 2**20),
        "check_us_p50": round(times[len(times) // 2], 1),
        "check_us_p99": round(times[int(len(times) * 0.99)], 1),
    }


def resident() -> int:
    """Bytes that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()
