"""Tokens of an OIDC issuer, proven by the key set that it publishes over HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from context_manager import identity, key_set
from context_manager.identity import DelegatingVerifier, TokenRefused, Verifier
from context_manager.key_set import RemoteKeys
from graph.reads import Asker

ISSUER = "https://login.example"


class Issuer:
    """An issuer whose keys can be rotated, with an HTTP endpoint that can misbehave."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {}
        self.published: list[object] = []
        self.body: bytes | None = None
        self.status = 200
        self.hangs = False
        self.asked = 0

    def rotate(self, name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None) -> None:
        key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        algorithm = (
            jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        )
        self.keys = {name: key}
        self.published = [{**json.loads(algorithm.to_jwk(key.public_key())), "kid": name, "use": "sig"}]

    def token(self, name: str, algorithm: str = "RS256", key: object = None) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": "orgraph", "sub": "ada", "iat": now, "exp": now + 60}
        return jwt.encode(claims, key or self.keys[name], algorithm=algorithm, headers={"kid": name})

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3600)
        body = json.dumps({"keys": self.published}).encode() if self.body is None else self.body
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        return web.Response(body=body, status=self.status, headers=headers, content_type="application/json")


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.rotate("first")
    return issuer


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[Verifier]:
    app = web.Application()
    app.router.add_get("/keys", issuer.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Verifier(ISSUER, "orgraph", "login", RemoteKeys(session, str(server.make_url("/keys"))))


async def test_a_token_is_proven_by_the_key_that_its_issuer_publishes(issuer, verifier) -> None:
    assert await verifier.asker(issuer.token("first")) == Asker("account:login/ada", None)


async def test_keys_on_elliptic_curves_serve_as_well(issuer, verifier) -> None:
    issuer.rotate("curve", ec.generate_private_key(ec.SECP256R1()))
    assert (await verifier.asker(issuer.token("curve", "ES256"))).account == "account:login/ada"


async def test_the_key_set_is_fetched_once_for_many_tokens(issuer, verifier) -> None:
    await asyncio.gather(*(verifier.asker(issuer.token("first")) for _ in range(5)))
    assert issuer.asked == 1


async def test_after_a_rotation_the_new_key_is_fetched_and_the_old_one_proves_nobody(
    issuer, verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issuer.token("first")
    await verifier.asker(old)
    issuer.rotate("second")
    monkeypatch.setattr(key_set, "_FRESH_AFTER_S", 0)
    await verifier.asker(issuer.token("second"))
    with pytest.raises(TokenRefused, match="does not publish"):
        await verifier.asker(old)


async def test_forged_tokens_do_not_make_a_flood_of_fetches(issuer, verifier) -> None:
    await verifier.asker(issuer.token("first"))
    forger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for number in range(20):
        with pytest.raises(TokenRefused):
            await verifier.asker(issuer.token(f"forged {number}", key=forger))
    assert issuer.asked == 1


async def test_a_key_for_encryption_signs_nothing(issuer, verifier) -> None:
    issuer.published = [{**key, "use": "enc"} for key in issuer.published]
    with pytest.raises(TokenRefused, match="does not publish"):
        await verifier.asker(issuer.token("first"))


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"[]", b'{"keys": 7}', b"\xff\xfe", b"[" * 100_000, b" " * 300_000],
    ids=["empty", "text", "a list", "keys are a number", "not UTF-8", "deep", "large"],
)
async def test_what_is_no_key_set_proves_nobody_and_names_the_address(issuer, verifier, body) -> None:
    issuer.body = body
    with pytest.raises(TokenRefused, match="/keys"):
        await verifier.asker(issuer.token("first"))


@pytest.mark.parametrize(
    "key", [7, None, {}, {"kid": "first"}, {"kid": "first", "kty": "RSA", "n": "!", "e": "AQAB"}]
)
async def test_a_broken_key_proves_nobody(issuer, verifier, key) -> None:
    issuer.published = [key]
    with pytest.raises(TokenRefused):
        await verifier.asker(issuer.token("first"))


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_another_answer_than_200_proves_nobody_and_is_not_followed(issuer, verifier, status) -> None:
    issuer.status = status
    with pytest.raises(TokenRefused, match=f"HTTP {status}"):
        await verifier.asker(issuer.token("first"))


async def test_an_issuer_that_hangs_proves_nobody(issuer, verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.hangs = True
    monkeypatch.setattr(key_set, "_LIMIT_S", 0.2)
    with pytest.raises(TokenRefused, match="cannot be read"):
        await verifier.asker(issuer.token("first"))


async def test_a_token_is_checked_once_while_its_key_is_published(
    issuer, verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a service proves the tokens that it makes of others."""
    others = Verifier("urn:others", "orgraph", "login", verifier.keys)
    delegating = DelegatingVerifier(ISSUER, "orgraph", "login", verifier.keys, others, may_act=None)
    checked, check = [], identity._public_key
    monkeypatch.setattr(identity, "_public_key", lambda *args: checked.append(args) or check(*args))
    token = issuer.token("first")
    for proving in (verifier, delegating):
        checked.clear()
        for _ in range(3):
            assert (await proving.asker(token)).account == "account:login/ada"
        assert len(checked) == 1
