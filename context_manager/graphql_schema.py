"""The GraphQL API: its queries, what each request carries, and its limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import strawberry
from cryptography.fernet import Fernet
from strawberry.dataloader import DataLoader
from strawberry.extensions import (
    MaskErrors,
    MaxAliasesLimiter,
    MaxTokensLimiter,
    QueryDepthLimiter,
    SchemaExtension,
)

from context_manager import ask as asking
from context_manager import graphql_types as types
from context_manager.access_desk import AccessDesk
from context_manager.audit import AuditError
from context_manager.graphql_access import AccessQueries
from context_manager.graphql_mesh import MeshQueries
from context_manager.graphql_mutations import Mutation
from graph.reads import Asker, EntityView, Neighbour, View
from graph.revision_token import RevisionTokens
from graphql import GraphQLError
from inference.placement import Placement

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests are answered with."""

    asking: asking.Asking
    access: AccessDesk
    tokens: RevisionTokens


class RequestContext:
    """One request: who asks, what it read, and where its inference ran."""

    def __init__(self, parts: Parts, asker: Asker) -> None:
        self.service = service = parts.asking
        self.asker = asker
        self._parts = parts
        self.labels = {name: value.label for name, value in service.ontology.values.items()}
        self.revisions: list[int] = []
        self.placements: list[tuple[str, Placement, frozenset[str]]] = []
        """For what, where, and the nodes that the asker may see."""
        self._neighbours: DataLoader[tuple[str, int], tuple[Neighbour, ...]] = DataLoader(self._load)

    def require(self, action: str) -> None:
        """Raises GraphQLError where the request's token is not for the action."""
        if action not in self.asker.scope.actions:
            raise GraphQLError(f"the token is not for this: its scope lacks {action!r}; get one that has it")

    def desk(self) -> AccessDesk:
        """For decisions and questions about access. Raises as `require`."""
        self.require("administer")
        return self._parts.access

    def revision(self, token: str) -> int:
        """The revision that a token seals. Raises RevisionTokenError."""
        return self._parts.tokens.open(token)

    async def read(self, work: Callable[[View], Awaitable[T]], action: str = "read") -> T:
        """One governed read; its revision is remembered for the answer's token. Raises as `require`."""
        self.require(action)
        result, revision = await self.service.reader.run(self.asker, work)
        self.revisions.append(revision)
        return result

    def entity(self, view: EntityView) -> types.Entity:
        return types.entity_of(self.labels, view)

    async def neighbours(self, id_: str, first: int) -> list[types.Related]:
        found = await self._neighbours.load((id_, page_size(first)))
        relationships = self.service.ontology.relationships
        return [
            types.related_of(self.labels, relationships[n.type].label, relationships[n.type].inverse_label, n)
            for n in found
        ]

    async def ask(self, question: str, about: str | None = None) -> types.Answer:
        self.require("ask")
        try:
            answer = await asking.ask(self.service, self.asker, question, about)
        except (asking.QuestionRefused, AuditError) as error:
            raise GraphQLError(str(error)) from error
        self._note(answer.retrieval, answer.placement)
        return types.answer_of(answer)

    async def context(self, question: str) -> types.Context:
        self.require("ask")
        try:
            found = await asking.retrieve(self.service, self.asker, question)
        except asking.QuestionRefused as error:
            raise GraphQLError(str(error)) from error
        self._note(found, None)
        return types.Context(
            facts=[types.fact_of(match) for match in found.context.facts],
            handling=types.handling_of(found.handling),
        )

    async def embed(self, text: str) -> list[float] | None:
        """The embedding of a text to search for, or None where no node may make it."""
        self.require("search")
        try:
            vector, placement = await asking.embed(self.service, text)
        except asking.QuestionRefused as error:
            raise GraphQLError(str(error)) from error
        self.placements.append(("embedding", placement, frozenset()))
        return vector

    def _note(self, retrieval: asking.Retrieval, placement: Placement | None) -> None:
        self.revisions.append(retrieval.context.revision)
        self.placements.append(("embedding", retrieval.embedding, retrieval.nodes))
        if placement is not None:
            self.placements.append(("answer", placement, retrieval.nodes))

    async def _load(self, keys: list[tuple[str, int]]) -> list[tuple[Neighbour, ...]]:
        wanted: dict[int, list[str]] = defaultdict(list)
        for id_, first in keys:
            wanted[first].append(id_)

        async def work(view: View) -> dict[tuple[str, int], tuple[Neighbour, ...]]:
            return {
                (id_, first): found
                for first, ids in wanted.items()
                for id_, found in (await view.neighbours(ids, first)).items()
            }

        found = await self.read(work)
        return [found.get(key, ()) for key in keys]


Info = strawberry.Info[RequestContext, None]


def page_size(first: int) -> int:
    """Raises GraphQLError outside of 1..MAX_PAGE."""
    if not 1 <= first <= types.MAX_PAGE:
        raise GraphQLError(f"first is {first}; expected 1 to {types.MAX_PAGE}: page with `after`")
    return first


@strawberry.type(description="What the asker may see, and answers made from that alone.")
class Query(AccessQueries, MeshQueries):
    @strawberry.field(description="The classes of the ontology.")
    async def classes(self, info: Info) -> list[types.OntologyClass]:
        counts: Mapping[str, int] = await info.context.read(lambda view: view.class_counts())
        return [
            types.OntologyClass(
                name=c.name,
                label=c.label,
                comment=c.comment,
                superclasses=list(c.superclasses),
                count=counts.get(c.name, 0),
            )
            for c in info.context.service.ontology.classes.values()
        ]

    @strawberry.field(description="One entity; null when there is none that the asker may see.")
    async def entity(self, info: Info, id: strawberry.ID) -> types.Entity | None:
        found = await info.context.read(lambda view: view.entity(str(id)))
        return None if found is None else info.context.entity(found)

    @strawberry.field(description="Entities of a class and its subclasses.")
    async def entities(
        self, info: Info, class_name: str, first: int = 50, after: str | None = None
    ) -> types.EntityPage:
        size = page_size(first)
        if class_name not in info.context.service.ontology.classes:
            known = ", ".join(sorted(info.context.service.ontology.classes))
            raise GraphQLError(f"the ontology has no class {class_name[:80]!r}; its classes are: {known}")
        page = await info.context.read(lambda view: view.entities(class_name, size, after))
        return types.EntityPage(
            items=[info.context.entity(view) for view in page.items],
            end_cursor=page.end_cursor,
            total_count=page.total,
        )

    @strawberry.field(description="Entities that match a text by its words or its meaning, best first.")
    async def search(self, info: Info, text: str, first: int = 20) -> list[types.Entity]:
        size = page_size(first)
        vector = await info.context.embed(text)
        if vector is None:
            return []
        found = await info.context.read(lambda view: asking.search(view, text, vector, size), "search")
        return [info.context.entity(view) for view in found]

    @strawberry.field(description="The facts known for a question, as a model would get them.")
    async def context(self, info: Info, question: str) -> types.Context:
        return await info.context.context(question)

    @strawberry.field(description="Answers a question from the facts that the asker may see.")
    async def ask(self, info: Info, question: str) -> types.Answer:
        return await info.context.ask(question)


def build_schema(tokens: RevisionTokens) -> strawberry.Schema:
    """The schema with its limits; `tokens` seal the revisions that answers tell."""

    class ReadExtension(SchemaExtension):
        """Tells the revision that was read, as an opaque token, and where inference ran."""

        def get_results(self) -> dict[str, Any]:
            context: RequestContext = self.execution_context.context
            results: dict[str, Any] = {}
            if context.revisions:
                # Of several reads the oldest: whoever waits for it sees at least what all of them held then.
                results["revision"] = tokens.seal(min(context.revisions))
            if context.placements:
                results["placement"] = [_placement(*made) for made in context.placements]
            return results

    return strawberry.Schema(
        Query,
        Mutation,
        extensions=[
            lambda: QueryDepthLimiter(max_depth=12),
            lambda: MaxAliasesLimiter(max_alias_count=20),
            lambda: MaxTokensLimiter(max_token_count=2_000),
            lambda: MaskErrors(should_mask_error=_is_internal, error_message="internal error; see the log"),
            ReadExtension,
        ],
    )


def sdl() -> str:
    """The schema as graphql/schema.graphql publishes it."""
    return build_schema(RevisionTokens(Fernet.generate_key())).as_str() + "\n"


def _placement(purpose: str, placement: Placement, visible: frozenset[str]) -> dict[str, Any]:
    return {
        "for": purpose,
        "node": placement.node.name if placement.node else None,
        "verdicts": [
            {"node": v.node, "permitted": v.permitted, "up": v.up, "reasons": v.reasons}
            for v in types.verdicts_of(placement, visible)
        ],
    }


def _is_internal(error: GraphQLError) -> bool:
    return error.original_error is not None and not isinstance(error.original_error, GraphQLError)
