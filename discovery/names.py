"""What texts may call those by whom the graph knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from discovery.systems import is_system, of_one
from discovery.titles import CALLED, is_title
from graph.database import Database

_Called = tuple[str, Mapping[str, Any]]


async def entity_names(database: Database) -> Mapping[str, str]:
    """What texts may call people, organizations, units, systems and documents by: `names_of` each kind.

    Where a system is called as somebody is, somebody is meant.
    """
    records = await database.read(
        """MATCH (n:Entity) WHERE n:Person OR n:Organization OR n:OrganizationalUnit OR n:Dataset
             OR n:Repository OR n:Process OR n:MeshNode OR n:SoftwareAgent
             OR (n:Document AND split(n.name, ' ')[-1] IN $called)
           RETURN n.id AS id, n:Document AS document, n {.name, .email, .accountName} AS called
           ORDER BY id""",
        called=sorted(CALLED),
    )
    people: list[_Called] = []
    things: list[_Called] = []
    documents: list[_Called] = []
    for record in records:
        one = (record["id"], record["called"])
        if record["document"]:
            documents += [one] if is_title(record["called"]["name"]) else []
        else:
            (things if is_system(record["id"]) else people).append(one)
    return {**names_of(documents), **names_of(things), **names_of(people)}


def names_of(called: Iterable[_Called]) -> Mapping[str, str]:
    """Ids by name, by login with an `@` before it, and by e-mail address; what two have is left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for id, values in called:
        logins = values.get("accountName") or ()
        names = [values.get("name"), values.get("email")]
        names += [f"@{login}" for login in ([logins] if isinstance(logins, str) else logins)]
        for name in filter(None, names):
            found[name].add(id)
    return of_one(found)
