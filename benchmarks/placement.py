"""How long a placement takes: the decision alone, over large meshes and many constraints.

    python -m benchmarks.placement [--quick]

Meshes and requirements are random with a fixed seed. The figures are one line of JSON at the end, in
milliseconds: `decision` on a snapshot as it stands, which is what a request pays; `unconstrained` the
same where every node that is up is ranked; `snapshot` what the first request after news of a node's
load pays besides; `compilation` once for each change of a declaration; `explanation` when asked for.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from graph.handling import UNRESTRICTED, Handling
from inference.compiled import compile_loads, compile_nodes
from inference.mesh import MeshSnapshot, Weights, snapshot_of
from inference.nodes import CHAT, Certification, Load, MeshNode, NodeState, Status
from inference.placement import Placement, place
from inference.requirement import Requirement

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LAWS = ["EU", "US", "CA", "JP", "GB", "CH"]
REGIONS = [f"region-{i}" for i in range(40)]
SITES = [f"site-{i}" for i in range(200)]
CERTIFICATIONS = [f"certification-{i}" for i in range(60)]
SILICON = ["nvidia-l40s", "nvidia-h200", "amd-mi300x", "intel-gaudi3", "ampere-altra", "cpu"]
CONSTRAINTS = 64


def mesh(size: int, choose: random.Random) -> MeshSnapshot:
    """Nodes that hold most certifications, so that constraints leave many to be ranked."""
    return snapshot_of(((_node(i, choose), _state(choose)) for i in range(size)), NOW)


def _node(i: int, choose: random.Random) -> MeshNode:
    held = CERTIFICATIONS if choose.random() < 0.5 else choose.sample(CERTIFICATIONS, 50)
    return MeshNode(
        id=f"mesh_node:{i}",
        name=str(i),
        jurisdiction=choose.choice(LAWS),
        region=choose.choice(REGIONS),
        site=choose.choice(SITES),
        certifications=frozenset(
            Certification(name, ends=NOW + timedelta(days=choose.randint(-20, 400))) for name in held
        ),
        clearance=choose.randint(0, 4),
        owners=frozenset({f"organization:{choose.randint(0, 20)}"}),
        purposes=frozenset({"care"}),
        silicon=choose.choice(SILICON),
        endpoint=f"http://127.0.0.1:{i + 1}",
        models=tuple(f"model-{choose.randint(0, 9)}" for _ in range(2)),
        context_length=choose.choice([8192, 32768, None]),
        capabilities=frozenset({CHAT}),
        price=choose.choice([None, 10, 50, 200]),
    )


def _state(choose: random.Random) -> NodeState:
    status = Status.READY if choose.random() < 0.9 else Status.DOWN
    load = Load(choose.randint(0, 30), choose.randint(0, 10), prefill_rate=choose.uniform(200, 20_000))
    return NodeState(status, "", load)


def requirements(choose: random.Random, count: int) -> list[Requirement]:
    """Each of 64 constraints: 58 certifications, law, regions, clearance, silicon, owner, model."""
    return [
        Requirement(
            Handling(
                frozenset(choose.sample(LAWS, 4)),
                frozenset(choose.sample(REGIONS, 30)),
                frozenset(choose.sample(CERTIFICATIONS, CONSTRAINTS - 6)),
                choose.randint(0, 1),
                None,
                frozenset({"intel"}),
                frozenset({f"organization:{choose.randint(0, 20)}"}),
            ),
            CHAT,
            choose.choice([None, "model-1"]),
            least_tokens=6_000,
            sites={site: choose.randint(1, 9) for site in choose.sample(SITES, 3)},
            warm={f"mesh_node:{choose.randint(0, 999)}": 0.5 for _ in range(3)},
        )
        for _ in range(count)
    ]


def milliseconds(work: Sequence[Callable[[], object]]) -> dict[str, float]:
    """p50, p99 and the longest of one run of each, after a tenth of them has run to warm up.

    `cpu_p99` leaves out the times at which the machine worked for somebody else.
    """
    for one in work[: len(work) // 10]:
        one()
    times, computed = [], []
    gc.collect()
    for one in work:
        started, cpu = time.perf_counter(), time.thread_time()
        one()
        computed.append((time.thread_time() - cpu) * 1000)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    computed.sort()
    last = int(len(times) * 0.99)
    return {
        "p50": round(times[len(times) // 2], 4),
        "p99": round(times[last], 4),
        "max": round(times[-1], 4),
        "cpu_p99": round(computed[last], 4),
    }


def figures(size: int, decisions: int, choose: random.Random) -> dict[str, object]:
    snapshot = mesh(size, choose)
    asked = requirements(choose, decisions)

    def renewed() -> MeshSnapshot:
        return MeshSnapshot(snapshot.compiled, snapshot.states, compile_loads(snapshot.states), Weights())

    def explained(placed: Placement) -> Callable[[], object]:
        return lambda: placed.verdicts

    some = asked[: max(3, decisions // 500)]
    placed = [place(requirement, snapshot) for requirement in some]
    return {
        "nodes": size,
        "constraints": CONSTRAINTS,
        "decisions": decisions,
        "permitted_and_up": sorted(len(p.order) for p in placed)[len(placed) // 2],
        "decision_ms": milliseconds([lambda r=r: place(r, snapshot) for r in asked]),  # type: ignore[misc]  # of the default
        "unconstrained_ms": milliseconds(
            [lambda: place(Requirement(UNRESTRICTED, CHAT), snapshot)] * decisions
        ),
        "snapshot_ms": milliseconds([renewed] * len(some)),
        "compilation_ms": milliseconds([lambda: compile_nodes(snapshot.compiled.nodes, NOW)] * 3),
        "explanation_ms": milliseconds([explained(p) for p in placed]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Times placements.")
    parser.add_argument("--quick", action="store_true", help="fewer decisions, in under 50 seconds")
    quick = parser.parse_args().quick
    choose = random.Random(20261124)  # noqa: S311  a fixed mesh, no secret
    results = []
    for size, decisions in ((1_000, 20_000), (10_000, 5_000)):
        found = figures(size, decisions // 10 if quick else decisions, choose)
        print(f"{size:,} nodes: {found}")
        results.append(found)
    print(json.dumps({"benchmark": "placement", "results": results}))


if __name__ == "__main__":
    main()
