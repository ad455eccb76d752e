"""Claims that a set of triples makes: classes, values, relationships, and what is said of them.

A subject is an entity if a class of the ontology is its type. Its id is that of its IRI where Orgraph
wrote it (`urn:orgraph:entity:`), else its IRI as a key of its class. Statements about facts (of the
provenance module) give the claims their confidence and interval; where several sources claimed a fact, it
is read as it stands of them all, since the source that is read says it now. Of an export, what one source
claimed can be read alone, with its evidence: so each source gets its own claims back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
_DESCRIBING = {terms.CLAIM.value, terms.SAYING.value, terms.SOURCE_CLASS.value}
_ABOUT: Sequence[tuple[str, str, Datatype]] = (
    ("confidence", terms.CONFIDENCE.value, "decimal"),
    ("valid_from", terms.VALID_FROM.value, "dateTime"),
    ("valid_to", terms.VALID_TO.value, "dateTime"),
    ("evidence", terms.EVIDENCE.value, "string"),
    ("trust", terms.TRUST.value, "integer"),
    ("known_since", terms.KNOWN_SINCE.value, "dateTime"),
)
_OF_CLAIMS = {
    *(_SUBJECT, _PREDICATE, _OBJECT, terms.TYPE.value, terms.ATTRIBUTED_TO.value, terms.SAYS.value),
    *(key for _, key, _ in _ABOUT),
}


def claims(
    staged: Staging,
    ontology: Ontology,
    collection_of: Callable[[str], str],
    attributed_to: str | None = None,
) -> Iterator[Claim | BadTriple]:
    """`collection_of`: the collection of an entity, by its id, where no triple says it. `attributed_to`: the
    source whose claims alone are read; of several on one fact, the first.
    """
    reading = _Reading(staged, ontology, collection_of, attributed_to)
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


@dataclass(frozen=True, slots=True)
class _Told:
    """A claim on a fact, as it is told."""

    claim: str
    source: str
    about: Mapping[str, Any]
    """By the names of `_ABOUT`, what is told of them."""

    @property
    def rank(self) -> tuple[int, str, str]:
        """The lowest is believed, as of claims in the graph."""
        return -self.about.get("trust", 0), self.source, self.claim


class _Reading:
    def __init__(
        self,
        staged: Staging,
        ontology: Ontology,
        collection_of: Callable[[str], str],
        attributed_to: str | None,
    ) -> None:
        self._staged = staged
        self._ontology = ontology
        self._collection_of = collection_of
        self._source = None if attributed_to is None else terms.source_iri(attributed_to).value
        self._names = _Names(
            {one.iri: one for one in ontology.classes.values()},
            {one.iri: one for one in ontology.values.values()},
            {one.iri: one for one in ontology.relationships.values()},
        )

    def of_subject(self, triples: Sequence[Staged]) -> Iterator[Claim | BadTriple]:
        types = {one.object for one in triples if one.predicate == terms.TYPE.value}
        if types & _DESCRIBING:
            yield from self._of_saying(triples) if terms.SAYING.value in types else self._of_claim(triples)
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
        on_entity = said.get((terms.TYPE.value, class_.iri), [])
        if (about := self._about(on_entity, typed.place)) is not None:
            if self._source is not None and len(on_entity) > 1:
                values = self._sayings(on_entity)
            yield EntityClaim(
                id,
                class_.name,
                placed[0] if placed else self._collection_of(id),
                {name: _one_or_several(several) for name, several in values.items()},
                **about,
            )
        for type_, end, one in relationships:
            about = self._about(said.get((one.predicate, str(one.object)), []), one.place)
            if type_.type != IN_COLLECTION and about is not None:
                yield RelationshipClaim(id, type_.type, end, **about)

    def _about(self, told: Sequence[_Told], place: str) -> dict[str, Any] | None:
        """Evidence, confidence and interval of what is read of a fact with these claims; None for nothing."""
        evidence = place
        if self._source is not None:
            told = self._of_source(told)[:1]
            if not told:
                return None
            evidence = told[0].about.get("evidence", place)
        sure = [one.about["confidence"] for one in told if "confidence" in one.about]
        interval = {k: v for one in told[:1] for k, v in one.about.items() if k in ("valid_from", "valid_to")}
        return {"evidence": evidence, "confidence": max(sure, default=1.0), **interval}

    def _of_source(self, told: Sequence[_Told]) -> list[_Told]:
        return [one for one in told if one.source == self._source]

    def _sayings(self, told: Sequence[_Told]) -> dict[str, list[Scalar]]:
        """What the source says of an entity of which others say something too."""
        values: dict[str, list[Scalar]] = {}
        for says in self._staged.of(self._of_source(told)[0].claim, terms.SAYS.value):
            for found in self._saying(self._staged.of(str(says.object))):
                if not isinstance(found, BadTriple):
                    name, value = found
                    values.setdefault(name, []).append(value)
        return values

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

    def _said(self, subject: str) -> Mapping[tuple[str, str], list[_Told]]:
        """The claims on the subject's facts, by predicate and object, who is believed first."""
        said: dict[tuple[str, str], list[_Told]] = {}
        for claim in self._staged.with_object(_SUBJECT, subject):
            told: dict[str, list[str | Literal]] = {}
            for one in self._staged.of(claim):
                told.setdefault(one.predicate, []).append(one.object)
            if terms.CLAIM.value not in told.get(terms.TYPE.value, ()):
                continue
            about = {
                name: found
                for name, key, datatype in _ABOUT
                for one in told.get(key, ())
                if (found := _read(one, datatype)) is not None
            }
            source = str(next(iter(told.get(terms.ATTRIBUTED_TO.value, [""]))))
            for predicate, object in product(told.get(_PREDICATE, ()), told.get(_OBJECT, ())):
                said.setdefault((str(predicate), str(object)), []).append(_Told(claim, source, about))
        return {fact: sorted(claims, key=lambda one: one.rank) for fact, claims in said.items()}

    def _of_saying(self, triples: Sequence[Staged]) -> Iterator[BadTriple]:
        """A saying is read with its claim; here is only told what is wrong with it."""
        return (found for found in self._saying(triples) if isinstance(found, BadTriple))

    def _saying(self, triples: Sequence[Staged]) -> Iterator[tuple[str, Scalar] | BadTriple]:
        """The value property that one is of, and the value."""
        predicates = [one for one in triples if one.predicate == _PREDICATE]
        objects = [one for one in triples if one.predicate == _OBJECT]
        if not (len(predicates) == len(objects) == 1 and str(predicates[0].object) in self._names.values):
            place = triples[0].place if triples else ""
            yield BadTriple(place, "expected one value of a property of the ontology as a saying; correct it")
            return
        property_ = self._names.values[str(predicates[0].object)]
        try:
            yield property_.name, _value(objects[0], property_)
        except _UnreadableError as error:
            yield BadTriple(objects[0].place, f"{error}; correct the saying or leave it out")

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


def _id(iri: str, class_: OntologyClass) -> str:
    return terms.entity_id_of(iri) or entity_id(class_.type, iri)


def _value(one: Staged, property_: ValueProperty) -> Scalar:
    if isinstance(one.object, str):
        raise _UnreadableError(f"expected a literal as {property_.name}, found <{one.object}>")
    try:
        return terms.value(one.object, property_.datatype)
    except ValueError as error:
        raise _UnreadableError(f"{property_.name}: {error}") from error


def _read(object: str | Literal, datatype: Datatype) -> Scalar | None:
    try:
        return terms.value(object, datatype) if isinstance(object, Literal) else None
    except ValueError:
        return None


def _one_or_several(found: Sequence[Scalar]) -> Value:
    return found[0] if len(found) == 1 else tuple(found)
