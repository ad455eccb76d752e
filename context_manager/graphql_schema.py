"""The GraphQL API: its queries, what each request carries, and its limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar

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
from strawberry.types.graphql import OperationType

from context_manager import ask as asking
from context_manager import graphql_types as types
from context_manager.access_desk import AccessDesk
from context_manager.audit import AuditError
from context_manager.context import Retrieval
from context_manager.erasing import ErasureDesk
from context_manager.graphql_access import AccessQueries
from context_manager.graphql_crawls import CrawlQueries, CrawlSubscriptions
from context_manager.graphql_erasure import ErasureQueries
from context_manager.graphql_extractions import ExtractionQueries
from context_manager.graphql_holds import HoldQueries
from context_manager.graphql_identity import IdentityQueries
from context_manager.graphql_mesh import MeshQueries
from context_manager.graphql_mutations import Mutation
from context_manager.graphql_quarantine import QuarantineQueries
from graph.contradictions import contradictions
from graph.facts import Stated
from graph.joined import joined_claims, joined_entity, joined_neighbours
from graph.past import PRESENT, PastReadError, When
from graph.reads import Asker, EntityView, Neighbour, View
from graph.revision_token import RevisionTokenError, RevisionTokens
from graphql import GraphQLError
from inference.admission import Overloaded
from inference.placement import Placement

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests are answered with."""

    asking: asking.Asking
    access: AccessDesk
    tokens: RevisionTokens
    erasure: ErasureDesk | None = None


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
        self._neighbours: DataLoader[tuple[str, int, When], tuple[Neighbour, ...]] = DataLoader(self._load)
        self._claims: DataLoader[tuple[str, When], tuple[Stated, ...]] = DataLoader(self._load_claims)

    def require(self, action: str) -> None:
        """Raises GraphQLError where the request's token is not for the action."""
        if action not in self.asker.scope.actions:
            raise GraphQLError(f"the token is not for this: its scope lacks {action!r}; get one that has it")

    def desk(self) -> AccessDesk:
        """For decisions and questions about access. Raises as `require`."""
        self.require("administer")
        return self._parts.access

    def erasure_desk(self) -> ErasureDesk:
        """For erasing persons. Raises as `require`."""
        self.require("administer")
        if self._parts.erasure is None:
            raise GraphQLError("nobody can be erased here: ask the service that holds the data folder")
        return self._parts.erasure

    def revision(self, token: str) -> int:
        """The revision that a token seals. Raises RevisionTokenError."""
        return self._parts.tokens.open(token)

    def seal(self, revision: int) -> str:
        """A token of the revision."""
        return self._parts.tokens.seal(revision)

    def when(self, as_of: str | None, valid_at: datetime | None) -> When:
        """What a query is asked of. Raises GraphQLError for what is neither a token nor an instant."""
        for instant in (as_instant := _instant(as_of), valid_at):
            if instant is not None and instant.tzinfo is None:
                raise GraphQLError(
                    f"{instant.isoformat()} has no time zone: add one, as in 2026-01-31T12:00:00Z"
                )
        if as_of is None or as_instant is not None:
            return When(as_instant, valid_at)
        try:
            return When(self.revision(as_of), valid_at)
        except RevisionTokenError as error:
            raise GraphQLError(f"asOf is neither an instant nor a revision: {error}") from error

    async def read(
        self, work: Callable[[View], Awaitable[T]], action: str = "read", when: When = PRESENT
    ) -> T:
        """One governed read; its revision is remembered for the answer's token. Raises as `require`."""
        self.require(action)
        try:
            result, revision = await self.service.reader.run(self.asker, work, when)
        except PastReadError as error:
            raise GraphQLError(str(error)) from error
        self.revisions.append(revision)
        return result

    def entity(self, view: EntityView, when: When = PRESENT) -> types.Entity:
        return types.entity_of(self.labels, view, when)

    async def neighbours(self, id_: str, first: int, when: When) -> list[types.Related]:
        found = await self._neighbours.load((id_, types.page_size(first), when))
        relationships = self.service.ontology.relationships
        return [types.related_of(self.labels, relationships[n.type], id_, n, when) for n in found]

    async def claims(self, fact: str, when: When) -> list[types.Claim]:
        return [types.claim_of(self.labels, one) for one in await self._claims.load((fact, when))]

    async def conflicts(self, id_: str, when: When) -> list[types.Conflict]:
        found = contradictions(self.service.ontology, await self._claims.load((id_, when)))
        return [types.conflict_of(self.labels, one) for one in found]

    async def ask(self, question: str, about: str | None = None, when: When = PRESENT) -> types.Answer:
        self.require("ask")
        with _asked():
            answer = await asking.ask(self.service, self.asker, question, about, when)
        self._note(answer.retrieval, answer.placement)
        return types.answer_of(answer)

    async def stream(self, question: str, when: When) -> AsyncGenerator[types.AnswerPart, None]:
        self.require("ask")
        found: Retrieval | None = None
        with _asked():
            async with aclosing(asking.stream(self.service, self.asker, question, when=when)) as parts:
                async for part in parts:
                    if isinstance(part, Retrieval):
                        found = part
                        yield types.context_of(part)
                    elif isinstance(part, asking.Answer):
                        self._note(part.retrieval, part.placement)
                        yield types.answer_of(part)
                    elif found is not None:
                        yield types.sentence_of(part, found)

    async def context(self, question: str, when: When) -> types.Context:
        self.require("ask")
        try:
            found = await asking.retrieve(self.service, self.asker, question, when=when)
        except (asking.QuestionRefused, PastReadError) as error:
            raise GraphQLError(str(error)) from error
        self._note(found, None)
        return types.context_of(found)

    async def embed(self, text: str) -> list[float] | None:
        """The embedding of a text to search for, or None where no node may make it."""
        self.require("search")
        try:
            vector, placement = await asking.embed(self.service, text)
        except asking.QuestionRefused as error:
            raise GraphQLError(str(error)) from error
        self.placements.append(("embedding", placement, frozenset()))
        return vector

    def _note(self, retrieval: Retrieval, placement: Placement | None) -> None:
        self.revisions.append(retrieval.context.revision)
        self.placements.append(("embedding", retrieval.embedding, retrieval.nodes))
        if placement is not None:
            self.placements.append(("answer", placement, retrieval.nodes))

    async def _load(self, keys: list[tuple[str, int, When]]) -> list[tuple[Neighbour, ...]]:
        wanted: dict[When, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for id_, first, when in keys:
            wanted[when][first].append(id_)
        found: dict[tuple[str, int, When], tuple[Neighbour, ...]] = {}
        for when, by_size in wanted.items():

            async def work(
                view: View, by_size: Mapping[int, list[str]] = by_size
            ) -> dict[tuple[str, int], tuple[Neighbour, ...]]:
                return {
                    (id_, first): beside
                    for first, ids in by_size.items()
                    for id_, beside in (await joined_neighbours(view, ids, first)).items()
                }

            read = await self.read(work, when=when)
            found |= {(id_, first, when): beside for (id_, first), beside in read.items()}
        return [found.get(key, ()) for key in keys]

    async def _load_claims(self, keys: list[tuple[str, When]]) -> list[tuple[Stated, ...]]:
        found: dict[tuple[str, When], tuple[Stated, ...]] = {}
        for when in {when for _, when in keys}:
            facts = [fact for fact, each in keys if each == when]

            async def work(view: View, facts: list[str] = facts) -> Mapping[str, tuple[Stated, ...]]:
                return await joined_claims(view, facts)

            read = await self.read(work, when=when)
            found |= {(fact, when): stated for fact, stated in read.items()}
        return [found.get(key, ()) for key in keys]


Info = strawberry.Info[RequestContext, None]
AsOf = Annotated[
    str | None,
    strawberry.argument(
        description="What was known then: the `revision` of an answer's extensions, or an instant (ISO 8601)."
    ),
]
ValidAt = Annotated[
    datetime | None,
    strawberry.argument(
        description="What held then in the world. With `asOf` alone: the instant of that revision."
    ),
]


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


@strawberry.type(description="What the asker may see, and answers made from that alone.")
class Query(
    AccessQueries,
    MeshQueries,
    IdentityQueries,
    ExtractionQueries,
    QuarantineQueries,
    ErasureQueries,
    CrawlQueries,
    HoldQueries,
):
    @strawberry.field(description="The classes of the ontology.")
    async def classes(
        self, info: Info, as_of: AsOf = None, valid_at: ValidAt = None
    ) -> list[types.OntologyClass]:
        when = info.context.when(as_of, valid_at)
        counts: Mapping[str, int] = await info.context.read(lambda view: view.class_counts(), when=when)
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
    async def entity(
        self,
        info: Info,
        id: strawberry.ID,
        as_of: AsOf = None,
        valid_at: ValidAt = None,
    ) -> types.Entity | None:
        when = info.context.when(as_of, valid_at)
        found = await info.context.read(lambda view: joined_entity(view, str(id)), when=when)
        return None if found is None else info.context.entity(found, when)

    @strawberry.field(description="Entities of a class and its subclasses.")
    async def entities(  # noqa: PLR0913, PLR0917  they are the query's own
        self,
        info: Info,
        class_name: str,
        first: int = 50,
        after: str | None = None,
        as_of: AsOf = None,
        valid_at: ValidAt = None,
    ) -> types.EntityPage:
        size, when = types.page_size(first), info.context.when(as_of, valid_at)
        if class_name not in info.context.service.ontology.classes:
            known = ", ".join(sorted(info.context.service.ontology.classes))
            raise GraphQLError(f"the ontology has no class {class_name[:80]!r}; its classes are: {known}")
        page = await info.context.read(lambda view: view.entities(class_name, size, after), when=when)
        return types.EntityPage(
            items=[info.context.entity(view, when) for view in page.items],
            end_cursor=page.end_cursor,
            total_count=page.total,
        )

    @strawberry.field(description="Entities that match a text by its words or its meaning, best first.")
    async def search(
        self, info: Info, text: str, first: int = 20, as_of: AsOf = None, valid_at: ValidAt = None
    ) -> list[types.Entity]:
        size, when = types.page_size(first), info.context.when(as_of, valid_at)
        vector = await info.context.embed(text)
        if vector is None:
            return []
        found = await info.context.read(lambda view: asking.search(view, text, vector, size), "search", when)
        return [info.context.entity(view, when) for view in found]

    @strawberry.field(description="The facts known for a question, as a model would get them.")
    async def context(
        self, info: Info, question: str, as_of: AsOf = None, valid_at: ValidAt = None
    ) -> types.Context:
        return await info.context.context(question, info.context.when(as_of, valid_at))

    @strawberry.field(
        description="Answers a question from the facts that the asker may see. From facts of the past: "
        "they are processed only where facts of then and of now may be."
    )
    async def ask(
        self, info: Info, question: str, as_of: AsOf = None, valid_at: ValidAt = None
    ) -> types.Answer:
        return await info.context.ask(question, when=info.context.when(as_of, valid_at))


@strawberry.type(description="What goes on while it is looked at; by WebSocket, `graphql-transport-ws`.")
class Subscription(CrawlSubscriptions):
    @strawberry.subscription(description="Answers a question: first the facts, then each sentence.")
    async def ask(
        self, info: Info, question: str, as_of: AsOf = None, valid_at: ValidAt = None
    ) -> AsyncGenerator[types.AnswerPart, None]:
        async with aclosing(info.context.stream(question, info.context.when(as_of, valid_at))) as parts:
            async for part in parts:
                yield part


@contextmanager
def _asked() -> Iterator[None]:
    """What an ask raises, for its asker."""
    try:
        yield
    except (asking.QuestionRefused, AuditError, PastReadError) as error:
        raise GraphQLError(str(error)) from error
    except Overloaded as error:
        extensions = {"code": "OVERLOADED", "retryAfter": error.retry_after}
        raise GraphQLError(str(error), extensions=extensions) from error


def build_schema(tokens: RevisionTokens) -> strawberry.Schema:
    """The schema with its limits; `tokens` seal the revisions that answers tell."""

    class ReadExtension(SchemaExtension):
        """Tells the revision that was read, as an opaque token, and where inference ran."""

        async def on_execute(self) -> AsyncIterator[None]:
            context: RequestContext = self.execution_context.context
            before = await context.service.reader.revision()
            yield
            if self.execution_context.operation_type is OperationType.MUTATION:
                context.revisions = [await context.service.reader.revision()]  # with what it wrote
            elif not context.revisions:
                context.revisions = [before]

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
        Subscription,
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
