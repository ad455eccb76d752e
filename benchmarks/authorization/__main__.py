"""Check and ListObjects of Orgraph, OpenFGA and SpiceDB: same model, same tuples, one machine, one run.

    python -m benchmarks.authorization [--quick] [--keep FOLDER [--load SERVER]]

Each server runs alone, OpenFGA and SpiceDB over PostgreSQL with their caches off and on, Orgraph over
Neo4j as one process and as several. All are asked over HTTP with JSON by the same load generator, and must
answer alike. `--keep` leaves what was loaded in a folder, so that another run measures without loading;
`--load` only loads one server.
The figures are one line of JSON at the end; times are milliseconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.authorization.apis import Api, OpenFgaApi, SpiceDbApi
from benchmarks.authorization.data import FEW, FULL, MANY, OTHERS, QUICK, Question, questions, tuples
from benchmarks.authorization.load import Load, generate
from benchmarks.authorization.peers import binary, openfga, postgres, spicedb
from graph.rebac.relation_tuples import TupleKey

CLIENTS = 16
PROCESSES = 2
"""That serve one Neo4j behind one address: as many as the machine has cores."""
Server = Callable[[], AbstractContextManager[tuple[Api, int | None]]]
"""Starts it; its API and, of Orgraph, the id of its process."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tuples, fewer requests")
    parser.add_argument("--keep", type=Path, help="where what is loaded stays")
    parser.add_argument("--load", choices=["orgraph", "openfga", "spicedb"], help="load it there, and end")
    arguments = parser.parse_args()
    for name in ("openfga", "spicedb"):
        binary(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        if arguments.load:
            with _servers(folder) as servers:
                keys = tuples(QUICK if arguments.quick else FULL)
                print(_loaded(arguments.load, servers[arguments.load], folder, keys))
        else:
            print(json.dumps(_figures(arguments.quick, folder)))


@contextmanager
def _servers(folder: Path) -> Iterator[Mapping[str, Server]]:
    with postgres(folder / "postgres", ["openfga", "spicedb"]) as databases:
        servers: dict[str, Server] = {
            "orgraph": partial(_orgraph, folder / "orgraph", 1),
            "orgraph processes": partial(_orgraph, folder / "orgraph", PROCESSES),
        }
        for caches in (False, True):
            suffix = " caches" if caches else ""
            servers["openfga" + suffix] = partial(_openfga, databases["openfga"], caches)
            servers["spicedb" + suffix] = partial(_spicedb, databases["spicedb"], caches)
        yield servers


def _figures(quick: bool, folder: Path) -> Mapping[str, Any]:
    size = QUICK if quick else FULL
    keys = tuples(size)
    asked = questions(size, keys, 2_000)
    found: dict[str, Any] = {
        "benchmark": "authorization",
        "tuples": len(keys),
        "generator": _generator(),
        "in_process": _in_process(quick),
    }
    with _servers(folder) as servers:
        for name, server in servers.items():
            found[name] = _measured(name, server, folder, keys, asked)
            print(name, json.dumps(found[name]), flush=True)
    answers = {name: found[name]["answers"] for name in servers}
    if len({json.dumps(answer) for answer in answers.values()}) > 1:
        raise SystemExit(f"the servers do not answer alike: {answers}")
    return found


def _measured(
    name: str, server: Server, folder: Path, keys: Sequence[TupleKey], asked: Sequence[Question]
) -> Mapping[str, Any]:
    found: dict[str, Any] = {"load_s": _loaded(name, server, folder, keys)}
    with server() as (api, process):
        if process is not None:
            found |= _first(api, process, asked[:1])
        check = api.check(asked)
        many, others, few = (
            api.list_objects(*[MANY] * 4),
            api.list_objects(*OTHERS),
            api.list_objects(*[FEW] * 110),
        )
        warm = len(asked) // 4
        timings = {
            "check": generate(replace(check, warm=warm)),
            f"check_{CLIENTS}": generate(replace(check, warm=warm, clients=CLIENTS)),
            "list_many": generate(replace(many, warm=1)),
            "list_many_first": generate(others),
            "list_few": generate(replace(few, warm=10)),
        }
    for of, timing in timings.items():
        found[of] = {key: value for key, value in asdict(timing).items() if key not in ("answers", "marked")}
    found["answers"] = [
        timing.marked // len(load.bodies) if load is not check else timing.marked
        for load, timing in zip((check, check, many, others, few), timings.values(), strict=True)
    ]
    return found


def _loaded(name: str, server: Server, folder: Path, keys: Sequence[TupleKey]) -> float:
    """Seconds that it took to write the tuples by the API, in this run or the one that kept them."""
    loaded = folder / f"loaded-{name.partition(' ')[0]}"
    if not loaded.exists():
        with server() as (api, _):
            timing = generate(replace(api.write(keys), clients=8))
            # SpiceDB's readers may be some seconds behind.
            time.sleep(10)
        loaded.write_text(str(timing.answers / timing.per_second))
    return round(float(loaded.read_text()), 1)


def _first(api: Api, process: int, asked: Sequence[Question]) -> Mapping[str, Any]:
    """What the first question to a store costs that is not in memory: its tuples are read."""
    before, started = _resident(process), time.perf_counter()
    check = api.check(asked)
    for port in check.ports:
        generate(replace(check, ports=[port]))
    took = (time.perf_counter() - started) / len(check.ports)
    return {"store_s": round(took, 1), "store_mib": round((_resident(process) - before) / 2**20)}


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


def _generator() -> Mapping[str, float]:
    """Requests a second where the answer costs nothing, with one client and with sixteen."""
    command = [sys.executable, "-m", "benchmarks.authorization.load", '{"allowed":true,"resolution":""}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # noqa: S101  a pipe
        port = int(server.stdout.readline())
        bodies = ['{"tuple_key":{"user":"user:1","relation":"viewer","object":"document:1"}}'] * 20_000
        found = {
            str(clients): generate(Load((port,), "/", bodies, clients, warm=1_000)).per_second
            for clients in (1, CLIENTS)
        }
        server.terminate()
    return found


def _in_process(quick: bool) -> Any:
    command = [sys.executable, "-m", "benchmarks.authorization.in_process", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@contextmanager
def _orgraph(folder: Path, processes: int) -> Iterator[tuple[Api, int | None]]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.authorization.orgraph", str(folder), str(processes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101  a pipe
            token, *ports = process.stdout.readline().split()
            port, *beside = map(int, ports)
            authorization = {"Authorization": f"Bearer {token}"}
            yield OpenFgaApi(port, "/openfga", authorization, tuple(beside)), process.pid
        finally:
            process.terminate()


@contextmanager
def _openfga(database: str, caches: bool) -> Iterator[tuple[Api, int | None]]:
    with openfga(database, caches=caches) as port:
        yield OpenFgaApi(port), None


@contextmanager
def _spicedb(database: str, caches: bool) -> Iterator[tuple[Api, int | None]]:
    with spicedb(database, caches=caches) as port:
        yield SpiceDbApi(port), None


if __name__ == "__main__":
    main()
