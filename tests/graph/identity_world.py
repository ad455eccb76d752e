"""An organization of two sources that know the same people, for tests of who is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.merges import POLICY, Decision, Merges
from graph.past import PRESENT, When
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.view import View
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

T = TypeVar("T")

GRANTS = frozenset(t for t, r in load().relationships.items() if r.access_bearing)
ALL, HR = "collection:all", "collection:hr"
CONFIGURATION = SourcePolicy("configuration", GRANTS, frozenset({ALL, HR}), 100, timedelta(days=1))
DIRECTORY = SourcePolicy(
    "directory", frozenset({"HAS_ACCOUNT", "MEMBER_OF"}), frozenset({ALL}), 60, timedelta(days=1)
)
CODE = SourcePolicy("code", frozenset(), frozenset({ALL, HR}), 40, timedelta(days=1))


def person(key: str, name: str, collection: str = ALL, **values: str) -> EntityClaim:
    return EntityClaim(f"person:{key}", "Person", collection, {"name": name, **values}, f"{key}.toml")


def account(key: str) -> EntityClaim:
    values = {"name": key, "issuer": "acme", "subject": key}
    return EntityClaim(f"account:acme/{key}", "Account", ALL, values, "directory")


def has_account(of: str, key: str) -> RelationshipClaim:
    return RelationshipClaim(f"person:{of}", "HAS_ACCOUNT", f"account:acme/{key}", "directory")


class World:
    """Ada and Bob with accounts; Ada sees what all see, Bob human resources too."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = FactStore(database, load_shapes(), load_authorization())
        self.merges = Merges(self.store)
        policies = (CONFIGURATION, DIRECTORY, CODE, POLICY)
        self.reader = Reader(database, load(), Authorizer(database, load(), load_authorization(), policies))
        self._made = 0

    async def begin(self) -> None:
        await self.crawl(
            CONFIGURATION,
            *(
                EntityClaim(f"collection:{c}", "Collection", f"collection:{c}", {"name": c}, "")
                for c in ("all", "hr")
            ),
            EntityClaim("group:hr", "Group", ALL, {"name": "HR"}, ""),
            EntityClaim("group:everyone", "Group", ALL, {"name": "Everyone"}, ""),
            RelationshipClaim("group:everyone", "MAY_VIEW", ALL, ""),
            RelationshipClaim("group:hr", "MAY_VIEW", HR, ""),
        )
        await self.crawl(
            DIRECTORY,
            person("ada", "Ada Lovelace", email="ada@acme.example"),
            person("bob", "Bob Stone"),
            account("ada"),
            account("bob"),
            has_account("ada", "ada"),
            has_account("bob", "bob"),
            RelationshipClaim("person:ada", "MEMBER_OF", "group:everyone", ""),
            RelationshipClaim("person:bob", "MEMBER_OF", "group:everyone", ""),
            RelationshipClaim("person:bob", "MEMBER_OF", "group:hr", ""),
        )

    async def crawl(self, policy: SourcePolicy, *claims: Claim) -> None:
        """A complete crawl: what it does not say is taken back."""
        async with self.store.crawl(policy, "all") as crawl:
            report = await crawl.write(claims)
            assert report.quarantined == ()
            await crawl.complete()

    async def merge(self, kept: str, other: str, **more: Any) -> Decision:
        self._made += 1
        decision = Decision(
            str(self._made), "merge", kept, other, "looked", "account:acme/ada", datetime.now(UTC), **more
        )
        await self.merges.decide(decision)
        return decision

    async def undo(self, decision: Decision) -> None:
        assert await self.merges.undo(decision.id, "account:acme/ada", "two after all", ())

    async def as_(self, name: str, work: Callable[[View], Awaitable[T]], when: When = PRESENT) -> T:
        found, _revision = await self.reader.run(Asker(f"account:acme/{name}"), work, when)
        return found

    async def visible(self, names: Iterable[str] = ("ada", "bob")) -> dict[str, list[str]]:
        """The ids of all that each account sees."""
        found = {}
        for name in names:
            page = await self.as_(name, lambda view: view.entities("Entity", 100))
            found[name] = sorted(entity.id for entity in page.items)
        return found

    async def live(self) -> tuple[dict[str, Any], dict[tuple[str, str, str], Any]]:
        """All nodes and relationships, without the revisions since which they are known and their pages."""
        nodes = await self.database.read("MATCH (n:Entity) RETURN labels(n) AS l, properties(n) AS p")
        links = await self.database.read(
            "MATCH (a:Entity)-[r]->(b:Entity) RETURN a.id AS a, type(r) AS t, b.id AS b, properties(r) AS p"
        )

        def plain(row: dict[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in row.items() if key not in {"since", "pages"}}

        return (
            {row["p"]["id"]: (sorted(row["l"]), plain(row["p"])) for row in nodes},
            {(row["a"], row["t"], row["b"]): plain(row["p"]) for row in links},
        )
