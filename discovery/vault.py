"""Secrets kept in HashiCorp Vault, OpenBao or what else has their key-value engine (version 2) over HTTP."""

from __future__ import annotations

import http.client
import json
import os
from urllib.parse import quote, urlsplit

from discovery.addresses import is_here
from discovery.sources import ConfigurationError

_SECONDS = 10
_MAX_BYTES = 1 << 20


def read_from_vault(reference: str) -> str:
    """The secret at `MOUNT/PATH#KEY`, of the server in `VAULT_ADDR`, with the token in `VAULT_TOKEN`.

    Raises ConfigurationError, which names the reference only.
    """
    place, _, key = reference.rpartition("#")
    mount, _, path = place.partition("/")
    where = f"the secret vault:{reference}"
    data = _asked(f"/v1/{quote(mount)}/data/{quote(path)}", where)
    try:
        secret = json.loads(data)["data"]["data"][key]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigurationError(
            f"{where}: expected a key {key!r} there; write it, or correct the reference"
        ) from None
    if not isinstance(secret, str) or not secret:
        raise ConfigurationError(f"{where}: expected a text, found none; write the secret there")
    return secret


def _asked(target: str, where: str) -> bytes:
    address = urlsplit(os.environ.get("VAULT_ADDR", ""))
    host = address.hostname or ""
    if address.scheme != "https" and not (address.scheme == "http" and is_here(host)):
        raise ConfigurationError(f"{where}: set VAULT_ADDR to https://host, or http to this machine")
    if not (token := os.environ.get("VAULT_TOKEN")):
        raise ConfigurationError(f"{where}: VAULT_TOKEN is not set; it should hold a token that may read it")
    connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = connect(host, address.port, timeout=_SECONDS)
    try:
        # Redirects are not followed: the token is for this host.
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        connection.request("GET", address.path.rstrip("/") + target, headers=headers)
        answer = connection.getresponse()
        data = answer.read(_MAX_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = "a token that is none" if isinstance(error, ValueError) else error or type(error).__name__
        raise ConfigurationError(f"{where}: {address.scheme}://{host} does not answer: {said}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ConfigurationError(
            f"{where}: it was answered with {answer.status}; check the path and what the token may read"
        )
    return data
