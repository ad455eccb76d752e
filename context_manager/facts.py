"""Facts in plain words: what a context holds and an answer cites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from graph.claims import Value
from graph.reads import EntityView, Neighbour
from graph.tuples import BY_HAND
from ontologies import Ontology
from ontologies.ontology import SAME_AS

#: Values that name or place an entity; they do not answer questions by themselves.
_NOT_FACTS = frozenset({"name", "text", "heading", "position"})
#: Relationships that hold the graph together; they answer no question.
JOINTS = frozenset(
    {"IN_COLLECTION", "HAS_ACCOUNT", "HAS_PASSAGE", "MAY_GRANT", "MAY_BREAK_GLASS", SAME_AS, *BY_HAND}
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the graph says, with what it takes to look it up."""

    id: str
    """`person:ada#jobTitle`, `person:ada/LEADS/organizational_unit:claims` or a passage's own id."""
    statement: str
    """The fact as a sentence, from the ontology's labels; for a passage, its text."""
    title: str
    """Name of the entity that it is about; for a passage, document and heading."""
    entities: tuple[str, ...]
    """Ids of the entities that it is made of: their handling is the fact's."""
    sources: tuple[str, ...]
    confidence: float
    since: int
    """Revision since which it is known."""
    valid_from: datetime | None
    valid_to: datetime | None
    path: tuple[str, ...]
    """How it was found: ids and relationship types from the match to here."""
    synonyms: str = ""
    """Other words for its property or relationship, from the ontology: a question may use them."""
    names: tuple[str, ...] = ()
    """Of the entities in the statement; none for a passage, whose text is not made of such parts."""

    @property
    def value_name(self) -> str | None:
        """Name of the value property that it tells of; None for a relationship or a passage."""
        return self.id.partition("#")[2] or None

    @property
    def claimed(self) -> str:
        """What sources claim for it: the entity, or `start TYPE end`."""
        if len(self.entities) == 1:
            return self.entities[0]
        start, end = self.entities
        return f"{start} {self.id[len(start) + 1 : -len(end) - 1]} {end}"


def facts_of(ontology: Ontology, entity: EntityView, path: tuple[str, ...]) -> Iterator[Fact]:
    """The facts that an entity's own values state."""
    if entity.class_name == "Passage":
        yield _fact(entity, entity.id, str(entity.values["text"]), path)
        return
    for name, value in entity.values.items():
        if name not in _NOT_FACTS:
            known = ontology.values[name]
            statement = f"{entity.name}: {known.label} is {plain(value)}."
            fact = _fact(entity, f"{entity.id}#{name}", statement, path)
            yield replace(fact, synonyms=known.synonyms, names=(entity.name,))


def relationship_fact(
    ontology: Ontology, entity: EntityView, neighbour: Neighbour, path: tuple[str, ...]
) -> Fact:
    """The fact that a relationship between two visible entities states."""
    start, end = (entity, neighbour.entity) if neighbour.outgoing else (neighbour.entity, entity)
    known = ontology.relationships[neighbour.type]
    return Fact(
        f"{start.id}/{neighbour.type}/{end.id}",
        f"{start.name} {known.label} {end.name}.",
        start.name,
        (start.id, end.id),
        neighbour.sources,
        neighbour.confidence,
        neighbour.since,
        neighbour.valid_from,
        neighbour.valid_to,
        path,
        known.synonyms,
        (start.name, end.name),
    )


def named(entity: EntityView, leading: EntityView) -> EntityView:
    """The entity under the name of the one that leads those that are one with it."""
    return replace(entity, name=leading.name)


def resting_on(fact: Fact, leading: EntityView) -> Fact:
    """The fact, told under the name of an entity: it is one that it is made of."""
    return fact if leading.id in fact.entities else replace(fact, entities=(*fact.entities, leading.id))


def description(ontology: Ontology, entity: EntityView) -> str:
    """What an entity is embedded as: its own values only, so that the text is of one audience."""
    if entity.class_name == "Passage":
        return f"{entity.name}\n{entity.values['text']}"
    label = ontology.classes[entity.class_name].label
    parts = [f"{entity.name} ({label})"]
    parts += [
        f"{ontology.values[name].label}: {plain(value)}"
        for name, value in entity.values.items()
        if name not in _NOT_FACTS
    ]
    return ". ".join(parts)


def plain(value: Value) -> str:
    """A value as a person would write it."""
    if isinstance(value, tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time().isoformat() == "00:00:00" else value.isoformat()
    return str(value)


def _fact(entity: EntityView, fact_id: str, statement: str, path: tuple[str, ...]) -> Fact:
    return Fact(
        fact_id,
        statement,
        entity.name,
        (entity.id,),
        entity.sources,
        entity.confidence,
        entity.since,
        entity.valid_from,
        entity.valid_to,
        path,
    )
