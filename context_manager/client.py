"""Asking a running service over HTTP, as a program would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

ASK = """
query Ask($question: String!, $asOf: String, $validAt: DateTime) {
  ask(question: $question, asOf: $asOf, validAt: $validAt) {
    outcome text node model notes
    facts { id title statement sources }
    placement { node permitted up reasons }
  }
}
"""


class ServiceError(Exception):
    """The service did not answer as asked; the message says what it said and what to do."""


async def query(url: str, token: str, text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The `data` of a GraphQL query to the service at `url`. Raises ServiceError."""
    body = {"query": text, "variables": dict(variables)}
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/graphql", json=body, headers=headers) as response,
        ):
            result = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ServiceError(f"no Orgraph answers at {url} ({error}); start it with `orgraph serve`") from error
    if not isinstance(result, dict) or result.get("errors") or "data" not in result:
        errors = result.get("errors", ()) if isinstance(result, dict) else ()
        said = "; ".join(str(error.get("message")) for error in errors) or "nothing that is GraphQL"
        raise ServiceError(f"{url} answered: {said}")
    data: dict[str, Any] = result["data"]
    return data


async def ready(url: str) -> dict[str, Any]:
    """What /health/ready says. Raises ServiceError when nobody answers."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/health/ready") as response:
            health: dict[str, Any] = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ServiceError(f"no Orgraph answers at {url} ({error})") from error
    return health
