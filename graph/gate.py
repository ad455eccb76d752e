"""The gate: what a source may not claim, and what the shapes refuse. Both end in quarantine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from graph.claims import (
    Claim,
    EntityClaim,
    RelationshipClaim,
    Scalar,
    SourcePolicy,
    Value,
    Violation,
    subject,
)
from graph.facts import IN_COLLECTION
from graph.tuples import CONFIGURATION, HAS_ACCOUNT, IDENTITY
from ontologies.ontology import SAME_AS, Ontology
from ontologies.shapes import EntityState, Shapes, ShapeViolation, is_of_datatype

#: The largest entity, in bytes of its values' text; more belongs into passages.
ENTITY_BYTES = 1_000_000
#: The longest evidence, in bytes: it names a place.
EVIDENCE_BYTES = 10_000
#: The longest id, in bytes: Neo4j indexes it, and two of them with a type.
ID_BYTES = 1_000
_INTEGERS = range(-(2**63), 2**63)
_YEARS = range(2, 9999)  # also in UTC
_ID = re.compile(r"([a-z][a-z0-9_]*):[^\s:#*@]+")
_RELATIONSHIP = re.compile(rf"{_ID.pattern} ([A-Z_]+) {_ID.pattern}")


def class_of(ontology: Ontology, id: str) -> str | None:
    """The class that an id's type names; None when it names none."""
    match = _ID.fullmatch(id)
    try:
        return ontology.class_of_type(match[1]).name if match else None
    except KeyError:
        return None


def refusal(
    shapes: Shapes, policy: SourcePolicy, claim: Claim, broken: Sequence[ShapeViolation] | None = None
) -> Violation | None:
    """Why the claim alone cannot be accepted from that source; None when it can.

    `broken`: what the shapes find in it alone, where they were asked already.
    """
    try:
        broken = _alone(shapes, claim) if broken is None else broken
        for rule, value, message in _problems(shapes.ontology, policy, claim, broken):
            return violation(policy.name, claim, rule, value, message)
    except UnicodeEncodeError as error:
        return violation(policy.name, claim, "og:text", error.object, "expected text that is valid Unicode")
    return None


class Gate:
    """The gate for one source, quick where it has seen the like: verdicts on what ids alone decide are kept.

    A claim is plain when the state around it has no say in whether it may stand: it has no interval, and
    no shape counts what it claims.
    """

    def __init__(self, shapes: Shapes, policy: SourcePolicy, needy: frozenset[str]) -> None:
        """`needy`: classes and relationship types of which no claim is plain."""
        self.ontology = shapes.ontology
        self._shapes = shapes
        self._policy = policy
        self._needy = needy
        self._kinds: dict[tuple[str, ...], bool] = {}
        """By the types at the ends of a relationship, and its own between them: whether it is plain."""

    def look(self, fact: str, claim: Claim) -> tuple[Violation | None, bool]:
        """Why the claim alone cannot be accepted, if so; and whether it is plain."""
        if isinstance(claim, EntityClaim):
            return self._look_at_entity(claim)
        usual = (
            (self._policy.issuers is None or claim.type != HAS_ACCOUNT)
            and claim.valid_from is None
            and claim.valid_to is None
            and 0 <= claim.confidence <= 1
            and len(fact) <= ID_BYTES
            and fact.isascii()
            and claim.evidence.isascii()
            and len(claim.evidence) <= EVIDENCE_BYTES
        )
        match = _RELATIONSHIP.fullmatch(fact) if usual else None
        if match is None:
            return refusal(self._shapes, self._policy, claim), False
        kind = match.groups()
        if kind not in self._kinds or not _is_authority(self._shapes.ontology, self._policy, claim):
            if problem := refusal(self._shapes, self._policy, claim):
                return problem, False
            self._kinds[kind] = claim.type not in self._needy and not any(
                broken.path == claim.type for broken in _alone(self._shapes, claim)
            )
        return None, self._kinds[kind]

    def _look_at_entity(self, claim: EntityClaim) -> tuple[Violation | None, bool]:
        broken = _alone(self._shapes, claim)
        problem = refusal(self._shapes, self._policy, claim, broken)
        timeless = claim.valid_from is None and claim.valid_to is None
        return problem, not broken and timeless and claim.class_name not in self._needy


def violation(source: str, claim: Claim, rule: str, value: object, message: str) -> Violation:
    """With the value as Python writes it, cut at 200 characters."""
    shown = value if isinstance(value, str) else repr(value)
    return Violation(source, _text(subject(claim)), rule, _text(shown[:200]), _text(message))


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()


Problem = tuple[str, object, str]


def _problems(
    ontology: Ontology, policy: SourcePolicy, claim: Claim, broken: Iterable[ShapeViolation]
) -> Iterator[Problem]:
    # The rules hold whatever else is claimed; the shapes wait for the state after the batch.
    rules = [(one.shape, one.value, one.message) for one in broken if one.shape.startswith("og:")]
    if isinstance(claim, EntityClaim):
        yield from _identified(ontology, claim.id, claim.collection)
        yield from _placed(ontology, policy, claim)
        yield from rules
        yield from _valued(ontology, claim.values)
    else:
        yield from _identified(ontology, claim.start, claim.end)
        yield from _granted(ontology, policy, claim)
        yield from rules
    yield from _dated(claim)
    if (size := len(claim.evidence.encode())) > EVIDENCE_BYTES:
        yield "og:evidence", f"{size} bytes", f"expected at most {EVIDENCE_BYTES} bytes: where to look it up"


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
    elif claim.type == SAME_AS and policy.name != IDENTITY:
        yield "og:identity", claim.type, "who is the same is decided by a key or a person, never by a source"
    elif (
        claim.type == HAS_ACCOUNT and policy.issuers is not None and _issuer(claim.end) not in policy.issuers
    ):
        yield (
            "og:issuer",
            claim.end,
            f"source {policy.name} may not say whose account that is; if it should, add the account's issuer "
            "to the source's issuers in the configuration",
        )
    elif relationship is not None and relationship.access_bearing and claim.type not in policy.grants:
        yield (
            "og:grant",
            claim.type,
            f"source {policy.name} may not claim it, as access rests on it; "
            "if it should, add it to the source's grants in the configuration",
        )

    elif not _is_authority(ontology, policy, claim):
        yield (
            "og:authority",
            f"{claim.start} {claim.type} {claim.end}",
            f"source {policy.name} may not claim it of that one, of which it is not the authority; if it "
            "should be, add the id to the source's authority in the configuration",
        )


def may_grant(ontology: Ontology, policy: SourcePolicy, claim: RelationshipClaim) -> bool:
    """Whether the source is granted the relationship, of what it is about."""
    return not any(_granted(ontology, policy, claim))


def _is_authority(ontology: Ontology, policy: SourcePolicy, claim: RelationshipClaim) -> bool:
    """Of what the grant is for: the object of the tuple that it makes. Of accounts the issuer decides."""
    if policy.authority is None or claim.type == HAS_ACCOUNT or claim.type not in policy.grants:
        return True
    ends = {"start": claim.start, "end": claim.end}
    objects = {ends[one.object_end] for one in ontology.bindings if one.relationship == claim.type}
    return all(
        any(object.startswith(of[:-1]) if of.endswith("*") else object == of for of in policy.authority)
        for object in objects
    )


def _issuer(account: str) -> str:
    """Of `account:issuer/subject`."""
    return account.partition(":")[2].partition("/")[0]


def _alone(shapes: Shapes, claim: Claim) -> list[ShapeViolation]:
    """What the shapes find in the claim by itself."""
    if isinstance(claim, EntityClaim):
        return shapes.check([EntityState(claim.id, claim.class_name, claim.values, {})], {})
    start = class_of(shapes.ontology, claim.start) or ""
    end = class_of(shapes.ontology, claim.end)
    state = EntityState(claim.start, start, {}, {claim.type: (claim.end,)})
    return shapes.check([state], {claim.end: end} if end else {})


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
