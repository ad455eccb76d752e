"""The checks behind /health/ready: one for each part of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from context_manager.administration import to_review
from context_manager.audit import AuditLog
from context_manager.core import Core
from context_manager.health import Health, Part
from context_manager.indexer import backlog
from discovery.runs import last_completed
from discovery.sources import SourceConfig
from graph.access_entries import entries
from graph.feed import current_revision
from graph.service_lease import NoLeaseError
from graph.tuples import CONFIGURATION
from inference.mesh import Mesh


def health_of(core: Core, mesh: Mesh, audit: AuditLog, lease: Callable[[], int]) -> Health:
    """Every part of a service that runs; `lease` as `ServiceLease.held`."""

    async def graph() -> list[Part]:
        # No revision: nobody has proven who they are here, and a counter tells of hidden activity.
        await current_revision(core.database)
        return [Part("graph", True, True, "Neo4j answers")]

    async def answering() -> list[Part]:
        try:
            lease()
        except NoLeaseError as error:
            return [Part("lease", False, True, str(error))]
        return [Part("lease", True, True, "this process may answer")]

    async def crawls() -> list[Part]:
        completed, now = await last_completed(core.database), datetime.now(UTC)
        return [_crawled(source, completed.get(source.name), now) for source in core.sources]

    async def embeddings() -> list[Part]:
        behind = await backlog(core.database) > 0
        return [Part("embeddings", not behind, False, "behind the graph" if behind else "up to date")]

    async def nodes() -> list[Part]:
        return [
            Part(f"mesh node {node.name}", state.up is True, False, state.why or "up")
            for node, state in mesh.snapshot().members
        ]

    async def log_file() -> list[Part]:
        return [Part("audit", await asyncio.to_thread(audit.writable), True, str(audit.path))]

    async def emergencies() -> list[Part]:
        # Neither who nor how many: nobody has proven who they are here.
        waiting = any(to_review(entry) for entry in await entries(core.database))
        return [
            Part("break glass", not waiting, False, "a review is open" if waiting else "no review is open")
        ]

    return Health(
        (
            ("graph", graph),
            ("lease", answering),
            ("crawls", crawls),
            ("embeddings", embeddings),
            ("mesh", nodes),
            ("audit", log_file),
            ("break glass", emergencies),
        )
    )


def _crawled(source: SourceConfig, completed: datetime | None, now: datetime) -> Part:
    name, essential = f"source {source.name}", bool(source.grants)
    if completed is None:
        return Part(name, False, essential, "no crawl was ever complete; see `orgraph discover`")
    age = now - completed
    fresh = source.name == CONFIGURATION or age <= source.max_age
    suspended = "" if fresh else "; its grants are suspended"
    return Part(name, fresh, essential, f"complete {age.total_seconds():.0f} s ago{suspended}")
