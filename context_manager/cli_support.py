"""What the commands share: the consoles, the settings, and how what fails is said."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from context_manager.audit import AuditError
from context_manager.client import ServiceError
from context_manager.identity import LocalIssuer, TokenRefused
from context_manager.running import running_service
from context_manager.settings import Settings, SettingsError, load_settings
from discovery.sources import ConfigurationError
from graph.database import DatabaseError
from graph.epoch import WitnessError
from graph.journal import JournalError
from graph.migration import MigrationError
from graph.neo4j_jars import JarError
from graph.neo4j_server import Neo4jEndedError, Neo4jStartError
from graph.ontology_versions import OntologyVersionError
from graph.tombstones import PseudonymKeyError
from inference.embeddings import EmbeddingModelError
from ontologies import OntologyError

T = TypeVar("T")

#: What can be wrong with the surroundings; each says itself what and what to do.
_EXPECTED = (
    AuditError,
    ConfigurationError,
    DatabaseError,
    EmbeddingModelError,
    JarError,
    Neo4jEndedError,
    Neo4jStartError,
    OntologyError,
    ServiceError,
    SettingsError,
    TokenRefused,
    JournalError,
    MigrationError,
    OntologyVersionError,
    PseudonymKeyError,
    WitnessError,
)

out = Console(emoji=False)  # ids have colons: `mesh_node:a:` would show a letter in a box
err = Console(stderr=True, emoji=False)

AsOf = Annotated[
    str | None, typer.Option("--as-of", help="What was known at an instant, as 2026-01-31T12:00:00Z.")
]
ValidAt = Annotated[str | None, typer.Option("--valid-at", help="What held in the world at an instant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


def load_settings_or_exit() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        fail(str(error))


def issuer(settings: Settings) -> LocalIssuer:
    if settings.oidc_issuer is not None:
        fail(f"tokens come from {settings.oidc_issuer} here; the local issuer mints none")
    return LocalIssuer(settings.data_folder / "keys")


def service_url(settings: Settings) -> str:
    running = running_service(settings.data_folder)
    return running.url if running else f"http://{settings.host}:{settings.port}"


def instant(text: str | None) -> datetime | None:
    """An instant as a person writes it; none stays none."""
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no instant: write it as 2026-01-31T12:00:00Z")
    if found is not None and found.tzinfo is None:
        fail(f"{text!r} has no time zone: add one, as in 2026-01-31T12:00:00Z")
    return found


def run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except _EXPECTED as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    err.print(f"[red]orgraph:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
