"""Token exchange (RFC 8693): a person's token and an agent's own become a token of the agent for the person.

It permits what the person's does, cut by the scope that is asked for, and for no longer than either.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from context_manager.audit import AuditError, AuditLog
from context_manager.identity import (
    MAX_AGENTS,
    DelegatingVerifier,
    LocalIssuer,
    Proof,
    TokenRefused,
    Verifier,
)
from graph.token_scope import ScopeError, TokenScope, parse_scope

EXCHANGE_ISSUER = "urn:orgraph:token-exchange"
LIFETIME_S = 15 * 60
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name, no secret
_TOKEN_TYPES = frozenset({ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt"})
_PARAMETERS = frozenset(
    {
        "grant_type",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
        "scope",
        "audience",
        "resource",
        "client_id",
    }
)


class ExchangeRefused(Exception):  # noqa: N818  named for what happened
    """No token. `error` is a code of RFC 6749, 5.2, or of RFC 8693, 2.2.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """Who is proven by whom, and who signs."""

    verifier: DelegatingVerifier
    signer: LocalIssuer
    enabled: Callable[[str], Awaitable[bool]]
    """Whether an account is there and not disabled."""
    of_person: Callable[[str], Awaitable[bool]]
    """Whether an account is a person's."""
    audit: AuditLog

    async def exchange(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The response of RFC 8693, 2.2.1. Raises ExchangeRefused; AuditError when it cannot be recorded."""
        _check_form(form, self.verifier.audience)
        subject = await _proven(self.verifier, form["subject_token"], "subject_token")
        # Only who issues tokens says which agent it is: a token that was exchanged speaks for a person.
        actor = await _proven(self.verifier.of_issuer, form["actor_token"], "actor_token")
        agent = actor.subject
        account = subject.asker.account
        if (
            actor.asker.agent is not None
            or await self.of_person(actor.asker.account)
            or not await self.enabled(account)
            or not await self.verifier.may_act(account, agent)
        ):
            raise ExchangeRefused("invalid_request", "the agent may not act for the account")
        scope = _narrowed(form.get("scope"), subject)
        now = int(time.time())
        expires = min(subject.expires, actor.expires, now + LIFETIME_S)
        if expires <= now:
            raise ExchangeRefused("invalid_request", "one of the tokens is about to expire; get a new one")
        agents = _chain(agent, subject)
        id = uuid.uuid4().hex
        record = {"token": id, "account": account, "agents": agents, "scope": str(scope), "expires": expires}
        await self.audit.record("token_exchange", record)
        claims = {
            "aud": self.verifier.audience,
            "sub": subject.subject,
            "act": _nested(agents),
            "scope": str(scope),
            "iat": now,
            "exp": expires,
            "jti": id,
        }
        return {
            "access_token": self.signer.sign(claims),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": expires - now,
            "scope": str(scope),
        }

    async def refused(self, refusal: ExchangeRefused) -> None:
        """Put a refusal on record."""
        record = {"error": refusal.error, "description": str(refusal)}
        await self.audit.record("token_exchange_refused", record)


def add_token_exchange(app: web.Application, exchange: TokenExchange) -> None:
    """`POST /token` on the application."""

    async def token(request: web.Request) -> web.Response:
        try:
            try:
                return _response(200, await exchange.exchange(await _form(request)))
            except ExchangeRefused as refusal:
                await exchange.refused(refusal)
                body = {"error": refusal.error, "error_description": str(refusal)}
                return _response(400, body)
        except AuditError:
            return _response(503, {"error": "temporarily_unavailable"})

    app.router.add_post("/token", token)


def _response(status: int, body: Mapping[str, Any]) -> web.Response:
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return web.json_response(body, status=status, headers=headers)


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise ExchangeRefused("invalid_request", "send a form (application/x-www-form-urlencoded)")
    form: dict[str, str] = {}
    for name, value in (await request.post()).items():
        if name in form or not isinstance(value, str):
            raise ExchangeRefused("invalid_request", "send each parameter once")
        if value:  # an empty one is as if it were left out (RFC 6749, 3.1)
            form[name] = value
    return form


def _check_form(form: Mapping[str, str], audience: str) -> None:
    if "grant_type" not in form:
        raise ExchangeRefused("invalid_request", "grant_type is missing")
    if form["grant_type"] != GRANT_TYPE:
        raise ExchangeRefused("unsupported_grant_type", f"expected {GRANT_TYPE}")
    if unknown := sorted(form.keys() - _PARAMETERS):
        raise ExchangeRefused("invalid_request", f"unknown parameter {unknown[0][:40]!r}")
    for token in ("subject_token", "actor_token"):
        if token not in form:
            raise ExchangeRefused("invalid_request", f"{token} is missing")
        if form.get(f"{token}_type") not in _TOKEN_TYPES:
            raise ExchangeRefused("invalid_request", f"{token}_type: expected {ACCESS_TOKEN}")
    if form.get("requested_token_type", ACCESS_TOKEN) not in _TOKEN_TYPES:
        raise ExchangeRefused("invalid_request", f"requested_token_type: expected {ACCESS_TOKEN}")
    if "resource" in form or form.get("audience", audience) != audience:
        raise ExchangeRefused("invalid_target", f"tokens are made for the audience {audience!r} alone")


async def _proven(verifier: Verifier, token: str, parameter: str) -> Proof:
    try:
        return await verifier.proof(token)
    except TokenRefused as error:
        raise ExchangeRefused("invalid_request", f"{parameter}: {error}") from error


def _narrowed(asked: str | None, subject: Proof) -> TokenScope:
    """The scope that is asked for, or the subject token's own; never a wider one."""
    if asked is None and not subject.scoped:
        raise ExchangeRefused("invalid_scope", "say what the token is for: scope is missing")
    try:
        scope = subject.asker.scope if asked is None else parse_scope(asked)
    except ScopeError as error:
        raise ExchangeRefused("invalid_scope", str(error)) from error
    if scope is None or not scope.actions:
        raise ExchangeRefused("invalid_scope", "the scope permits nothing; name what the token is for")
    if not scope.within(subject.asker.scope):
        raise ExchangeRefused("invalid_scope", "the scope is wider than that of the subject token")
    return scope


def _chain(agent: str, subject: Proof) -> tuple[str, ...]:
    """The agents, the current one first."""
    before = (subject.asker.agent, *subject.asker.earlier_agents) if subject.asker.agent else ()
    agents = before if before[:1] == (agent,) else (agent, *before)
    if len(agents) > MAX_AGENTS:
        raise ExchangeRefused("invalid_request", f"at most {MAX_AGENTS} agents may pass a token on")
    return agents


def _nested(agents: tuple[str, ...]) -> dict[str, Any]:
    first, *rest = agents
    return {"sub": first, "act": _nested(tuple(rest))} if rest else {"sub": first}
