"""`POST /hooks/SOURCE`: a source says that something happened, and is crawled. The body is not believed."""

from __future__ import annotations

import hashlib
import hmac
import logging

from aiohttp import web

from discovery.events import note
from discovery.secrets import read_secret
from discovery.sources import ConfigurationError, OrganizationConfig
from graph.database import Database

log = logging.getLogger(__name__)

#: Of GitHub, Gitea and others: HMAC-SHA256 of the body.
_SIGNATURE = "X-Hub-Signature-256"
_NOBODY = "no source has this name and this secret"


def add_hooks(app: web.Application, organization: OrganizationConfig, database: Database) -> None:
    """The route, where a source has a webhook; without one there is none."""
    hooked = {source.name: source.webhook for source in organization.source if source.webhook}
    if not hooked:
        return

    async def heard(request: web.Request) -> web.Response:
        name = request.match_info["source"]
        body = await request.read()
        if name not in hooked or not _proven(request, body, _secret(organization, hooked[name])):
            return web.json_response({"errors": [{"message": _NOBODY}]}, status=401)
        await note(database, name)
        return web.json_response({"source": name}, status=202)

    app.router.add_post("/hooks/{source}", heard)


def _secret(organization: OrganizationConfig, reference: str) -> bytes:
    """Empty, which proves nothing, where it cannot be read."""
    try:
        return read_secret(organization, reference).encode()
    except ConfigurationError as error:
        log.error("webhook: %s", error)
        return b""


def _proven(request: web.Request, body: bytes, secret: bytes) -> bool:
    """By the signature of the body, or the secret itself as a bearer token."""
    if not secret:
        return False
    if signature := request.headers.get(_SIGNATURE):
        expected = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        return hmac.compare_digest(expected.encode(), signature.encode())
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(secret, sent.strip().encode())
