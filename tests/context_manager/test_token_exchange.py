"""A token for an agent permits at most what the person's does, for at most as long, while the agent may act."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from context_manager.audit import AuditLog
from context_manager.delegation import delegation_of
from context_manager.identity import (
    LOCAL_ISSUER,
    DelegatingVerifier,
    LocalIssuer,
    TokenRefused,
    Verifier,
)
from context_manager.token_exchange import (
    ACCESS_TOKEN,
    EXCHANGE_ISSUER,
    GRANT_TYPE,
    TokenExchange,
    add_token_exchange,
)
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.organization_tuples import OrganizationTuples
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.system_reads import is_enabled, is_of_person
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

SOURCE = SourcePolicy(
    "configuration",
    frozenset(t for t, r in load().relationships.items() if r.access_bearing),
    frozenset({"collection:all", "collection:hr"}),
    100,
    timedelta(hours=24),
)
POLICIES = {SOURCE.name: SOURCE}
ADA = "account:acme/ada"


def account(name: str, **values: Any) -> list[Claim]:
    said = {"name": name, "issuer": "acme", "subject": name, **values}
    return [
        EntityClaim(f"person:{name}", "Person", "collection:all", {"name": name}, ""),
        EntityClaim(f"account:acme/{name}", "Account", "collection:all", said, ""),
        RelationshipClaim(f"person:{name}", "HAS_ACCOUNT", f"account:acme/{name}", ""),
    ]


def represented(person: str, agent: str) -> Claim:
    return RelationshipClaim(f"person:{person}", "MAY_BE_REPRESENTED_BY", f"software_agent:{agent}", "")


ORGANIZATION: list[Claim] = [
    *account("ada"),
    *account("eve", disabled=True),
    *account("bob"),
    *(
        EntityClaim(f"collection:{c}", "Collection", f"collection:{c}", {"name": c}, "")
        for c in ("all", "hr")
    ),
    *(
        EntityClaim(f"software_agent:{a}", "SoftwareAgent", "collection:all", {"name": a}, "")
        for a in ("helper", "clerk", "stranger", "bob")
    ),
    represented("ada", "helper"),
    represented("ada", "clerk"),
    represented("ada", "bob"),
    represented("eve", "helper"),
    RelationshipClaim("person:ada", "MAY_VIEW", "collection:hr", ""),
    RelationshipClaim("person:ada", "MAY_VIEW", "collection:all", ""),
    EntityClaim("document:pay", "Document", "collection:hr", {"name": "Pay"}, ""),
    EntityClaim("document:menu", "Document", "collection:all", {"name": "Menu"}, ""),
]


@dataclass(frozen=True)
class Exchange:
    url: str
    issuer: LocalIssuer
    verifier: DelegatingVerifier
    store: FactStore
    reader: Reader
    folder: Path

    def person(self, name: str = "ada", **more: Any) -> str:
        return self.issuer.mint(name, "orgraph", **more)

    def form(self, **parameters: Any) -> dict[str, Any]:
        plain = {
            "grant_type": GRANT_TYPE,
            "subject_token": self.person(),
            "subject_token_type": ACCESS_TOKEN,
            "actor_token": self.person("helper"),
            "actor_token_type": ACCESS_TOKEN,
            "scope": "read",
        }
        return {name: value for name, value in {**plain, **parameters}.items() if value is not None}

    async def post(self, **parameters: Any) -> tuple[int, dict[str, Any]]:
        return await self.send(data=self.form(**parameters))

    async def send(self, **body: Any) -> tuple[int, dict[str, Any]]:
        async with ClientSession() as session, session.post(f"{self.url}/token", **body) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def token(self, **parameters: Any) -> str:
        status, answer = await self.post(**parameters)
        assert status == 200, answer
        return str(answer["access_token"])

    async def error(self, **parameters: Any) -> str:
        status, answer = await self.post(**parameters)
        assert status == 400, answer
        assert "access_token" not in answer
        return str(answer["error"])

    async def crawl(self, claims: list[Claim]) -> None:
        async with self.store.crawl(SOURCE, "all") as crawl:
            report = await crawl.write(claims)
            assert report.quarantined == ()
            await crawl.complete()

    async def sees(self, asker: Asker) -> set[str]:
        documents = ["document:pay", "document:menu"]
        found, _revision = await self.reader.run(asker, lambda view: view.present(documents))
        return set(found)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
async def exchange(neo4j: Database, tmp_path: Path) -> AsyncIterator[Exchange]:
    ontology, model = load(), load_authorization()
    tuples = OrganizationTuples(neo4j, ontology, POLICIES)

    issuer = LocalIssuer(tmp_path / "keys")
    signer = LocalIssuer(tmp_path / "keys" / "exchange", EXCHANGE_ISSUER)
    verifier = DelegatingVerifier(
        LOCAL_ISSUER,
        "orgraph",
        "acme",
        issuer.keys,
        Verifier(EXCHANGE_ISSUER, "orgraph", "acme", signer.keys),
        delegation_of(neo4j, model, tuples, "acme"),
    )
    app = web.Application()
    audit = AuditLog(tmp_path / "audit.jsonl")
    add_token_exchange(
        app, TokenExchange(verifier, signer, partial(is_enabled, neo4j), partial(is_of_person, neo4j), audit)
    )
    reader = Reader(neo4j, ontology, Authorizer(neo4j, ontology, model, [SOURCE]))
    store = FactStore(neo4j, load_shapes(), model)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        served = Exchange(url, issuer, verifier, store, reader, tmp_path)
        await served.crawl(ORGANIZATION)
        yield served
    audit.close()


async def test_the_token_is_of_the_agent_for_the_person_and_on_record(exchange: Exchange) -> None:
    status, answer = await exchange.post(scope="read ask")
    assert status == 200
    assert answer["issued_token_type"] == ACCESS_TOKEN
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "ask read")
    assert 890 < answer["expires_in"] <= 900
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["act"], claims["scope"]) == ("ada", {"sub": "helper"}, "ask read")
    asker = await exchange.verifier.asker(answer["access_token"])
    assert (asker.account, asker.agent) == (ADA, "helper")
    [record] = exchange.audit()
    assert record["kind"] == "token_exchange"
    assert (record["account"], record["agents"], record["scope"]) == (ADA, ["helper"], "ask read")
    assert record["token"] == claims["jti"]


async def test_the_scope_cuts_what_the_person_sees(exchange: Exchange) -> None:
    async def seen(scope: str) -> set[str]:
        return await exchange.sees(await exchange.verifier.asker(await exchange.token(scope=scope)))

    assert await seen("read") == {"document:pay", "document:menu"}
    assert await seen("read collection:all") == {"document:menu"}
    assert await seen("read collection:nothing") == set()
    assert await seen("administer") == set()


async def test_a_chain_narrows_and_the_last_agent_is_the_current_one(exchange: Exchange) -> None:
    first = await exchange.token(scope="read ask collection:all")
    second = await exchange.token(
        subject_token=first, actor_token=exchange.person("clerk"), scope="read collection:all"
    )
    claims = jwt.decode(second, options={"verify_signature": False})
    assert claims["act"] == {"sub": "clerk", "act": {"sub": "helper"}}
    asker = await exchange.verifier.asker(second)
    assert (asker.agent, asker.earlier_agents) == ("clerk", ("helper",))
    assert exchange.audit()[-1]["agents"] == ["clerk", "helper"]
    for wider in (
        "read ask collection:all",
        "read",
        "read collection:hr",
        "read collection:all collection:hr",
    ):
        assert await exchange.error(subject_token=second, scope=wider) == "invalid_scope"
    assert await exchange.token(subject_token=second, scope=None), "the same scope, where none is named"


async def test_no_token_outlives_those_that_it_is_made_of(exchange: Exchange) -> None:
    for parameters in (
        {"subject_token": exchange.person(lifetime=60)},
        {"actor_token": exchange.person("helper", lifetime=60)},
    ):
        _status, answer = await exchange.post(**parameters)
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert claims["exp"] <= time.time() + 60
        assert answer["expires_in"] <= 60


async def test_an_agent_that_may_not_act_is_refused_like_one_that_is_not_there(exchange: Exchange) -> None:
    """Not declared, not for this person, a person, an agent's token, a disabled account, nobody's account."""
    said = []
    for parameters in (
        {"actor_token": exchange.person("nobody")},
        {"actor_token": exchange.person("stranger")},
        {"actor_token": exchange.person("bob")},
        {"actor_token": exchange.person("helper", agent="clerk")},
        {"subject_token": exchange.person("eve")},
        {"subject_token": exchange.person("bob")},
        {"subject_token": exchange.person("nobody")},
    ):
        status, answer = await exchange.post(**parameters)
        said.append((status, answer["error"], answer["error_description"]))
    assert set(said) == {(400, "invalid_request", "the agent may not act for the account")}
    assert [record["kind"] for record in exchange.audit()] == ["token_exchange_refused"] * 7


async def test_a_token_counts_only_while_the_agent_may_act(exchange: Exchange) -> None:
    token = await exchange.token()
    assert await exchange.verifier.asker(token)
    await exchange.crawl([claim for claim in ORGANIZATION if claim != represented("ada", "helper")])
    with pytest.raises(TokenRefused, match="may not act for the account"):
        await exchange.verifier.asker(token)
    assert await exchange.error(subject_token=token) == "invalid_request"


async def test_who_issues_tokens_does_not_decide_who_may_act_for_whom(exchange: Exchange) -> None:
    """A token with `act` of the issuer's own counts no more than one that was exchanged."""
    token, stranger = exchange.person(agent="helper"), exchange.person(agent="stranger")
    assert (await exchange.verifier.asker(token)).agent == "helper"
    with pytest.raises(TokenRefused, match="may not act for the account"):
        await exchange.verifier.asker(stranger)
    assert await exchange.error(subject_token=stranger) == "invalid_request"
    await exchange.crawl([claim for claim in ORGANIZATION if claim != represented("ada", "helper")])
    with pytest.raises(TokenRefused, match="may not act for the account"):
        await exchange.verifier.asker(token)


async def test_a_token_of_a_disabled_account_sees_nothing(exchange: Exchange) -> None:
    token = await exchange.token()
    await exchange.crawl([c for c in ORGANIZATION if c not in account("ada")] + account("ada", disabled=True))
    assert await exchange.sees(await exchange.verifier.asker(token)) == set()


@pytest.mark.parametrize("by", ["source", "hand"])
async def test_an_agent_whose_own_account_is_disabled_neither_exchanges_nor_acts(
    exchange: Exchange, by: str
) -> None:
    helper = "account:acme/helper"
    said = {"name": "helper", "issuer": "acme", "subject": "helper"}
    there = EntityClaim(helper, "Account", "collection:all", said, "")
    await exchange.crawl([*ORGANIZATION, there])
    tokens = await exchange.token(), exchange.person(agent="helper")
    for token in tokens:
        assert (await exchange.verifier.asker(token)).agent == "helper"
    if by == "source":
        there = EntityClaim(helper, "Account", "collection:all", {**said, "disabled": True}, "")
        await exchange.crawl([*ORGANIZATION, there])
    else:
        organization = EntityClaim("organization:acme", "Organization", "collection:all", {"name": "A"}, "")
        await exchange.crawl(
            [*ORGANIZATION, there, organization, RelationshipClaim(organization.id, "DISABLES", helper, "")]
        )
    for token in tokens:
        with pytest.raises(TokenRefused, match="may not act for the account"):
            await exchange.verifier.asker(token)
    for parameters in ({}, {"subject_token": tokens[0], "actor_token": exchange.person("clerk")}):
        assert await exchange.error(**parameters) == "invalid_request"
    assert await exchange.token(actor_token=exchange.person("clerk")), "another agent's is as it was"
    await exchange.crawl(ORGANIZATION)
    assert await exchange.token(), "it need not have an account"


async def test_forged_expired_and_foreign_tokens_are_refused(exchange: Exchange, tmp_path: Path) -> None:
    stranger = LocalIssuer(tmp_path / "stranger")
    pretender = LocalIssuer(tmp_path / "pretender", EXCHANGE_ISSUER)
    act = {"sub": "ada", "aud": "orgraph", "iat": 0, "exp": time.time() + 60, "act": {"sub": "helper"}}
    for token in (
        "nonsense",
        "",
        stranger.mint("ada", "orgraph"),
        exchange.person(lifetime=-60),
        exchange.person(lifetime=-5),
        exchange.issuer.mint("ada", "elsewhere"),
        pretender.sign({**act, "scope": "read"}),
        exchange.issuer.sign({**act, "iss": EXCHANGE_ISSUER, "scope": "read"}),
        jwt.encode({**act, "iss": LOCAL_ISSUER}, "", algorithm="none"),
        exchange.person(scope="write"),
    ):
        assert await exchange.error(subject_token=token) == "invalid_request"
        assert await exchange.error(actor_token=token) == "invalid_request"


async def test_what_was_exchanged_is_no_proof_of_an_agent(exchange: Exchange) -> None:
    assert await exchange.error(actor_token=await exchange.token()) == "invalid_request"


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"actor_token": None}, "invalid_request"),
        ({"actor_token_type": None}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "write"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "collection:hr"}, "invalid_scope"),
        ({"audience": "elsewhere"}, "invalid_target"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"may_act": "helper"}, "invalid_request"),
    ],
)
async def test_what_is_asked_wrongly_is_refused_by_its_code(
    exchange: Exchange, parameters: dict[str, Any], error: str
) -> None:
    assert await exchange.error(**parameters) == error


async def test_a_body_that_is_no_form_is_refused(exchange: Exchange) -> None:
    for body in ({"json": exchange.form()}, {"data": b"\xff\xfe"}, {}):
        status, answer = await exchange.send(**body)
        assert (status, answer["error"]) == (400, "invalid_request")
    twice = [*exchange.form().items(), ("scope", "ask")]
    status, answer = await exchange.send(data=twice)
    assert (status, answer["error"]) == (400, "invalid_request")


async def test_agents_do_not_pass_a_token_on_for_ever(exchange: Exchange) -> None:
    token = await exchange.token()
    for n in range(4):
        agent = ("clerk", "helper")[n % 2]
        token = await exchange.token(subject_token=token, actor_token=exchange.person(agent))
    assert (
        await exchange.error(subject_token=token, actor_token=exchange.person("clerk")) == "invalid_request"
    )
    assert await exchange.token(subject_token=token), "the current one itself may narrow it"
