"""OpenFGA's own client works against Orgraph unchanged, and gets OpenFGA's answers and errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openfga_sdk import (
    CreateStoreRequest,
    FgaObject,
    ReadRequestTupleKey,
    UserTypeFilter,
    WriteAuthorizationModelRequest,
)
from openfga_sdk.client import OpenFgaClient
from openfga_sdk.client.models import (
    ClientAssertion,
    ClientBatchCheckItem,
    ClientBatchCheckRequest,
    ClientCheckRequest,
    ClientExpandRequest,
    ClientListObjectsRequest,
    ClientListRelationsRequest,
    ClientReadChangesRequest,
    ClientTuple,
    ClientWriteRequest,
)
from openfga_sdk.client.models.list_users_request import ClientListUsersRequest
from openfga_sdk.client.models.write_conflict_opts import (
    ClientWriteRequestOnDuplicateWrites,
    ClientWriteRequestOnMissingDeletes,
    ConflictOptions,
)
from openfga_sdk.exceptions import ApiException, NotFoundException, ValidationException

from ontologies.authorization_model import parse_dsl, to_json
from tests.context_manager.conftest import Authorization

MODEL = to_json(
    parse_dsl(
        """
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type doc
  relations
    define viewer: [user, user:*, group#member, user with small]
    define owner: [user]
    define both: viewer and owner
condition small(x: int) {
  x < 10
}
"""
    )
)


def tuple_of(user: str, relation: str = "viewer", object: str = "doc:1", **condition) -> ClientTuple:
    return ClientTuple(user=user, relation=relation, object=object, **condition)


async def store_of(client: OpenFgaClient) -> str:
    """A new store with the model; the client uses it from now on."""
    store = await client.create_store(CreateStoreRequest(name="shop"))
    client.set_store_id(store.id)
    await client.write_authorization_model(WriteAuthorizationModelRequest(**MODEL))
    return store.id


async def allowed(
    client: OpenFgaClient, user: str, relation: str = "viewer", object: str = "doc:1", **more
) -> bool:
    request = ClientCheckRequest(user=user, relation=relation, object=object, **more)
    return (await client.check(request)).allowed


async def test_stores_are_made_listed_and_deleted(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        ids = [(await client.create_store(CreateStoreRequest(name=f"shop {n}"))).id for n in range(3)]
        listed, token = [], None
        while token != "":
            options = {"page_size": 1, "continuation_token": token} if token else {"page_size": 1}
            page = await client.list_stores(options)
            listed += [store.id for store in page.stores]
            token = page.continuation_token
        assert sorted(listed[1:]) == sorted(ids), "the organization's is the first"
        client.set_store_id(ids[0])
        assert (await client.get_store()).name == "shop 0"
        await client.delete_store()
        with pytest.raises(NotFoundException) as refused:
            await client.get_store()
        assert refused.value.code == "store_id_not_found"
        named = await client.list_stores({"name": "shop 1"})
        assert [store.id for store in named.stores] == [ids[1]]


async def test_models_are_immutable_versions_and_the_newest_is_the_default(
    authorization: Authorization,
) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        first = (await client.read_latest_authorization_model()).authorization_model
        assert {t.type for t in first.type_definitions} == {"user", "group", "doc"}
        await client.write(ClientWriteRequest(writes=[tuple_of("user:ada")]))
        narrowed = {
            **MODEL,
            "type_definitions": [t for t in MODEL["type_definitions"] if t["type"] == "user"],
        }
        narrowed["conditions"] = {}
        second = await client.write_authorization_model(WriteAuthorizationModelRequest(**narrowed))
        models = (await client.read_authorization_models()).authorization_models
        assert [model.id for model in models] == [second.authorization_model_id, first.id]
        with pytest.raises(ValidationException):
            await allowed(client, "user:ada")
        request = ClientCheckRequest(user="user:ada", relation="viewer", object="doc:1")
        assert (await client.check(request, {"authorization_model_id": first.id})).allowed
        again = await client.read_authorization_model({"authorization_model_id": first.id})
        assert again.authorization_model.to_dict() == first.to_dict()


async def test_writes_decide_checks_at_once(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        await client.write(
            ClientWriteRequest(
                writes=[
                    tuple_of("group:a#member"),
                    tuple_of("user:bo", "member", "group:a"),
                    tuple_of("user:bo", "owner"),
                    tuple_of("user:cy", condition={"name": "small", "context": {}}),
                ]
            )
        )
        assert await allowed(client, "user:bo")
        assert await allowed(client, "user:bo", "both")
        assert await allowed(client, "user:cy", context={"x": 3})
        assert not await allowed(client, "user:cy", context={"x": 30})
        assert not await allowed(client, "user:dan")
        assert await allowed(
            client, "user:dan", contextual_tuples=[tuple_of("user:dan", "member", "group:a")]
        )
        await client.write(ClientWriteRequest(deletes=[tuple_of("user:bo", "member", "group:a")]))
        assert not await allowed(client, "user:bo")
        relations = await client.list_relations(
            ClientListRelationsRequest(user="user:bo", object="doc:1", relations=["viewer", "owner"])
        )
        assert relations == ["owner"]


async def test_lists_users_objects_and_trees(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        many = [tuple_of("user:bo", object=f"doc:{number}") for number in range(2_500)]
        for start in range(0, len(many), 100):
            await client.write(ClientWriteRequest(writes=many[start : start + 100]))
        await client.write(ClientWriteRequest(writes=[tuple_of("user:*", object="doc:public")]))
        request = ClientListObjectsRequest(user="user:bo", relation="viewer", type="doc")
        objects = (await client.list_objects(request)).objects
        assert len(objects) == 2_501, "complete, where OpenFGA cuts at 1,000"
        streamed = [one.object async for one in client.streamed_list_objects(request)]
        assert sorted(streamed) == sorted(objects)
        users = await client.list_users(
            ClientListUsersRequest(
                object=FgaObject(type="doc", id="1"),
                relation="viewer",
                user_filters=[UserTypeFilter(type="user")],
            )
        )
        assert [(user.object.type, user.object.id) for user in users.users] == [("user", "bo")]
        public = await client.list_users(
            ClientListUsersRequest(
                object=FgaObject(type="doc", id="public"),
                relation="viewer",
                user_filters=[UserTypeFilter(type="user")],
            )
        )
        assert [user.wildcard.type for user in public.users] == ["user"]
        tree = (await client.expand(ClientExpandRequest(relation="viewer", object="doc:1"))).tree
        assert tree.root.leaf.users.users == ["user:bo"]


async def test_a_batch_answers_each_and_tells_errors_of_their_own(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        limited = tuple_of("user:di", condition={"name": "small"})
        await client.write(ClientWriteRequest(writes=[tuple_of("user:bo"), limited]))
        items = [
            ClientBatchCheckItem(user="user:bo", relation="viewer", object="doc:1", correlation_id="yes"),
            ClientBatchCheckItem(user="user:cy", relation="viewer", object="doc:1", correlation_id="no"),
            ClientBatchCheckItem(user="user:bo", relation="nope", object="doc:1", correlation_id="wrong"),
            # The same question under another context is another question.
            ClientBatchCheckItem(
                user="user:cy",
                relation="viewer",
                object="doc:1",
                correlation_id="supposed",
                contextual_tuples=[tuple_of("user:cy")],
            ),
            *(
                ClientBatchCheckItem(
                    user="user:di",
                    relation="viewer",
                    object="doc:1",
                    correlation_id=f"x-{x}",
                    context={} if x is None else {"x": x},
                )
                for x in (50, 5, None)
            ),
        ]
        response = await client.batch_check(ClientBatchCheckRequest(checks=items))
        results = {one.correlation_id: one for one in response.result}
        assert (results["yes"].allowed, results["no"].allowed, results["supposed"].allowed) == (
            True,
            False,
            True,
        )
        assert (results["x-50"].allowed, results["x-5"].allowed) == (False, True)
        for id in ("wrong", "x-None"):
            assert results[id].error.input_error == "validation_error"


async def test_reads_and_changes_are_paged(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        writes = [tuple_of(f"user:{n}", object=f"doc:{n % 2}") for n in range(5)]
        await client.write(ClientWriteRequest(writes=writes))
        await client.write(ClientWriteRequest(deletes=[tuple_of("user:4", object="doc:0")]))
        read, options = [], {"page_size": 3}
        while True:
            page = await client.read(ReadRequestTupleKey(), dict(options))
            read += [(one.key.user, one.key.object) for one in page.tuples]
            if not page.continuation_token:
                break
            options["continuation_token"] = page.continuation_token
        assert read == [(f"user:{n}", f"doc:{n % 2}") for n in range(4)]
        only = await client.read(ReadRequestTupleKey(object="doc:", user="user:3"))
        assert [one.key.object for one in only.tuples] == ["doc:1"]
        changes = await client.read_changes(ClientReadChangesRequest(type="doc"), {"page_size": 5})
        rest = await client.read_changes(
            ClientReadChangesRequest(type="doc"), {"continuation_token": changes.continuation_token}
        )
        assert [one.operation for one in rest.changes] == ["TUPLE_OPERATION_DELETE"]
        end = await client.read_changes(
            ClientReadChangesRequest(type="doc"), {"continuation_token": rest.continuation_token}
        )
        assert end.changes == []
        assert end.continuation_token == rest.continuation_token, "to ask again with later"
        since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
        assert len((await client.read_changes(ClientReadChangesRequest(None, since))).changes) == 6


async def test_a_list_of_objects_is_whole_streamed_or_paged(authorization: Authorization) -> None:
    """More than the thousand at which OpenFGA cuts it off."""
    names = [f"doc:{number}" for number in range(1_200)]
    async with authorization.client("eve") as client:
        store = await store_of(client)
        for first in range(0, len(names), 100):
            some = names[first : first + 100]
            await client.write(ClientWriteRequest(writes=[tuple_of("user:bo", object=name) for name in some]))
        asked = ClientListObjectsRequest(user="user:bo", relation="viewer", type="doc")
        assert sorted((await client.list_objects(asked)).objects) == sorted(names)
        streamed = [one.object async for one in client.streamed_list_objects(asked)]
        assert sorted(streamed) == sorted(names)
    path = f"/openfga/stores/{store}/list-objects"
    body = {"user": "user:bo", "relation": "viewer", "type": "doc", "page_size": 500}
    pages, token = [], ""
    while not pages or token:
        status, page, _ = await authorization.send("eve", "POST", path, {**body, "continuation_token": token})
        assert status == 200
        pages.append(page["objects"])
        token = page["continuation_token"]
    assert list(map(len, pages)) == [500, 500, 200]
    assert [name for page in pages for name in page] == sorted(names)
    for wrong in ({"page_size": 0}, {"continuation_token": "zzzz"}):
        status, _, _ = await authorization.send("eve", "POST", path, {**body, **wrong})
        assert status == 400


async def test_conflicts_may_be_ignored(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        ignore = {
            "conflict": ConflictOptions(
                ClientWriteRequestOnDuplicateWrites.IGNORE, ClientWriteRequestOnMissingDeletes.IGNORE
            )
        }
        await client.write(ClientWriteRequest(writes=[tuple_of("user:bo")]))
        await client.write(
            ClientWriteRequest(writes=[tuple_of("user:bo")], deletes=[tuple_of("user:cy")]), ignore
        )
        with pytest.raises(ApiException) as conflict:
            conditional = tuple_of("user:bo", condition={"name": "small", "context": {"x": 1}})
            await client.write(ClientWriteRequest(writes=[conditional]), ignore)
        assert conflict.value.status == 409


async def test_assertions_are_kept_with_their_model(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        await store_of(client)
        model = (await client.read_latest_authorization_model()).authorization_model.id
        options = {"authorization_model_id": model}
        assert (await client.read_assertions(options)).assertions == []
        asserted = ClientAssertion(user="user:bo", relation="viewer", object="doc:1", expectation=True)
        await client.write_assertions([asserted], options)
        [kept] = (await client.read_assertions(options)).assertions
        assert (kept.tuple_key.user, kept.expectation) == ("user:bo", True)


UNDEFINED_CONDITION = [
    {"user": "user:a", "relation": "viewer", "object": "doc:1", "condition": {"name": "nope"}}
]


def _conditional(parameters: int = 1, **conditions: str) -> dict[str, Any]:
    """A model with these conditions, of as many parameters, the first of which is `x`."""
    names = ["x", *(f"x{n}" for n in range(1, parameters))]
    return {
        "schema_version": "1.1",
        "type_definitions": [{"type": "user"}],
        "conditions": {
            name: {
                "name": name,
                "expression": expression,
                "parameters": {of: {"type_name": "TYPE_NAME_INT"} for of in names},
            }
            for name, expression in conditions.items()
        },
    }


#: Requests to a store of Eve's, and the codes that OpenFGA v1.22 answers with to the same.
REFUSED = [
    (("POST", "/check", {}), "tuple_key_value_not_specified"),
    (("POST", "/check", b'{"tuple_key": '), "validation_error"),
    (("POST", "/check", b"[]"), "validation_error"),
    (("POST", "/check", b'{"context": ' + b'{"a": ' * 900 + b"1" + b"}" * 901), "validation_error"),
    (("POST", "/check", b'{"context": ' + b'{"a": ' * 9000 + b"1" + b"}" * 9001), "validation_error"),
    (("POST", "/check", b'{"tuple_key": {"user": "\xff"}}'), "validation_error"),
    (
        ("POST", "/check", {"tuple_key": {"user": 5, "relation": "viewer", "object": "doc:1"}}),
        "validation_error",
    ),
    (
        ("POST", "/check", {"tuple_key": {"user": "user:a", "relation": "nope", "object": "doc:1"}}),
        "validation_error",
    ),
    (
        ("POST", "/check", {"tuple_key": {"user": "nope:a", "relation": "viewer", "object": "doc:1"}}),
        "validation_error",
    ),
    (
        ("POST", "/check", {"tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc"}}),
        "validation_error",
    ),
    (
        (
            "POST",
            "/check",
            {
                "tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc:1"},
                "authorization_model_id": "01HZZZZZZZZZZZZZZZZZZZZZZZ",
            },
        ),
        "authorization_model_not_found",
    ),
    (
        (
            "POST",
            "/check",
            {
                "tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc:1"},
                "contextual_tuples": {
                    "tuple_keys": [{"user": "user:a", "relation": "nope", "object": "doc:1"}]
                },
            },
        ),
        "invalid_tuple",
    ),
    (
        (
            "POST",
            "/check",
            {
                "tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc:1"},
                "contextual_tuples": {
                    "tuple_keys": [
                        {
                            "user": "user:a",
                            "relation": "viewer",
                            "object": "doc:1",
                            "condition": {"name": "small"},
                        }
                    ]
                },
            },
        ),
        "validation_error",
    ),
    (("POST", "/batch-check", {"checks": []}), "validation_error"),
    (
        (
            "POST",
            "/batch-check",
            {
                "checks": [
                    {
                        "tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc:1"},
                        "correlation_id": str(n),
                    }
                    for n in range(51)
                ]
            },
        ),
        "validation_error",
    ),
    (
        (
            "POST",
            "/check",
            {
                "tuple_key": {"user": "user:a", "relation": "viewer", "object": "doc:1"},
                "contextual_tuples": {"tuple_keys": UNDEFINED_CONDITION},
            },
        ),
        "invalid_tuple",
    ),
    (
        (
            "POST",
            "/list-objects",
            {
                "type": "doc",
                "relation": "viewer",
                "user": "user:a",
                "contextual_tuples": {"tuple_keys": UNDEFINED_CONDITION},
            },
        ),
        "validation_error",
    ),
    (
        (
            "POST",
            "/list-users",
            {
                "object": {"type": "doc", "id": "1"},
                "relation": "viewer",
                "user_filters": [{"type": "user"}],
                "contextual_tuples": UNDEFINED_CONDITION,
            },
        ),
        "validation_error",
    ),
    (
        ("POST", "/list-objects", {"type": "nope", "relation": "viewer", "user": "user:a"}),
        "type_not_found",
    ),
    (
        ("POST", "/list-objects", {"type": "doc", "relation": "nope", "user": "user:a"}),
        "relation_not_found",
    ),
    (("POST", "/list-objects", {"type": "doc", "relation": "viewer"}), "validation_error"),
    (
        (
            "POST",
            "/list-users",
            {
                "object": {"type": "doc", "id": "1"},
                "relation": "viewer",
                "user_filters": [{"type": "nope"}],
            },
        ),
        "type_not_found",
    ),
    (
        (
            "POST",
            "/list-users",
            {"object": {"type": "doc", "id": "1"}, "relation": "viewer", "user_filters": []},
        ),
        "validation_error",
    ),
    (("POST", "/expand", {"tuple_key": {"object": "doc:1"}}), "invalid_expand_input"),
    (("POST", "/expand", {"tuple_key": {"object": "doc:1", "relation": "nope"}}), "validation_error"),
    (("POST", "/read", {"page_size": 0}), "page_size_invalid"),
    (("POST", "/read", {"continuation_token": "zzzz"}), "invalid_continuation_token"),
    (("POST", "/read", {"tuple_key": {"object": "doc:"}}), "validation_error"),
    (("POST", "/write", {}), "invalid_write_input"),
    (("POST", "/write", {"writes": {"tuple_keys": []}}), "validation_error"),
    (
        (
            "POST",
            "/write",
            {"writes": {"tuple_keys": [{"user": "user:*", "relation": "owner", "object": "doc:1"}]}},
        ),
        "validation_error",
    ),
    (
        (
            "POST",
            "/write",
            {"writes": {"tuple_keys": [{"user": "user:a", "relation": "viewer", "object": "doc:1"}] * 2}},
        ),
        "cannot_allow_duplicate_tuples_in_one_request",
    ),
    (
        (
            "POST",
            "/write",
            {
                "writes": {
                    "tuple_keys": [
                        {"user": f"user:{n}", "relation": "viewer", "object": "doc:1"} for n in range(101)
                    ]
                }
            },
        ),
        "exceeded_entity_limit",
    ),
    (
        (
            "POST",
            "/write",
            {"writes": {"tuple_keys": [{"user": "user:bo", "relation": "viewer", "object": "doc:1"}]}},
        ),
        "write_failed_due_to_invalid_input",
    ),
    (
        (
            "POST",
            "/write",
            {"deletes": {"tuple_keys": [{"user": "user:no", "relation": "viewer", "object": "doc:1"}]}},
        ),
        "write_failed_due_to_invalid_input",
    ),
    (
        (
            "POST",
            "/authorization-models",
            {
                "schema_version": "1.1",
                "type_definitions": [
                    {"type": "doc", "relations": {"viewer": {"computedUserset": {"relation": "nope"}}}}
                ],
            },
        ),
        "invalid_authorization_model",
    ),
    (
        ("POST", "/authorization-models", {"schema_version": "1.1", "type_definitions": []}),
        "type_definitions_too_few_items",
    ),
    (
        (
            "POST",
            "/authorization-models",
            {"schema_version": "1.1", "type_definitions": [{"type": f"t{n}"} for n in range(101)]},
        ),
        "exceeded_entity_limit",
    ),
    (("POST", "/authorization-models", _conditional(c="x == " + "1" * 508)), "validation_error"),
    (("POST", "/authorization-models", _conditional(c="x == int('one')")), "invalid_authorization_model"),
    (
        ("POST", "/authorization-models", _conditional(**{f"c{n}": "x == 1" for n in range(26)})),
        "validation_error",
    ),
    (("POST", "/authorization-models", _conditional(**{"c:": "x == 1"})), "validation_error"),
    (("POST", "/authorization-models", _conditional(26, c="x == 1")), "validation_error"),
    (("GET", "/authorization-models/01HZZZZZZZZZZZZZZZZZZZZZZZ", None), "authorization_model_not_found"),
    (("GET", "/authorization-models/x", None), "validation_error"),
    (("GET", "/changes?continuation_token=!!", None), "validation_error"),
    (("GET", "/changes?start_time=2999-01-01T00:00:00Z", None), "validation_error"),
    (
        ("PUT", "/assertions/01HZZZZZZZZZZZZZZZZZZZZZZZ", {"assertions": []}),
        "authorization_model_not_found",
    ),
    (("GET", "/nothing", None), "undefined_endpoint"),
]


async def test_what_is_wrong_is_refused_with_openfgas_code(authorization: Authorization) -> None:
    async with authorization.client("eve") as client:
        store = await store_of(client)
        await client.write(ClientWriteRequest(writes=[tuple_of("user:bo")]))
        wrong = []
        for (method, path, body), code in REFUSED:
            status, answer, _ = await authorization.send(
                "eve", method, f"/openfga/stores/{store}{path}", body
            )
            expected = 404 if code == "undefined_endpoint" else 400
            if (status, answer["code"]) != (expected, code) or not answer["message"]:
                wrong.append((method, path, body, code, status, answer))
        assert wrong == []
        assert await allowed(client, "user:bo"), "the service is unharmed"
