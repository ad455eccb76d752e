"""The composition: every part of the service, started in order and stopped in the reverse one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from os import getpid
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography.fernet import Fernet

from context_manager.access_desk import AccessDesk
from context_manager.ask import Asking
from context_manager.audit import AuditLog
from context_manager.authorization_apis import add_authorization_apis
from context_manager.core import Core, Progress, configured, open_core, witness_file
from context_manager.delegation import delegation_of
from context_manager.enrolment import Enrolment, add_enrolment
from context_manager.erasing import ErasureDesk, finish
from context_manager.graphql_schema import Parts, build_schema
from context_manager.hooks_api import add_hooks
from context_manager.http_app import bearer, make_app
from context_manager.identity import DelegatingVerifier, LocalIssuer, Verifier, write_secret
from context_manager.identity_proposals import keep_proposals
from context_manager.indexer import index_forever, index_pending
from context_manager.key_set import RemoteKeys
from context_manager.mesh_nodes import declare_nodes, own_node
from context_manager.mesh_operations import MeshOperations, drained
from context_manager.node_declarations import NodeDeclarations
from context_manager.node_keys import NodeKeys
from context_manager.openai_api import OpenAIApi
from context_manager.openai_routes import add_openai_routes
from context_manager.part_checks import health_of
from context_manager.placement_log import PlacementLog
from context_manager.policy_reader import read_once_possible, with_policy_reader
from context_manager.prior_answers import PriorAnswers
from context_manager.running import Running, announced
from context_manager.scim_api import add_scim
from context_manager.settings import Settings, SettingsError
from context_manager.standings import standings_of
from context_manager.token_exchange import EXCHANGE_ISSUER, TokenExchange, add_token_exchange
from discovery.events import follow, seeing_to, watch
from discovery.reports import RunReport
from discovery.runs import last_completed, prune_runs
from discovery.schedule import scheduled
from graph.account_standing import account_standing
from graph.answer_handling import prune_answers
from graph.compaction import compact
from graph.database import Database
from graph.epoch import seen, write_witness
from graph.erasure import Erasures
from graph.feed import current_revision, wait_beyond
from graph.inferred import keep_inferred
from graph.leadership import Leadership
from graph.organization_tuples import OrganizationTuples
from graph.reads import Asker, Reader
from graph.revision_token import RevisionTokens
from graph.service_lease import ServiceLease
from graph.store import FactStore
from graph.system_reads import is_enabled, is_of_person
from graph.visibility import Authorizer
from inference.embeddings import Embedder
from inference.engine_client import EngineClient, engine_session
from inference.mesh import Mesh, Probe, Weights
from inference.model_files import ModelFilesError, ensure_model
from inference.nodes import MeshNode, NodeState, Status
from inference.probe import EngineProbe
from inference.serving import Gateway
from inference.vllm_server import VllmError, VllmServer, VllmSettings

log = logging.getLogger(__name__)

_PAUSE_S = 5
#: How late, in seconds, a fact may begin to hold; reads see by themselves that one has ended.
_TICK_S = 1
_SAVE_S = 300
_REDECLARE_S = 30
#: How often erasures that could not end are gone on with, in seconds.
_FINISH_S = 20


@dataclass(frozen=True, slots=True)
class Service:
    """The running service."""

    core: Core
    asking: Asking
    local_issuer: LocalIssuer | None
    app: web.Application
    crawled: tuple[RunReport, ...]
    """What was due at the start, and how its crawl went."""

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return f"http://{self.core.settings.host}:{self.core.settings.port}"


@asynccontextmanager
async def open_service(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Everything but the HTTP site. What is due is crawled before this yields; the rest goes on behind."""
    _refuse_taken_port(settings)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings, progress))
        leadership = Leadership(core.database)
        await stack.enter_async_context(leadership.sought())
        stack.enter_context(announced(settings.data_folder, _running(core)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        audit = AuditLog(settings.data_folder / "audit.jsonl")
        stack.callback(audit.close)
        embedder = Embedder()
        stack.callback(embedder.close)

        vllm = _managed_vllm(settings, progress)
        keys = NodeKeys(settings.node_keys_file, {} if vllm is None else {vllm.node.id: vllm.api_key})
        engines = EngineClient(await stack.enter_async_context(engine_session()), keys)
        mesh = Mesh(
            own_node(settings),
            _probe(EngineProbe(engines), vllm),
            weights=Weights(settings.locality_weight, settings.affinity_weight, settings.price_weight),
            draining=drained(_draining_file(settings)),
        )
        core = with_policy_reader(core, gateway := Gateway(engines, mesh), audit)
        starting = None
        if vllm is not None:
            starting = asyncio.create_task(_start_vllm(vllm, settings, progress))
            stack.push_async_callback(_cancelled, starting)
            stack.push_async_callback(vllm.stop)

        reports = await _crawl_due(core, audit, progress) if leadership.ours else ()
        await declare_nodes(core.database, mesh, vllm.node if vllm else None)
        if leadership.ours:
            progress("embedding what is new")
            await index_pending(
                core.database,
                core.ontology,
                embedder,
                core.holder,
                lambda n: progress(f"embedding what is new: {n} entities"),
            )
        if starting is not None:
            await starting
        await mesh.refresh()

        authorizer = Authorizer(
            core.database, core.ontology, core.model, core.policies, settings.data_folder / "visibility.index"
        )
        lease = ServiceLease(core.database, authorizer.follow)
        await stack.enter_async_context(lease.holding(settings.host))
        stack.push_async_callback(authorizer.save)
        asking = await _asking(core, authorizer, embedder, gateway, audit, lease.followed)
        tuples = OrganizationTuples(core.database, core.ontology, {p.name: p for p in core.policies})
        signer = LocalIssuer(settings.data_folder / "keys" / "exchange", EXCHANGE_ISSUER)
        verifier, issuer = _identity(core, session, tuples, signer)
        health = health_of(core, mesh, audit, lease.held)
        tokens = RevisionTokens(_secret(settings.data_folder, "revisions"))
        app = make_app(
            build_schema(tokens),
            Parts(asking, _desk(core, asking), tokens, ErasureDesk(_desk(core, asking), _erasures(core))),
            verifier,
            health,
            issuer.key_set if issuer else None,
            lease.held,
        )
        add_openai_routes(app, OpenAIApi(asking), verifier, bearer)
        add_token_exchange(
            app,
            TokenExchange(
                verifier,
                signer,
                partial(is_enabled, core.database),
                partial(is_of_person, core.database),
                audit,
            ),
        )
        add_scim(app, core.runner)
        add_hooks(app, core.organization, core.database)
        add_enrolment(app, Enrolment(core.organization, core.runner.run, audit))
        await add_authorization_apis(app, core, asking.reader, tuples, verifier, tokens, lease.followed)
        leading = partial(_leading, core, embedder, audit, mesh)
        for name, work in (
            ("watching the mesh", mesh.watch),
            ("leading", partial(leadership.lead, leading)),
            ("witnessing the graph", partial(_witness, core.database, witness_file(settings))),
            ("saving who may see what", partial(_save, authorizer)),
            ("declaring the mesh", partial(_redeclare, core.database, mesh, vllm.node if vllm else None)),
        ):
            stack.push_async_callback(_cancelled, asyncio.create_task(_again(name, work)))
        yield Service(core, asking, issuer, app, reports)


async def _crawl_due(core: Core, audit: AuditLog, progress: Progress) -> tuple[RunReport, ...]:
    """Nobody comes back whose erasure was cut off, or lost with a restored database."""
    await finish(_erasures(core), audit)
    return await core.crawl_due(progress)


@asynccontextmanager
async def _leading(core: Core, embedder: Embedder, audit: AuditLog, mesh: Mesh) -> AsyncIterator[None]:
    """What one process does for all that serve one graph."""
    async with AsyncExitStack() as stack:
        for name, work in (
            ("embedding", partial(index_forever, core.database, core.ontology, embedder, core.holder)),
            ("comparing entities", partial(keep_proposals, core.database, core.ontology, core.merges, audit)),
            ("reasoning", partial(keep_inferred, core.database, core.ontology)),
            ("telling the time", partial(_tick, core.store)),
            ("finishing erasures", partial(_finish, _erasures(core), audit)),
            (
                "clearing what is old",
                partial(_clear, core.database, timedelta(days=core.settings.retention_days)),
            ),
        ):
            stack.push_async_callback(_cancelled, asyncio.create_task(_again(name, work)))
        await _schedule(core, mesh, stack)
        yield


async def _schedule(core: Core, mesh: Mesh, stack: AsyncExitStack) -> None:
    """Crawls at their times, when something happens at a source, and when a model can read what waits."""
    completed = await last_completed(core.database)
    crawl = partial(seeing_to, core.database, core.runner.run)
    schedule = await stack.enter_async_context(scheduled(core.sources, completed, crawl))
    sources = core.organization.source
    listening = [
        ("following events", partial(follow, core.database, schedule.now)),
        ("reading policies", partial(read_once_possible, core.database, sources, mesh, schedule.now)),
    ]
    for source in core.organization.source:
        if source.watch:
            work = partial(watch, core.organization, source, schedule.now)
            listening.append((f"watching files of {source.name}", work))
    for name, work in listening:
        stack.push_async_callback(_cancelled, asyncio.create_task(_again(name, work)))


async def serve(service: Service, started: Callable[[], Awaitable[None]]) -> None:
    """Serve HTTP until cancelled; `started` runs once it does. SettingsError when the port is taken."""
    settings = service.core.settings
    runner = web.AppRunner(service.app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise _unusable_port(settings, error) from error
        await started()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _refuse_taken_port(settings: Settings) -> None:
    """Before anything is started that takes its time; `serve` finds out in any case."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.create_server((settings.host, settings.port), family=family):
            pass
    except OSError as error:
        raise _unusable_port(settings, error) from error


def _unusable_port(settings: Settings, error: OSError) -> SettingsError:
    return SettingsError(
        f"port {settings.port} of {settings.host} cannot be used ({error.strerror}): "
        "stop what listens there, or set another (ORGRAPH_PORT, ORGRAPH_HOST)"
    )


def _probe(probe: Probe, managed: VllmServer | None) -> Probe:
    """While the managed engine does not run, who answers on its port is a stranger and is not asked."""

    async def look(node: MeshNode) -> NodeState:
        if managed is not None and managed.pid is None and node.id == managed.node.id:
            return NodeState(Status.DOWN, managed.trouble.splitlines()[0])  # without the end of its log
        return await probe(node)

    return look


def _managed_vllm(settings: Settings, progress: Progress) -> VllmServer | None:
    if not settings.vllm:
        return None
    declared = MeshNode(settings.vllm_node, settings.vllm_node.partition(":")[2])
    return VllmServer(declared, VllmSettings(settings.vllm_port), settings.data_folder / "logs", progress)


async def _start_vllm(vllm: VllmServer, settings: Settings, progress: Progress) -> None:
    """Without a model the rest goes on: asks are refused, and health says why."""
    try:
        await vllm.start(await ensure_model(settings.data_folder / "models", progress))
    except (ModelFilesError, VllmError) as error:
        vllm.trouble = str(error)
        log.warning("%s: %s", settings.vllm_node, error)


def _desk(core: Core, asking: Asking) -> AccessDesk:
    if core.administration is None:
        raise _served_already(core)
    return AccessDesk(
        core.organization,
        partial(configured, core.settings),
        core.runner.said,
        core.ontology,
        core.model,
        core.policies,
        core.administration,
        core.database,
        asking.reader,
        asking.audit,
        core.merges,
        core.store,
    )


def _erasures(core: Core) -> Erasures:
    if core.erasures is None:
        raise _served_already(core)
    return core.erasures


def _served_already(core: Core) -> SettingsError:
    return SettingsError(
        f"another Orgraph serves on {core.settings.data_folder}: stop it, or set another data_folder"
    )


async def _asking(  # noqa: PLR0913, PLR0917  the parts of the service
    core: Core,
    authorizer: Authorizer,
    embedder: Embedder,
    gateway: Gateway,
    audit: AuditLog,
    followed: Callable[[], int],
) -> Asking:
    by_name = {policy.name: policy for policy in core.policies}

    reader = Reader(core.database, core.ontology, authorizer, _erasures(core).pseudonyms)
    prior = PriorAnswers(core.database, core.holder.handlings.of_question)
    await prior.load()

    async def operates(asker: Asker) -> bool:
        administrator = core.organization.administrator
        now = datetime.now(UTC)
        found = await account_standing(core.database, by_name, asker.account, administrator, "", now)
        return found.administrator and asker.agent is None

    return Asking(
        core.ontology,
        reader,
        embedder,
        gateway,
        core.holder,
        audit,
        core.settings.ask_deadline,
        MeshOperations(
            gateway.mesh,
            audit,
            _draining_file(core.settings),
            operates,
            NodeDeclarations(core.store, audit, lambda: core.organization.collection_ids),
        ),
        _secret(core.settings.data_folder, "salts"),
        standings_of(core.database, reader, gateway.mesh, followed),
        PlacementLog(core.settings.data_folder / "meshes.jsonl"),
        prior,
        core.settings.ungrounded == "mark",
    )


def _draining_file(settings: Settings) -> Path:
    return settings.data_folder / "draining.json"


def _identity(
    core: Core, session: aiohttp.ClientSession, tuples: OrganizationTuples, signer: LocalIssuer
) -> tuple[DelegatingVerifier, LocalIssuer | None]:
    """Who proves tokens, and the local issuer where there is one. `signer` makes those of agents."""
    settings = core.settings
    audience, namespace = settings.oidc_audience, core.organization.issuer
    local = LocalIssuer(settings.data_folder / "keys") if settings.oidc_issuer is None else None
    if local is not None:
        issuer = Verifier(local.name, audience, namespace, local.keys)
    elif settings.oidc_jwks_url is None:
        raise SettingsError("oidc_issuer is set: say where it publishes its keys (ORGRAPH_OIDC_JWKS_URL)")
    else:
        keys = RemoteKeys(session, settings.oidc_jwks_url)
        issuer = Verifier(str(settings.oidc_issuer), audience, namespace, keys)

    may_act = delegation_of(core.database, core.model, tuples, namespace)
    exchanged = Verifier(signer.name, audience, namespace, signer.keys)
    proving = DelegatingVerifier(issuer.issuer, audience, namespace, issuer.keys, exchanged, may_act)
    return proving, local


def _secret(data_folder: Path, name: str) -> bytes:
    """A key of this installation, made when it is first wanted."""
    path = data_folder / "keys" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_secret(path, Fernet.generate_key())
    return path.read_bytes()


def _running(core: Core) -> Running:
    settings = core.settings
    return Running(getpid(), core.uri, f"http://{settings.host}:{settings.port}")


async def _redeclare(database: Database, mesh: Mesh, managed: MeshNode | None) -> None:
    """Keep the mesh as the graph declares it."""
    reached = await current_revision(database)
    while True:
        with contextlib.suppress(TimeoutError):
            # A crawl that finds a node as it was takes no revision; after a restore the node counts by it.
            async with asyncio.timeout(_REDECLARE_S):
                reached = await wait_beyond(database, reached)
        await declare_nodes(database, mesh, managed)


async def _witness(database: Database, path: Path) -> None:
    """Keep what `check_epoch` compares the graph with at the next start."""
    while True:
        reached = await seen(database)
        write_witness(path, reached)
        await wait_beyond(database, reached.revision)


async def _save(authorizer: Authorizer) -> None:
    """Now and then, for a process that is killed; what stops by itself saves at its end."""
    while True:
        await asyncio.sleep(_SAVE_S)
        await authorizer.save()


async def _tick(store: FactStore) -> None:
    """Facts begin and cease to hold as time passes."""
    while True:
        await store.tick()
        await asyncio.sleep(_TICK_S)


async def _finish(erasures: Erasures, audit: AuditLog) -> None:
    """Go on with erasures that wait for somebody to follow."""
    while True:
        await asyncio.sleep(_FINISH_S)
        await finish(erasures, audit)


async def _clear(database: Database, keep: timedelta) -> None:
    """Once a day: changes that every consumer has followed, records of crawls, how answers were handled."""
    while True:
        now = datetime.now(UTC)
        await compact(database, keep, now)
        await prune_runs(database, now - keep)
        await prune_answers(database, now - keep)
        await asyncio.sleep(timedelta(days=1).total_seconds())


async def _again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Work that never ends is taken up again when it fails, as it does while Neo4j is away."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s failed; it is taken up again in %d s", name, _PAUSE_S)
        await asyncio.sleep(_PAUSE_S)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
