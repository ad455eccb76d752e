"""The types of the GraphQL API and how they are made from what the rooms return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from context_manager import ask as asking
from context_manager import facts, grounding
from context_manager.context import Retrieval
from context_manager.drafting import Outcome
from context_manager.facts import plain
from context_manager.relevance import Match
from graph import handling as graph_handling
from graph.claims import EntityClaim, Value
from graph.contradictions import Contradiction
from graph.facts import Stated
from graph.past import PRESENT, When
from graph.reads import EntityView, Neighbour
from graphql import GraphQLError
from inference.nodes import LOCAL_NODE_ID
from inference.placement import Placement as Placed
from ontologies.ontology import RelationshipType

MAX_PAGE = 100


_CLAIMS = "What each source says of it, or then said, who is believed first."

_SINCE = "The revision since which it is known as it is: a token, which `asOf` takes."


def page_size(first: int) -> int:
    """Raises GraphQLError outside of 1..MAX_PAGE."""
    if not 1 <= first <= MAX_PAGE:
        raise GraphQLError(f"first is {first}; expected 1 to {MAX_PAGE}")
    return first


strawberry.enum(Outcome, description="How an ask ended.")


@strawberry.enum(description="Which way a relationship points, seen from the entity.")
class Direction(Enum):
    OUT = "out"
    IN = "in"


@strawberry.type(description="A value of an entity.")
class EntityValue:
    name: str
    label: str
    value: list[str] = strawberry.field(
        description="In plain words; several where the property holds several."
    )


@strawberry.type(description="What one source says of a fact, and where it says so.")
class Claim:
    source: str
    evidence: str = strawberry.field(description="Where in the source: a file and line, an entry, a page.")
    confidence: float
    trust: int = strawberry.field(
        description="Of sources that contradict each other the highest is believed."
    )
    valid_from: datetime | None
    valid_to: datetime | None
    values: list[EntityValue] = strawberry.field(description="Of an entity; a relationship has none.")


@strawberry.type(description="A value as a source says it.")
class Saying:
    value: str
    source: str
    trust: int
    evidence: str
    believed: bool


@strawberry.type(description="A property that may have one value, and of which sources say several.")
class Conflict:
    name: str
    label: str
    sayings: list[Saying] = strawberry.field(
        description="By the sources' trust, then by their names; the first is believed."
    )


@strawberry.type(description="An entity beside another, over one relationship.")
class Related:
    relationship: str
    label: str = strawberry.field(description="Reads as a sentence from the entity to its neighbour.")
    direction: Direction
    entity: Annotated[Entity, strawberry.lazy("context_manager.graphql_types")]
    sources: list[str] = strawberry.field(description="Who claims it; nobody where it is inferred.")
    confidence: float
    valid_from: datetime | None
    valid_to: datetime | None
    derivations: list[list[str]] = strawberry.field(
        description="Where it is inferred: each list of facts (`start TYPE end`) that it follows from."
    )
    claimed: strawberry.Private[str]
    when: strawberry.Private[When]
    known_since: strawberry.Private[int]

    @strawberry.field(description=_SINCE)
    def since(self, info: strawberry.Info) -> str:
        return str(info.context.seal(self.known_since))

    @strawberry.field(description=_CLAIMS)
    async def claims(self, info: strawberry.Info) -> list[Claim] | None:
        found: list[Claim] = await info.context.claims(self.claimed, self.when)
        return found


@strawberry.type(
    description="An entity that the asker may see. What they may not see looks as if it were not there."
)
class Entity:
    id: strawberry.ID
    class_name: str = strawberry.field(description="Its class in the ontology.")
    name: str
    values: list[EntityValue]
    sources: list[str]
    confidence: float
    valid_from: datetime | None
    valid_to: datetime | None
    same_as: list[strawberry.ID] = strawberry.field(
        description="The others that are one with it, whose values and sources are among these; of an entity "
        "in a list, none: there each is told by itself."
    )
    when: strawberry.Private[When]
    known_since: strawberry.Private[int]

    @strawberry.field(description=_SINCE)
    def since(self, info: strawberry.Info) -> str:
        return str(info.context.seal(self.known_since))

    @strawberry.field(
        description="Its visible neighbours, at the same point of both times, what is inferred among them."
    )
    async def neighbours(self, info: strawberry.Info, first: int = 50) -> list[Related]:
        found: list[Related] = await info.context.neighbours(str(self.id), first, self.when)
        return found

    @strawberry.field(description=_CLAIMS)
    async def claims(self, info: strawberry.Info) -> list[Claim] | None:
        found: list[Claim] = await info.context.claims(str(self.id), self.when)
        return found

    @strawberry.field(
        description="What its sources contradict each other in, or then did, and who is believed."
    )
    async def conflicts(self, info: strawberry.Info) -> list[Conflict] | None:
        found: list[Conflict] = await info.context.conflicts(str(self.id), self.when)
        return found

    @strawberry.field(description="Answers a question from this entity and what is, or then was, around it.")
    async def insight(
        self, info: strawberry.Info, question: str
    ) -> Annotated[Answer, strawberry.lazy("context_manager.graphql_types")]:
        made: Answer = await info.context.ask(question, str(self.id), self.when)
        return made


@strawberry.type(description="A page of entities, ordered by name.")
class EntityPage:
    items: list[Entity]
    end_cursor: str | None = strawberry.field(
        description="Pass as `after` for the next page; null at the end."
    )
    total_count: int = strawberry.field(description="How many the asker may see.")


@strawberry.type(description="A class of the ontology and how many of it the asker may see.")
class OntologyClass:
    name: str
    label: str
    comment: str
    superclasses: list[str]
    count: int


@strawberry.type(description="A fact, with what it takes to look it up.")
class Fact:
    id: strawberry.ID
    statement: str
    title: str
    entities: list[strawberry.ID]
    sources: list[str]
    confidence: float
    valid_from: datetime | None
    valid_to: datetime | None
    path: list[str] = strawberry.field(description="How it was found: ids and relationship types.")
    score: float = strawberry.field(description="How well it matches the question, from the two texts alone.")
    fact: strawberry.Private[facts.Fact]
    when: strawberry.Private[When]

    @strawberry.field(description=_SINCE)
    def since(self, info: strawberry.Info) -> str:
        return str(info.context.seal(self.fact.since))

    @strawberry.field(description=_CLAIMS)
    async def claims(self, info: strawberry.Info) -> list[Claim] | None:
        found: list[Claim] = await info.context.claims(self.fact.claimed, self.when)
        name = self.fact.value_name
        return found if name is None else [one for one in found if any(v.name == name for v in one.values)]


@strawberry.type(description="What is known for a question: facts that the asker may see, best first.")
class Context:
    facts: list[Fact]
    handling: Handling


@strawberry.type(description="Where the facts may be processed. Null means anywhere.")
class Handling:
    jurisdictions: list[str] | None
    residency: list[str] | None
    certifications: list[str]
    clearance: int
    silicon: list[str] | None
    excluded_silicon: list[str]
    excluded_owners: list[str]
    purposes: list[str] | None
    excluded_jurisdictions: list[str]


@strawberry.type(description="Why a mesh node may, or may not, serve the request.")
class Verdict:
    node: str
    permitted: bool
    up: bool
    reasons: list[str]
    score: float


@strawberry.type(description="An answer with the facts it cites, where it was made and why there.")
class Answer:
    id: strawberry.ID
    outcome: Outcome
    text: str
    facts: list[Fact] = strawberry.field(description="The facts that the text rests on.")
    node: str | None
    model: str | None
    handling: Handling
    placement: list[Verdict] = strawberry.field(
        description="Each node of the mesh that the asker may see, and why or why not."
    )
    notes: list[str]


@strawberry.type(description="A sentence of an answer that is being written: each holds by what it cites.")
class Sentence:
    text: str
    facts: list[strawberry.ID]


AnswerPart = Annotated[
    Context | Sentence | Answer,
    strawberry.union(
        "AnswerPart", description="First the facts that were found, then each sentence, then the whole."
    ),
]


def entity_of(labels: dict[str, str], view: EntityView, when: When = PRESENT) -> Entity:
    """`labels` are those of the ontology's value properties, by name; `when` it was read of."""
    return Entity(
        id=strawberry.ID(view.id),
        class_name=view.class_name,
        name=view.name,
        values=_values_of(labels, view.values),
        sources=list(view.sources),
        confidence=view.confidence,
        valid_from=view.valid_from,
        valid_to=view.valid_to,
        same_as=[strawberry.ID(other) for other in view.same],
        when=when,
        known_since=view.since,
    )


def _values_of(labels: Mapping[str, str], values: Mapping[str, Value]) -> list[EntityValue]:
    return [
        EntityValue(
            name=name,
            label=labels[name],
            value=[plain(v) for v in value] if isinstance(value, tuple) else [plain(value)],
        )
        for name, value in values.items()
    ]


def claim_of(labels: Mapping[str, str], stated: Stated) -> Claim:
    claim = stated.claim
    return Claim(
        source=stated.source,
        evidence=claim.evidence,
        confidence=claim.confidence,
        trust=stated.trust,
        valid_from=claim.valid_from,
        valid_to=claim.valid_to,
        values=_values_of(labels, claim.values) if isinstance(claim, EntityClaim) else [],
    )


def conflict_of(labels: Mapping[str, str], found: Contradiction) -> Conflict:
    return Conflict(
        name=found.property,
        label=labels[found.property],
        sayings=[
            Saying(
                value=plain(one.value),
                source=one.source,
                trust=one.trust,
                evidence=one.evidence,
                believed=one.value == found.sayings[0].value,
            )
            for one in found.sayings
        ],
    )


def fact_of(match: Match, when: When) -> Fact:
    fact = match.fact
    return Fact(
        id=strawberry.ID(fact.id),
        statement=fact.statement,
        title=fact.title,
        entities=[strawberry.ID(id_) for id_ in fact.entities],
        sources=list(fact.sources),
        confidence=fact.confidence,
        valid_from=fact.valid_from,
        valid_to=fact.valid_to,
        path=list(fact.path),
        score=round(match.score, 4),
        fact=fact,
        when=when,
    )


def handling_of(handling: graph_handling.Handling) -> Handling:
    return Handling(**handling.record())


def verdicts_of(placement: Placed | None, visible: Collection[str]) -> list[Verdict]:
    """On the nodes of `visible` ids, and on this process."""
    return [
        Verdict(node=v.name, permitted=v.permitted, up=v.up, reasons=list(v.reasons), score=v.score)
        for v in (placement.verdicts if placement else ())
        if v.node_id in visible or v.node_id == LOCAL_NODE_ID
    ]


def answer_of(answer: asking.Answer) -> Answer:
    draft, retrieval = answer.draft, answer.retrieval
    return Answer(
        id=strawberry.ID(answer.id),
        outcome=draft.outcome,
        text=draft.text,
        facts=[fact_of(retrieval.context.facts[i], retrieval.when) for i in draft.cited],
        node=draft.node,
        model=draft.model,
        handling=handling_of(retrieval.handling),
        placement=verdicts_of(answer.placement, retrieval.nodes),
        notes=list(draft.notes),
    )


def context_of(found: Retrieval) -> Context:
    return Context(
        facts=[fact_of(match, found.when) for match in found.context.facts],
        handling=handling_of(found.handling),
    )


def sentence_of(sentence: grounding.Sentence, found: Retrieval) -> Sentence:
    cited = [found.context.facts[i].fact.id for i in sentence.cites]
    return Sentence(text=sentence.text, facts=[strawberry.ID(id_) for id_ in cited])


def related_of(
    labels: dict[str, str], known: RelationshipType, id: str, neighbour: Neighbour, when: When
) -> Related:
    """What is beside the entity `id`, over a relationship that the ontology knows."""
    ends = (id, neighbour.entity.id) if neighbour.outgoing else (neighbour.entity.id, id)
    return Related(
        relationship=neighbour.type,
        label=known.label if neighbour.outgoing else known.inverse_label,
        direction=Direction.OUT if neighbour.outgoing else Direction.IN,
        entity=entity_of(labels, neighbour.entity, when),
        sources=list(neighbour.sources),
        confidence=neighbour.confidence,
        valid_from=neighbour.valid_from,
        valid_to=neighbour.valid_to,
        derivations=[list(derivation) for derivation in neighbour.derivations],
        claimed=f"{ends[0]} {neighbour.type} {ends[1]}",
        when=when,
        known_since=neighbour.since,
    )
