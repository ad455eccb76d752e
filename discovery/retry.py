"""Tries again what is kept out of a source: the parts of it that it is from are read whole."""

from __future__ import annotations

from discovery.reports import RunReport
from discovery.runner import Runner
from discovery.runs import forget_position
from discovery.sources import SourceConfig
from graph.quarantine import quarantined


class NothingQuarantinedError(Exception):
    """Nothing is kept out of the source."""


async def retry(runner: Runner, source: SourceConfig) -> RunReport:
    """Crawl the source, also what did not change of it: its claims meet the gate as it is now.

    The report tells what is still refused. Raises NothingQuarantinedError.
    """
    scopes = {one.scope for one in await quarantined(runner.database, source.name)}
    if not scopes:
        raise NothingQuarantinedError(
            f"nothing of {source.name!r} is quarantined; `orgraph quarantine list` shows what is"
        )
    for scope in sorted(scopes):
        await forget_position(runner.database, source.name, scope)
    return await runner.run(source)
