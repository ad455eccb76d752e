"""Continuation tokens: opaque to whoever sends them back, good for the listing that gave them."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from context_manager.openfga_errors import invalid_token

PAGE_SIZE = 50
"""Items of a page when the request names no number."""


def token_of(listing: str, position: Any) -> str:
    """The token of what follows a position of a listing."""
    text = json.dumps([listing, position], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def position_of(listing: str, token: str, first: Any) -> Any:
    """The position in a token; `first` when there is none. OpenFgaError when it is of no such listing."""
    if not token:
        return first
    try:
        found, position = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError) as error:
        raise invalid_token() from error
    if found != listing or type(position) is not type(first):
        raise invalid_token()
    return position
