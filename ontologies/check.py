"""Whether the ontology, the shapes, the authorization model and the bindings fit each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Exclusion,
    TypeRestriction,
    direct_restrictions,
)
from ontologies.finding import Finding
from ontologies.modules import shown
from ontologies.ontology import SAME_AS, Binding, Ontology, RelationshipType
from ontologies.shapes import Shapes

#: The relation that says who may view an entity, on every authorization type.
VIEWER = "viewer"


def check(
    ontology: Ontology,
    model: AuthorizationModel,
    shapes: Shapes,
    where: Mapping[str, str] | None = None,
) -> list[Finding]:
    """What does not fit; empty when all fits. `where`: the files of terms by IRI, of bindings by name."""
    files = where or {}
    return [
        *check_model(ontology, model, files),
        *_check_classes_have_shapes(ontology, shapes, files),
        *_check_values_are_bounded(ontology, shapes, files),
        *_check_paths(ontology, shapes, files),
        *_check_inference(ontology, files),
        *_check_keys(ontology, files),
    ]


def check_model(
    ontology: Ontology, model: AuthorizationModel, where: Mapping[str, str] | None = None
) -> list[Finding]:
    """What of a model does not fit the classes and the bindings."""
    files = where or {}
    return [*_check_types(ontology, model, files), *_check_bindings(ontology, model, files)]


def _check_types(
    ontology: Ontology, model: AuthorizationModel, where: Mapping[str, str]
) -> Iterator[Finding]:
    concrete = {class_.type: class_ for class_ in ontology.classes.values() if not class_.abstract}
    for type_name, class_ in concrete.items():
        if not model.has(type_name, VIEWER):
            expected = f"expected an authorization type {type_name!r} with {VIEWER!r}, found none"
            yield Finding(where.get(class_.iri, ""), shown(class_.iri), expected, "define it in the model")
    for type_name in model.types:
        if type_name not in concrete:
            expected = "expected the type of a class that entities may have, found no such class"
            yield Finding("", f"type {type_name}", expected, "remove it from the model or declare the class")
    if model.has("collection", VIEWER):
        rewrite = model.rewrite("collection", VIEWER)
        if not isinstance(rewrite, Exclusion) or rewrite.subtract != Computed("denied"):
            expected = "expected it to end with 'but not denied', so that a denial wins"
            yield Finding("", f"collection#{VIEWER}", expected, "end it so")


def _check_classes_have_shapes(
    ontology: Ontology, shapes: Shapes, where: Mapping[str, str]
) -> Iterator[Finding]:
    for class_ in ontology.classes.values():
        if not class_.abstract and class_.name not in shapes.targets:
            expected = "expected a node shape with it as sh:targetClass, found none"
            yield Finding(where.get(class_.iri, ""), shown(class_.iri), expected, "write one")


def _check_values_are_bounded(
    ontology: Ontology, shapes: Shapes, where: Mapping[str, str]
) -> Iterator[Finding]:
    for value in ontology.values.values():
        for domain in sorted(value.domain):
            found = [shape for shape in shapes.by_class[domain] if shape.path == value.name]
            file, term = where.get(value.iri, ""), f"{shown(value.iri)} on {domain}"
            if not found:
                yield Finding(
                    file, term, "expected a shape that tests it, found none", "write a property shape"
                )
            elif not value.many and all(shape.max_count is None for shape in found):
                expected = "expected sh:maxCount in its shape, or og:many, found neither"
                yield Finding(file, term, expected, "write one of them")


def _check_paths(ontology: Ontology, shapes: Shapes, where: Mapping[str, str]) -> Iterator[Finding]:
    """Whether something can meet all that is asked of one path, and the ontology's axioms with it."""
    seen: set[Finding] = set()
    for class_ in ontology.classes.values():
        if class_.abstract:
            continue
        by_path = defaultdict(list)
        for shape in shapes.by_class[class_.name]:
            by_path[shape.path].append(shape)
            property_ = ontology.relationships.get(shape.path) or ontology.values[shape.path]
            file, term = where.get(shape.shape, ""), f"{shown(shape.shape)}, path {shape.path}"
            if not _fits(ontology, class_.name, property_.domain):
                expected = (
                    f"expected it only on its domain, {_names(property_.domain)}, found it on {class_.name}"
                )
                seen.add(Finding(file, term, expected, "target another class or widen the domain"))
            if shape.end_class and isinstance(property_, RelationshipType):
                meet = _types(ontology, frozenset({shape.end_class})) & _types(ontology, property_.range)
                if not meet:
                    expected = (
                        f"expected a sh:class within the range, {_names(property_.range)}, "
                        f"found {shape.end_class}"
                    )
                    seen.add(Finding(file, term, expected, "name another class or widen the range"))
        for path, its in by_path.items():
            least = max(shape.min_count for shape in its)
            most = min((shape.max_count for shape in its if shape.max_count is not None), default=least)
            if least > most:
                file = where.get(its[0].shape, "")
                expected = (
                    f"expected sh:minCount up to sh:maxCount on {class_.name}, found {least} and {most}"
                )
                term = f"{shown(its[0].shape)}, path {path}"
                seen.add(Finding(file, term, expected, "make both meet, in the superclasses' shapes too"))
    yield from sorted(seen)


def _check_bindings(
    ontology: Ontology, model: AuthorizationModel, where: Mapping[str, str]
) -> Iterator[Finding]:
    for binding in ontology.bindings:
        file = where.get(binding.name, "")
        if binding.relationship not in ontology.relationships:
            expected = f"expected a relationship type of the ontology, found {binding.relationship}"
            yield Finding(file, binding.name, expected, "correct the name, or declare the property")
        elif binding.relationship == SAME_AS:
            expected = "expected no access from who is one: a merge joins descriptions alone; found some"
            yield Finding(file, binding.name, expected, "bind another, which a source is granted")
        elif not model.has(binding.object_type, binding.relation):
            expected = "expected a relation of the authorization model, found no such"
            yield Finding(file, binding.name, expected, "define it in the model or correct the binding")
        else:
            for expected, action in _misfits(ontology, model, binding):
                yield Finding(file, binding.name, expected, action)
    bound = {(binding.object_type, binding.relation) for binding in ontology.bindings}
    for definition in model.types.values():
        for relation, rewrite in definition.relations.items():
            if direct_restrictions(rewrite) and (definition.name, relation) not in bound:
                expected = "expected a binding that makes the tuples that it takes, found none"
                yield Finding("", f"{definition.name}#{relation}", expected, "bind it or remove it")


def _misfits(ontology: Ontology, model: AuthorizationModel, binding: Binding) -> Iterator[tuple[str, str]]:
    relationship = ontology.relationships[binding.relationship]
    objects, users = relationship.domain, relationship.range
    if binding.object_end == "end":
        objects, users = users, objects
    if binding.object_type not in _types(ontology, objects):
        yield (
            f"expected {_names(objects)} at the {binding.object_end}, found {binding.object_type}",
            "name the other end, or another object type",
        )
    for unlisted in sorted(_types(ontology, users) - set(binding.users)):
        yield f"expected a tuple of each {unlisted} at the other end, found none", "list it in users"
    takes = direct_restrictions(model.rewrite(binding.object_type, binding.relation))
    for type_name, relation in binding.users.items():
        user = TypeRestriction(type_name, relation)
        if type_name not in _types(ontology, users):
            yield f"expected {_names(users)} as its user, found {type_name}", "remove it from users"
        if user not in takes:
            accepted = ", ".join(map(str, takes)) or "no tuples"
            yield f"expected a user that the relation takes ({accepted}), found {user}", "correct one of them"


def _check_inference(ontology: Ontology, where: Mapping[str, str]) -> Iterator[Finding]:
    """Neither what access rests on nor who is one is inferred, and what is keeps to domains and ranges."""
    for one in ontology.relationships.values():
        file, term = where.get(one.iri, ""), shown(one.iri)
        concluded = {(other, False) for other in one.broader} | {(other, True) for other in one.inverses}
        concluded |= {(one.type, True)} if one.symmetric else set()
        for other, turned in sorted(concluded):
            conclusion = ontology.relationships.get(other)
            if conclusion is None:
                continue  # an unusable term is a finding of its own
            if conclusion.access_bearing:
                expected = f"expected no inference of {other}, which access rests on, found one"
                yield Finding(file, term, expected, "remove the axiom: access comes only from asserted facts")
            if other == SAME_AS:
                expected = "expected no inference of who is one, which is decided, found one"
                yield Finding(file, term, expected, "remove the axiom: keys and people decide it")
            domain, range_ = (one.range, one.domain) if turned else (one.domain, one.range)
            for said, found, wanted in (
                ("domain", domain, conclusion.domain),
                ("range", range_, conclusion.range),
            ):
                if strangers := sorted(_types(ontology, found) - _types(ontology, wanted)):
                    expected = (
                        f"expected what follows, {other}, to keep its {said}, found {', '.join(strangers)}"
                    )
                    yield Finding(file, term, expected, f"widen the {said} or remove the axiom")
        if one.access_bearing and one.transitive:
            expected = "expected no inference of what access rests on, found owl:TransitiveProperty"
            yield Finding(file, term, expected, "remove the axiom: access comes only from asserted facts")
        if one.acyclic and one.symmetric:
            yield Finding(file, term, "expected it acyclic or symmetric, found both", "remove one of them")


def _check_keys(ontology: Ontology, where: Mapping[str, str]) -> Iterator[Finding]:
    """What decides that two are one is said by an authoritative source alone, of one of them alone."""
    for value in ontology.values.values():
        file, term = where.get(value.iri, ""), shown(value.iri)
        if value.identifies == "decides":
            expected = "expected 'weak' or 'strong', since any source may say a value, found 'decides'"
            yield Finding(file, term, expected, "let it only propose")
        if value.identifies and value.datatype != "string":
            expected = f"expected a string to compare as a key, found {value.datatype}"
            yield Finding(file, term, expected, "remove og:identifies or change the range")
    for one in ontology.relationships.values():
        file, term = where.get(one.iri, ""), shown(one.iri)
        if one.identifies in {"weak", "strong"}:
            expected = f"expected a relationship that identifies to decide, found {one.identifies!r}"
            yield Finding(file, term, expected, "write 'decides', or take a value as evidence")
        elif one.identifies and not one.access_bearing:
            expected = "expected a key that decides to be bound, so that only a source with a grant claims it"
            yield Finding(file, term, expected, "bind it to a relation, or remove og:identifies")
        elif one.identifies and not one.inverse_functional:
            expected = "expected a key that decides to be an owl:InverseFunctionalProperty"
            yield Finding(file, term, expected, "declare it so, or remove og:identifies")


def _fits(ontology: Ontology, class_name: str, domain: frozenset[str]) -> bool:
    return not domain.isdisjoint(ontology.labels(class_name))


def _types(ontology: Ontology, class_names: frozenset[str]) -> set[str]:
    """The types of entities that are of one of the classes."""
    return {
        class_.type
        for class_ in ontology.classes.values()
        if not class_.abstract and not class_names.isdisjoint(ontology.labels(class_.name))
    }


def _names(class_names: frozenset[str]) -> str:
    return " or ".join(sorted(class_names))
