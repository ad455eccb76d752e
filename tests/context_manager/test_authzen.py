"""The OpenID AuthZEN Authorization API 1.0 on the organization's store and on one of an application."""

from __future__ import annotations

from typing import Any

from openfga_sdk import CreateStoreRequest, WriteAuthorizationModelRequest
from openfga_sdk.client.models import ClientTuple, ClientWriteRequest

from ontologies.authorization_model import parse_dsl, to_json
from tests.context_manager.conftest import Authorization

MODEL = to_json(
    parse_dsl(
        """
model
  schema 1.1
type user
type doc
  relations
    define can_read: [user, user with clearance]
    define can_write: [user]
condition clearance(subject_level: int, resource_level: int, office: string) {
  subject_level >= resource_level && office == "open"
}
"""
    )
)


def ask(subject: str = "alice", action: str = "can_read", resource: str = "1", **more: Any) -> dict[str, Any]:
    return {
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "doc", "id": resource},
        **more,
    }


async def shop(authorization: Authorization) -> str:
    """The path of a store in which alice reads docs 1 to 5 and writes 1, and bob may conditionally."""
    async with authorization.client("eve") as client:
        store = (await client.create_store(CreateStoreRequest(name="shop"))).id
        client.set_store_id(store)
        await client.write_authorization_model(WriteAuthorizationModelRequest(**MODEL))
        writes = [ClientTuple(user="user:alice", relation="can_read", object=f"doc:{n}") for n in range(1, 6)]
        writes.append(ClientTuple(user="user:alice", relation="can_write", object="doc:1"))
        writes.append(
            ClientTuple(user="user:bob", relation="can_read", object="doc:1", condition={"name": "clearance"})
        )
        await client.write(ClientWriteRequest(writes=writes))
    return f"/openfga/stores/{store}"


async def post(
    authorization: Authorization, path: str, body: Any, person: str = "eve", **headers: str
) -> Any:
    status, answer, _ = await authorization.send(person, "POST", path, body, **headers)
    assert status == 200, answer
    return answer


async def test_an_evaluation_is_a_decision(authorization: Authorization) -> None:
    path = await shop(authorization) + "/access/v1/evaluation"
    assert await post(authorization, path, ask()) == {"decision": True}
    assert await post(authorization, path, ask("carol")) == {"decision": False}
    assert await post(authorization, path, ask(unknown={"is": "ignored"})) == {"decision": True}


async def test_properties_and_context_are_what_conditions_are_given(authorization: Authorization) -> None:
    path = await shop(authorization) + "/access/v1/evaluation"
    bob = {
        "subject": {"type": "user", "id": "bob", "properties": {"level": 3}},
        "action": {"name": "can_read"},
        "resource": {"type": "doc", "id": "1", "properties": {"level": 2}},
        "context": {"office": "open"},
    }
    assert await post(authorization, path, bob) == {"decision": True}
    assert await post(authorization, path, {**bob, "context": {"office": "shut"}}) == {"decision": False}
    stronger = {**bob, "context": {"office": "open", "subject_level": 1}}
    assert await post(authorization, path, stronger) == {"decision": False}


async def test_what_cannot_be_evaluated_is_no_permission(authorization: Authorization) -> None:
    path = await shop(authorization) + "/access/v1/evaluation"
    for question in (ask(action="can_fly"), ask("bob")):
        answer = await post(authorization, path, question)
        assert answer["decision"] is False
        assert answer["context"]["error"]["status"] == 400


async def test_evaluations_follow_their_semantics(authorization: Authorization) -> None:
    path = await shop(authorization) + "/access/v1/evaluations"

    async def decisions(semantic: str | None, *resources: str) -> list[bool]:
        body = ask()
        del body["resource"]
        body["evaluations"] = [{"resource": {"type": "doc", "id": id}} for id in resources]
        if semantic is not None:
            body["options"] = {"evaluations_semantic": semantic}
        return [one["decision"] for one in (await post(authorization, path, body))["evaluations"]]

    assert await decisions(None, "1", "9", "2") == [True, False, True]
    assert await decisions("execute_all", "9", "1") == [False, True]
    assert await decisions("deny_on_first_deny", "1", "9", "2") == [True, False]
    assert await decisions("permit_on_first_permit", "9", "1", "2") == [False, True]
    overridden = {
        **ask(),
        "evaluations": [{}, {"action": {"name": "can_write"}, "resource": {"type": "doc", "id": "2"}}],
    }
    answer = await post(authorization, path, overridden)
    assert [one["decision"] for one in answer["evaluations"]] == [True, False]
    assert await post(authorization, path, ask()) == {"decision": True}, "as a single one, without a list"
    assert await post(authorization, path, ask(evaluations=[])) == {"decision": True}
    failing = {**ask(), "evaluations": [{"action": {"name": "can_fly"}}, {}]}
    failing["options"] = {"evaluations_semantic": "deny_on_first_deny"}
    [only] = (await post(authorization, path, failing))["evaluations"]
    assert only["decision"] is False, "a failure is a denial"


async def test_searches_are_paged(authorization: Authorization) -> None:
    path = await shop(authorization) + "/access/v1/search"
    body = {**ask(), "resource": {"type": "doc"}, "page": {"limit": 2}}
    found, pages, token = [], 0, ""
    while True:
        page = await post(authorization, f"{path}/resource", body)
        assert page["page"]["count"] == len(page["results"])
        assert page["page"]["total"] == 5
        found += [one["id"] for one in page["results"]]
        pages, token = pages + 1, page["page"]["next_token"]
        if not token:
            break
        body = {**body, "page": {"token": token}}
    assert (found, pages) == (["1", "2", "3", "4", "5"], 3)
    changed = {**body, "subject": {"type": "user", "id": "bob"}}
    status, _, _ = await authorization.send("eve", "POST", f"{path}/resource", changed)
    assert status == 400, "a token is of the search that gave it"
    subjects = await post(
        authorization, f"{path}/subject", {**ask(resource="2"), "subject": {"type": "user"}}
    )
    assert subjects["results"] == [{"type": "user", "id": "alice"}]
    question = {name: value for name, value in ask().items() if name != "action"}
    actions = await post(authorization, f"{path}/action", question)
    assert actions["results"] == [{"name": "can_read"}, {"name": "can_write"}]
    for result in subjects["results"]:
        again = ask(result["id"], resource="2")
        assert await post(authorization, path.replace("search", "evaluation"), again) == {"decision": True}


async def test_the_root_asks_the_organization(authorization: Authorization) -> None:
    def may(account: str, document: str) -> dict[str, Any]:
        return {
            "subject": {"type": "account", "id": f"acme/{account}"},
            "action": {"name": "viewer"},
            "resource": {"type": "document", "id": document},
        }

    path = "/access/v1/evaluation"
    assert await post(authorization, path, may("eve", "handbook")) == {"decision": True}
    assert await post(authorization, path, may("eve", "merger")) == {"decision": False}
    assert await post(authorization, path, may("ada", "merger"), "ada") == {"decision": True}
    status, _, _ = await authorization.send("eve", "POST", path, may("ada", "merger"))
    assert status == 403, "others are asked about by the administrator alone"
    search = {**may("eve", ""), "resource": {"type": "document"}}
    found = await post(authorization, "/access/v1/search/resource", search)
    assert found["results"] == [{"type": "document", "id": "handbook"}]
    assert found["page"]["total"] == 1


async def test_malformed_requests_are_refused_with_a_message(authorization: Authorization) -> None:
    path = await shop(authorization)
    for endpoint, body in (
        ("evaluation", {}),
        ("evaluation", b"{"),
        ("evaluation", b"[]"),
        ("evaluation", {**ask(), "subject": "alice"}),
        ("evaluation", {**ask(), "subject": {"type": "user"}}),
        ("evaluation", {**ask(), "action": {"name": ""}}),
        ("evaluation", {**ask(), "resource": {"type": "do:c", "id": "1"}}),
        ("evaluation", {**ask(), "context": []}),
        ("evaluations", {**ask(), "evaluations": {}}),
        ("evaluations", {**ask(), "evaluations": [{}], "options": {"evaluations_semantic": "any"}}),
        ("evaluations", {"evaluations": [ask(), {"subject": {"type": "user", "id": "a"}}]}),
        ("evaluations", {**ask(), "evaluations": [{}] * 1001}),
        ("search/resource", {**ask(), "page": {"limit": -1}}),
        ("search/resource", {**ask(), "page": {"token": "nonsense"}}),
        ("search/subject", {"action": {"name": "can_read"}, "resource": {"type": "doc", "id": "1"}}),
    ):
        status, answer, _ = await authorization.send("eve", "POST", f"{path}/access/v1/{endpoint}", body)
        assert (status, bool(answer)) == (400, True), (endpoint, body)
    status, _, headers = await authorization.send(None, "POST", "/access/v1/evaluation", ask())
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_request_keeps_its_id(authorization: Authorization) -> None:
    for person, body in (("eve", ask()), ("eve", {}), (None, ask())):
        _, _, headers = await authorization.send(
            person, "POST", "/access/v1/evaluation", body, **{"X-Request-ID": "bfe9eb29"}
        )
        assert headers["X-Request-ID"] == "bfe9eb29"


async def test_the_metadata_names_what_it_was_asked_of(authorization: Authorization) -> None:
    status, root, _ = await authorization.send(None, "GET", "/.well-known/authzen-configuration")
    assert status == 200
    assert root["policy_decision_point"] == authorization.url
    assert root["access_evaluation_endpoint"] == f"{authorization.url}/access/v1/evaluation"
    path = await shop(authorization)
    _, named, _ = await authorization.send(None, "GET", f"/.well-known/authzen-configuration{path}")
    assert named["policy_decision_point"] == f"{authorization.url}{path}"
    endpoint = named["access_evaluation_endpoint"].removeprefix(authorization.url)
    assert await post(authorization, endpoint, ask()) == {"decision": True}
    assert set(named) == {
        "policy_decision_point",
        "access_evaluation_endpoint",
        "access_evaluations_endpoint",
        "search_subject_endpoint",
        "search_resource_endpoint",
        "search_action_endpoint",
    }
