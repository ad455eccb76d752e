"""Sources read on a Ray cluster (the extra `ray`): its workers read, and this process alone writes.

A worker is given the configuration and what to read. It has no way into Neo4j; it looks secrets up by their
references where it runs, and finds files under the paths that they have here. Where a worker goes away,
another reads the scope from its beginning, or from where it was followed to.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from discovery.connector import Change, Connector, Incremental, Item, Places
from discovery.connectors.table import build
from discovery.readings import (
    AHEAD,
    BATCH,
    CHANGES,
    Reader,
    Reading,
    Wanted,
    WorkerLostError,
    batches,
    in_threads,
    knowing,
)
from discovery.sources import OrganizationConfig, SourceConfig
from graph.tuples import CONFIGURATION

#: What they read is here: this process's own configuration, and what Neo4j keeps of pushes.
_HERE = {CONFIGURATION, "scim-push"}
_SECONDS = 10


@asynccontextmanager
async def on_ray(address: str) -> AsyncIterator[Reader]:
    """Connected with the cluster at `address` (`auto`, `HOST:PORT`) until the block ends.

    Raises ConnectionError where there is none.
    """
    await _look(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers
    # In a thread: in the main one Ray takes the signals.
    await asyncio.to_thread(ray.init, address, log_to_driver=False, include_dashboard=None)
    try:
        yield _reader
    finally:
        await asyncio.to_thread(ray.shutdown)


async def _look(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.partition(":")
    if not port:
        return
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), _SECONDS)
    except OSError as error:  # a TimeoutError is one
        raise ConnectionError(
            f"no Ray cluster answers: {str(error) or 'it takes too long'}; start one"
        ) from error
    writer.close()


async def _reader(wanted: Wanted) -> Reading:
    """A source that may be asked slowly only gains nothing by more machines, and keeps its one bucket."""
    if wanted.bucket is not None or wanted.source.connector in _HERE:
        return await in_threads(wanted)
    job = ray.put(_Job(wanted.organization, wanted.source, wanted.known_names, wanted.places))
    try:
        scopes, incremental = await _OPENED.remote(job)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise _lost("the source", error) from error
    return _OnRay(job, scopes, incremental, max(1, int(ray.cluster_resources().get("CPU", 1))))


@dataclass(frozen=True)
class _Job:
    """What a worker gets."""

    organization: OrganizationConfig
    source: SourceConfig
    known_names: Mapping[str, str]
    places: Mapping[str, Places]

    def connector(self) -> Connector:
        return knowing(build(self.organization, self.source, self.known_names), self.places)


@dataclass(frozen=True)
class _OnRay:
    job: Any
    """Reference to it."""
    listed: Sequence[str]
    incremental: bool
    at_once: int

    async def scopes(self) -> Sequence[str]:
        return self.listed

    def read(self, scope: str) -> AsyncGenerator[Sequence[Item], None]:
        return _streamed(_READ, scope, self.job, scope)

    def changes(self, scope: str, position: str) -> AsyncGenerator[Sequence[Change], None] | None:
        return _streamed(_CHANGES, scope, self.job, scope, position) if self.incremental else None


async def _streamed(task: Any, scope: str, *arguments: Any) -> AsyncGenerator[Sequence[Any], None]:
    stream = task.remote(*arguments)
    try:
        async for batch in stream:
            yield await batch
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise _lost(scope, error) from error
    finally:
        ray.cancel(stream)


def _lost(what: str, error: RayError) -> WorkerLostError:
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    return WorkerLostError(f"the worker that read {what} went away: {said}; look at the cluster")


def _opened(job: _Job) -> tuple[Sequence[str], bool]:
    """The scopes, and whether the connector can tell changes."""
    connector = job.connector()
    return tuple(connector.scopes()), isinstance(connector, Incremental)


def _read(job: _Job, scope: str) -> Iterator[Sequence[Item]]:
    yield from batches(job.connector().read(scope), BATCH)


def _changes(job: _Job, scope: str, position: str) -> Iterator[Sequence[Change]]:
    connector = job.connector()
    assert isinstance(connector, Incremental)  # noqa: S101  `_opened` has said so
    yield from batches(connector.changes(scope, position), CHANGES)


_OPENED = ray.remote(_opened)
# Not tried again by Ray, which would go on with a second reading where the first one ended.
_STREAM = {"num_returns": "streaming", "max_retries": 0, "_generator_backpressure_num_objects": AHEAD}
_READ = ray.remote(_read).options(**_STREAM)
_CHANGES = ray.remote(_changes).options(**_STREAM)
