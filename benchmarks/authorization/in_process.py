"""Orgraph's index and evaluator alone, without a service: `python -m benchmarks.authorization.in_process`.

The figures are one line of JSON: seconds and MiB that the index takes, microseconds of a check.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path

from benchmarks.authorization.apis import RELATION
from benchmarks.authorization.data import FULL, MODEL, QUICK, questions, tuples
from graph.rebac.evaluator import Request, check
from graph.rebac.relation_tuples import TupleIndex
from ontologies.authorization_model import parse_dsl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tuples")
    size = QUICK if parser.parse_args().quick else FULL
    keys = tuples(size)
    asked = questions(size, keys, 10_000)
    # One text for all, so that the strings of the index are its own and freed memory is none that it reuses.
    text = "\n".join(f"{key.user} {key.relation} {key.object}" for key in keys)
    del keys
    gc.collect()
    before = resident()
    started = time.perf_counter()
    index = TupleIndex()
    position = 0
    while position < len(text):
        end = text.find("\n", position) % (len(text) + 1)
        user, relation, object = text[position:end].split(" ")
        index.put(user, relation, object)
        position = end + 1
    took = time.perf_counter() - started
    memory = resident() - before
    model = parse_dsl(MODEL)
    times: list[float] = []
    for _ in range(2):
        times.clear()
        for question in asked:
            began = time.perf_counter()
            check(Request(model, index), question.user, RELATION, question.object)
            times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    print(
        json.dumps(
            {
                "tuples": len(index),
                "index_s": round(took, 2),
                "index_mib": round(memory / 2**20),
                "check_us_p50": round(times[len(times) // 2], 1),
                "check_us_p99": round(times[int(len(times) * 0.99)], 1),
            }
        )
    )


def resident() -> int:
    """Bytes that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()
