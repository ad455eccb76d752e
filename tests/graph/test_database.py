"""The database has the indexes that reads rely on, and refuses what it cannot work with."""

from typing import Any

import pytest
from neo4j import AsyncSession
from neo4j.exceptions import ClientError, SessionExpired

from graph.database import Database, DatabaseError, connect
from graph.neo4j_server import Neo4jServer


async def test_the_schema_can_be_ensured_again_and_its_indexes_are_online(neo4j: Database) -> None:
    await neo4j.ensure_schema()
    indexes = await neo4j.read("SHOW INDEXES YIELD name, type, state RETURN name, type, state")
    kinds = {record["name"]: (record["type"], record["state"]) for record in indexes}
    assert kinds["entity_text"] == ("FULLTEXT", "ONLINE")
    assert kinds["entity_embedding"] == ("VECTOR", "ONLINE")
    assert kinds["entity_id"] == ("RANGE", "ONLINE")


async def test_what_was_dropped_of_the_schema_is_made_again(neo4j: Database) -> None:
    async with neo4j.driver.session(database=neo4j.name) as session:
        for drop in ("DROP INDEX entity_audience", "DROP CONSTRAINT entity_id", "DROP INDEX entity_text"):
            await (await session.run(drop)).consume()
    await neo4j.ensure_schema()
    states = {r["name"]: r["state"] for r in await neo4j.read("SHOW INDEXES YIELD name, state")}
    assert {states["entity_audience"], states["entity_id"], states["entity_text"]} == {"ONLINE"}
    names = {r["name"] for r in await neo4j.read("SHOW CONSTRAINTS YIELD name")}
    assert "entity_id" in names


async def test_vector_search_filters_by_audience_inside_the_index(neo4j: Database) -> None:
    async with neo4j.driver.session() as session:
        await session.run(
            """UNWIND range(0, 9) AS i CREATE (n:Entity {id: 'document:' + i, audience: i % 2})
               WITH n, i CALL db.create.setNodeVectorProperty(n, 'embedding', [j IN range(1, 384) |
                   CASE WHEN j = 1 THEN 1.0 WHEN j = 2 THEN toFloat(i) ELSE 0.0 END])"""
        )
    found = await neo4j.read(
        """CYPHER 25 MATCH (n:Entity) SEARCH n IN (VECTOR INDEX entity_embedding FOR $vector
           WHERE n.audience IN $audiences LIMIT 3) SCORE AS score RETURN n.id AS id, score""",
        vector=[1.0] + [0.0] * 383,
        audiences=[1],
    )
    assert [record["id"] for record in found] == ["document:1", "document:3", "document:5"]


async def test_a_read_that_fails_for_a_moment_is_repeated_and_a_wrong_one_is_not(
    neo4j: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried = AsyncSession.run, []

    async def cut_off_at_first(session: AsyncSession, *asked: Any) -> Any:
        tried.append(asked)
        if len(tried) == 1:
            raise SessionExpired("the connection is gone")
        return await run(session, *asked)

    monkeypatch.setattr(AsyncSession, "run", cut_off_at_first)
    assert [record["one"] for record in await neo4j.read("RETURN $number AS one", number=1)] == [1]
    assert [record["one"] for record in await neo4j.read("RETURN $number AS one", number=2)] == [2]
    assert len(tried) == 2
    with pytest.raises(ClientError, match="not defined"):
        await neo4j.read("RETURN what")
    with pytest.raises(ClientError, match="not allowed"):
        await neo4j.read("CREATE (:Entity)")


async def test_a_wrong_password_and_an_empty_address_are_told_apart(neo4j_server: Neo4jServer) -> None:
    with pytest.raises(DatabaseError, match="refuses user 'neo4j'"):
        async with connect(neo4j_server.uri, ("neo4j", "wrong")):
            pass


async def test_a_database_that_is_not_there_is_named(neo4j_server: Neo4jServer) -> None:
    with pytest.raises(DatabaseError, match=r"'nosuch'.*cannot be used by 'neo4j'.*name another database"):
        async with connect(neo4j_server.uri, neo4j_server.auth, "nosuch"):
            pass


async def test_a_user_who_may_do_nothing_there_is_refused_before_anything_is_written(
    neo4j: Database, neo4j_server: Neo4jServer
) -> None:
    async with neo4j.driver.session(database="system") as session:
        create = "CREATE USER novice IF NOT EXISTS SET PASSWORD 'to-be-changed' CHANGE REQUIRED"
        await (await session.run(create)).consume()
    with pytest.raises(DatabaseError, match="cannot be used by 'novice': ACCESS on database 'neo4j'"):
        async with connect(neo4j_server.uri, ("novice", "to-be-changed")):
            pass


async def test_a_database_where_no_index_can_be_made_is_refused(neo4j_server: Neo4jServer) -> None:
    async with connect(neo4j_server.uri, neo4j_server.auth, "system") as database:
        with pytest.raises(
            DatabaseError,
            match=rf"'system' of the Neo4j at .*{neo4j_server.uri.rpartition(':')[2]} cannot be prepared.*make constraints and indexes",
        ):
            await database.ensure_schema()


async def test_a_neo4j_that_is_too_old_is_refused_with_what_to_do(
    neo4j_server: Neo4jServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.database.MINIMUM_VERSION", (2099, 1))
    with pytest.raises(DatabaseError, match=r"is 20\d\d\..*needs 2099\.01 or newer.*Upgrade it, or leave"):
        async with connect(neo4j_server.uri, neo4j_server.auth):
            pass
