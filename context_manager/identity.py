"""Who asks: bearer tokens, proven against a key set; and the local issuer of a sample organization."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from graph.claims import entity_id
from graph.reads import Asker

LOCAL_ISSUER = "urn:orgraph:local-issuer"
LIFETIME_S = 8 * 3600
_CLOCK_SKEW_S = 10
#: One algorithm a key type, so that a token never chooses how it is checked.
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}

KeySet = Mapping[str, Any]
"""A JSON Web Key Set (RFC 7517)."""


class TokenRefused(Exception):  # noqa: N818  named for what happened
    """The token proves nobody; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks bearer tokens of one issuer, whose accounts live in one namespace."""

    issuer: str
    audience: str
    namespace: str
    """Namespace of the accounts: `account:<namespace>/<sub>`."""
    keys: Callable[[bool], Awaitable[KeySet]]
    """The issuer's key set; True asks for a fresh one, because a key was unknown."""

    async def asker(self, token: str) -> Asker:
        """The account that the token proves, and the agent that acts for it (RFC 8693 `act`), if any.

        Raises TokenRefused for a token that is malformed, forged, expired, or of another issuer or audience.
        """
        key = await self._key(_header(token))
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=self.audience,
                issuer=self.issuer,
                leeway=_CLOCK_SKEW_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenRefused("the token has expired; get a new one (`orgraph token PERSON`)") from error
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"the token is not valid: {error}; get one from {self.issuer}") from error
        return Asker(entity_id("account", f"{self.namespace}/{claims['sub']}"), _actor(claims))

    async def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        for fresh in (False, True):
            for data in (await self.keys(fresh)).get("keys", ()):
                if isinstance(data, dict) and _names(data, header):
                    return _public_key(data, self.issuer)
        raise TokenRefused(f"the token is signed with a key that {self.issuer} does not publish")


def _names(data: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Whether the key is the one that a token's header names, and one that signs."""
    return (
        data.get("kid") == header.get("kid")
        and data.get("kty") in _ALGORITHMS
        and data.get("use", "sig") == "sig"
    )


def _public_key(data: Mapping[str, Any], issuer: str) -> jwt.PyJWK:
    try:
        return jwt.PyJWK(dict(data), algorithm=_ALGORITHMS[data["kty"]])
    except (jwt.PyJWKError, jwt.InvalidKeyError) as error:
        raise TokenRefused(f"the key {data.get('kid')!r} that {issuer} publishes is none: {error}") from error


def _header(token: str) -> Mapping[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise TokenRefused(
            "the bearer token is not a JSON Web Token; get one with `orgraph token`"
        ) from error


def _actor(claims: Mapping[str, Any]) -> str | None:
    actor = claims.get("act")
    if actor is None:
        return None
    if not isinstance(actor, dict) or not isinstance(actor.get("sub"), str) or not actor["sub"]:
        raise TokenRefused("the token's `act` names no agent; expected {'sub': AGENT} (RFC 8693)")
    return str(actor["sub"])


class LocalIssuer:
    """Mints tokens for a sample organization; its key lies in the data folder, for its owner only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "issuer.pem"
        if not path.exists():
            pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            write_secret(path, pem)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TokenRefused(f"{path}: expected an elliptic curve key; remove the file to make a new one")
        self._key = key
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        self.key_set: KeySet = {"keys": [{**public, "kid": "local", "use": "sig", "alg": "ES256"}]}

    async def keys(self, _fresh: bool) -> KeySet:
        return self.key_set

    def mint(self, subject: str, audience: str, agent: str | None = None, lifetime: int = LIFETIME_S) -> str:
        """A token for the account `subject`, valid for `lifetime` seconds."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": LOCAL_ISSUER,
            "aud": audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime,
        }
        if agent is not None:
            claims["act"] = {"sub": agent}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "local"})


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; it never exists with other rights."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
