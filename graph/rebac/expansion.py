"""Expand: one level of how a relation to an object is derived, as OpenFGA's tree."""

from __future__ import annotations

from typing import Any

from graph.rebac.evaluator import Request
from graph.rebac.relation_tuples import type_of
from ontologies.authorization_model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    Union,
)


def expand(request: Request, object: str, relation: str) -> dict[str, Any]:
    """OpenFGA's `UsersetTree` as JSON: `{"root": node}`, users sorted.

    The leaves have the tuples that the model permits, whether or not their conditions are met. KeyError
    where the model lacks the relation: see `validation.validate_check`.
    """
    return {"root": _node(request, object, relation, request.model.rewrite(type_of(object), relation))}


def _node(request: Request, object: str, relation: str, rewrite: Rewrite) -> dict[str, Any]:
    def nodes(*parts: Rewrite) -> list[dict[str, Any]]:
        return [_node(request, object, relation, part) for part in parts]

    tree: dict[str, Any]
    match rewrite:
        case Direct():
            tree = {"leaf": {"users": {"users": _users(request, object, relation)}}}
        case Computed(other):
            tree = {"leaf": {"computed": {"userset": f"{object}#{other}"}}}
        case TupleToUserset(other, tupleset):
            parents = [{"userset": f"{parent}#{other}"} for parent in _users(request, object, tupleset)]
            tree = {"leaf": {"tupleToUserset": {"tupleset": f"{object}#{tupleset}", "computed": parents}}}
        case Union(children):
            tree = {"union": {"nodes": nodes(*children)}}
        case Intersection(children):
            tree = {"intersection": {"nodes": nodes(*children)}}
        case Exclusion(base, subtract):
            of_base, of_subtract = nodes(base, subtract)
            tree = {"difference": {"base": of_base, "subtract": of_subtract}}
    return {"name": f"{object}#{relation}", **tree}


def _users(request: Request, object: str, relation: str) -> list[str]:
    users = request.tuples.users(object, relation)
    if users is None:
        return []
    facets = request.compiled.facets[type_of(object)][relation]
    found = [name for name, grant in users.named.items() if request.stands(grant, facets.of(name))]
    for kind, grants in users.usersets.items():
        allowed = facets.usersets.get(kind, frozenset())
        member = kind.partition("#")[2]
        found += [f"{name}#{member}" for name, grant in grants.items() if request.stands(grant, allowed)]
    return sorted(found)
