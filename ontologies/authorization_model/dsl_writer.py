"""A model as OpenFGA's DSL, in the order that OpenFGA writes it."""

from __future__ import annotations

from collections.abc import Iterable

from ontologies.authorization_model.model import (
    AuthorizationModel,
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    ModelError,
    Origin,
    Rewrite,
    TupleToUserset,
    TypeDefinition,
    Union,
    leaves,
)


def to_dsl(model: AuthorizationModel) -> str:
    """The model's text; relations, conditions and parameters by name, those of modules by module.

    A modular model becomes one text. Raises ModelError for a rewrite that the DSL cannot say: a direct
    assignment that is not a relation's first operand.
    """
    types = list(model.types.values())
    if any(definition.origin.module for definition in types):
        types.sort(key=lambda definition: _order(definition.origin, definition.name))
    conditions = sorted(model.conditions.values(), key=lambda c: _order(c.origin, c.name))
    parts = [f"model\n  schema {model.schema_version}\n", *map(_type, types), *map(_condition, conditions)]
    return "\n".join(parts)


def _order(origin: Origin, name: str) -> tuple[str, str, str]:
    """What is in no module comes first, then module by module."""
    return (origin.module, origin.file if origin.module else "", name)


def _type(definition: TypeDefinition) -> str:
    lines = [f"type {definition.name}"]
    if definition.relations:
        lines.append("  relations")
    for name in sorted(definition.relations, key=lambda n: _order(definition.origins.get(n, Origin()), n)):
        rewrite = _direct_first(definition.relations[name])
        direct = sum(isinstance(leaf, Direct) for leaf in leaves(rewrite))
        if direct > 1 or (direct == 1 and not isinstance(next(leaves(rewrite)), Direct)):
            raise ModelError(
                f"the '{name}' relation definition under the '{definition.name}' type is not supported by "
                "the DSL: a direct assignment stands once, and first"
            )
        lines.append(f"    define {name}: {_rewrite(rewrite)}")
    return "\n".join(lines) + "\n"


def _direct_first(rewrite: Rewrite) -> Rewrite:
    """Unions and intersections do not change when their direct operand is put first."""
    match rewrite:
        case Union(children):
            return Union(_first(children))
        case Intersection(children):
            return Intersection(_first(children))
        case Exclusion(base, subtract):
            return Exclusion(_direct_first(base), _direct_first(subtract))
        case _:
            return rewrite


def _first(children: Iterable[Rewrite]) -> tuple[Rewrite, ...]:
    return tuple(sorted(map(_direct_first, children), key=lambda child: not isinstance(child, Direct)))


def _rewrite(rewrite: Rewrite) -> str:
    match rewrite:
        case Direct(restrictions):
            return f"[{', '.join(map(str, restrictions))}]"
        case Computed(relation):
            return relation
        case TupleToUserset(relation, tupleset):
            return f"{relation} from {tupleset}"
        case Union(children):
            return " or ".join(map(_operand, children))
        case Intersection(children):
            return " and ".join(map(_operand, children))
        case Exclusion(base, subtract):
            return f"{_operand(base)} but not {_operand(subtract)}"


def _operand(rewrite: Rewrite) -> str:
    text = _rewrite(rewrite)
    return f"({text})" if isinstance(rewrite, Union | Intersection | Exclusion) else text


def _condition(condition: Condition) -> str:
    parameters = ", ".join(f"{name}: {condition.parameters[name]}" for name in sorted(condition.parameters))
    return f"condition {condition.name}({parameters}) {{\n  {condition.expression}\n}}\n"
