"""Embeddings of entities, made by following the change feed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from context_manager.facts import description
from graph.database import Database
from graph.feed import advance, changes, current_revision, position, wait_beyond
from graph.system_reads import entities, set_embeddings
from inference.embeddings import Embedder
from ontologies import Ontology

log = logging.getLogger(__name__)

CONSUMER = "embeddings"
_REVISIONS = 20
_TEXTS = 64


async def index_pending(
    database: Database,
    ontology: Ontology,
    embedder: Embedder,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Embed what changed since the last time, up to the last revision; resumes where it was cut off.

    Returns the revision reached. `progress` gets the number of entities embedded so far.
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
        ids = list(changed)
        for start in range(0, len(ids), _TEXTS):
            found = await entities(database, ontology, ids[start : start + _TEXTS])
            vectors = await embedder.embed([description(ontology, entity) for entity in found])
            await set_embeddings(database, {e.id: v for e, v in zip(found, vectors, strict=True)})
            done += len(found)
            progress(done)
        reached = revisions[-1].number
        await advance(database, CONSUMER, reached)
    return reached


async def index_forever(database: Database, ontology: Ontology, embedder: Embedder) -> None:
    """Keep the embeddings up with the feed, until cancelled."""
    while True:
        reached = await index_pending(database, ontology, embedder)
        await wait_beyond(database, reached)


async def backlog(database: Database) -> int:
    """How many revisions the embeddings are behind."""
    return await current_revision(database) - await position(database, CONSUMER)
