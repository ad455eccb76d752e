"""The connection to Neo4j, embedded or not, and the indexes that everything else relies on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString, TypeVar

from neo4j import READ_ACCESS, WRITE_ACCESS, AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, Record
from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError, ServiceUnavailable

from graph.latest import Latest

#: The SEARCH clause with filters needs it.
MINIMUM_VERSION = (2026, 1)
#: Of all-MiniLM-L6-v2.
EMBEDDING_DIMENSIONS = 384

Result = TypeVar("Result")

#: The value properties that are looked for by their words. Commits leave the indexing to a thread of Neo4j's,
#: for which whoever looks waits (`INDEXED`): in a commit it would take longer than all the rest.
_TEXTS: LiteralString = (
    "[n.name, n.description, n.text, n.heading, n.brief, n.jobTitle, n.givenName, n.familyName, "
    "n.accountName, n.email, n.path, n.author] OPTIONS {indexConfig: "
    "{`fulltext.analyzer`: 'english', `fulltext.eventually_consistent`: true}}"
)
#: Before a query of those indexes: all that is committed is in them.
INDEXED: LiteralString = "CALL db.index.fulltext.awaitEventuallyConsistentIndexRefresh() "
_SCHEMA: tuple[LiteralString, ...] = (
    "CREATE CONSTRAINT entity_id IF NOT EXISTS FOR (n:Entity) REQUIRE n.id IS UNIQUE",
    "CREATE INDEX entity_audience IF NOT EXISTS FOR (n:Entity) ON (n.audience)",
    "CREATE CONSTRAINT page_number IF NOT EXISTS FOR (n:_Page) REQUIRE n.number IS UNIQUE",
    "CREATE INDEX page_scope IF NOT EXISTS FOR (n:_Page) ON (n.source, n.scope)",
    "CREATE CONSTRAINT aside_fact IF NOT EXISTS FOR (n:_Aside) REQUIRE n.fact IS UNIQUE",
    "CREATE INDEX aside_start IF NOT EXISTS FOR (n:_Aside) ON (n.start)",
    "CREATE INDEX aside_end IF NOT EXISTS FOR (n:_Aside) ON (n.end)",
    "CREATE INDEX version_fact IF NOT EXISTS FOR (n:_Version) ON (n.fact, n.until)",
    "CREATE INDEX version_start IF NOT EXISTS FOR (n:_Version) ON (n.start, n.until)",
    "CREATE INDEX version_end IF NOT EXISTS FOR (n:_Version) ON (n.end, n.until)",
    "CREATE INDEX version_class IF NOT EXISTS FOR (n:_Version) ON (n.class, n.until)",
    "CREATE INDEX version_until IF NOT EXISTS FOR (n:_Version) ON (n.until)",
    "CREATE INDEX claimed_fact IF NOT EXISTS FOR (n:_Claimed) ON (n.fact, n.until)",
    "CREATE INDEX claimed_until IF NOT EXISTS FOR (n:_Claimed) ON (n.until)",
    "CREATE INDEX revision_at IF NOT EXISTS FOR (n:_Revision) ON (n.at)",
    "CREATE CONSTRAINT bound_fact IF NOT EXISTS FOR (n:_Bound) REQUIRE n.fact IS UNIQUE",
    "CREATE INDEX bound_at IF NOT EXISTS FOR (n:_Bound) ON (n.at)",
    "CREATE INDEX quarantined_scope IF NOT EXISTS FOR (n:_Quarantined) ON (n.source, n.scope)",
    "CREATE CONSTRAINT quarantined_key IF NOT EXISTS FOR (n:_Quarantined) REQUIRE n.key IS UNIQUE",
    "CREATE CONSTRAINT meta_one IF NOT EXISTS FOR (n:_Meta) REQUIRE n.one IS UNIQUE",
    "CREATE CONSTRAINT revision_number IF NOT EXISTS FOR (n:_Revision) REQUIRE n.number IS UNIQUE",
    "CREATE CONSTRAINT change_revision IF NOT EXISTS FOR (n:_Change) REQUIRE n.revision IS UNIQUE",
    "CREATE CONSTRAINT audience_number IF NOT EXISTS FOR (n:_Audience) REQUIRE n.number IS UNIQUE",
    "CREATE CONSTRAINT audience_place IF NOT EXISTS FOR (n:_Audience) REQUIRE n.place IS UNIQUE",
    "CREATE CONSTRAINT source_scope IF NOT EXISTS FOR (n:_Source) REQUIRE (n.name, n.scope) IS UNIQUE",
    "CREATE CONSTRAINT service_id IF NOT EXISTS FOR (n:_Service) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT leader_one IF NOT EXISTS FOR (n:_Leader) REQUIRE n.one IS UNIQUE",
    "CREATE CONSTRAINT move_id IF NOT EXISTS FOR (n:_Move) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT access_entry_id IF NOT EXISTS FOR (n:_AccessEntry) REQUIRE n.id IS UNIQUE",
    "CREATE INDEX access_entry_object IF NOT EXISTS FOR (n:_AccessEntry) ON (n.object)",
    "CREATE INDEX access_entry_subject IF NOT EXISTS FOR (n:_AccessEntry) ON (n.subject)",
    "CREATE CONSTRAINT merge_id IF NOT EXISTS FOR (n:_Merge) REQUIRE n.id IS UNIQUE",
    "CREATE INDEX merge_kept IF NOT EXISTS FOR (n:_Merge) ON (n.kept)",
    "CREATE INDEX merge_other IF NOT EXISTS FOR (n:_Merge) ON (n.other)",
    "CREATE INDEX merge_pair IF NOT EXISTS FOR (n:_Merge) ON (n.pair)",
    "CREATE CONSTRAINT proposal_pair IF NOT EXISTS FOR (n:_Proposal) REQUIRE n.pair IS UNIQUE",
    "CREATE INDEX proposal_one IF NOT EXISTS FOR (n:_Proposal) ON (n.one)",
    "CREATE INDEX proposal_other IF NOT EXISTS FOR (n:_Proposal) ON (n.other)",
    "CREATE CONSTRAINT extraction_id IF NOT EXISTS FOR (n:_Extraction) REQUIRE n.id IS UNIQUE",
    "CREATE INDEX extraction_source IF NOT EXISTS FOR (n:_Extraction) ON (n.source)",
    "CREATE CONSTRAINT read_passage IF NOT EXISTS FOR (n:_ReadPassage) REQUIRE n.id IS UNIQUE",
    """CREATE CONSTRAINT scim_resource_id IF NOT EXISTS
       FOR (n:_ScimResource) REQUIRE (n.source, n.id) IS UNIQUE""",
    "CREATE INDEX scim_resource_kind IF NOT EXISTS FOR (n:_ScimResource) ON (n.source, n.kind)",
    "CREATE CONSTRAINT scim_source_name IF NOT EXISTS FOR (n:_ScimSource) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT event_source IF NOT EXISTS FOR (n:_Event) REQUIRE n.source IS UNIQUE",
    "CREATE CONSTRAINT run_started IF NOT EXISTS FOR (n:_Run) REQUIRE (n.source, n.started) IS UNIQUE",
    "CREATE INDEX run_outcome IF NOT EXISTS FOR (n:_Run) ON (n.outcome)",
    "CREATE INDEX run_at IF NOT EXISTS FOR (n:_Run) ON (n.at)",
    "CREATE CONSTRAINT tombstone_id IF NOT EXISTS FOR (n:_Tombstone) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT erasure_id IF NOT EXISTS FOR (n:_Erasure) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT position_consumer IF NOT EXISTS FOR (n:_Position) REQUIRE n.consumer IS UNIQUE",
    "CREATE CONSTRAINT answer_digest IF NOT EXISTS FOR (n:_Answer) REQUIRE n.digest IS UNIQUE",
    "CREATE INDEX answer_at IF NOT EXISTS FOR (n:_Answer) ON (n.at)",
    "CREATE CONSTRAINT tuple_store_id IF NOT EXISTS FOR (n:_TupleStore) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT store_model_id IF NOT EXISTS FOR (n:_StoreModel) REQUIRE n.id IS UNIQUE",
    "CREATE INDEX store_model_store IF NOT EXISTS FOR (n:_StoreModel) ON (n.store)",
    """CREATE CONSTRAINT store_assertions_model IF NOT EXISTS
       FOR (n:_StoreAssertions) REQUIRE (n.store, n.model) IS UNIQUE""",
    """CREATE CONSTRAINT store_tuple_key IF NOT EXISTS
       FOR (n:_StoreTuple) REQUIRE (n.store, n.object, n.relation, n.user) IS UNIQUE""",
    "CREATE INDEX store_tuple_user IF NOT EXISTS FOR (n:_StoreTuple) ON (n.store, n.user)",
    "CREATE INDEX store_tuple_position IF NOT EXISTS FOR (n:_StoreTuple) ON (n.store, n.position)",
    """CREATE CONSTRAINT store_change_number IF NOT EXISTS
       FOR (n:_StoreChange) REQUIRE (n.store, n.number) IS UNIQUE""",
    "CREATE FULLTEXT INDEX entity_text IF NOT EXISTS FOR (n:Entity) ON EACH " + _TEXTS,
    "CREATE FULLTEXT INDEX version_text IF NOT EXISTS FOR (n:_Version) ON EACH " + _TEXTS,
    """CYPHER 25 CREATE VECTOR INDEX entity_embedding IF NOT EXISTS
       FOR (n:Entity) ON (n.embedding) WITH [n.audience]
       OPTIONS {indexConfig: {`vector.dimensions`: 384, `vector.similarity_function`: 'cosine',
                              `vector.quantization.type`: 'NONE'}}""",
)

_COUNTERS: LiteralString = """
    MERGE (meta:_Meta {one: true})
    ON CREATE SET meta.revision = 0, meta.accessRevision = 0, meta.nextAudience = 0
    SET meta.epoch = coalesce(meta.epoch, randomUUID())"""
#: Scopes of a graph that was written when only the types of their relationships were kept of them.
_KINDS: LiteralString = """
    MATCH (s:_Source) WHERE s.kinds IS NULL
    WITH collect(s) AS old WHERE size(old) > 0
    WITH old, COLLECT { MATCH (n:Entity) RETURN DISTINCT split(n.id, ':')[0] } AS entities
    UNWIND old AS s
    SET s.kinds = coalesce(s.types, []) + entities
    REMOVE s.types"""


def _name(statement: str) -> str:
    """Of the index that the statement makes; a constraint's has the name of the constraint."""
    return statement.partition(" IF NOT EXISTS")[0].rpartition(" ")[2]


class DatabaseError(Exception):
    """Neo4j cannot be used; the message names its address and what to do."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a Neo4j. Every call has a session of its own, so that no read waits for
    a commit that it does not need (sessions follow their own bookmarks)."""

    driver: AsyncDriver
    name: str
    latest: Latest = field(default_factory=Latest, compare=False, repr=False)

    async def read(self, query: LiteralString, /, **parameters: Any) -> list[Record]:
        """All records of a query, in a read transaction, repeated on transient errors."""
        return await self._one_query(READ_ACCESS, query, parameters)

    async def write(self, query: LiteralString, /, **parameters: Any) -> list[Record]:
        """All records of a query, in a write transaction, repeated on transient errors: it must bear that."""
        return await self._one_query(WRITE_ACCESS, query, parameters)

    async def _one_query(self, access: str, query: LiteralString, parameters: dict[str, Any]) -> list[Record]:
        async def work(tx: AsyncManagedTransaction) -> list[Record]:
            return [record async for record in await tx.run(query, parameters)]

        async with self.driver.session(database=self.name, default_access_mode=access) as session:
            try:  # one way there and back, where a transaction that is begun and ended takes three
                return [record async for record in await session.run(query, parameters)]
            except (DriverError, Neo4jError) as error:
                if not error.is_retryable():
                    raise
            return await (session.execute_read if access == READ_ACCESS else session.execute_write)(work)

    async def read_transaction(self, work: Callable[[AsyncManagedTransaction], Awaitable[Result]]) -> Result:
        """`work` on one consistent read transaction, repeated on transient errors."""
        async with self.driver.session(database=self.name, default_access_mode=READ_ACCESS) as session:
            return await session.execute_read(work)

    async def write_transaction(self, work: Callable[[AsyncManagedTransaction], Awaitable[Result]]) -> Result:
        """`work` in one write transaction, repeated on transient errors: it must bear that."""
        async with self.driver.session(database=self.name) as session:
            return await session.execute_write(work)

    async def ensure_schema(self) -> None:
        """Create the constraints, indexes and counters that are missing, and wait for the indexes.

        Raises DatabaseError where the user may not, or the database holds no graph of its own.
        """
        try:
            async with self.driver.session(database=self.name) as session:
                indexes = await session.run("SHOW INDEXES YIELD name, state RETURN name, state")
                online = {record["name"]: record["state"] == "ONLINE" async for record in indexes}
                missing = [one for one in _SCHEMA if _name(one) not in online]
                async with await session.begin_transaction() as tx:
                    for statement in missing:
                        await (await tx.run(statement)).consume()
                    await tx.commit()
                if missing or not all(online.values()):
                    await (await session.run("CALL db.awaitIndexes(300)")).consume()
                await (await session.run(_COUNTERS)).consume()
                await (await session.run(_KINDS)).consume()
        except ClientError as error:
            server = await self.driver.get_server_info()
            raise DatabaseError(
                f"the database {self.name!r} of the Neo4j at {server.address} cannot be prepared: "
                f"{error.message}; its user must be able to read, "
                "write, and make constraints and indexes there"
            ) from error


@asynccontextmanager
async def connect(uri: str, auth: tuple[str, str], name: str = "neo4j") -> AsyncIterator[Database]:
    """The database `name` of the Neo4j at `uri`.

    Raises DatabaseError when it cannot be used, and when it is gone in the middle of the block.
    """
    async with AsyncGraphDatabase.driver(uri, auth=auth, notifications_min_severity="OFF") as driver:
        database = Database(driver, name)
        try:
            await _check_version(database, uri)
        except AuthError as error:
            raise DatabaseError(f"Neo4j at {uri} refuses user {auth[0]!r}: check the password") from error
        except ServiceUnavailable as error:
            raise DatabaseError(f"no Neo4j answers at {uri}: start it or correct the address") from error
        except ClientError as error:
            raise DatabaseError(
                f"the database {name!r} of the Neo4j at {uri} cannot be used by {auth[0]!r}: "
                f"{error.message}; name another database or user, or ask its administrator"
            ) from error
        try:
            yield database
        except ServiceUnavailable as error:
            raise DatabaseError(
                f"Neo4j at {uri} answers no more: start it and try again; what was committed is kept"
            ) from error


async def _check_version(database: Database, uri: str) -> None:
    [record] = await database.read(
        """CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel'
           RETURN versions[0] AS version"""
    )
    version = str(record["version"])
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < MINIMUM_VERSION:
        wanted = ".".join(f"{part:02}" for part in MINIMUM_VERSION)
        raise DatabaseError(
            f"Neo4j at {uri} is {version}; Orgraph needs {wanted} or newer (the SEARCH clause). Upgrade it, "
            "or leave its address out of the settings to use the embedded one."
        )
