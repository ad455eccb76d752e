"""The graph and what crawls it: the part of the service that `orgraph discover` needs too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from context_manager.handling import handlings_of
from context_manager.holding import Holder, holder_of, refusal_of, told_of
from context_manager.node_declarations import policy as nodes_by_hand
from context_manager.running import running_service
from context_manager.settings import Settings, SettingsError
from discovery.configuration import all_sources
from discovery.readings import Reader, in_threads
from discovery.reports import RunReport, ScopeReport
from discovery.runner import Runner
from discovery.runs import last_completed
from discovery.schedule import due
from discovery.sources import OrganizationConfig, SourceConfig, load_organization
from graph.administration import POLICY, Administration
from graph.claims import SourcePolicy
from graph.database import Database, connect
from graph.database_copy import finish_rebuild
from graph.epoch import check_epoch, seen, write_witness
from graph.erasure import Erasures
from graph.extractions import extracted, reviewed
from graph.journal import Journal
from graph.merges import POLICY as MERGES
from graph.merges import Merges
from graph.neo4j_server import USER, embedded_neo4j
from graph.ontology_versions import check_versions
from graph.store import FactStore
from graph.tombstones import open_pseudonyms
from graph.tuples import CONFIGURATION, IDENTITY, NODES_BY_HAND
from ontologies import AuthorizationModel, Ontology, load, load_authorization, load_shapes

Progress = Callable[[str], None]
"""Gets a line whenever a long step moves on."""


@dataclass(frozen=True, slots=True)
class Core:
    """The graph and what crawls it: all that `orgraph discover` needs."""

    settings: Settings
    organization: OrganizationConfig
    uri: str
    """Of Neo4j."""
    database: Database
    holder: Holder
    ontology: Ontology
    model: AuthorizationModel
    store: FactStore
    runner: Runner
    administration: Administration | None
    """Of access by hand; None beside a service that runs, which has it."""
    merges: Merges
    erasures: Erasures | None
    """Of persons; None likewise."""

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """The configuration itself, then what it declares."""
        return all_sources(self.organization)

    @property
    def policies(self) -> tuple[SourcePolicy, ...]:
        """Of all sources, of what is read out of them, of what is decided by hand, and of who is the same."""
        by_hand = nodes_by_hand(self.organization.collection_ids)
        declared = [source.policy() for source in self.sources]
        read_out = (of(policy) for policy in declared for of in (extracted, reviewed))
        return (*declared, *read_out, POLICY, MERGES, by_hand)

    async def crawl_due(self, progress: Progress) -> tuple[RunReport, ...]:
        """Crawl what is due, so that no grant is stale."""
        completed = await last_completed(self.database)
        reports = []
        for source in due(self.sources, completed, datetime.now(UTC)):
            progress(f"crawling {source.name}")
            reports.append(await self.runner.run(source))
        return tuple(reports)


@asynccontextmanager
async def open_core(settings: Settings, progress: Progress) -> AsyncIterator[Core]:
    """Neo4j with the store on it. An embedded one that a running service has started is joined."""
    organization = configured(settings)
    added = organization.ontology_files()
    ontology, model = load(added), load_authorization(added)
    async with AsyncExitStack() as stack:
        uri, database = await open_database(settings, stack, progress)
        await check_versions(database, ontology)
        witness = witness_file(settings)
        restored = await check_epoch(database, witness)
        if restored:
            progress("the graph was restored from a backup: grants and mesh nodes count once crawled again")
        pseudonyms = open_pseudonyms(settings.data_folder / "keys" / "pseudonyms")
        store = FactStore(database, load_shapes(added), model, pseudonyms=pseudonyms)
        await store.resume()
        administration, erasures, merges = None, None, Merges(store)
        if running_service(settings.data_folder) is None:
            journal = Journal(settings.data_folder / "administration.jsonl")
            stack.callback(journal.close)
            administration = Administration(store, journal)
            await administration.reconcile(restored=restored)
            index = settings.data_folder / "visibility.index"
            erasures = Erasures(store, administration, journal, pseudonyms, index)
            await merges.reconcile()
        own = (CONFIGURATION, POLICY.name, IDENTITY, NODES_BY_HAND)
        holder = holder_of(settings, handlings_of(organization, *own))
        runner = Runner(
            organization,
            store,
            database,
            partial(_say, progress),
            refusal_of(holder),
            partial(told_of, database, ontology, holder),
            reader=await _reader(settings, stack),
        )
        yield Core(
            settings,
            organization,
            uri,
            database,
            holder,
            ontology,
            model,
            store,
            runner,
            administration,
            merges,
            erasures,
        )
        write_witness(witness, await seen(database))


async def open_database(
    settings: Settings, stack: AsyncExitStack, progress: Progress
) -> tuple[str, Database]:
    """Neo4j's address, and its database with all indexes, until the stack is left."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    uri, auth = await _neo4j(settings, stack, progress)
    database = await stack.enter_async_context(connect(uri, auth, settings.neo4j_database))
    await database.ensure_schema()
    return uri, database


def configured(settings: Settings) -> OrganizationConfig:
    """The organization's configuration as its file now is, with the administrator of the settings.

    Raises ConfigurationError.
    """
    organization = load_organization(settings.sources)
    if settings.administrator is None:
        return organization
    return organization.model_copy(update={"administrator": settings.administrator})


async def _reader(settings: Settings, stack: AsyncExitStack) -> Reader:
    """Where sources are read. Raises SettingsError where there is no such cluster."""
    if settings.ray_address is None:
        return in_threads
    try:
        from discovery.on_ray import on_ray  # noqa: PLC0415 - an extra

        return await stack.enter_async_context(on_ray(settings.ray_address))
    except ImportError as error:
        raise SettingsError("ray_address is set: install the extra `ray`") from error
    except ConnectionError as error:
        raise SettingsError(f"ray_address: {settings.ray_address}: {error}") from error


def witness_file(settings: Settings) -> Path:
    """Where it is kept how far the graph was, so that an older one, restored, is known for what it is."""
    return settings.data_folder / "graph.json"


def _say(progress: Progress, source: str, scope: ScopeReport) -> None:
    progress(f"crawling {source}: {scope.claims} claims")


async def _neo4j(
    settings: Settings, stack: AsyncExitStack, progress: Progress
) -> tuple[str, tuple[str, str]]:
    if settings.neo4j_uri is not None:
        return settings.neo4j_uri, (settings.neo4j_user, _password(settings))
    if (running := running_service(settings.data_folder)) is not None:
        return running.neo4j_uri, (
            USER,
            (settings.data_folder / "neo4j" / "password").read_text("ascii").strip(),
        )
    finish_rebuild(settings.data_folder)
    server = await stack.enter_async_context(
        embedded_neo4j(settings.data_folder, port=settings.neo4j_port, progress=progress)
    )
    return server.uri, server.auth


def _password(settings: Settings) -> str:
    if settings.neo4j_password_file is None:
        raise SettingsError(
            "neo4j_uri is set: name the file that holds its password (ORGRAPH_NEO4J_PASSWORD_FILE)"
        )
    try:
        return settings.neo4j_password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"neo4j_password_file: {error}") from error
