"""Statements of attesters about mesh nodes: where one is and what it offers, bound to its TLS certificate.

A statement is a JSON Web Token (RFC 7519): `iss` the attester, `sub` the node's id, `aud` the organization's
namespace, `iat` and `exp`, `cnf` with `x5t#S256`, the digest of the node's TLS certificate (RFC 8705), and
`node`, what is declared of it. What the node or anybody else says beside that counts for nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

LONGEST = timedelta(days=366)
"""From issue to expiry."""
MAX_BYTES = 32_768
_SKEW = timedelta(seconds=60)
_DIGEST_BYTES = 32
_NODE = re.compile(r"mesh_node:[A-Za-z0-9][A-Za-z0-9.-]{0,62}", re.ASCII)

Text = Annotated[str, Field(min_length=1, max_length=200)]


class StatementRefused(Exception):  # noqa: N818  named for what happened
    """It is no statement of a configured attester, or not of the form; the message says why."""


class Declared(BaseModel):
    """What an attester declares of a node. What is left out is unknown, and refused where handling asks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Annotated[str, Field(pattern=r"^https://[^\s/?#@]+$")]
    """Root of its OpenAI-compatible server: `https://host:port`."""
    jurisdiction: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
    region: Text
    silicon: Text
    models: Annotated[tuple[Text, ...], Field(min_length=1)]
    capabilities: tuple[Literal["chat", "embedding"], ...] = ("chat",)
    engine: Text = "vllm"
    site: Text | None = None
    certifications: tuple[Text, ...] = ()
    clearance: Annotated[int, Field(ge=0)] = 0
    owner: Annotated[str, Field(pattern=r"^[a-z_]+:\S+$")] | None = None
    """Id of the agent that owns it (`group:engineering`)."""
    purposes: tuple[Text, ...] = ()
    memory: Annotated[int, Field(ge=1)] | None = None
    context_length: Annotated[int, Field(ge=1)] | None = None
    price: Annotated[int, Field(ge=0)] | None = None


SEVERAL = frozenset({"models", "capabilities", "certifications", "purposes"})
"""Fields of several values."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One whose signature held. Whether it still does is not looked at."""

    node: str
    """Id of the mesh node."""
    attester: str
    issued: datetime
    expires: datetime
    certificate: str
    """SHA-256 of the TLS certificate, in hex."""
    declared: Declared


def read_statement(text: str, attesters: Mapping[str, str], audience: str, now: datetime) -> Statement:
    """The statement, proven by the public key (PEM) of the attester that it names.

    Raises StatementRefused.
    """
    try:
        named = jwt.decode(text, options={"verify_signature": False}).get("iss")
        if not isinstance(named, str) or named not in attesters:
            raise StatementRefused(
                f"expected a statement of one of the attesters {', '.join(sorted(attesters))}, "
                f"found one of {str(named)[:80]!r}"
            )
        key = serialization.load_pem_public_key(attesters[named].encode())
        claims = jwt.decode(
            text,
            key,  # type: ignore[arg-type]  # of a kind that `_algorithm` knows, else it raises
            algorithms=[_algorithm(key)],
            audience=audience,
            issuer=named,
            options={
                "require": ["iss", "sub", "aud", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
            },
        )
    except jwt.InvalidSignatureError:
        raise StatementRefused(f"it is not signed with the key of the attester {named!r}") from None
    except jwt.PyJWTError as error:
        raise StatementRefused(f"expected a signed statement (`orgraph nodes attest`): {error}") from None
    except ValueError as error:
        raise StatementRefused(f"the key of the attester {named!r} cannot be read: {error}") from None
    issued, expires = _instant(claims["iat"], "iat"), _instant(claims["exp"], "exp")
    if issued > now + _SKEW:
        raise StatementRefused(f"it is issued in the future, at {issued:%Y-%m-%d %H:%M}; look at the clocks")
    if expires - issued > LONGEST:
        raise StatementRefused(f"it would hold for more than {LONGEST.days} days; issue a shorter one")
    return Statement(
        _node(claims["sub"]),
        named,
        issued,
        expires,
        _certificate(claims.get("cnf")),
        _declared(claims.get("node")),
    )


def sign_statement(
    private_key: str, attester: str, audience: str, statement: Mapping[str, Any], lifetime: timedelta
) -> str:
    """`statement` has `sub`, `certificate` (digest in hex) and `node`. Raises as `read_statement`."""
    try:
        key = serialization.load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError) as error:
        raise StatementRefused(f"the attester's private key cannot be read: {error}") from None
    public = key.public_key()
    now = datetime.now(UTC).replace(microsecond=0)
    digest = base64.urlsafe_b64encode(bytes.fromhex(statement["certificate"])).rstrip(b"=").decode()
    claims = {
        "iss": attester,
        "sub": statement["sub"],
        "aud": audience,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "cnf": {"x5t#S256": digest},
        "node": _declared(statement["node"]).model_dump(mode="json", exclude_unset=True),
    }
    text = jwt.encode(claims, key, algorithm=_algorithm(public))  # type: ignore[arg-type]  # as above
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    read_statement(text, {attester: pem}, audience, now)
    return text


def _algorithm(key: object) -> str:
    """One a key type, so that a statement never chooses how it is checked."""
    match key:
        case ed25519.Ed25519PublicKey():
            return "EdDSA"
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        case rsa.RSAPublicKey() if key.key_size >= 2048:
            return "RS256"
        case _:
            raise StatementRefused("expected a key of Ed25519, P-256 or RSA of 2048 bits or more")


def _instant(value: object, name: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(value), UTC)  # type: ignore[call-overload]  # or TypeError
    except (TypeError, ValueError, OverflowError, OSError):
        raise StatementRefused(f"{name}: expected seconds since 1970, found {str(value)[:40]!r}") from None


def _node(subject: object) -> str:
    if not isinstance(subject, str) or not _NODE.fullmatch(subject):
        raise StatementRefused(
            "sub: expected the id of a mesh node, as mesh_node:NAME of letters, digits, dots and hyphens, "
            f"found {str(subject)[:80]!r}"
        )
    return subject


def _certificate(confirmation: object) -> str:
    text = confirmation.get("x5t#S256") if isinstance(confirmation, Mapping) else None
    try:
        digest = base64.urlsafe_b64decode(f"{text}=" if isinstance(text, str) else "")
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise StatementRefused("cnf: expected `x5t#S256`, the SHA-256 of the node's TLS certificate")
    return digest.hex()


def _declared(node: object) -> Declared:
    try:
        return Declared.model_validate(node)
    except ValidationError as error:
        wrong = "; ".join(
            f"node.{'.'.join(map(str, e['loc']))}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False, include_context=False)[:3]
        )
        raise StatementRefused(f"{wrong}; its fields are: {', '.join(Declared.model_fields)}") from None
