"""Who asks: bearer tokens, proven against a key set; and the local issuer of a sample organization."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from graph.claims import entity_id
from graph.reads import Asker
from graph.token_scope import EVERYTHING, ScopeError, TokenScope, parse_scope

LOCAL_ISSUER = "urn:orgraph:local-issuer"
LIFETIME_S = 8 * 3600
AGENT_SCOPE = "ask read search"
"""What an agent's token is for where nothing else is said."""
MAX_AGENTS = 5
"""Agents that may have passed a token on."""
_CLOCK_SKEW_S = 10
_KEPT = 1_024
#: One algorithm a key type, so that a token never chooses how it is checked.
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}

KeySet = Mapping[str, Any]
"""A JSON Web Key Set (RFC 7517)."""


class TokenRefused(Exception):  # noqa: N818  named for what happened
    """The token proves nobody; the message says why and what to do."""


def bearer_token(authorization: str) -> str:
    """The token of an `Authorization` as HTTP has it; raises TokenRefused without one."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused("send `Authorization: Bearer TOKEN`; get a token with `orgraph token PERSON`")
    return token.strip()


@dataclass(frozen=True, slots=True)
class Proof:
    """What a token proves."""

    asker: Asker
    subject: str
    """Its `sub`, as the issuer knows it."""
    expires: int
    """Seconds since 1970."""
    scoped: bool
    """Whether it says what it is for."""


@dataclass(slots=True)
class _Proven:
    """Tokens that were proven, by their digest, each with the key that proved it."""

    by_digest: OrderedDict[bytes, tuple[Mapping[str, Any], Proof]] = field(default_factory=OrderedDict)

    def __contains__(self, token: str) -> bool:
        return _digest(token) in self.by_digest

    def get(self, token: str, published: Collection[Any]) -> Proof | None:
        """While it has not expired and the same key is still published."""
        by, proof = self.by_digest.get(_digest(token), (None, None))
        return proof if proof is not None and by in published and time.time() < proof.expires else None

    def put(self, token: str, key: Mapping[str, Any], proof: Proof) -> None:
        self.by_digest[_digest(token)] = key, proof
        if len(self.by_digest) > _KEPT:
            self.by_digest.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks bearer tokens of one issuer, whose accounts live in one namespace."""

    issuer: str
    audience: str
    namespace: str
    """Namespace of the accounts: `account:<namespace>/<sub>`."""
    keys: Callable[[bool], Awaitable[KeySet]]
    """The issuer's key set; True asks for a fresh one, because a key was unknown."""
    _proven: _Proven = field(default_factory=_Proven, kw_only=True, repr=False, compare=False)

    async def asker(self, token: str) -> Asker:
        """The account that the token proves, and the agent that acts for it (RFC 8693 `act`), if any.

        Raises as `proof`.
        """
        return (await self.proof(token)).asker

    async def proof(self, token: str) -> Proof:
        """What the token proves.

        Raises TokenRefused for a token that is malformed, forged, expired, or of another issuer or audience,
        for a scope that is unknown, and for an agent's token without one.
        """
        if token in self._proven:
            published = (await self.keys(False)).get("keys", ())
            if (proven := self._proven.get(token, published)) is not None:
                return proven
        data = await self._key(_header(token))
        key = _public_key(data, self.issuer)
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
        agents = _agents(claims)
        agent = agents[0] if agents else None
        account = entity_id("account", f"{self.namespace}/{claims['sub']}")
        scope = _scope(claims, agent)
        asker = Asker(account, agent, EVERYTHING if scope is None else scope, agents[1:])
        proof = Proof(asker, str(claims["sub"]), int(claims["exp"]), scope is not None)
        self._proven.put(token, data, proof)
        return proof

    async def _key(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        for fresh in (False, True):
            for data in (await self.keys(fresh)).get("keys", ()):
                if isinstance(data, dict) and _names(data, header):
                    return data
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
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise TokenRefused(
            "the bearer token is not a JSON Web Token; get one with `orgraph token`"
        ) from error


def _agents(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The agent that acts, then those that acted before it."""
    found: list[str] = []
    actor = claims.get("act")
    while actor is not None:
        named = isinstance(actor, dict) and isinstance(actor.get("sub"), str) and actor["sub"]
        if not named or len(found) == MAX_AGENTS:
            raise TokenRefused(
                f"the token's `act` is not of this form: expected {{'sub': AGENT}} (RFC 8693), at most "
                f"{MAX_AGENTS} within each other"
            )
        found.append(str(actor["sub"]))
        actor = actor.get("act")
    return tuple(found)


def _scope(claims: Mapping[str, Any], agent: str | None) -> TokenScope | None:
    """What the token says that it is for; None where a person's says nothing, which is then for all."""
    said = claims.get("scope", "")
    if not isinstance(said, str):
        raise TokenRefused("the token's `scope` is no text; expected words between spaces (RFC 8693)")
    try:
        scope = parse_scope(said)
    except ScopeError as error:
        raise TokenRefused(f"the token cannot be used here: {error}") from error
    if scope is None and agent is not None:
        raise TokenRefused(
            f"the token of the agent {agent!r} says nothing that it is for: get one with a scope"
        )
    return scope


@dataclass(frozen=True, slots=True)
class DelegatingVerifier(Verifier):
    """Proves the issuer's tokens, and those for agents that this service made of them.

    A token for an agent, whoever made it, counts for as long as the agent may act for the account.
    """

    exchanged: Verifier
    may_act: Callable[[str, str], Awaitable[bool]]
    """Whether an agent (the `sub` of its own tokens) may act for an account, now."""

    @property
    def of_issuer(self) -> Verifier:
        """Proves the issuer's tokens alone."""
        return Verifier(self.issuer, self.audience, self.namespace, self.keys, _proven=self._proven)

    async def proof(self, token: str) -> Proof:
        """As of `Verifier`; TokenRefused too for an agent that may no longer act for the account."""
        made_here = token not in self._proven and (
            token in self.exchanged._proven or _issuer_of(token) == self.exchanged.issuer
        )
        proof = await (self.exchanged if made_here else self.of_issuer).proof(token)
        agent = proof.asker.agent
        if agent is None and not made_here:
            return proof
        if agent is None or not await self.may_act(proof.asker.account, agent):
            raise TokenRefused("the token's agent may not act for the account; get another token")
        return proof


def agent_id(subject: str) -> str:
    """The id of the agent's entity, by the `sub` of its own tokens."""
    return entity_id("software_agent", subject)


def _issuer_of(token: str) -> object:
    """Whose the token says it is, which is not proven yet."""
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.InvalidTokenError, RecursionError):
        return None


class LocalIssuer:
    """Mints tokens with a key of its own, which lies in a folder, for its owner only."""

    def __init__(self, folder: Path, name: str = LOCAL_ISSUER) -> None:
        """`name` is the `iss` of the tokens."""
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
        self.name = name
        self._key = key
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        self.key_set: KeySet = {"keys": [{**public, "kid": "local", "use": "sig", "alg": "ES256"}]}

    async def keys(self, _fresh: bool) -> KeySet:
        return self.key_set

    def mint(
        self,
        subject: str,
        audience: str,
        agent: str | None = None,
        lifetime: int = LIFETIME_S,
        scope: str | None = None,
    ) -> str:
        """A token for the account `subject`, valid for `lifetime` seconds; an agent's is for what may be
        read and asked, if `scope` says nothing else."""
        now = int(time.time())
        claims: dict[str, Any] = {"aud": audience, "sub": subject, "iat": now, "exp": now + lifetime}
        if agent is not None:
            claims |= {"act": {"sub": agent}, "scope": AGENT_SCOPE}
        if scope is not None:
            claims["scope"] = scope
        return self.sign(claims)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token of this issuer's with these claims."""
        return jwt.encode(
            {"iss": self.name, **claims}, self._key, algorithm="ES256", headers={"kid": "local"}
        )


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; it never exists with other rights."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
