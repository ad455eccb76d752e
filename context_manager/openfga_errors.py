"""OpenFGA's errors: their codes, the HTTP statuses that go with them, and their JSON."""

from __future__ import annotations

from aiohttp import web

#: Codes that are not the requester's mistake in the request, by HTTP status; all others are 400.
_STATUSES = {
    "unauthenticated": 401,
    "bearer_token_missing": 401,
    "auth_failed_invalid_bearer_token": 401,
    "forbidden": 403,
    "store_id_not_found": 404,
    "undefined_endpoint": 404,
    "unimplemented": 404,
    "Aborted": 409,
    # OpenFGA has 500 here, after which its clients send the same again.
    "resource_exhausted": 413,
    "internal_error": 500,
    "unavailable": 503,
}


class OpenFgaError(Exception):
    """A refusal in OpenFGA's form. `code` is the name of its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return _STATUSES.get(self.code, 400)

    def response(self) -> web.Response:
        return web.json_response({"code": self.code, "message": self.message}, status=self.status)


def store_not_found() -> OpenFgaError:
    """For a store that is not there, and for one that the asker may not use: nobody can tell which."""
    return OpenFgaError("store_id_not_found", "Store ID not found")


def model_not_found(id: str) -> OpenFgaError:
    return OpenFgaError("authorization_model_not_found", f"Authorization Model '{id}' not found")


def no_model(store: str) -> OpenFgaError:
    return OpenFgaError(
        "latest_authorization_model_not_found", f"No authorization models found for store '{store}'"
    )


def exceeded(entity: str, limit: int) -> OpenFgaError:
    return OpenFgaError(
        "exceeded_entity_limit", f"The number of {entity} exceeds the allowed limit of {limit}"
    )


def invalid_token() -> OpenFgaError:
    return OpenFgaError("invalid_continuation_token", "Invalid continuation token")
