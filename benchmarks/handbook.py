"""A handbook asked through the whole service with a real model: which answers cite what they should.

    python -m benchmarks.handbook [questions.yaml heldout.yaml]

Serves deploy/handbook on the data in ORGRAPH_SHARED_DATA with its own Neo4j and vLLM, crawls it, and puts
each question of tests/handbook to it as each of its askers. Right is as `tests.handbook.asked.right` has it.
Takes a quarter of an hour on two cores; no part of it is a figure of speed.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.handbook.asked import Asked, asked, right
from tests.service_process import Served, served

ROOT = Path(__file__).resolve().parent.parent
REPORTED = ("questions.yaml", "heldout.yaml")


def kind(one: Asked, among: list[Asked]) -> str:
    """What an ask tests: an answer for everyone, one for some, or that there is none."""
    roles = {other.role for other in among if other.name == one.name}
    if roles == {"everyone"}:
        return "answerable by everyone" if one.expected else "not in the handbook"
    return "by who may read it" if one.role != "everyone" else "by who may not"


def figures(service: Served, file: str) -> dict[str, list[int]]:
    """By kind of ask: how many are right, of how many. Each that is not is printed with what came instead."""
    asks = asked(file)
    good: Counter[str] = Counter()
    of: Counter[str] = Counter()
    for one in asks:
        answer = service.ask(one.person, one.question)
        of[kind(one, asks)] += 1
        good[kind(one, asks)] += right(one, answer)
        if not right(one, answer):
            cited = [fact["id"] for fact in answer["facts"]]
            print(f"not right: {one.name} as {one.role}: {answer['outcome']} {cited}", flush=True)
    return {each: [good[each], of[each]] for each in of} | {"all": [good.total(), of.total()]}


def main(files: list[str]) -> None:
    shared = os.environ.get("ORGRAPH_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    settings = {"ORGRAPH_SHARED_DATA": shared, "ORGRAPH_VLLM_NODE": "mesh_node:local-cpu"}
    with (
        TemporaryDirectory() as data,
        served(Path(data), ROOT / "deploy" / "handbook" / "sources.toml", **settings) as service,
    ):
        print(json.dumps({file: figures(service, file) for file in files or REPORTED}))


if __name__ == "__main__":
    main(sys.argv[1:])
