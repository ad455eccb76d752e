"""The gate: what a source may not claim, and what the shapes refuse. Both end in quarantine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from graph.claims import Claim, EntityClaim, RelationshipClaim, Scalar, SourcePolicy, Value, Violation
from graph.facts import IN_COLLECTION
from graph.tuples import CONFIGURATION
from ontologies.ontology import Ontology
from ontologies.shapes import EntityState, Shapes, is_of_datatype

#: The largest entity, in bytes of its values' text; more belongs into passages.
ENTITY_BYTES = 1_000_000
#: The longest id, in bytes: Neo4j indexes it, and two of them with a type.
ID_BYTES = 1_000
_INTEGERS = range(-(2**63), 2**63)
_YEARS = range(2, 9999)  # also in UTC
_ID = re.compile(r"([a-z][a-z0-9_]*):[^\s:#*@]+")


def class_of(ontology: Ontology, id: str) -> str | None:
    """The class that an id's type names; None when it names none."""
    match = _ID.fullmatch(id)
    try:
        return ontology.class_of_type(match[1]).name if match else None
    except KeyError:
        return None


def refusal(shapes: Shapes, policy: SourcePolicy, claim: Claim) -> Violation | None:
    """Why the claim alone cannot be accepted from that source; None when it can."""
    try:
        for rule, value, message in _problems(shapes, policy, claim):
            return violation(policy.name, claim, rule, value, message)
    except UnicodeEncodeError as error:
        return violation(policy.name, claim, "og:text", error.object, "expected text that is valid Unicode")
    return None


class Gate:
    """The gate for one source, quick where it has seen the like: verdicts on what ids alone decide are kept."""

    def __init__(self, shapes: Shapes, policy: SourcePolicy) -> None:
        self._shapes = shapes
        self._policy = policy
        self._passed: set[tuple[str, str, str]] = set()

    def refusal(self, claim: Claim) -> Violation | None:
        """As `refusal`."""
        if isinstance(claim, EntityClaim) or not _is_usual(claim):
            return refusal(self._shapes, self._policy, claim)
        start, end = _ID.fullmatch(claim.start), _ID.fullmatch(claim.end)
        if start is None or end is None:
            return refusal(self._shapes, self._policy, claim)
        kind = (start[1], claim.type, end[1])
        if kind in self._passed:
            return None
        if problem := refusal(self._shapes, self._policy, claim):
            return problem
        self._passed.add(kind)
        return None


def _is_usual(claim: RelationshipClaim) -> bool:
    """Whether nothing but the types of its ids can be wrong with it, if they are ids."""
    return (
        claim.valid_from is None
        and claim.valid_to is None
        and 0 <= claim.confidence <= 1
        and len(claim.start) <= ID_BYTES
        and len(claim.end) <= ID_BYTES
        and claim.start.isascii()
        and claim.end.isascii()
        and claim.evidence.isascii()
    )


def violation(source: str, claim: Claim, rule: str, value: object, message: str) -> Violation:
    """With the value as Python writes it, cut at 200 characters."""
    shown = value if isinstance(value, str) else repr(value)
    return Violation(source, _text(_about(claim)), rule, _text(shown[:200]), _text(message))


def _about(claim: Claim) -> str:
    return claim.id if isinstance(claim, EntityClaim) else claim.start


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()


Problem = tuple[str, object, str]


def _problems(shapes: Shapes, policy: SourcePolicy, claim: Claim) -> Iterator[Problem]:
    if isinstance(claim, EntityClaim):
        yield from _identified(shapes.ontology, claim.id, claim.collection)
        yield from _placed(shapes.ontology, policy, claim)
        yield from _of_ontology(shapes, EntityState(claim.id, claim.class_name, claim.values, {}))
        yield from _valued(shapes.ontology, claim.values)
    else:
        yield from _identified(shapes.ontology, claim.start, claim.end)
        yield from _granted(shapes.ontology, policy, claim)
        start = class_of(shapes.ontology, claim.start) or ""
        yield from _of_ontology(shapes, EntityState(claim.start, start, {}, {claim.type: (claim.end,)}))
    yield from _dated(claim)
    claim.evidence.encode()


def _identified(ontology: Ontology, *ids: str) -> Iterator[Problem]:
    for id in ids:
        if class_of(ontology, id) is None:
            yield "og:idType", id, "expected an id `type:key` whose type is a class of the ontology"
        elif len(id.encode()) > ID_BYTES:
            yield "og:idLength", id, f"expected an id of at most {ID_BYTES} bytes"


def _placed(ontology: Ontology, policy: SourcePolicy, claim: EntityClaim) -> Iterator[Problem]:
    if class_of(ontology, claim.collection) != "Collection":
        yield "og:placement", claim.collection, "expected the id of a collection, `collection:key`"
    elif claim.collection not in policy.collections:
        yield (
            "og:placement",
            claim.collection,
            f"source {policy.name} may not place entities there; name the collection in its configuration",
        )
    if claim.class_name == "Collection" and policy.name != CONFIGURATION:
        yield "og:collection", claim.id, "collections are declared in the configuration, not discovered"


def _granted(ontology: Ontology, policy: SourcePolicy, claim: RelationshipClaim) -> Iterator[Problem]:
    relationship = ontology.relationships.get(claim.type)
    if claim.type == IN_COLLECTION:
        yield "og:placement", claim.type, "it follows from the entity's claim; name the collection there"
    elif relationship is not None and relationship.access_bearing and claim.type not in policy.grants:
        yield (
            "og:grant",
            claim.type,
            f"source {policy.name} may not claim it, as access rests on it; "
            "if it should, add it to the source's grants in the configuration",
        )


def _of_ontology(shapes: Shapes, state: EntityState) -> Iterator[Problem]:
    """The rules that hold whatever else is claimed; the shapes wait for the state after the batch."""
    ends = {end for ends in state.relationships.values() for end in ends}
    classes = {end: name for end in ends if (name := class_of(shapes.ontology, end))}
    for found in shapes.check([state], classes):
        if found.shape.startswith("og:"):
            yield found.shape, found.value, found.message


def _valued(ontology: Ontology, values: Mapping[str, Value]) -> Iterator[Problem]:
    size = 0
    for name, value in values.items():
        datatype = ontology.values[name].datatype
        several = value if isinstance(value, tuple) else (value,)
        if len(several) > 1 and not ontology.values[name].many:
            yield "og:oneValue", several, f"expected one value of {name}, found {len(several)}"
        for one in several:
            if not is_of_datatype(one, datatype) or not _storable(one):
                yield "og:datatype", one, f"expected {name} to be of the datatype {datatype}"
            size += len(str(one).encode())
    if size > ENTITY_BYTES:
        yield "og:size", f"{size} bytes", f"expected at most {ENTITY_BYTES} bytes; divide it into passages"


def _storable(value: Scalar) -> bool:
    if isinstance(value, datetime):
        return value.utcoffset() is not None and value.year in _YEARS
    return not isinstance(value, int) or value in _INTEGERS


def _dated(claim: Claim) -> Iterator[Problem]:
    bounds = (claim.valid_from, claim.valid_to)
    shown = f"{bounds[0]} to {bounds[1]}"
    if any(bound is not None and not _storable(bound) for bound in bounds):
        yield "og:interval", shown, "expected times with a time zone, in the years 2 to 9998"
    elif _ends_early(*bounds):
        yield "og:interval", shown, "expected the interval not to end before it starts"
    if not 0 <= claim.confidence <= 1:
        yield "og:confidence", claim.confidence, "expected a confidence from 0 to 1"


def _ends_early(start: datetime | None, end: datetime | None) -> bool:
    return start is not None and end is not None and end < start
