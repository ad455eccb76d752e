"""OpenFGA's consolidated matrix, each assertion through the HTTP API with OpenFGA's client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from openfga_sdk import CreateStoreRequest, FgaObject, UserTypeFilter, WriteAuthorizationModelRequest
from openfga_sdk.client import OpenFgaClient
from openfga_sdk.client.models import (
    ClientCheckRequest,
    ClientListObjectsRequest,
    ClientTuple,
    ClientWriteRequest,
)
from openfga_sdk.client.models.list_users_request import ClientListUsersRequest
from openfga_sdk.exceptions import ApiException

from ontologies.authorization_model import parse_dsl, to_json
from tests.context_manager.conftest import Authorization
from tests.graph.openfga_data import ERROR_NUMBERS

pytestmark = pytest.mark.shared_data


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "contextual"])
async def test_the_consolidated_matrix_whole(
    authorization: Authorization, shared_data: Path, stored: bool
) -> None:
    """Contextual are the tuples of the stage asked about; those of earlier ones were stored under their model."""
    matrix = yaml.safe_load((shared_data / "openfga" / "consolidated_1_1_tests.yaml").read_text())
    async with authorization.client("eve") as client:
        outcomes = [
            outcome for test in matrix["tests"] for outcome in await outcomes_of(client, test, stored)
        ]
    assert [outcome for outcome in outcomes if outcome[-1] != outcome[-2]] == []
    assert len(outcomes) == 925


async def outcomes_of(client: OpenFgaClient, test: dict[str, Any], stored: bool) -> list[tuple]:
    """(test, kind, assertion, expected, found) of all its assertions."""
    client.set_store_id((await client.create_store(CreateStoreRequest(name="matrix"))).id)
    outcomes = []
    for number, stage in enumerate(test["stages"]):
        model = WriteAuthorizationModelRequest(**to_json(parse_dsl(stage["model"])))
        await client.write_authorization_model(model)
        tuples = client_tuples(stage.get("tuples"))
        if tuples and (stored or number + 1 < len(test["stages"])):
            await client.write(ClientWriteRequest(writes=tuples))
        beside = [] if stored else tuples
        for kind, ask in ASKS.items():
            assertions = stage.get(kind) or []
            found = await asyncio.gather(*(answer(ask, client, one, beside) for one in assertions))
            outcomes += [
                (test["name"], kind, assertion, expected_of(kind, assertion), result)
                for assertion, result in zip(assertions, found, strict=True)
            ]
    return outcomes


def expected_of(kind: str, assertion: dict[str, Any]) -> Any:
    if assertion.get("errorCode"):
        return assertion["errorCode"]
    expectation = assertion.get("expectation")
    return expectation if kind == "checkAssertions" else sorted(expectation or ())


async def answer(
    ask: Any, client: OpenFgaClient, assertion: dict[str, Any], beside: list[ClientTuple]
) -> Any:
    more = {
        "contextual_tuples": [*client_tuples(assertion.get("contextualTuples")), *beside] or None,
        "context": assertion.get("context"),
    }
    try:
        return await ask(client, assertion, more)
    except ApiException as error:
        return ERROR_NUMBERS.get(error.code, error.code)


async def check(client: OpenFgaClient, assertion: dict[str, Any], more: dict[str, Any]) -> bool:
    return (await client.check(ClientCheckRequest(**assertion["tuple"], **more))).allowed


async def objects(client: OpenFgaClient, assertion: dict[str, Any], more: dict[str, Any]) -> list[str]:
    return sorted(
        (await client.list_objects(ClientListObjectsRequest(**assertion["request"], **more))).objects
    )


async def users(client: OpenFgaClient, assertion: dict[str, Any], more: dict[str, Any]) -> list[str]:
    asked = assertion["request"]
    type_name, _, id = asked["object"].partition(":")
    [filter] = asked["filters"]
    kind, _, relation = filter.partition("#")
    response = await client.list_users(
        ClientListUsersRequest(
            object=FgaObject(type=type_name, id=id),
            relation=asked["relation"],
            user_filters=[UserTypeFilter(type=kind, relation=relation or None)],
            **more,
        )
    )
    return sorted(
        f"{user.object.type}:{user.object.id}"
        if user.object
        else f"{user.wildcard.type}:*"
        if user.wildcard
        else f"{user.userset.type}:{user.userset.id}#{user.userset.relation}"
        for user in response.users
    )


ASKS = {"checkAssertions": check, "listObjectsAssertions": objects, "listUsersAssertions": users}


def client_tuples(entries: list[dict[str, Any]] | None) -> list[ClientTuple]:
    return [ClientTuple(**entry) for entry in entries or ()]
