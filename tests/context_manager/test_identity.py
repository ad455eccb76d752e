"""A token proves one account, or nobody."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp.test_utils import make_mocked_request

from context_manager import identity
from context_manager.at_least import AtLeast
from context_manager.identity import LOCAL_ISSUER, DelegatingVerifier, LocalIssuer, TokenRefused, Verifier
from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_http import Askers
from graph.reads import Asker
from graph.token_scope import EVERYTHING, TokenScope


def part(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.fixture
def issuer(tmp_path: Path) -> LocalIssuer:
    return LocalIssuer(tmp_path)


@pytest.fixture
def verifier(issuer: LocalIssuer) -> Verifier:
    return Verifier(LOCAL_ISSUER, "orgraph", "sample", issuer.keys)


async def test_a_token_proves_the_account_in_the_issuers_namespace(issuer, verifier) -> None:
    assert await verifier.asker(issuer.mint("ada", "orgraph")) == Asker("account:sample/ada", None)


async def test_an_agent_is_named_beside_the_person_it_acts_for(issuer, verifier) -> None:
    token = issuer.mint("ada", "orgraph", agent="quote-helper")
    scope = TokenScope(frozenset({"ask", "read", "search"}))
    assert await verifier.asker(token) == Asker("account:sample/ada", "quote-helper", scope)


async def test_a_subject_cannot_write_itself_into_another_id(issuer, verifier) -> None:
    asker = await verifier.asker(issuer.mint("ada#member@group:hr *", "orgraph"))
    assert asker.account == "account:sample/ada%23member%40group%3Ahr%20%2A"


async def test_an_expired_token_is_refused_and_says_how_to_get_another(issuer, verifier) -> None:
    with pytest.raises(TokenRefused, match=r"expired.*orgraph token"):
        await verifier.asker(issuer.mint("ada", "orgraph", lifetime=-60))


async def test_a_token_that_was_proven_counts_no_longer_than_itself_and_its_key(
    issuer, tmp_path, monkeypatch
) -> None:
    published = dict(issuer.key_set)

    async def keys(_fresh: bool) -> Any:
        return published

    verifier = Verifier(LOCAL_ISSUER, "orgraph", "sample", keys)
    token = issuer.mint("ada", "orgraph", lifetime=60)
    assert await verifier.proof(token) == await verifier.proof(token)
    published |= LocalIssuer(tmp_path / "next").key_set
    with pytest.raises(TokenRefused, match="not valid"):
        await verifier.proof(token)
    published |= issuer.key_set
    assert (await verifier.proof(token)).subject == "ada"
    for claims in (f"{token}x", token[:-2]):
        with pytest.raises(TokenRefused):
            await verifier.proof(claims)
    published["keys"] = []
    with pytest.raises(TokenRefused, match="does not publish"):
        await verifier.proof(token)


async def test_a_token_that_was_proven_expires(issuer, verifier, monkeypatch) -> None:
    token = issuer.mint("ada", "orgraph", lifetime=-5)  # within the clocks' difference
    assert (await verifier.proof(token)).subject == "ada"
    monkeypatch.setattr(identity, "_CLOCK_SKEW_S", 0)
    with pytest.raises(TokenRefused, match="expired"):
        await verifier.proof(token)


async def test_a_token_for_another_audience_is_refused(issuer, verifier) -> None:
    with pytest.raises(TokenRefused, match=r"[Aa]udience"):
        await verifier.asker(issuer.mint("ada", "another-service"))


async def test_a_token_signed_with_another_key_of_the_same_name_is_refused(tmp_path, verifier) -> None:
    forger = LocalIssuer(tmp_path / "forger")
    with pytest.raises(TokenRefused, match="not valid"):
        await verifier.asker(forger.mint("ada", "orgraph"))


async def test_a_token_without_a_signature_is_refused(issuer, verifier) -> None:
    claims = {"iss": LOCAL_ISSUER, "aud": "orgraph", "sub": "ada", "iat": 0, "exp": time.time() + 60}
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": "local"})
    with pytest.raises(TokenRefused, match="not valid"):
        await verifier.asker(unsigned)


async def test_the_public_key_does_not_serve_as_a_shared_secret(issuer, verifier) -> None:
    """The classic confusion of algorithms: HMAC with what everybody knows."""
    public = json.dumps(issuer.key_set["keys"][0]).encode()
    claims = {"iss": LOCAL_ISSUER, "aud": "orgraph", "sub": "ada", "iat": 0, "exp": time.time() + 60}
    signed = ".".join(part(value) for value in ({"alg": "HS256", "kid": "local"}, claims))
    signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).rstrip(b"=")
    with pytest.raises(TokenRefused, match="not valid"):
        await verifier.asker(f"{signed}.{signature.decode()}")


@pytest.mark.parametrize("missing", ["exp", "iat", "iss", "aud", "sub"])
async def test_a_token_that_leaves_out_a_claim_is_refused(issuer, verifier, missing) -> None:
    good = jwt.decode(issuer.mint("ada", "orgraph"), options={"verify_signature": False})
    good.pop(missing)
    token = jwt.encode(good, issuer._key, algorithm="ES256", headers={"kid": "local"})
    with pytest.raises(TokenRefused, match="not valid"):
        await verifier.asker(token)


@pytest.mark.parametrize("act", ["quote-helper", {}, {"sub": ""}, {"sub": 7}, []])
async def test_an_actor_that_names_no_agent_is_refused_rather_than_forgotten(issuer, verifier, act) -> None:
    good = jwt.decode(issuer.mint("ada", "orgraph"), options={"verify_signature": False})
    token = jwt.encode({**good, "act": act}, issuer._key, algorithm="ES256", headers={"kid": "local"})
    with pytest.raises(TokenRefused, match="act"):
        await verifier.asker(token)


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "\x00", base64.b64encode(b"{}").decode() * 3, "ä.ö.ü"])
async def test_what_is_no_token_is_refused(verifier, text) -> None:
    with pytest.raises(TokenRefused):
        await verifier.asker(text)


async def test_a_key_that_the_issuer_does_not_publish_is_asked_for_once_more_then_refused(issuer) -> None:
    asked = []

    async def keys(fresh: bool) -> dict:
        asked.append(fresh)
        return {"keys": []}

    with pytest.raises(TokenRefused, match="does not publish"):
        await Verifier(LOCAL_ISSUER, "orgraph", "sample", keys).asker(issuer.mint("ada", "orgraph"))
    assert asked == [False, True]


def test_the_signing_key_is_for_its_owner_only_and_is_kept(tmp_path: Path) -> None:
    first = LocalIssuer(tmp_path).key_set
    assert LocalIssuer(tmp_path).key_set == first
    assert (tmp_path / "issuer.pem").stat().st_mode & 0o777 == 0o600


async def test_agents_that_passed_a_token_on_are_named_after_the_current_one(issuer, verifier) -> None:
    asker = await verifier.asker(_signed(issuer, act={"sub": "b", "act": {"sub": "a"}}, scope="read"))
    assert (asker.agent, asker.earlier_agents) == ("b", ("a",))


async def test_a_persons_token_is_for_everything_unless_it_says_what_for(issuer, verifier) -> None:
    assert (await verifier.asker(_signed(issuer))).scope == EVERYTHING
    assert (await verifier.asker(_signed(issuer, scope="openid profile email"))).scope == EVERYTHING
    assert (await verifier.asker(_signed(issuer, scope="openid read"))).scope.actions == {"read"}


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"scope": "read everything"}, "the scope 'everything' is unknown"),
        ({"scope": ["read"]}, "`scope` is no text"),
        ({"act": {"sub": "helper"}}, "says nothing that it is for"),
        ({"act": {"sub": "helper"}, "scope": "openid"}, "says nothing that it is for"),
        ({"act": {"sub": "b", "act": {}}, "scope": "read"}, "`act` is not of this form"),
        ({"act": {"sub": "b", "act": "a"}, "scope": "read"}, "`act` is not of this form"),
    ],
)
async def test_a_token_for_what_is_not_known_here_is_refused(issuer, verifier, claims, says) -> None:
    with pytest.raises(TokenRefused, match=says):
        await verifier.asker(_signed(issuer, **claims))


async def test_agents_within_agents_are_bounded(issuer, verifier) -> None:
    act: dict[str, object] = {"sub": "a"}
    for _ in range(100):
        act = {"sub": "a", "act": act}
    with pytest.raises(TokenRefused, match="at most 5 within each other"):
        await verifier.asker(_signed(issuer, act=act, scope="read"))


async def test_a_token_nested_without_end_is_refused(issuer, verifier) -> None:
    deep = base64.urlsafe_b64encode(b'{"a":' * 50_000).decode().rstrip("=")
    delegating = DelegatingVerifier(
        verifier.issuer, verifier.audience, verifier.namespace, verifier.keys, verifier, _nobody_may
    )
    for token in (f"{deep}.{deep}.x", f"{part({'alg': 'ES256', 'kid': 'local'})}.{deep}.x"):
        with pytest.raises(TokenRefused):
            await delegating.asker(token)


@pytest.mark.parametrize(
    ("times", "proven"),
    [
        ({"iat": 5}, True),
        ({"iat": 60}, False),
        ({"nbf": 5}, True),
        ({"nbf": 60}, False),
        ({"exp": -5}, True),
        ({"exp": -15}, False),
    ],
)
async def test_clocks_may_differ_by_ten_seconds(
    issuer, verifier, times: dict[str, int], proven: bool
) -> None:
    token = _signed(issuer, **{claim: int(time.time()) + seconds for claim, seconds in times.items()})
    if proven:
        assert (await verifier.asker(token)).account == "account:sample/ada"
    else:
        with pytest.raises(TokenRefused):
            await verifier.asker(token)


async def test_an_agent_is_proven_at_each_request(tmp_path: Path, issuer, verifier) -> None:
    exchange = LocalIssuer(tmp_path / "exchange", "urn:exchange")
    may = {"quote-helper"}

    async def may_act(_account: str, agent: str) -> bool:
        return agent in may

    exchanged = Verifier(exchange.name, "orgraph", "sample", exchange.keys)
    delegating = DelegatingVerifier(verifier.issuer, "orgraph", "sample", issuer.keys, exchanged, may_act)
    askers = Askers(delegating, AtLeast(None, None))  # no request here names a revision
    token = exchange.mint("ada", "orgraph", agent="quote-helper")
    request = make_mocked_request("POST", "/", headers={"Authorization": f"Bearer {token}"})
    assert (await askers.of(request)).agent == "quote-helper"
    may.clear()
    with pytest.raises(OpenFgaError, match="may not act"):
        await askers.of(request)


async def _nobody_may(_account: str, _agent: str) -> bool:
    return False


def _signed(issuer: LocalIssuer, **claims: object) -> str:
    now = int(time.time())
    return issuer.sign({"aud": "orgraph", "sub": "ada", "iat": now, "exp": now + 60, **claims})
