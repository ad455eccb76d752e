"""The demo: two questions to the sample organization, each asked by two people."""

from __future__ import annotations

import tomllib

from rich.console import Console

from context_manager.client import ASK, query
from context_manager.display import show_answer, show_crawls
from context_manager.identity import TokenRefused
from context_manager.service import Service

QUESTIONS = "questions.toml"
"""Beside `sources.toml`; those with `demo = true` are put."""


async def show_demo(console: Console, service: Service) -> None:
    """Put the questions to the service over HTTP, as any application would, and say how to go on."""
    if service.local_issuer is None:
        raise TokenRefused("the demo asks as people of the sample: leave oidc_issuer out of the settings")
    audience = service.core.settings.oidc_audience
    show_crawls(console, service.crawled)
    askers = []
    for one in _questions(service):
        token = service.local_issuer.mint(one["asker"], audience)
        console.print(f"\n[bold]{one['asker']}[/] asks: {one['question']}", highlight=False)
        show_answer(console, (await query(service.url, token, ASK, {"question": one["question"]}))["ask"])
        askers.append(one["asker"])
    console.print("\n[bold]Go on[/]", highlight=False)
    for asker in dict.fromkeys(askers):
        token = service.local_issuer.mint(asker, audience)
        console.print(f"Browse as {asker}: {service.url}/#token={token}", highlight=False, soft_wrap=True)
    console.print(
        f"GraphQL (GraphiQL in a browser): {service.url}/graphql\n"
        f'Ask: .venv/bin/orgraph ask "…" --as {askers[0]}\n'
        f"A token for a program: .venv/bin/orgraph token {askers[0]}\n"
        "What runs, and with which settings: .venv/bin/orgraph status\n"
        "Ctrl-C stops everything.",
        highlight=False,
    )


def _questions(service: Service) -> list[dict[str, str]]:
    path = service.core.settings.sources.parent / QUESTIONS
    listed = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    return [one for one in listed if one.get("demo")]
