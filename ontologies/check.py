"""Whether the ontology, the shapes, the authorization model and the bindings fit each other."""

from __future__ import annotations

from collections.abc import Iterator

from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Exclusion,
    TypeRestriction,
    direct_restrictions,
)
from ontologies.ontology import Binding, Ontology
from ontologies.shapes import Shapes

#: The relation that says who may view an entity, on every authorization type.
VIEWER = "viewer"


def check(ontology: Ontology, model: AuthorizationModel, shapes: Shapes) -> list[str]:
    """What does not fit, each as one sentence that says what to do; empty when all fits."""
    return [
        *_check_types(ontology, model),
        *_check_shapes(ontology, shapes),
        *_check_bindings(ontology, model),
    ]


def _check_types(ontology: Ontology, model: AuthorizationModel) -> Iterator[str]:
    concrete = {class_.type: class_.name for class_ in ontology.classes.values() if not class_.abstract}
    for type_name, class_name in concrete.items():
        if not model.has(type_name, VIEWER):
            yield f"class {class_name}: define the authorization type {type_name!r} with {VIEWER!r}"
    for type_name in model.types:
        if type_name not in concrete:
            yield f"authorization type {type_name!r}: no class that entities may have is named so; remove it"
    if model.has("collection", VIEWER):
        rewrite = model.rewrite("collection", VIEWER)
        if not isinstance(rewrite, Exclusion) or rewrite.subtract != Computed("denied"):
            yield f"collection#{VIEWER}: end it with 'but not denied', so that a denial wins"


def _check_shapes(ontology: Ontology, shapes: Shapes) -> Iterator[str]:
    for class_ in ontology.classes.values():
        if not class_.abstract and class_.name not in shapes.targets:
            yield f"class {class_.name}: write a node shape with it as sh:targetClass"
    for value in ontology.values.values():
        for domain in sorted(value.domain):
            found = [shape for shape in shapes.by_class[domain] if shape.path == value.name]
            if not found:
                yield f"value {value.name} on {domain}: no shape tests it; write a property shape"
            elif not value.many and all(shape.max_count is None for shape in found):
                yield f"value {value.name} on {domain}: write sh:maxCount in its shape or og:many"


def _check_bindings(ontology: Ontology, model: AuthorizationModel) -> Iterator[str]:
    for binding in ontology.bindings:
        place = f"binding of {binding.relationship} to {binding.object_type}#{binding.relation}"
        if binding.relationship not in ontology.relationships:
            yield f"{place}: name a relationship type of the ontology"
        elif not model.has(binding.object_type, binding.relation):
            yield f"{place}: the model has no such relation; define it"
        else:
            yield from (f"{place}: {problem}" for problem in _misfits(ontology, model, binding))
    bound = {(binding.object_type, binding.relation) for binding in ontology.bindings}
    for definition in model.types.values():
        for relation, rewrite in definition.relations.items():
            if direct_restrictions(rewrite) and (definition.name, relation) not in bound:
                yield f"{definition.name}#{relation} takes tuples that no binding makes; bind or remove it"


def _misfits(ontology: Ontology, model: AuthorizationModel, binding: Binding) -> Iterator[str]:
    relationship = ontology.relationships[binding.relationship]
    objects, users = relationship.domain, relationship.range
    if binding.object_end == "end":
        objects, users = users, objects
    if binding.object_type not in _types(ontology, objects):
        yield f"its object is at the {binding.object_end}, where {_names(objects)} is expected"
    for unlisted in sorted(_types(ontology, users) - set(binding.users)):
        yield f"a {unlisted} at the other end would make no tuple; list it in users"
    takes = direct_restrictions(model.rewrite(binding.object_type, binding.relation))
    for type_name, relation in binding.users.items():
        user = TypeRestriction(type_name, relation)
        if type_name not in _types(ontology, users):
            yield f"its user is a {type_name}, where {_names(users)} is expected"
        if user not in takes:
            yield f"the relation takes {', '.join(map(str, takes)) or 'no tuples'}, not {user}"


def _types(ontology: Ontology, class_names: frozenset[str]) -> set[str]:
    """The types of entities that are of one of the classes."""
    return {
        class_.type
        for class_ in ontology.classes.values()
        if not class_.abstract and not class_names.isdisjoint(ontology.labels(class_.name))
    }


def _names(class_names: frozenset[str]) -> str:
    return " or ".join(sorted(class_names))
