"""Nodes that announce themselves: what counts is the attester's statement that they bring, not their word."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from context_manager.audit import AuditError, AuditLog
from discovery.connectors.mesh_nodes import CONNECTOR, MeshNodesConnector, connect
from discovery.files import locate
from discovery.node_statements import MAX_BYTES, Statement, StatementRefused
from discovery.reports import RunReport
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig


class NotEnrolled(Exception):  # noqa: N818  named for what happened
    """The statement is good, but could not be kept or read into the graph; the message says why."""


@dataclass(slots=True)
class Enrolment:
    """The sources of statements, and what reads them."""

    organization: OrganizationConfig
    crawl: Callable[[SourceConfig], Awaitable[RunReport]]
    audit: AuditLog
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def announce(self, text: str) -> Statement:
        """Keep the statement and enrol its node; again changes nothing.

        Raises StatementRefused, NotEnrolled, and AuditError before anything is done.
        """
        async with self._turn:
            connector, statement = await asyncio.to_thread(self._proven, text)
            file = _file(connector, statement)
            held = await asyncio.to_thread(_held, file)
            if held == text:
                return statement
            if held is not None and _issued(connector, held) > statement.issued:
                raise StatementRefused("a newer statement about this node is known; get a new one")
            record = {
                "operation": "enrol",
                "node": statement.node,
                "attester": statement.attester,
                "certificate": statement.certificate,
                "until": statement.expires.isoformat(),
            }
            await self.audit.record("operation", record)
            try:
                await asyncio.to_thread(_write, file, text)
            except OSError as error:
                raise NotEnrolled(
                    f"the statement could not be kept in {file.parent}: {error.strerror}"
                ) from error
            report = await self.crawl(connector.source)
        failed = [scope.why for scope in report.scopes if scope.outcome == "failed"]
        if report.error or failed:
            raise NotEnrolled(f"source {report.source} could not be read: {report.error or failed[0]}")
        return statement

    def _proven(self, text: str) -> tuple[MeshNodesConnector, Statement]:
        refused = StatementRefused("no source of statements is configured (connector mesh-nodes)")
        for source in self.organization.source:
            if source.connector != CONNECTOR:
                continue
            try:
                connector = connect(self.organization, source)
                statement = connector.statement(text)
            except StatementRefused as error:
                refused = error
                continue
            except ConfigurationError as error:
                raise NotEnrolled(str(error)) from error
            if statement.expires <= datetime.now(UTC):
                raise StatementRefused(
                    f"it ended at {statement.expires:%Y-%m-%d %H:%M}; get a new one of {statement.attester}"
                )
            return connector, statement
        raise refused


def add_enrolment(app: web.Application, enrolment: Enrolment) -> None:
    """`POST /mesh/nodes` with `{"statement": "..."}`; no token: the statement is its own proof."""

    async def announce(request: web.Request) -> web.StreamResponse:
        try:
            body = json.loads(await request.text())
        except (ValueError, RecursionError):
            body = None
        text = body.get("statement") if isinstance(body, dict) else None
        if not isinstance(text, str) or len(text) > MAX_BYTES:
            return _error(400, f'expected {{"statement": "..."}} of at most {MAX_BYTES:,} characters')
        try:
            statement = await enrolment.announce(text.strip())
        except StatementRefused as error:
            return _error(403, f"the statement is refused: {error}")
        except (NotEnrolled, AuditError) as error:
            return _error(503, str(error))
        return web.json_response({"node": statement.node, "until": statement.expires.isoformat()})

    app.router.add_post("/mesh/nodes", announce)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"errors": [{"message": message}]}, status=status)


def _file(connector: MeshNodesConnector, statement: Statement) -> Path:
    folder = locate(connector.organization, connector.options.folder)
    return folder / f"{statement.node.partition(':')[2]}.jwt"


def _held(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _issued(connector: MeshNodesConnector, text: str) -> datetime:
    try:
        return connector.statement(text).issued
    except StatementRefused:
        return datetime.min.replace(tzinfo=UTC)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, file)  # noqa: PTH105  whole or not at all
