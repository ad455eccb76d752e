"""Claims that a set of triples makes: classes, values, relationships, and what is said of them.

A subject is an entity if a class of the ontology is its type. Its id is that of its IRI where Orgraph
wrote it (`urn:orgraph:entity:`), else its IRI as a key of its class. Statements about facts (of the
provenance module) give the claims their confidence and interval; whom they were attributed to is
not read: the source that is read says it now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from pyoxigraph import Literal

from graph.claims import Claim, EntityClaim, RelationshipClaim, Scalar, Value, entity_id
from graph.facts import IN_COLLECTION
from graph.rdf import terms
from graph.rdf.parsing import BadTriple
from graph.rdf.staging import Staged, Staging
from ontologies.ontology import Datatype, Ontology, OntologyClass, RelationshipType, ValueProperty

_SUBJECT, _PREDICATE, _OBJECT = terms.SUBJECT.value, terms.PREDICATE.value, terms.OBJECT.value
_DESCRIBING = {terms.CLAIM.value, terms.SOURCE_CLASS.value}
_OF_CLAIMS = {
    *(_SUBJECT, _PREDICATE, _OBJECT, terms.TYPE.value, terms.ATTRIBUTED_TO.value),
    *(terms.CONFIDENCE.value, terms.VALID_FROM.value, terms.VALID_TO.value),
}


def claims(
    staged: Staging, ontology: Ontology, collection_of: Callable[[str], str]
) -> Iterator[Claim | BadTriple]:
    """`collection_of`: the collection of an entity, by its id, where no triple says it."""
    reading = _Reading(staged, ontology, collection_of)
    for triples in staged.subjects():
        yield from reading.of_subject(triples)


class _UnreadableError(Exception):
    """A triple is no claim; what was expected and found."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The ontology by IRI."""

    classes: Mapping[str, OntologyClass]
    values: Mapping[str, ValueProperty]
    relationships: Mapping[str, RelationshipType]


class _Reading:
    def __init__(self, staged: Staging, ontology: Ontology, collection_of: Callable[[str], str]) -> None:
        self._staged = staged
        self._ontology = ontology
        self._collection_of = collection_of
        self._names = _Names(
            {one.iri: one for one in ontology.classes.values()},
            {one.iri: one for one in ontology.values.values()},
            {one.iri: one for one in ontology.relationships.values()},
        )

    def of_subject(self, triples: Sequence[Staged]) -> Iterator[Claim | BadTriple]:
        types = {one.object for one in triples if one.predicate == terms.TYPE.value}
        if types & _DESCRIBING:
            yield from self._of_claim(triples)
            return
        subject = triples[0].subject
        try:
            class_ = self._class(subject, types)
        except _UnreadableError as error:
            yield BadTriple(triples[0].place, f"{error}; correct its rdf:type")
            return
        yield from self._entity(subject, class_, triples)

    def _entity(
        self, subject: str, class_: OntologyClass, triples: Sequence[Staged]
    ) -> Iterator[Claim | BadTriple]:
        id = _id(subject, class_)
        values: dict[str, list[Scalar]] = {}
        relationships: list[tuple[RelationshipType, str, Staged]] = []
        for one in triples:
            try:
                if one.predicate in self._names.values:
                    property_ = self._names.values[one.predicate]
                    found = _value(one, property_)
                    values.setdefault(property_.name, []).append(found)
                elif one.predicate in self._names.relationships:
                    relationships.append((self._names.relationships[one.predicate], self._end(one), one))
                elif one.predicate != terms.TYPE.value:
                    raise _UnreadableError(f"expected a property of the ontology, found {one.predicate}")
            except _UnreadableError as error:
                yield BadTriple(one.place, f"{error}; correct the triple or leave it out")
        said = self._said(subject)
        placed = sorted(end for type_, end, _ in relationships if type_.type == IN_COLLECTION)
        typed = next(one for one in triples if one.predicate == terms.TYPE.value)
        yield EntityClaim(
            id,
            class_.name,
            placed[0] if placed else self._collection_of(id),
            {name: _one_or_several(several) for name, several in values.items()},
            typed.place,
            **said.get((terms.TYPE.value, class_.iri), {}),
        )
        for type_, end, one in relationships:
            if type_.type != IN_COLLECTION:
                about = said.get((one.predicate, str(one.object)), {})
                yield RelationshipClaim(id, type_.type, end, one.place, **about)

    def _class(self, subject: str, types: set[str | Literal]) -> OntologyClass:
        """The most special of the classes that are said; the others must be above it."""
        named = [
            self._names.classes[one] for one in types if isinstance(one, str) and one in self._names.classes
        ]
        if len(named) < len(types) or not named:
            strange = sorted(str(one) for one in types if one not in self._names.classes)
            found = ", ".join(strange) or "none"
            raise _UnreadableError(f"expected classes of the ontology as types of <{subject}>, found {found}")
        special = max(named, key=lambda one: len(one.superclasses))
        for other in named:
            if not self._ontology.is_a(special.name, other.name):
                raise _UnreadableError(
                    f"expected one class for <{subject}>, found {special.name} and {other.name}"
                )
        return special

    def _end(self, one: Staged) -> str:
        if not isinstance(one.object, str):
            raise _UnreadableError(f"expected the IRI of an entity, found {one.object}")
        if (id := terms.entity_id_of(one.object)) is not None:
            return id
        types = {found.object for found in self._staged.of(one.object, terms.TYPE.value)}
        return _id(one.object, self._class(one.object, types))

    def _said(self, subject: str) -> Mapping[tuple[str, str], dict[str, Any]]:
        """Confidence and interval of the subject's facts, by predicate and object, where they are said."""
        said: dict[tuple[str, str], dict[str, Any]] = {}
        for claim in self._staged.with_object(_SUBJECT, subject):
            told: dict[str, set[str | Literal]] = {}
            for one in self._staged.of(claim):
                told.setdefault(one.predicate, set()).add(one.object)
            for predicate, object in product(told.get(_PREDICATE, ()), told.get(_OBJECT, ())):
                said[str(predicate), str(object)] = {
                    name: found
                    for name, key, datatype in _ABOUT
                    for one in told.get(key, ())
                    if (found := _read(one, datatype)) is not None
                }
        return said

    def _of_claim(self, triples: Sequence[Staged]) -> Iterator[BadTriple]:
        """A statement about a fact is read with the fact; here is only told what is wrong with it."""
        by_key = {key: [one for one in triples if one.predicate == key] for key in _OF_CLAIMS}
        for one in triples:
            if one.predicate not in _OF_CLAIMS:
                yield BadTriple(
                    one.place, f"expected a property of claims, found {one.predicate}; leave it out"
                )
        if any(one.object == terms.SOURCE_CLASS.value for one in by_key[terms.TYPE.value]):
            return
        for key in (_SUBJECT, _PREDICATE, _OBJECT):
            if len(by_key[key]) != 1:
                expected = f"expected one {key} of the claim, found {len(by_key[key])}"
                yield BadTriple(triples[0].place, f"{expected}; correct it")
                return
        fact = [by_key[key][0].object for key in (_SUBJECT, _PREDICATE, _OBJECT)]
        told = self._staged.of(str(fact[0]), str(fact[1]))
        if all(one.object != fact[2] for one in told):
            yield BadTriple(
                triples[0].place, f"expected the fact that is claimed, {fact}, beside it; state it"
            )
        for name, key, datatype in _ABOUT:
            for one in by_key[key]:
                if len(by_key[key]) > 1 or _read(one.object, datatype) is None:
                    expected = f"expected one {name} of xsd:{datatype}, found {one.object}"
                    yield BadTriple(one.place, f"{expected}; correct it")


_ABOUT: Sequence[tuple[str, str, Datatype]] = (
    ("confidence", terms.CONFIDENCE.value, "decimal"),
    ("valid_from", terms.VALID_FROM.value, "dateTime"),
    ("valid_to", terms.VALID_TO.value, "dateTime"),
)


def _id(iri: str, class_: OntologyClass) -> str:
    return terms.entity_id_of(iri) or entity_id(class_.type, iri)


def _value(one: Staged, property_: ValueProperty) -> Scalar:
    if isinstance(one.object, str):
        raise _UnreadableError(f"expected a literal as {property_.name}, found <{one.object}>")
    try:
        return terms.value(one.object, property_.datatype)
    except ValueError as error:
        raise _UnreadableError(f"{property_.name}: {error}") from error


def _read(object: str | Literal, datatype: Datatype) -> float | datetime | None:
    try:
        found = terms.value(object, datatype) if isinstance(object, Literal) else None
    except ValueError:
        return None
    return found if isinstance(found, float | datetime) else None


def _one_or_several(found: Sequence[Scalar]) -> Value:
    return found[0] if len(found) == 1 else tuple(found)
