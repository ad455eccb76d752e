"""What was extracted from texts and samples, in GraphQL: what waits, and decisions; for who may decide."""

from __future__ import annotations

import strawberry

from context_manager import extraction_review as review
from context_manager.graphql_access import expected
from context_manager.graphql_types import page_size
from graph import extractions
from graph.extractions import Chosen, Decision


@strawberry.type(
    description="A rule that a policy states, or a classification, as it was read. Nothing follows from it "
    "until somebody accepts it, but that it tightens where something may be processed, if it does."
)
class Extraction:
    id: strawberry.ID
    source: str
    fact: strawberry.ID = strawberry.field(
        description="What is proposed: an entity, or `start TYPE end` of a relationship."
    )
    about: strawberry.ID = strawberry.field(description="The passage, column or file that it was read from.")
    statement: str
    quote: str = strawberry.field(description="The passage's words; nothing of values that were sampled.")
    evidence: str
    extractor: str = strawberry.field(description="Who read it: `wording`, a model by its name, or both.")
    confidence: float
    tightens: bool = strawberry.field(description="Whether handling rests on it already.")
    found: bool = strawberry.field(
        description="False of what the last reading did not find again: to reject it loosens handling."
    )
    decision: str | None = strawberry.field(description="accepted or rejected.")
    reason: str | None
    by: strawberry.ID | None


@strawberry.type
class ExtractionPage:
    items: list[Extraction]
    end_cursor: str | None = strawberry.field(
        description="Pass as `after` for the next page; null at the end."
    )


@strawberry.type
class ExtractionQueries:
    @strawberry.field(
        description="What was extracted and waits for the asker to decide, or what was decided; of all, of "
        "one source, or read from one entity. Of the present alone."
    )
    async def extractions(  # noqa: PLR0913, PLR0917  what may be asked for
        self,
        info: strawberry.Info,
        source: str | None = None,
        about: strawberry.ID | None = None,
        decided: bool = False,
        first: int = 50,
        after: str | None = None,
    ) -> ExtractionPage:
        page_size(first)
        desk, asker = info.context.desk(), info.context.asker
        found = await expected(review.told(desk, asker, Chosen(source, about, decided), first + 1, after))
        return ExtractionPage(
            items=[_told(one) for one in found[:first]],
            end_cursor=found[first - 1].id if len(found) > first else None,
        )


@strawberry.type
class ExtractionMutations:
    @strawberry.mutation(description="Answer for what was extracted: it is a fact from then on.")
    async def accept_extraction(self, info: strawberry.Info, id: strawberry.ID, reason: str) -> Extraction:
        return await _decided(info, id, "accepted", reason)

    @strawberry.mutation(
        description="Say that it is not so: it goes, also where handling rested on it, and is not proposed "
        "again until what it was read from changes."
    )
    async def reject_extraction(self, info: strawberry.Info, id: strawberry.ID, reason: str) -> Extraction:
        return await _decided(info, id, "rejected", reason)


async def _decided(info: strawberry.Info, id: str, decision: Decision, reason: str) -> Extraction:
    desk, asker = info.context.desk(), info.context.asker
    return _told(await expected(review.review(desk, asker, id, decision, reason)))


def _told(one: extractions.Extraction) -> Extraction:
    return Extraction(
        id=strawberry.ID(one.id),
        source=one.source,
        fact=strawberry.ID(one.fact),
        about=strawberry.ID(one.about),
        statement=one.statement,
        quote=one.quote,
        evidence=one.evidence,
        extractor=one.extractor,
        confidence=one.confidence,
        tightens=one.tightens,
        found=bool(one.found),
        decision=one.decision,
        reason=one.reason,
        by=None if one.by is None else strawberry.ID(one.by),
    )
