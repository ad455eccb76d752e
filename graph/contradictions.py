"""What the sources of an entity contradict each other in, and who is believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from graph.claims import EntityClaim, Value
from graph.facts import Stated
from ontologies.ontology import Ontology


@dataclass(frozen=True, slots=True)
class Saying:
    """A value as a source says it."""

    value: Value
    source: str
    scope: str
    trust: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A property that may have one value, and of which sources say several."""

    property: str
    sayings: tuple[Saying, ...]
    """The first is believed: that of the most trusted source, then of the first by name."""


def contradictions(ontology: Ontology, stated: Iterable[Stated]) -> tuple[Contradiction, ...]:
    """From all claims on an entity, by property. The order that they come in does not matter."""
    said: dict[str, list[Saying]] = defaultdict(list)
    for one in sorted(stated, key=lambda one: one.rank):
        if isinstance(one.claim, EntityClaim):
            for name, value in one.claim.values.items():
                if not ontology.values[name].many and value != ():
                    single = value[0] if isinstance(value, tuple) else value
                    said[name].append(Saying(single, one.source, one.scope, one.trust, one.claim.evidence))
    return tuple(
        Contradiction(name, tuple(sayings))
        for name, sayings in sorted(said.items())
        if len({(type(saying.value), saying.value) for saying in sayings}) > 1
    )
