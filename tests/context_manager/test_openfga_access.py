"""Who may use which store; and the organization's own, which shows only what the asker may see."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography.fernet import Fernet
from openfga_sdk import (
    CreateStoreRequest,
    FgaObject,
    ReadRequestTupleKey,
    UserTypeFilter,
    WriteAuthorizationModelRequest,
)
from openfga_sdk.client import OpenFgaClient
from openfga_sdk.client.models import (
    ClientCheckRequest,
    ClientExpandRequest,
    ClientListObjectsRequest,
    ClientTuple,
    ClientWriteRequest,
)
from openfga_sdk.client.models.list_users_request import ClientListUsersRequest
from openfga_sdk.exceptions import ForbiddenException, NotFoundException

from context_manager.openfga_organization import ORGANIZATION_STORE
from graph.database import Database
from graph.epoch import begin_epoch
from graph.feed import current_revision
from graph.rebac.relation_tuples import TupleKey
from graph.revision_token import RevisionTokens
from graph.stored_tuples import TupleWrite
from graph.tuple_stores import TupleStores
from ontologies.authorization_model import parse_dsl, to_json
from tests.context_manager.conftest import ORGANIZATION, Authorization, entity, relation

ADA, EVE = "account:acme/ada", "account:acme/eve"
UNKNOWN = "01HZZZZZZZZZZZZZZZZZZZZZZZ"


async def may(client: OpenFgaClient, user: str, relation: str, object: str, **more) -> bool:
    request = ClientCheckRequest(user=user, relation=relation, object=object, **more)
    return (await client.check(request)).allowed


async def test_without_a_token_there_is_no_answer(authorization: Authorization) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic x"}):
        status, answer, _ = await authorization.send(None, "GET", "/openfga/stores", **headers)
        assert status == 401
        assert answer["code"] in ("bearer_token_missing", "auth_failed_invalid_bearer_token")


async def test_a_store_of_somebody_else_looks_like_one_that_is_not_there(
    authorization: Authorization,
) -> None:
    async with authorization.client("eve") as owner:
        store = (await owner.create_store(CreateStoreRequest(name="eves"))).id
    paths = [
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/authorization-models", None),
        ("POST", "/authorization-models", {"schema_version": "1.1", "type_definitions": [{"type": "user"}]}),
        ("GET", "/changes", None),
        ("POST", "/read", {}),
        ("POST", "/write", {"deletes": {"tuple_keys": [{"user": "u:1", "relation": "r", "object": "o:1"}]}}),
        ("POST", "/check", {"tuple_key": {"user": "u:1", "relation": "r", "object": "o:1"}}),
        ("POST", "/access/v1/evaluation", {}),
        ("GET", f"/assertions/{UNKNOWN}", None),
    ]
    for person, agent in (("lee", None), ("nobody", None), ("eve", "helper")):
        token = {"Authorization": f"Bearer {authorization.token(person, agent)}"}
        for method, path, body in paths:
            answers = [
                (await authorization.send(None, method, f"/openfga/stores/{id}{path}", body, **token))[:2]
                for id in (store, UNKNOWN)
            ]
            assert answers[0] == answers[1], (person, path)
            assert answers[0][0] == 404
        _, listed, _ = await authorization.send(None, "GET", "/openfga/stores", **token)
        assert store not in json.dumps(listed)
    async with authorization.client("ada", store) as administrator:
        assert (await administrator.get_store()).name == "eves"


@pytest.mark.parametrize(("person", "agent"), [("lee", None), ("nobody", None), ("eve", "helper")])
async def test_who_is_disabled_unknown_or_an_agent_makes_no_store(
    authorization: Authorization, person: str, agent: str | None
) -> None:
    async with authorization.client(person, agent=agent) as client:
        with pytest.raises(ForbiddenException):
            await client.create_store(CreateStoreRequest(name="theirs"))


async def test_a_disabled_account_loses_its_stores_at_once(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        store = (await client.create_store(CreateStoreRequest(name="eves"))).id
        client.set_store_id(store)
        assert (await client.get_store()).id == store
        model = to_json(parse_dsl("model\n  schema 1.1\ntype user\n  relations\n    define friend: [user]"))
        await client.write_authorization_model(WriteAuthorizationModelRequest(**model))
        # Answered from memory, before and after.
        assert not await may(client, "user:bo", "friend", "user:bo")
        disabled = entity(EVE, issuer="acme", subject="eve", disabled=True)
        await authorization.crawl([one for one in ORGANIZATION if getattr(one, "id", "") != EVE] + [disabled])
        with pytest.raises(NotFoundException):
            await may(client, "user:bo", "friend", "user:bo")
        with pytest.raises(NotFoundException):
            await client.get_store()


async def test_the_organization_answers_about_oneself_only(authorization: Authorization) -> None:
    async with authorization.client("eve", ORGANIZATION_STORE) as eve:
        assert await may(eve, EVE, "viewer", "document:handbook")
        assert not await may(eve, EVE, "viewer", "document:merger")
        assert not await may(eve, EVE, "viewer", "document:nothing")
        request = ClientListObjectsRequest(user=EVE, relation="viewer", type="document")
        assert (await eve.list_objects(request)).objects == ["document:handbook"]
        for user in (ADA, "person:eve#account", "account:acme/unknown"):
            with pytest.raises(ForbiddenException):
                await may(eve, user, "viewer", "document:handbook")
            with pytest.raises(ForbiddenException):
                await eve.list_objects(
                    ClientListObjectsRequest(user=user, relation="viewer", type="document")
                )
    async with authorization.client("ada", ORGANIZATION_STORE) as administrator:
        assert await may(administrator, ADA, "viewer", "document:merger")
        assert not await may(administrator, EVE, "viewer", "document:merger")
        assert not await may(administrator, "account:acme/unknown", "viewer", "document:handbook")


async def test_an_object_that_is_hidden_answers_like_one_that_is_not_there(
    authorization: Authorization,
) -> None:
    async with authorization.client("eve", ORGANIZATION_STORE) as eve:

        async def answers(object: str) -> list[str]:
            kind, _, id = object.partition(":")
            users = await eve.list_users(
                ClientListUsersRequest(
                    object=FgaObject(type=kind, id=id),
                    relation="viewer",
                    user_filters=[UserTypeFilter(type="account")],
                )
            )
            tree = await eve.expand(ClientExpandRequest(relation="viewer", object=object))
            read = await eve.read(ReadRequestTupleKey(object=object))
            shown = json.dumps([users.to_dict(), tree.to_dict(), read.to_dict()], default=str)
            return shown.replace(object, "X")

        assert await answers("document:merger") == await answers("document:nothing")
        assert await answers("collection:secret") == await answers("collection:nothing")
        assert await answers("document:handbook") != await answers("document:nothing")


async def test_lists_and_trees_name_only_what_the_asker_sees(authorization: Authorization) -> None:
    claims = [*ORGANIZATION, entity("person:mole", "collection:secret")]
    hidden = entity("account:acme/mole", "collection:secret", issuer="acme", subject="mole")
    claims += [
        hidden,
        relation("person:mole", "HAS_ACCOUNT", "account:acme/mole"),
        relation("person:mole", "MEMBER_OF", "group:all"),
        relation("group:board", "MAY_VIEW", "collection:open"),
    ]
    await authorization.crawl(claims)

    async def shown(person: str) -> str:
        async with authorization.client(person, ORGANIZATION_STORE) as client:
            users = await client.list_users(
                ClientListUsersRequest(
                    object=FgaObject(type="document", id="handbook"),
                    relation="viewer",
                    user_filters=[UserTypeFilter(type="account")],
                )
            )
            tree = await client.expand(ClientExpandRequest(relation="reader", object="collection:open"))
            everything = await client.read(ReadRequestTupleKey(), {"page_size": 100})
            return json.dumps([users.to_dict(), tree.to_dict(), everything.to_dict()], default=str)

    seen_by_ada, seen_by_eve = await shown("ada"), await shown("eve")
    for name in ("mole", "group:board", "collection:secret"):
        assert name in seen_by_ada
        assert name not in seen_by_eve
    assert "acme/eve" in seen_by_eve


async def test_who_sees_something_over_what_is_hidden_is_not_told(authorization: Authorization) -> None:
    """That would tell who is in a hidden group; nor does a hidden denial bring anybody back."""
    claims = [*ORGANIZATION, relation("group:board", "MAY_VIEW", "collection:open")]
    claims += [
        entity("group:banned", "collection:secret"),
        relation("person:zoe", "MEMBER_OF", "group:banned"),
    ]
    claims += [relation("group:banned", "DENIED", "collection:open")]
    for name, group in (("pat", "group:board"), ("zoe", "group:all")):
        account = f"account:acme/{name}"
        claims += [entity(f"person:{name}"), entity(account, issuer="acme", subject=name)]
        claims += [relation(f"person:{name}", "HAS_ACCOUNT", account)]
        claims += [relation(f"person:{name}", "MEMBER_OF", group)]
    await authorization.crawl(claims)

    async def told(person: str) -> set[str]:
        async with authorization.client(person, ORGANIZATION_STORE) as client:
            users = await client.list_users(
                ClientListUsersRequest(
                    object=FgaObject(type="document", id="handbook"),
                    relation="viewer",
                    user_filters=[UserTypeFilter(type="account")],
                )
            )
            return {user.object.id for user in users.users}

    assert await told("ada") == {"acme/ada", "acme/eve", "acme/lee", "acme/pat"}
    assert await told("eve") == {"acme/ada", "acme/eve", "acme/lee"}


async def test_explanations_name_only_what_the_asker_sees(authorization: Authorization) -> None:
    async def explained(person: str, object: str, user: str = EVE) -> dict:
        body = {"tuple_key": {"user": user, "relation": "viewer", "object": object}}
        path = f"/openfga/stores/{ORGANIZATION_STORE}/explain"
        status, answer, _ = await authorization.send(person, "POST", path, body)
        assert status == 200, answer
        return answer

    granted = await explained("eve", "document:handbook")
    assert granted["allowed"]
    assert [one["relationship"] for one in granted["path"] if one["relationship"]][-1][
        "object"
    ] == "person:eve"
    hidden, absent = await explained("eve", "document:merger"), await explained("eve", "document:nothing")
    assert json.dumps(hidden).replace("merger", "nothing") == json.dumps(absent)
    denied = await explained("ada", "document:merger")
    assert not denied["allowed"]
    assert denied["misses"]
    status, _, _ = await authorization.send(
        "eve",
        "POST",
        f"/openfga/stores/{ORGANIZATION_STORE}/explain",
        {"tuple_key": {"user": ADA, "relation": "viewer", "object": "document:handbook"}},
    )
    assert status == 403


async def test_the_nearest_misses_are_the_same_whatever_is_hidden_behind_them(
    authorization: Authorization,
) -> None:
    """Neither who is in a hidden group is told, nor does what is hidden crowd out what is not."""
    question = {"user": EVE, "relation": "can_grant", "object": "collection:open"}

    async def explained() -> dict:
        path = f"/openfga/stores/{ORGANIZATION_STORE}/explain"
        status, answer, _ = await authorization.send("eve", "POST", path, {"tuple_key": question})
        assert status == 200, answer
        return answer

    people = [f"person:p{number}" for number in range(25)]
    seen = [*ORGANIZATION, *map(entity, people), entity("group:owners")]
    seen += [relation("group:owners", "MAY_GRANT", "collection:open")]
    seen += [relation("person:lee", "MEMBER_OF", "group:owners")]
    await authorization.crawl(seen)
    told = await explained()
    [miss] = told["misses"]
    assert (miss["kind"], miss["object"]) == ("no_tuple", "person:lee")
    hidden = [entity(f"group:{number}", "collection:secret") for number in range(25)]
    hidden += [relation(f"group:{number}", "MAY_GRANT", "collection:open") for number in range(25)]
    hidden += [relation(person, "MEMBER_OF", f"group:{n}") for n, person in enumerate(people)]
    await authorization.crawl([*hidden, *seen])
    assert await explained() == told


async def test_the_organization_is_read_only(authorization: Authorization) -> None:
    async with authorization.client("ada", ORGANIZATION_STORE) as client:
        with pytest.raises(ForbiddenException) as refused:
            await client.write(
                ClientWriteRequest(writes=[ClientTuple(user=EVE, relation="account", object="person:ada")])
            )
        assert refused.value.code == "forbidden"
        with pytest.raises(ForbiddenException):
            await client.delete_store()
        model = (await client.read_latest_authorization_model()).authorization_model
        assert {"person", "collection", "document"} <= {one.type for one in model.type_definitions}
        again = await client.read_authorization_model({"authorization_model_id": model.id})
        assert again.authorization_model.id == model.id


async def test_what_is_supposed_of_the_organization_reaches_nothing(authorization: Authorization) -> None:
    """The administrator may suppose a membership; it changes that answer and no other."""
    joins = ClientTuple(user="person:eve#account", relation="member", object="group:board")
    async with authorization.client("ada", ORGANIZATION_STORE) as administrator:
        assert await may(administrator, EVE, "viewer", "document:merger", contextual_tuples=[joins])
        assert not await may(administrator, EVE, "viewer", "document:merger")
    async with authorization.client("eve", ORGANIZATION_STORE) as eve:
        with pytest.raises(ForbiddenException):
            await may(eve, EVE, "viewer", "document:merger", contextual_tuples=[joins])
        assert not await may(eve, EVE, "viewer", "document:merger")


async def test_a_revoked_membership_is_answered_at_once(authorization: Authorization) -> None:
    async with authorization.client("ada", ORGANIZATION_STORE) as administrator:
        assert await may(administrator, ADA, "viewer", "document:merger")
        await authorization.crawl([one for one in ORGANIZATION if getattr(one, "end", "") != "group:board"])
        assert not await may(administrator, ADA, "viewer", "document:merger")


async def test_a_body_of_ten_megabytes_is_refused_and_the_service_unharmed(
    authorization: Authorization,
) -> None:
    many = [{"user": "user:" + "x" * 400, "relation": "viewer", "object": f"doc:{n}"} for n in range(22_000)]
    body = {
        "tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc:1"},
        "contextual_tuples": {"tuple_keys": many},
    }
    status, answer, _ = await authorization.send(
        "eve", "POST", f"/openfga/stores/{ORGANIZATION_STORE}/check", body
    )
    assert (status, answer["code"]) == (413, "resource_exhausted")
    async with authorization.client("eve", ORGANIZATION_STORE) as eve:
        assert await may(eve, EVE, "viewer", "document:handbook")


async def store_of_documents(client: OpenFgaClient) -> str:
    """A new store, which the client asks from here on; in its model people view documents."""
    store = (await client.create_store(CreateStoreRequest(name="eves"))).id
    client.set_store_id(store)
    model = to_json(
        parse_dsl("model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define viewer: [user]")
    )
    await client.write_authorization_model(WriteAuthorizationModelRequest(**model))
    return store


async def test_a_check_sees_what_this_process_wrote_and_when_asked_what_others_did(
    authorization: Authorization, neo4j: Database
) -> None:
    async with authorization.client("eve") as client:
        store = await store_of_documents(client)
        grant = ClientTuple(user="user:bo", relation="viewer", object="doc:1")
        for _ in range(20):
            await client.write(ClientWriteRequest(writes=[grant]))
            assert await may(client, "user:bo", "viewer", "doc:1")
            await client.write(ClientWriteRequest(deletes=[grant]))
            assert not await may(client, "user:bo", "viewer", "doc:1"), "never a stale allow"
        elsewhere = TupleStores(Database(neo4j.driver, neo4j.name))
        request = ClientCheckRequest(user="user:bo", relation="viewer", object="doc:1")
        current = {"consistency": "HIGHER_CONSISTENCY"}
        for allowed in (True, False) * 5:
            keys = [TupleKey("user:bo", "viewer", "doc:1")]
            write = TupleWrite(writes=keys) if allowed else TupleWrite(deletes=keys)
            await elsewhere.write(store, write, EVE)
            assert (await client.check(request, current)).allowed is allowed


async def test_each_question_that_asks_to_be_current_is_answered_from_what_others_wrote(
    authorization: Authorization, neo4j: Database
) -> None:
    async with authorization.client("eve") as client:
        store = await store_of_documents(client)
    key = {"user": "user:bo", "relation": "viewer", "object": "doc:1"}
    shared = {"object": {"type": "doc", "id": "1"}, "relation": "viewer", "user_filters": [{"type": "user"}]}
    listed = {"user": "user:bo", "relation": "viewer", "type": "doc"}
    questions: list[tuple[str, dict[str, object], str]] = [
        ("/check", {"tuple_key": key}, '"allowed": true'),
        ("/batch-check", {"checks": [{"correlation_id": "1", "tuple_key": key}]}, '"allowed": true'),
        ("/expand", {"tuple_key": {"relation": "viewer", "object": "doc:1"}}, "user:bo"),
        ("/explain", {"tuple_key": key}, '"allowed": true'),
        ("/list-objects", listed, "doc:1"),
        ("/streamed-list-objects", listed, "doc:1"),
        ("/list-users", shared, '"id": "bo"'),
        ("/read", {}, "user:bo"),
    ]
    elsewhere = TupleStores(Database(neo4j.driver, neo4j.name))
    keys = [TupleKey("user:bo", "viewer", "doc:1")]
    for path, body, shown in questions:
        for held in (True, False):
            write = TupleWrite(writes=keys) if held else TupleWrite(deletes=keys)
            await elsewhere.write(store, write, EVE)
            status, answer, _ = await authorization.send(
                "eve", "POST", f"/openfga/stores/{store}{path}", {**body, "consistency": "HIGHER_CONSISTENCY"}
            )
            assert (status, shown in json.dumps(answer)) == (200, held), (path, answer)


ORGANIZATION_PATH = f"/openfga/stores/{ORGANIZATION_STORE}"
NEWS = "document:news"
#: What Eve may ask of a document, and where its answer says that she sees it.
QUESTIONS: list[tuple[str, dict[str, object], str]] = [
    ("/check", {"tuple_key": {"user": EVE, "relation": "viewer", "object": NEWS}}, '"allowed": true'),
    (
        "/batch-check",
        {
            "checks": [
                {"correlation_id": "1", "tuple_key": {"user": EVE, "relation": "viewer", "object": NEWS}}
            ]
        },
        '"allowed": true',
    ),
    ("/list-objects", {"user": EVE, "relation": "viewer", "type": "document"}, NEWS),
    (
        "/list-users",
        {
            "object": {"type": "document", "id": "news"},
            "relation": "viewer",
            "user_filters": [{"type": "account"}],
        },
        '"id": "acme/eve"',
    ),
    ("/expand", {"tuple_key": {"relation": "collection", "object": NEWS}}, "collection:open"),
    ("/explain", {"tuple_key": {"user": EVE, "relation": "viewer", "object": NEWS}}, '"allowed": true'),
    (
        "/access/v1/evaluation",
        {
            "subject": {"type": "account", "id": "acme/eve"},
            "action": {"name": "viewer"},
            "resource": {"type": "document", "id": "news"},
        },
        '"decision": true',
    ),
]


async def test_each_question_waits_for_the_revision_that_it_names(
    authorization: Authorization, neo4j: Database
) -> None:
    def ask(path: str, body: dict[str, object], **headers: str):
        return authorization.send("eve", "POST", ORGANIZATION_PATH + path, body, **headers)

    for path, body, shown in QUESTIONS:
        assert shown not in json.dumps((await ask(path, body))[1]), path
    next_ = authorization.tokens.seal(await current_revision(neo4j) + 1)
    waiting = [
        asyncio.create_task(ask(path, body, **{"Orgraph-Revision": next_})) for path, body, _ in QUESTIONS
    ]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    await authorization.crawl([*ORGANIZATION, entity(NEWS)])
    for (path, _, shown), (status, answer, _) in zip(QUESTIONS, await asyncio.gather(*waiting), strict=True):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        assert (status, shown in text) == (200, True), (path, text)


async def test_a_revision_that_is_not_there_is_no_stale_answer(
    authorization: Authorization, neo4j: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"tuple_key": {"user": EVE, "relation": "viewer", "object": "document:handbook"}}
    monkeypatch.setattr("context_manager.at_least._WAIT_S", 0.2)

    async def asked(token: str) -> tuple[int, str, str]:
        path = f"{ORGANIZATION_PATH}/check"
        status, answer, _ = await authorization.send("eve", "POST", path, body, **{"Orgraph-Revision": token})
        return status, answer.get("code"), answer.get("message", "")

    last = await current_revision(neo4j)
    assert (await asked(authorization.tokens.seal(last)))[0] == 200
    status, code, why = await asked(authorization.tokens.seal(last + 5))
    assert (status, code) == (503, "unavailable") and "did not come to that revision within 0.2 s" in why
    foreign = RevisionTokens(Fernet.generate_key()).seal(last)
    status, code, why = await asked(foreign)
    assert (status, code) == (400, "validation_error") and "not issued by this service" in why
    await begin_epoch(neo4j, last + 7)
    status, code, why = await asked(authorization.tokens.seal(last + 5))
    assert (status, code) == (400, "validation_error") and "lost when the database was restored" in why
    assert (await asked(authorization.tokens.seal(last)))[0] == 200
