"""The part of the graph that an asker sees, as RDF: facts, and claims that say whose they are.

It is read a page at a time, each at its own moment and with the permissions of that moment, and
written as it is read: neither side holds more than a page.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import IO

from pyoxigraph import NamedNode, RdfFormat, Triple, serialize

from graph.facts import IN_COLLECTION
from graph.past import PRESENT, When
from graph.rdf import terms
from graph.reads import Asker, EntityView, Page, Reader, RelationshipView, View
from ontologies.ontology import ROOT, Ontology

#: Entities read at a time, with all relationships that start at them.
_PAGE = 100
_PREFIXES = {
    "og": "urn:orgraph:ontology:",
    "ogp": terms.PROVENANCE,
    "prov": terms.PROV,
    "rdf": terms.RDF,
    "xsd": terms.XSD,
}


async def export(  # noqa: PLR0913, PLR0917  who, what and where to
    reader: Reader,
    asker: Asker,
    ontology: Ontology,
    format: RdfFormat,
    output: IO[bytes],
    when: When = PRESENT,
) -> int:
    """Write all that the asker sees; how many entities that were. What is inferred is not written.

    Raises OSError where the output cannot be written, and PastReadError as `Reader.run`.
    """
    pages = _pages(reader, asker, when)
    loop = asyncio.get_running_loop()
    written = 0

    def triples() -> Iterator[Triple]:
        """In the serializer's thread; asks this loop for a page when it needs one."""
        nonlocal written
        sources: set[str] = set()
        while (page := asyncio.run_coroutine_threadsafe(anext(pages, None), loop).result()) is not None:
            entities, relationships = page
            written += len(entities)
            for entity in entities:
                yield from _entity(ontology, entity)
                yield from _sources(entity.sources, sources)
            for relationship in relationships:
                yield from _relationship(ontology, relationship)
                yield from _sources(relationship.sources, sources)

    prefixes = _PREFIXES if format == RdfFormat.TURTLE else None
    await asyncio.to_thread(serialize, triples(), output, format, prefixes=prefixes)
    return written


async def _pages(
    reader: Reader, asker: Asker, when: When
) -> AsyncIterator[tuple[tuple[EntityView, ...], tuple[RelationshipView, ...]]]:
    cursor: str | None = None

    async def work(view: View) -> tuple[Page, tuple[RelationshipView, ...]]:
        page = await view.entities(ROOT, _PAGE, cursor)
        return page, await view.outgoing([entity.id for entity in page.items])

    while True:
        (page, relationships), _ = await reader.run(asker, work, when)
        yield page.items, relationships
        cursor = page.end_cursor
        if cursor is None:
            return


def _entity(ontology: Ontology, entity: EntityView) -> Iterator[Triple]:
    subject, class_ = terms.entity_iri(entity.id), NamedNode(ontology.classes[entity.class_name].iri)
    yield Triple(subject, terms.TYPE, class_)
    for name, value in entity.values.items():
        property_ = ontology.values[name]
        for one in value if isinstance(value, tuple) else (value,):
            yield Triple(subject, NamedNode(property_.iri), terms.literal(one, property_.datatype))
    yield from _claim(Triple(subject, terms.TYPE, class_), entity)


def _relationship(ontology: Ontology, one: RelationshipView) -> Iterator[Triple]:
    predicate = NamedNode(ontology.relationships[one.type].iri)
    fact = Triple(terms.entity_iri(one.start), predicate, terms.entity_iri(one.end))
    yield fact
    if one.type != IN_COLLECTION:  # where an entity is placed belongs to what is said of the entity
        yield from _claim(fact, one)


def _claim(fact: Triple, view: EntityView | RelationshipView) -> Iterator[Triple]:
    """One for all its sources, since what is visible of a fact is what stands of all claims on it."""
    digest = hashlib.sha256(str(fact).encode()).hexdigest()[:32]
    claim = NamedNode(f"urn:orgraph:claim:{digest}")
    yield Triple(claim, terms.TYPE, terms.CLAIM)
    yield Triple(claim, terms.SUBJECT, fact.subject)
    yield Triple(claim, terms.PREDICATE, fact.predicate)
    yield Triple(claim, terms.OBJECT, fact.object)
    for source in view.sources:
        yield Triple(claim, terms.ATTRIBUTED_TO, terms.source_iri(source))
    yield Triple(claim, terms.CONFIDENCE, terms.literal(float(view.confidence), "decimal"))
    for predicate, instant in ((terms.VALID_FROM, view.valid_from), (terms.VALID_TO, view.valid_to)):
        if instant is not None:
            yield Triple(claim, predicate, terms.literal(instant, "dateTime"))


def _sources(names: Iterable[str], told: set[str]) -> Iterator[Triple]:
    for name in names:
        if name not in told:
            told.add(name)
            yield Triple(terms.source_iri(name), terms.TYPE, terms.SOURCE_CLASS)
