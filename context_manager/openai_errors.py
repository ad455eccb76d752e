"""Errors in OpenAI's form, and what goes wrong on the way to a node put into it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from inference.admission import Overloaded
from inference.serving import NoNodeAnswered, Refused, TooLong

_REFUSED_BY_ENGINE = frozenset({400, 413, 422})

UNSERVED = (Refused, TooLong, NoNodeAnswered, Overloaded)
"""How a request ends without a byte of an answer."""


class ApiError(Exception):
    """Type and code are for programs, the message for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "code": self.code, "param": self.param}}


@contextmanager
def in_openais_form(nodes: Collection[str]) -> Iterator[None]:
    """Raises ApiError for what ends a request unserved; of nodes only those of these ids are named.

    403 where handling forbids every node, which no waiting mends; 503 where the permitted ones are down.
    """
    try:
        yield
    except Refused as error:
        placement = error.placement
        status, code = (503, "permitted_nodes_down") if placement.permitted else (403, "no_permitted_node")
        raise ApiError(status, code, placement.refusal(nodes)) from None
    except TooLong as error:
        raise ApiError(400, "context_length_exceeded", str(error), param="messages") from None
    except Overloaded as error:
        raise ApiError(
            429, "rate_limit_exceeded", str(error), headers={"Retry-After": str(error.retry_after)}
        ) from None
    except NoNodeAnswered as error:
        if error.failures and all(failure.status in _REFUSED_BY_ENGINE for failure in error.failures):
            raise ApiError(
                400,
                "refused_by_engine",
                "the model's engine refuses the request: it may be too long for its context, "
                "or have a schema or tools that it does not know",
            ) from None
        told = "; ".join(failure.told(nodes) for failure in error.failures)
        raise ApiError(502, "no_node_answered", f"no permitted node gave an answer: {told}") from None
