"""Webhooks: proven by the secret of their source, or nothing is there."""

import hashlib
import hmac

import aiohttp
import pytest
from aiohttp import web

from context_manager.hooks_api import add_hooks
from discovery.events import noted
from discovery.sources import OrganizationConfig

SECRET = "the-secret-of-the-hook"
BODY = b'{"ref": "refs/heads/main"}'


@pytest.fixture
async def url(neo4j, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    common = {"connector": "codeowners", "collection": "all", "handling": {}}
    organization = OrganizationConfig.model_validate(
        {
            "name": "Acme",
            "issuer": "acme",
            "administrator": "person:ada",
            "collection": [{"id": "all", "name": "All"}],
            "source": [
                {"name": "code", "webhook": "env:HOOK_SECRET", **common},
                {"name": "unset", "webhook": "env:HOOK_SECRET_NOT_SET", **common},
                {"name": "quiet", **common},
            ],
            "folder": tmp_path,
        }
    )
    app = web.Application()
    add_hooks(app, organization, neo4j)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    await runner.cleanup()


async def post(url, headers):
    async with aiohttp.ClientSession() as session, session.post(url, data=BODY, headers=headers) as answer:
        return answer.status, await answer.text()


def signed(secret, body=BODY):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


@pytest.mark.parametrize("headers", [signed(SECRET), {"Authorization": f"Bearer {SECRET}"}])
async def test_a_source_that_proves_itself_is_noted(url, neo4j, headers):
    assert (await post(f"{url}/code", headers))[0] == 202
    assert (await noted(neo4j)).keys() == {"code"}


async def test_anything_else_is_refused_alike_and_notes_nothing(url, neo4j):
    answers = {
        await post(f"{url}/{source}", headers)
        for source in ("code", "quiet", "unset", "nobody")
        for headers in (
            {},
            signed("another"),
            signed("", BODY),
            signed(SECRET, b"another body"),
            {"Authorization": "Bearer another"},
            {"Authorization": "Bearer "},
        )
    }
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401
    assert await noted(neo4j) == {}
