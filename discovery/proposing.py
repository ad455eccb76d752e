"""After a crawl: the rules of a source's policies, read by their wording and, where asked, by a model.

What changed is read again, and nothing else. A model that may not read a source, or cannot now, leaves what
the wording told; its passages are tried again after the next crawl, which is at once when there is another
node that may read them (`context_manager.policy_reader`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from neo4j import AsyncManagedTransaction

from discovery.extraction import WORDING, ExtractedRule, ModelReading, NotRead, Passage, ReadPassage
from discovery.names import entity_names
from discovery.proposed import digest
from discovery.rule_claims import Known, claims_of, standing, statement
from discovery.sources import OrganizationConfig, SourceConfig
from discovery.wording import rules_in, telling
from graph.database import Database
from graph.extractions import Extraction, extractions, follow, packed, propose
from graph.facts import fact_of
from graph.store import FactStore

#: Confidence in what one extractor found. What several found is as sure as independent chances are.
BY_WORDING, BY_MODEL = 0.7, 0.5
#: Passages that a model reads after one crawl; the others wait for the next.
_AT_ONCE = 200
#: Of these, how many are asked for together: engines answer many in little more time than one.
_TOGETHER = 8
#: Of the way rules are read: another, and all passages are read again.
_VERSION = "5"


@dataclass(slots=True)
class _Reading:
    """What is known of the passages of one source, and what of it is new."""

    source: SourceConfig
    known: Known
    found: dict[str, Extraction] = field(default_factory=dict)
    """By fact."""
    read: list[dict[str, object]] = field(default_factory=list)
    """Of each passage that was read: its id, the digest, and whether a model did."""
    notes: list[str] = field(default_factory=list)

    def add(self, passage: Passage, rule: ExtractedRule, extractor: str, confidence: float) -> None:
        claims = claims_of(rule, passage, self.known, f"{passage.id}, read by {extractor}", confidence)
        fact = fact_of(claims[0])
        before = self.found.get(fact)
        if before is not None and extractor in before.extractor.split(", "):
            return
        if before is not None:
            both = round(1 - (1 - before.confidence) * (1 - confidence), 4)
            self.found[fact] = replace(before, confidence=both, extractor=f"{before.extractor}, {extractor}")
            return
        self.found[fact] = Extraction(
            source=self.source.name,
            fact=fact,
            about=passage.id,
            collection=passage.collection,
            statement=statement(rule),
            quote=rule.quote,
            evidence=f"{passage.id}, read by {extractor}",
            confidence=confidence,
            extractor=extractor,
            digest=digest(passage.text),
            claims=packed(claims),
            standing=packed(standing(claims, self.source.covers)),
        )


async def read_policies(
    store: FactStore, organization: OrganizationConfig, source: SourceConfig, read: ReadPassage | None
) -> Sequence[str]:
    """Propose what the source's policies say; what is to be said of it in the report of the run.

    Raises what the database and the store do.
    """
    passages, marks = await _passages(store, source.name), await _marks(store, source.name)
    digests = {one.id: digest(f"{_VERSION} {source.extract} {source.covers} {one.text}") for one in passages}
    by_model = source.extract == "model"
    due = [
        one
        for one in passages
        if (mark := marks.get(one.id)) is None or mark != (digests[one.id], by_model or mark[1])
    ]
    if not due and marks.keys() <= digests.keys():
        return ()
    keys = sorted({key for each in organization.source for key in (*each.classifications(), *each.covers)})
    reading = _Reading(source, Known(keys, await _providers(store, organization)))
    again = {one.id for one in due}
    texts = {one.id: digest(one.text) for one in passages}
    for known in await extractions(store.database, source.name):
        if known.about in texts and known.about not in again and known.found:
            reading.found[known.fact] = known
    for passage in due:
        for rule in rules_in(passage.text):
            reading.add(passage, rule, WORDING, BY_WORDING)
    read_by_model = await _by_model(reading, due, read) if by_model else set()
    reading.read = [
        {"id": one.id, "digest": digests[one.id], "model": one.id in read_by_model} for one in due
    ]
    await propose(store.database, source.name, reading.found.values(), "rules")
    await follow(store, source.policy())
    await _mark(store, source.name, reading.read, list(digests))
    return reading.notes


async def wait_for_model(database: Database, sources: Iterable[SourceConfig]) -> Sequence[str]:
    """Names of those with passages that a model has yet to read."""
    records = await database.read(
        """
        UNWIND $sources AS source
        MATCH (p:Passage) WHERE source IN p.sources AND EXISTS { (:Policy)-[:HAS_PASSAGE]->(p) }
            AND NOT EXISTS { (:_ReadPassage {id: p.id, source: source, model: true}) }
        RETURN DISTINCT source
        """,
        sources=[source.name for source in sources if source.extract == "model"],
    )
    return [record["source"] for record in records]


async def _by_model(reading: _Reading, due: Sequence[Passage], read: ReadPassage | None) -> set[str]:
    """Ids of the passages that a model has read, or that tell no rule by any word."""
    told = [one for one in due if telling(one.text)]
    waiting = deque(told[:_AT_ONCE])
    answers: dict[str, ModelReading] = {}

    async def ask() -> None:
        try:
            while waiting:
                passage = waiting.popleft()
                if read is None:
                    raise NotRead("models are asked by the service alone")
                answers[passage.id] = await read(reading.source, passage)
        except BaseException:
            waiting.clear()  # the others end what they have begun
            raise

    ended = await asyncio.gather(*(ask() for _ in range(_TOGETHER)), return_exceptions=True)
    refused = next((error for error in ended if isinstance(error, NotRead)), None)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, NotRead):
            raise error
    dropped: list[str] = []
    for passage in told:
        if (answer := answers.get(passage.id)) is not None:
            dropped += answer.dropped
            for rule in answer.rules:
                reading.add(passage, rule, answer.model, BY_MODEL)
    left = len(told) - len(answers)
    if refused is not None:
        reading.notes.append(
            f"{left} passages were read by their wording alone: {refused}; "
            "they are tried again when another node is up that may read them, and after the next crawl"
        )
    elif left:
        reading.notes.append(f"{left} passages wait for a model until the next crawl")
    if dropped:
        reading.notes.append(f"{len(dropped)} things that a model wrote were dropped, as {dropped[0]}")
    return {one.id for one in due} - {one.id for one in told} | answers.keys()


async def _providers(store: FactStore, organization: OrganizationConfig) -> Mapping[str, str]:
    """The organization itself is no provider: what it must not do, it does not do on machines of others."""
    known = (await entity_names(store.database)).items()
    named = {name.casefold(): id for name, id in known if id.startswith("organization:")}
    return {name: id for name, id in named.items() if name != organization.name.casefold()}


async def _passages(store: FactStore, source: str) -> Sequence[Passage]:
    records = await store.database.read(
        """
        MATCH (d:Policy)-[:HAS_PASSAGE]->(p:Passage)-[:IN_COLLECTION]->(c) WHERE $source IN p.sources
        RETURN p.id AS id, p.text AS text, d.id AS document, d.name AS name, c.id AS collection
        ORDER BY document, p.position, id
        """,
        source=source,
    )
    return [Passage(**record.data()) for record in records]


async def _marks(store: FactStore, source: str) -> Mapping[str, tuple[str, bool]]:
    """By id of passage: the digest that was read, and whether a model did."""
    records = await store.database.read(
        "MATCH (r:_ReadPassage {source: $source}) RETURN r.id AS id, r.digest AS digest, r.model AS model",
        source=source,
    )
    return {record["id"]: (record["digest"], record["model"]) for record in records}


async def _mark(
    store: FactStore, source: str, read: Sequence[Mapping[str, object]], present: Sequence[str]
) -> None:
    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            "MATCH (r:_ReadPassage {source: $source}) WHERE NOT r.id IN $present DELETE r",
            source=source,
            present=list(present),
        )
        await tx.run(
            "UNWIND $rows AS row MERGE (r:_ReadPassage {id: row.id}) SET r = row, r.source = $source",
            rows=list(read),
            source=source,
        )

    await store.database.write_transaction(work)
