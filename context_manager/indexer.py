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
_READ = 512
"""Entities read at once, and embedded by length: the model pads each text to the longest of its batch."""
_TEXTS = 64
"""Embedded at once: a question does not wait for more."""


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
        for start in range(0, len(ids), _READ):
            found = await entities(database, ontology, ids[start : start + _READ])
            texts = {entity.id: description(ontology, entity) for entity in found}
            by_length = sorted(texts, key=lambda id_: len(texts[id_]))
            for first in range(0, len(by_length), _TEXTS):
                alike = by_length[first : first + _TEXTS]
                vectors = await embedder.embed([texts[id_] for id_ in alike])
                await set_embeddings(database, dict(zip(alike, vectors, strict=True)))
                done += len(alike)
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
