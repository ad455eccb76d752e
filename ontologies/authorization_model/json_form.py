"""A model as OpenFGA's JSON: the body of WriteAuthorizationModel and what ReadAuthorizationModel returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ontologies.authorization_model.model import (
    PARAMETER_TYPES,
    AuthorizationModel,
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    ModelError,
    Origin,
    ParameterType,
    Rewrite,
    TupleToUserset,
    TypeDefinition,
    TypeRestriction,
    Union,
    direct_restrictions,
    leaves,
)
from ontologies.authorization_model.validation import validate

Json = Mapping[str, Any]
_TYPE_NAME = "TYPE_NAME_"
#: Deeper nesting would exhaust the stack; OpenFGA refuses it while reading.
_MAX_DEPTH = 50


def from_json(document: object) -> AuthorizationModel:
    """The model that a document states, validated. Raises ModelError."""
    body = _object(document, "the model")
    version = _text(body, "schema_version", "the model")
    types: dict[str, TypeDefinition] = {}
    for entry in _list(body, "type_definitions", "the model"):
        definition = _type(_object(entry, "type_definitions"))
        if definition.name in types:
            raise ModelError("an authorization model cannot contain duplicate types")
        types[definition.name] = definition
    if not types:
        raise ModelError(
            "type_definitions: value must contain at least 1 item(s)", code="type_definitions_too_few_items"
        )
    conditions: dict[str, Condition] = {}
    for key, entry in _object(body.get("conditions") or {}, "conditions").items():
        condition = _condition(_object(entry, f"conditions.{key}"))
        if key != condition.name:
            raise ModelError(f"condition key '{key}' does not match condition name '{condition.name}'")
        conditions[key] = condition
    return validate(AuthorizationModel(types, conditions, version))


def to_json(model: AuthorizationModel) -> dict[str, Any]:
    """The document that a model is read from again; without an id."""
    return {
        "schema_version": model.schema_version,
        "type_definitions": [_type_json(definition) for definition in model.types.values()],
        "conditions": {name: _condition_json(condition) for name, condition in model.conditions.items()},
    }


def _type(entry: Json) -> TypeDefinition:
    name = _text(entry, "type", "type_definitions")
    metadata = _object(entry.get("metadata") or {}, f"metadata of {name}")
    described = _object(metadata.get("relations") or {}, f"metadata.relations of {name}")
    relations: dict[str, Rewrite] = {}
    origins: dict[str, Origin] = {}
    for relation, rewrite in _object(entry.get("relations") or {}, f"relations of {name}").items():
        about = _object(described.get(relation) or {}, f"metadata of {name}#{relation}")
        place = f"{name}#{relation}"
        listed = _list(about, "directly_related_user_types", place)
        restrictions = tuple(_restriction(_object(item, place), relation, name) for item in listed)
        relations[relation] = _rewrite(_object(rewrite, place), restrictions, (name, relation), 0)
        assignable = any(isinstance(leaf, Direct) for leaf in leaves(relations[relation]))
        if restrictions and not assignable:
            raise ModelError(
                f"the non-assignable relation '{relation}' in object type '{name}' should not contain "
                "a relation type"
            )
        origin = _origin(about)
        if origin != Origin():
            origins[relation] = origin
    return TypeDefinition(name, relations, _origin(metadata), origins)


def _rewrite(
    entry: Json, restrictions: tuple[TypeRestriction, ...], place: tuple[str, str], depth: int
) -> Rewrite:
    type_name, relation = place
    where = f"{type_name}#{relation}"

    def children(of: object) -> tuple[Rewrite, ...]:
        listed = _list(_object(of, where), "child", where)
        return tuple(_rewrite(_object(c, where), restrictions, place, depth + 1) for c in listed)

    if depth > _MAX_DEPTH:
        _malformed(f"{where}: operators nest deeper than {_MAX_DEPTH}; make a part a relation")
    match entry:
        case {"this": _}:
            return Direct(restrictions)
        case {"computedUserset": of} | {"computed_userset": of}:
            return Computed(_text(_object(of, where), "relation", where))
        case {"tupleToUserset": of} | {"tuple_to_userset": of}:
            both = _object(of, where)
            tupleset = _object(both.get("tupleset") or {}, where)
            computed = _object(both.get("computedUserset") or both.get("computed_userset") or {}, where)
            return TupleToUserset(_text(computed, "relation", where), _text(tupleset, "relation", where))
        case {"union": of}:
            return Union(children(of))
        case {"intersection": of}:
            return Intersection(children(of))
        case {"difference": of}:
            both = _object(of, where)
            for key, code in (("base", "difference_base"), ("subtract", "subtract_base")):
                if key not in both:
                    raise ModelError(f"{where}: {key}: value is required", code=f"{code}_missing_value")
            return Exclusion(*children({"child": [both["base"], both["subtract"]]}))
    raise ModelError(
        f"the definition of relation '{relation}' in object type '{type_name}' is invalid: "
        "invalid userset rewrite definition"
    )


def _restriction(entry: Json, relation: str, type_name: str) -> TypeRestriction:
    place = f"{type_name}#{relation}"
    restricted = _text(entry, "type", place)
    wildcard = entry.get("wildcard") is not None
    named = _text(entry, "relation", place)
    if wildcard and "relation" in entry:
        _malformed(f"{place}: a relation type is a wildcard or a userset, not both")
    if "relation" in entry and entry["relation"] == "":
        raise ModelError(
            f"the relation type '{restricted}' on '{relation}' in object type '{type_name}' has an empty "
            "relation reference: empty relation reference"
        )
    return TypeRestriction(restricted, named, wildcard, _text(entry, "condition", place))


def _condition(entry: Json) -> Condition:
    name = _text(entry, "name", "conditions")
    parameters = _object(entry.get("parameters") or {}, f"parameters of {name}")
    return Condition(
        name,
        {key: _parameter(_object(value, f"{name}.{key}"), name, key) for key, value in parameters.items()},
        _text(entry, "expression", f"condition {name}"),
        _origin(_object(entry.get("metadata") or {}, f"metadata of {name}")),
    )


def _parameter(entry: Json, condition: str, parameter: str) -> ParameterType:
    written = _text(entry, "type_name", f"{condition}.{parameter}")
    name = written.removeprefix(_TYPE_NAME).lower()
    generic = _list(entry, "generic_types", f"{condition}.{parameter}")
    place = (
        f"failed to compile expression on condition '{condition}' - failed to decode parameter type for "
        f"parameter '{parameter}': "
    )
    if not written.startswith(_TYPE_NAME) or name not in PARAMETER_TYPES:
        raise ModelError(f"{place}unknown condition parameter type `{written or 'TYPE_NAME_UNSPECIFIED'}`")
    if len(generic) != PARAMETER_TYPES[name]:
        raise ModelError(
            f"{place}condition parameter type `{written}` requires {PARAMETER_TYPES[name]} generic types; "
            f"found {len(generic)}"
        )
    return ParameterType(name, *(_parameter(_object(g, parameter), condition, parameter) for g in generic))


def _origin(entry: Json) -> Origin:
    source = _object(entry.get("source_info") or {}, "source_info")
    return Origin(_text(entry, "module", "metadata"), _text(source, "file", "source_info"))


def _type_json(definition: TypeDefinition) -> dict[str, Any]:
    described = {
        relation: {
            "directly_related_user_types": [_restriction_json(r) for r in direct_restrictions(rewrite)],
            **_origin_json(definition.origins.get(relation, Origin())),
        }
        for relation, rewrite in definition.relations.items()
    }
    return {
        "type": definition.name,
        "relations": {name: _rewrite_json(rewrite) for name, rewrite in definition.relations.items()},
        "metadata": {"relations": described, **_origin_json(definition.origin)} if described else None,
    }


def _rewrite_json(rewrite: Rewrite) -> dict[str, Any]:
    match rewrite:
        case Direct():
            return {"this": {}}
        case Computed(relation):
            return {"computedUserset": {"object": "", "relation": relation}}
        case TupleToUserset(relation, tupleset):
            return {
                "tupleToUserset": {
                    "tupleset": {"object": "", "relation": tupleset},
                    "computedUserset": {"object": "", "relation": relation},
                }
            }
        case Union(children):
            return {"union": {"child": [_rewrite_json(child) for child in children]}}
        case Intersection(children):
            return {"intersection": {"child": [_rewrite_json(child) for child in children]}}
        case Exclusion(base, subtract):
            return {"difference": {"base": _rewrite_json(base), "subtract": _rewrite_json(subtract)}}


def _restriction_json(restriction: TypeRestriction) -> dict[str, Any]:
    document: dict[str, Any] = {"type": restriction.type, "condition": restriction.condition}
    if restriction.relation:
        document["relation"] = restriction.relation
    if restriction.wildcard:
        document["wildcard"] = {}
    return document


def _condition_json(condition: Condition) -> dict[str, Any]:
    return {
        "name": condition.name,
        "expression": condition.expression,
        "parameters": {name: _parameter_json(type_) for name, type_ in condition.parameters.items()},
        "metadata": _origin_json(condition.origin) or None,
    }


def _parameter_json(type_: ParameterType) -> dict[str, Any]:
    generic = [_parameter_json(type_.element)] if type_.element else []
    return {"type_name": _TYPE_NAME + type_.name.upper(), "generic_types": generic}


def _origin_json(origin: Origin) -> dict[str, Any]:
    if origin == Origin():
        return {}
    return {"module": origin.module, "source_info": {"file": origin.file}}


def _object(value: object, place: str) -> Json:
    if not isinstance(value, Mapping):
        _malformed(f"{place}: expected an object, found {type(value).__name__}")
    return value


def _list(entry: Json, key: str, place: str) -> Sequence[Any]:
    value = entry.get(key) or []
    if not isinstance(value, list):
        _malformed(f"{place}: {key}: expected a list, found {type(value).__name__}")
    return value


def _text(entry: Json, key: str, place: str) -> str:
    value = entry.get(key) or ""
    if not isinstance(value, str):
        _malformed(f"{place}: {key}: expected a string, found {type(value).__name__}")
    return value


def _malformed(message: str) -> NoReturn:
    raise ModelError(message, code="validation_error")
