"""Embeddings of entities, made by following the change feed, of what may be held here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import suppress

from context_manager.facts import description
from context_manager.holding import Holder, barred_of
from graph.database import Database
from graph.feed import Revision, advance, changes, current_revision, position, wait_beyond
from graph.system_reads import (
    below,
    classified,
    embedded,
    embedded_amiss,
    entities,
    forget_embeddings,
    set_embeddings,
)
from inference.embeddings import Embedder
from ontologies import Ontology

log = logging.getLogger(__name__)

CONSUMER = "embeddings"
_REVISIONS = 20
_READ = 512
"""Entities read at once, and embedded by length: the model pads each text to the longest of its batch."""
_TEXTS = 64
"""Embedded at once: a question does not wait for more."""
_REVIEWED_S = 3600.0
_LENT_TO = {
    "CLASSIFIED_AS": "start",
    "STATED_IN": "start",
    "HAS_PASSAGE": "end",
    "HAS_COLUMN": "end",
    "HAS_TABLE": "end",
}
"""Relationships by which classifications are handed on, with the end that gets them."""


async def index_pending(
    database: Database,
    ontology: Ontology,
    embedder: Embedder,
    holder: Holder,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Embed what changed since the last time, up to the last revision; resumes where it was cut off.

    What may not be held here is not embedded; what may not any more loses its embedding. Returns the revision
    reached. `progress` gets the number of entities embedded so far.
    """
    done = 0
    reached = await position(database, CONSUMER)
    while revisions := await changes(database, reached, _REVISIONS):
        changed = dict.fromkeys(
            change.id
            for revision in revisions
            for change in revision.changes
            if change.kind == "entity" and change.after is not None
        )
        async for count in _embed(database, ontology, embedder, holder, list(changed)):
            done += count
            progress(done)
        handled_anew = (await _handled_anew(database, revisions)) - changed.keys()
        await _set_right(database, ontology, embedder, holder, handled_anew)
        reached = revisions[-1].number
        await advance(database, CONSUMER, reached)
    return reached


async def index_forever(database: Database, ontology: Ontology, embedder: Embedder, holder: Holder) -> None:
    """Keep the embeddings up with the feed, and with what may be held here, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        reached = await index_pending(database, ontology, embedder, holder)
        await review(database, ontology, embedder, holder)
        until = loop.time() + _REVIEWED_S
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while True:
                    await wait_beyond(database, reached)
                    reached = await index_pending(database, ontology, embedder, holder)


async def review(database: Database, ontology: Ontology, embedder: Embedder, holder: Holder) -> None:
    """What no change of the graph tells: other settings, and certifications that have ended."""
    found = await classified(database) | await embedded_amiss(database, holder.sources())
    await _set_right(database, ontology, embedder, holder, found)


async def _handled_anew(database: Database, revisions: Iterable[Revision]) -> frozenset[str]:
    """Entities that may be handled otherwise, though they themselves stayed as they are."""
    moved: set[str] = set()
    for change in (change for revision in revisions for change in revision.changes):
        for fact in (change.before, change.after):
            if fact is None:
                continue
            if fact.get("class") == "HandlingRule" or fact.get("type") == "GOVERNS":
                return await classified(database)
            if fact.get("type") in _LENT_TO:
                moved.add(fact[_LENT_TO[fact["type"]]])
    return await below(database, moved) if moved else frozenset()


async def _set_right(
    database: Database, ontology: Ontology, embedder: Embedder, holder: Holder, ids: Collection[str]
) -> None:
    """Whoever of them may be held has an embedding, and nobody else."""
    listed = sorted(ids)
    for start in range(0, len(listed), _READ):
        some = listed[start : start + _READ]
        having = await embedded(database, some)
        barred = await barred_of(database, ontology, holder, having)
        if barred:
            await forget_embeddings(database, barred)
        async for _ in _embed(database, ontology, embedder, holder, [i for i in some if i not in having]):
            pass


async def _embed(
    database: Database, ontology: Ontology, embedder: Embedder, holder: Holder, ids: Sequence[str]
) -> AsyncIterator[int]:
    """Embed those that may be held; the others lose what they had. Yields how many, batch by batch."""
    for start in range(0, len(ids), _READ):
        some = ids[start : start + _READ]
        barred = await barred_of(database, ontology, holder, some)
        if barred:
            await forget_embeddings(database, barred)
        found = await entities(database, ontology, [id_ for id_ in some if id_ not in barred])
        texts = {entity.id: description(ontology, entity) for entity in found}
        by_length = sorted(texts, key=lambda id_: len(texts[id_]))
        for first in range(0, len(by_length), _TEXTS):
            alike = by_length[first : first + _TEXTS]
            vectors = await embedder.embed([texts[id_] for id_ in alike])
            await set_embeddings(database, dict(zip(alike, vectors, strict=True)))
            yield len(alike)


async def backlog(database: Database) -> int:
    """How many revisions the embeddings are behind."""
    return await current_revision(database) - await position(database, CONSUMER)
