"""The mesh over GraphQL: its nodes as they are now, and where a request would go and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime

import strawberry

from context_manager import graphql_types as types
from context_manager.ask import Asking
from context_manager.graphql_access import expected
from context_manager.mesh_operations import MeshOperations
from context_manager.node_declarations import NodeDeclarations
from context_manager.openai_context import Grounds, grounds
from context_manager.openai_errors import ApiError
from context_manager.openai_request import Extension
from discovery.sources import HandlingTerms
from graph.claims import Value, entity_id
from graph.reads import Asker
from graphql import GraphQLError
from inference.nodes import CHAT, LOCAL_NODE_ID, VLLM, MeshNode, NodeState
from inference.placement import place
from inference.requirement import Requirement


@strawberry.type(description="A certification of a mesh node, and whether it holds now.")
class Certification:
    name: str
    holds: bool
    starts: datetime | None
    ends: datetime | None


@strawberry.type(description="A mesh node that the asker may see. Null is unknown, never zero.")
class Node:
    id: strawberry.ID
    name: str
    status: str = strawberry.field(description="warming, ready, degraded, draining or down.")
    why: str
    seen: datetime | None = strawberry.field(description="When it was last looked at.")
    jurisdiction: str
    region: str
    site: str
    certifications: list[Certification]
    clearance: int
    silicon: str
    memory: int | None = strawberry.field(description="GiB.")
    engine: str
    models: list[str]
    context_length: int | None = strawberry.field(description="Tokens.")
    capabilities: list[str]
    price: int | None = strawberry.field(description="Of a million tokens, in hundredths.")
    running: int | None
    waiting: int | None
    kv_use: float | None = strawberry.field(description="Share of its key-value cache, 0 to 1.")
    prefill_rate: float | None = strawberry.field(description="Tokens of prompts a second.")
    decode_rate: float | None = strawberry.field(description="Tokens of one answer a second.")


@strawberry.input(description="Narrows where a request may be processed. Nothing widens it.")
class HandlingInput:
    jurisdictions: list[str] | None = None
    residency: list[str] | None = None
    certifications: list[str] = strawberry.field(default_factory=list)
    clearance: int = 0
    silicon: list[str] | None = None
    excluded_silicon: list[str] = strawberry.field(default_factory=list)
    excluded_owners: list[str] = strawberry.field(default_factory=list)
    purposes: list[str] | None = None
    excluded_jurisdictions: list[str] = strawberry.field(default_factory=list)


@strawberry.type(description="Where a request would go, and why; nothing is sent.")
class DryRun:
    node: str | None = strawberry.field(description="Null is a refusal.")
    refusal: str
    handling: types.Handling
    facts: list[strawberry.ID]
    verdicts: list[types.Verdict] = strawberry.field(description="On the nodes that the asker may see.")


async def _nodes(service: Asking, asker: Asker) -> list[Node]:
    """The nodes that the asker may see, and this process."""
    visible, _ = await service.reader.run(asker, lambda view: view.visible_among(service.mesh.ids()))
    snapshot = service.mesh.snapshot()
    return [_node(node, state, snapshot.at) for node, state in snapshot.members if _shown(node, visible)]


async def _dry_run(  # noqa: PLR0913, PLR0917  what a request may say
    service: Asking,
    asker: Asker,
    question: str | None,
    entities: list[strawberry.ID],
    capability: str,
    model: str | None,
    handling: HandlingInput | None,
) -> tuple[DryRun, Grounds]:
    """Where a request with this context would go, and what that rests on. Raises GraphQLError."""
    terms = HandlingTerms() if handling is None else HandlingTerms.model_validate(vars(handling))
    wanted = Extension(question=question, entities=tuple(map(str, entities)), handling=terms)
    try:
        found = await grounds(service, asker, wanted, (), ())
    except ApiError as error:
        raise GraphQLError(str(error)) from error
    requirement = Requirement(found.handling, capability, model, sites=service.handlings.sites(found.facts))
    placed = place(requirement, service.mesh.snapshot())
    dry_run = DryRun(
        node=placed.node.name if placed.node else None,
        refusal=placed.refusal(found.nodes),
        handling=types.handling_of(found.handling),
        facts=[strawberry.ID(fact.id) for fact in found.facts],
        verdicts=types.verdicts_of(placed, found.nodes),
    )
    return dry_run, found


def _shown(node: MeshNode, visible: Collection[str]) -> bool:
    return node.id in visible or node.id == LOCAL_NODE_ID


def _node(node: MeshNode, state: NodeState, at: datetime) -> Node:
    load = state.load
    return Node(
        id=strawberry.ID(node.id),
        name=node.name,
        status=state.status.value,
        why=state.why,
        seen=state.at,
        jurisdiction=node.jurisdiction,
        region=node.region,
        site=node.site,
        certifications=[
            Certification(name=c.name, holds=c.holds(at), starts=c.starts, ends=c.ends)
            for c in sorted(node.certifications, key=lambda c: (c.name, str(c.starts)))
        ],
        clearance=node.clearance,
        silicon=node.silicon,
        memory=node.memory,
        engine=node.engine,
        models=list(node.models),
        context_length=node.context_length,
        capabilities=sorted(node.capabilities),
        price=node.price,
        running=load.running,
        waiting=load.waiting,
        kv_use=load.kv_use,
        prefill_rate=load.prefill_rate,
        decode_rate=load.decode_rate,
    )


@strawberry.type
class MeshQueries:
    @strawberry.field(
        description="The nodes of the mesh that the asker may see, as they are. Of the present alone."
    )
    async def nodes(self, info: strawberry.Info) -> list[Node]:
        info.context.require("read")
        return await _nodes(info.context.service, info.context.asker)

    @strawberry.field(
        description="Where a request would go with these entities and the facts for this question."
        " Of the present alone."
    )
    async def placement(  # noqa: PLR0913, PLR0917  what a request may say
        self,
        info: strawberry.Info,
        question: str | None = None,
        entities: list[strawberry.ID] = [],  # noqa: B006  a default of the schema
        capability: str = CHAT,
        model: str | None = None,
        handling: HandlingInput | None = None,
    ) -> DryRun:
        info.context.require("ask")
        service, asker = info.context.service, info.context.asker
        made, found = await _dry_run(service, asker, question, entities, capability, model, handling)
        info.context.revisions.append(found.revision)
        if found.embedding is not None:
            info.context.placements.append(("embedding", found.embedding, found.nodes))
        return made


@strawberry.input(
    description="A mesh node as the administrator declares it. Null is unknown, and refused where asked for."
)
class NodeInput:
    name: str = strawberry.field(description="Its id is `mesh_node:` and this.")
    jurisdiction: str
    region: str
    silicon: str
    endpoint: str
    models: list[str]
    capabilities: list[str] = strawberry.field(default_factory=lambda: [CHAT])
    engine: str = VLLM
    site: str | None = None
    certificate: str | None = strawberry.field(
        default=None, description="SHA-256 of its TLS certificate, in hex: nobody with another is spoken to."
    )
    certifications: list[str] = strawberry.field(default_factory=list)
    clearance: int = 0
    owner: strawberry.ID | None = None
    purposes: list[str] = strawberry.field(default_factory=list)
    memory: int | None = None
    context_length: int | None = None
    price: int | None = None
    until: datetime | None = strawberry.field(default=None, description="When the declaration ends.")

    def values(self) -> dict[str, Value]:
        """By the names of the ontology's properties; without those that are not said."""
        said = {
            "name": self.name,
            "jurisdiction": (self.jurisdiction,),
            "region": self.region,
            "silicon": (self.silicon,),
            "endpoint": self.endpoint,
            "model": tuple(self.models),
            "capability": tuple(self.capabilities),
            "engine": self.engine,
            "site": self.site,
            "certificateDigest": self.certificate,
            "certification": tuple(self.certifications),
            "clearance": self.clearance,
            "purpose": tuple(self.purposes),
            "memory": self.memory,
            "contextLength": self.context_length,
            "price": self.price,
        }
        return {name: value for name, value in said.items() if value not in (None, ())}


@strawberry.type
class MeshMutations:
    @strawberry.mutation(description="Send a mesh node nothing new; what it works on it may finish.")
    async def drain_node(self, info: strawberry.Info, id: strawberry.ID) -> list[Node]:
        return await _operate(info, info.context.service.operations.drain, id)

    @strawberry.mutation(description="Send a mesh node requests again.")
    async def resume_node(self, info: strawberry.Info, id: strawberry.ID) -> list[Node]:
        return await _operate(info, info.context.service.operations.resume, id)

    @strawberry.mutation(
        description="Declare a mesh node by hand, or declare it anew. Returns its id; `nodes` shows it a "
        "moment later. For the administrator."
    )
    async def declare_node(
        self, info: strawberry.Info, node: NodeInput, collection: strawberry.ID, reason: str
    ) -> strawberry.ID:
        id_ = _node_id(node.name)
        account = info.context.asker.account
        declarations = await _declaring(info, reason)
        await expected(
            declarations.declare(
                account,
                id_,
                node.values(),
                owner=None if node.owner is None else str(node.owner),
                collection=str(collection),
                until=node.until,
                reason=reason,
            )
        )
        return strawberry.ID(id_)

    @strawberry.mutation(
        description="Take back a mesh node that was declared by hand. For the administrator."
    )
    async def withdraw_node(self, info: strawberry.Info, id: strawberry.ID, reason: str) -> strawberry.ID:
        declarations = await _declaring(info, reason)
        await expected(declarations.withdraw(info.context.asker.account, str(id), reason))
        return id


def _node_id(name: str) -> str:
    try:
        return entity_id("mesh_node", name)
    except ValueError as error:
        raise GraphQLError(f"name: {error}") from error


async def _declaring(info: strawberry.Info, reason: str) -> NodeDeclarations:
    info.context.require("administer")
    operations: MeshOperations = info.context.service.operations
    return await expected(operations.declaring(info.context.asker, reason))


async def _operate(
    info: strawberry.Info, work: Callable[[Asker, str], Awaitable[None]], id_: strawberry.ID
) -> list[Node]:
    info.context.require("administer")
    await expected(work(info.context.asker, str(id_)))
    return await _nodes(info.context.service, info.context.asker)
