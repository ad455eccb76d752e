"""A process that answers under a lease: one line for each that it is asked by its standard input.

    python -m benchmarks.reading_process URI PASSWORD ACCOUNT CLASS

It says how many entities of the class the account sees, or `no lease`.
"""

import asyncio
import sys
from datetime import timedelta

from graph.claims import SourcePolicy
from graph.database import connect
from graph.reads import Asker, Reader
from graph.service_lease import NoLeaseError, ServiceLease
from graph.visibility import Authorizer
from ontologies import load, load_authorization

DAY = timedelta(days=1)
NOTHING: frozenset[str] = frozenset()
#: Of the sources that those who start it crawl.
POLICIES = [SourcePolicy(name, NOTHING, NOTHING, 0, DAY) for name in ("configuration", "directory")]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(uri: str, password: str, account: str, class_name: str) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with connect(uri, ("neo4j", password)) as database:
        authorizer = Authorizer(database, load(), load_authorization(), POLICIES)
        reader = Reader(database, load(), authorizer)
        lease = ServiceLease(database, authorizer.follow)
        async with lease.holding("127.0.0.1"):
            say("ready")
            while await lines.readline():
                try:
                    begun = lease.held()
                    page, _ = await reader.run(Asker(account), lambda view: view.entities(class_name, 1))
                    say(str(page.total) if lease.held() == begun else "no lease")
                except NoLeaseError:
                    say("no lease")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
