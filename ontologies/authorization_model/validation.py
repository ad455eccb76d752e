"""What makes a model valid, by OpenFGA's rules and in its words (`typesystem` of openfga/openfga)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import NoReturn

from ontologies.authorization_model.conditions import compiled
from ontologies.authorization_model.model import (
    AuthorizationModel,
    Computed,
    Direct,
    Exclusion,
    Intersection,
    ModelError,
    Rewrite,
    TupleToUserset,
    TypeRestriction,
    Union,
    direct_restrictions,
    leaves,
)

SCHEMA_VERSIONS = ("1.1", "1.2")
_RESERVED = frozenset({"self", "this"})
_TYPE_NAME = re.compile(r"[^:#@\s]{1,254}")
_RELATION_NAME = re.compile(r"[^:#@\s]{1,50}")
_CONDITION_NAME = _RELATION_NAME


def validate(model: AuthorizationModel) -> AuthorizationModel:
    """The model itself. Raises ModelError, whose `about` names the type, `type#relation` or condition."""
    if model.schema_version not in SCHEMA_VERSIONS:
        raise ModelError(
            f"invalid schema version {model.schema_version!r}; expected '1.1' or '1.2'",
            code="invalid_authorization_model" if model.schema_version == "1.0" else "validation_error",
        )
    for name, definition in model.types.items():
        _validate_names(name, definition.relations)
    entered = _entered(model)
    tuplesets = {
        (name, leaf.tupleset)
        for name, definition in model.types.items()
        for rewrite in definition.relations.values()
        for leaf in leaves(rewrite)
        if isinstance(leaf, TupleToUserset)
    }
    for name in sorted(model.types):
        for relation in sorted(model.types[name].relations):
            _validate_relation(model, name, relation, (name, relation) in tuplesets)
            looped = _has_cycle(model, name, relation)
            if (name, relation) not in entered:
                _invalid(name, relation, "potential loop" if looped else "no entrypoints defined")
            if looped:
                _invalid(name, relation, "an authorization model cannot contain a cycle")
    for condition in model.conditions.values():
        if not _CONDITION_NAME.fullmatch(condition.name):
            raise ModelError(f"the name of condition '{condition.name}' is invalid", about=condition.name)
        compiled(condition)
    return model


def _validate_names(type_name: str, relations: Iterable[str]) -> None:
    if not _TYPE_NAME.fullmatch(type_name):
        raise ModelError(
            f"invalid type '{type_name}': value does not match regex pattern \"^{_TYPE_NAME.pattern}$\"",
            code="type_invalid_pattern",
            about=type_name,
        )
    if type_name in _RESERVED:
        raise ModelError(f"the definition of type '{type_name}' is invalid", about=type_name)
    for relation in relations:
        if not _RELATION_NAME.fullmatch(relation):
            raise ModelError(
                f"invalid relation '{relation}' of type '{type_name}': value does not match regex pattern "
                f'"^{_RELATION_NAME.pattern}$"',
                code="relations_invalid_pattern",
                about=f"{type_name}#{relation}",
            )
        if relation in _RESERVED:
            _invalid(type_name, relation, "self and this are reserved keywords")


def _validate_relation(model: AuthorizationModel, type_name: str, relation: str, is_tupleset: bool) -> None:
    rewrite = model.rewrite(type_name, relation)
    for leaf in leaves(rewrite):
        match leaf:
            case Direct(restrictions):
                if not restrictions:
                    raise ModelError(
                        f"the assignable relation '{relation}' in object type '{type_name}' must contain at "
                        "least one relation type",
                        about=f"{type_name}#{relation}",
                    )
            case Computed(other):
                if other == relation:
                    _invalid(type_name, relation, "invalid userset rewrite definition")
                _require(model, type_name, other, relation)
            case TupleToUserset():
                _validate_from(model, type_name, relation, leaf)
    for restriction in direct_restrictions(rewrite):
        _validate_restriction(model, type_name, relation, restriction, is_tupleset)
    _validate_operators(type_name, relation, rewrite)


def _validate_from(model: AuthorizationModel, type_name: str, relation: str, leaf: TupleToUserset) -> None:
    about = f"{type_name}#{relation}"
    _require(model, type_name, leaf.tupleset, relation)
    parents = model.rewrite(type_name, leaf.tupleset)
    if not isinstance(parents, Direct):
        raise ModelError(
            f"the '{type_name}#{leaf.tupleset}' relation is referenced in at least one tupleset and thus "
            "must be a direct relation",
            about=about,
        )
    if not any(model.has(restriction.type, leaf.relation) for restriction in parents.restrictions):
        raise ModelError(
            f"undefined relation: {leaf.relation} does not appear as a relation in any of the directly "
            f"related user types {', '.join(map(str, parents.restrictions))}",
            about=about,
        )


def _validate_restriction(
    model: AuthorizationModel, type_name: str, relation: str, restriction: TypeRestriction, is_tupleset: bool
) -> None:
    about = f"{type_name}#{relation}"
    named = restriction.type + (f"#{restriction.relation}" if restriction.relation else "")
    if (
        restriction.type not in model.types
        or ((restriction.relation or restriction.wildcard) and is_tupleset)
        or (restriction.relation and not model.has(restriction.type, restriction.relation))
    ):
        raise ModelError(
            f"the relation type '{named}' on '{relation}' in object type '{type_name}' is not valid",
            about=about,
        )
    condition = restriction.condition
    if condition and condition not in model.conditions:
        raise ModelError(f"condition {condition} is undefined for relation {relation}", about=about)


def _validate_operators(type_name: str, relation: str, rewrite: Rewrite) -> None:
    match rewrite:
        case Union(children) | Intersection(children):
            if len(children) < 2:
                kind = "union" if isinstance(rewrite, Union) else "intersection"
                raise ModelError(
                    f"invalid relation: '{type_name}#{relation}' as {kind} has less than 2 children",
                    about=f"{type_name}#{relation}",
                )
            for child in children:
                _validate_operators(type_name, relation, child)
        case Exclusion(base, subtract):
            _validate_operators(type_name, relation, base)
            _validate_operators(type_name, relation, subtract)


def _entered(model: AuthorizationModel) -> frozenset[tuple[str, str]]:
    """The relations that tuples could ever give to somebody: a least fixed point."""
    mentions: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    keys = [(name, relation) for name, definition in model.types.items() for relation in definition.relations]
    for key in keys:
        for leaf in leaves(model.rewrite(*key)):
            for below in _below(model, key[0], leaf):
                mentions[below].append(key)
    entered: set[tuple[str, str]] = set()
    todo = keys
    while todo:
        key = todo.pop()
        if key not in entered and _enters(model, key[0], model.rewrite(*key), entered):
            entered.add(key)
            todo += mentions[key]
    return frozenset(entered)


def _below(
    model: AuthorizationModel, type_name: str, leaf: Direct | Computed | TupleToUserset
) -> list[tuple[str, str]]:
    match leaf:
        case Direct(restrictions):
            return [(r.type, r.relation) for r in restrictions if r.relation]
        case Computed(relation):
            return [(type_name, relation)]
        case TupleToUserset(relation, tupleset):
            if not model.has(type_name, tupleset):
                return []
            return [(r.type, relation) for r in direct_restrictions(model.rewrite(type_name, tupleset))]


def _enters(
    model: AuthorizationModel, type_name: str, rewrite: Rewrite, entered: Collection[tuple[str, str]]
) -> bool:
    match rewrite:
        case Union(children):
            return any(_enters(model, type_name, child, entered) for child in children)
        case Intersection(children):
            return all(_enters(model, type_name, child, entered) for child in children)
        case Exclusion(base, subtract):
            return all(_enters(model, type_name, child, entered) for child in (base, subtract))
        case _:
            plain = isinstance(rewrite, Direct) and any(not r.relation for r in rewrite.restrictions)
            return plain or any(key in entered for key in _below(model, type_name, rewrite))


def _has_cycle(model: AuthorizationModel, type_name: str, relation: str) -> bool:
    """Whether the relation rests on one that is derived from itself on the same object alone."""
    done: set[str] = set()
    path: dict[str, Iterator[str]] = {relation: _computed(model, type_name, relation)}
    while path:
        current = next(reversed(path))
        below = next(path[current], None)
        if below is None:
            done.add(current)
            del path[current]
        elif below in path:
            return True
        elif below not in done:
            path[below] = _computed(model, type_name, below)
    return False


def _computed(model: AuthorizationModel, type_name: str, relation: str) -> Iterator[str]:
    if model.has(type_name, relation):
        for leaf in leaves(model.rewrite(type_name, relation)):
            if isinstance(leaf, Computed):
                yield leaf.relation


def _require(model: AuthorizationModel, type_name: str, other: str, relation: str) -> None:
    if not model.has(type_name, other):
        raise ModelError(f"'{type_name}#{other}' relation is undefined", about=f"{type_name}#{relation}")


def _invalid(type_name: str, relation: str, cause: str) -> NoReturn:
    raise ModelError(
        f"the definition of relation '{relation}' in object type '{type_name}' is invalid: {cause}",
        about=f"{type_name}#{relation}",
    )
