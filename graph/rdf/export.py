"""The part of the graph that an asker sees, as RDF: facts, and each source's claims on them.

It is read a page at a time, each at its own moment and with the permissions of that moment, and
written as it is read: neither side holds more than a page.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from pyoxigraph import Literal, NamedNode, RdfFormat, Triple, serialize

from graph.claims import EntityClaim, Value
from graph.facts import IN_COLLECTION, Stated
from graph.past import PRESENT, When
from graph.rdf import terms
from graph.reads import Asker, EntityView, Reader, RelationshipView, View
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


@dataclass(frozen=True, slots=True)
class _Part:
    """What is read at a time."""

    entities: Sequence[EntityView]
    relationships: Sequence[RelationshipView]
    claims: Mapping[str, Sequence[Stated]]
    """By fact."""
    instants: Mapping[int, datetime]
    """When the revisions were committed that the facts are known since."""
    end_cursor: str | None


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
    parts = _parts(reader, asker, when)
    loop = asyncio.get_running_loop()
    written = 0

    def triples() -> Iterator[Triple]:
        """In the serializer's thread; asks this loop for a part when it needs one."""
        nonlocal written
        sources: set[str] = set()
        while (part := asyncio.run_coroutine_threadsafe(anext(parts, None), loop).result()) is not None:
            written += len(part.entities)
            for entity in part.entities:
                yield from _entity(ontology, part, entity)
            for relationship in part.relationships:
                yield from _relationship(ontology, part, relationship)
            said_by = {one.source for claims in part.claims.values() for one in claims}
            for name in sorted(said_by - sources):
                yield Triple(terms.source_iri(name), terms.TYPE, terms.SOURCE_CLASS)
            sources |= said_by

    prefixes = _PREFIXES if format == RdfFormat.TURTLE else None
    await asyncio.to_thread(serialize, triples(), output, format, prefixes=prefixes)
    return written


async def _parts(reader: Reader, asker: Asker, when: When) -> AsyncIterator[_Part]:
    cursor: str | None = None

    async def work(view: View) -> _Part:
        page = await view.entities(ROOT, _PAGE, cursor)
        relationships = await view.outgoing([entity.id for entity in page.items])
        facts: list[EntityView | RelationshipView] = [*page.items, *relationships]
        claims = await view.claims([one.id for one in facts])
        instants = await view.instants({one.since for one in facts})
        return _Part(page.items, relationships, claims, instants, page.end_cursor)

    while True:
        part, _ = await reader.run(asker, work, when)
        yield part
        cursor = part.end_cursor
        if cursor is None:
            return


def _entity(ontology: Ontology, part: _Part, entity: EntityView) -> Iterator[Triple]:
    subject, class_ = terms.entity_iri(entity.id), NamedNode(ontology.classes[entity.class_name].iri)
    yield Triple(subject, terms.TYPE, class_)
    for predicate, value in _values(ontology, entity.values):
        yield Triple(subject, predicate, value)
    claims = part.claims.get(entity.id, ())
    fact = Triple(subject, terms.TYPE, class_)
    for claim, one in _named(fact, claims):
        yield from _claim(claim, fact, one, part.instants.get(entity.since))
        if len(claims) > 1 and isinstance(one.claim, EntityClaim):
            for predicate, value in _values(ontology, one.claim.values):
                saying = _iri("saying", claim, predicate, value)
                yield Triple(claim, terms.SAYS, saying)
                yield Triple(saying, terms.TYPE, terms.SAYING)
                yield from _statement(saying, Triple(subject, predicate, value))


def _relationship(ontology: Ontology, part: _Part, one: RelationshipView) -> Iterator[Triple]:
    predicate = NamedNode(ontology.relationships[one.type].iri)
    fact = Triple(terms.entity_iri(one.start), predicate, terms.entity_iri(one.end))
    yield fact
    if one.type != IN_COLLECTION:  # where an entity is placed belongs to what is said of the entity
        for claim, stated in _named(fact, part.claims.get(one.id, ())):
            yield from _claim(claim, fact, stated, part.instants.get(one.since))


def _named(fact: Triple, claims: Sequence[Stated]) -> Iterator[tuple[NamedNode, Stated]]:
    """The claims on a fact, each with its IRI: a source may say a fact once in each of its scopes."""
    of_source: Counter[str] = Counter()
    for one in claims:
        yield _iri("claim", fact, one.source, of_source[one.source]), one
        of_source[one.source] += 1


def _claim(claim: NamedNode, fact: Triple, one: Stated, since: datetime | None) -> Iterator[Triple]:
    yield Triple(claim, terms.TYPE, terms.CLAIM)
    yield from _statement(claim, fact)
    yield Triple(claim, terms.ATTRIBUTED_TO, terms.source_iri(one.source))
    yield Triple(claim, terms.TRUST, terms.literal(one.trust, "integer"))
    yield Triple(claim, terms.CONFIDENCE, terms.literal(float(one.claim.confidence), "decimal"))
    if one.claim.evidence:
        yield Triple(claim, terms.EVIDENCE, terms.literal(one.claim.evidence, "string"))
    for predicate, instant in (
        (terms.VALID_FROM, one.claim.valid_from),
        (terms.VALID_TO, one.claim.valid_to),
        (terms.KNOWN_SINCE, since),
    ):
        if instant is not None:
            yield Triple(claim, predicate, terms.literal(instant, "dateTime"))


def _statement(node: NamedNode, fact: Triple) -> Iterator[Triple]:
    yield Triple(node, terms.SUBJECT, fact.subject)
    yield Triple(node, terms.PREDICATE, fact.predicate)
    yield Triple(node, terms.OBJECT, fact.object)


def _iri(kind: str, *parts: object) -> NamedNode:
    """The same for the same, wherever it is written."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:32]
    return NamedNode(f"urn:orgraph:{kind}:{digest}")


def _values(ontology: Ontology, values: Mapping[str, Value]) -> Iterator[tuple[NamedNode, Literal]]:
    for name, value in values.items():
        property_ = ontology.values[name]
        for one in value if isinstance(value, tuple) else (value,):
            yield NamedNode(property_.iri), terms.literal(one, property_.datatype)
