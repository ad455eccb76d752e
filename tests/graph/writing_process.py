"""A process that changes a graph at random until it is killed: `python -m tests.graph.writing_process`."""

import asyncio
import random
import sys

from graph.database import connect
from graph.store import FactStore
from ontologies import load_authorization, load_shapes
from tests.graph.test_visibility_law import SOURCES, History


async def main(uri: str, password: str, seed: str) -> None:
    async with connect(uri, ("neo4j", password)) as database:
        store = FactStore(database, load_shapes(), load_authorization())
        history = History(store, random.Random(int(seed)))  # noqa: S311
        await history.begin()
        while True:
            await history.change(history.chance.choice(SOURCES))
            sys.stdout.write("changed\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
