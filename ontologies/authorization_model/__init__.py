"""OpenFGA's modelling language: models as values, their texts and documents, and what makes them valid."""

from ontologies.authorization_model.dsl_reader import parse_dsl, parse_modules
from ontologies.authorization_model.dsl_writer import to_dsl
from ontologies.authorization_model.json_form import from_json, to_json
from ontologies.authorization_model.model import (
    AuthorizationModel,
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    ModelError,
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

__all__ = [
    "AuthorizationModel",
    "Computed",
    "Condition",
    "Direct",
    "Exclusion",
    "Intersection",
    "ModelError",
    "ParameterType",
    "Rewrite",
    "TupleToUserset",
    "TypeDefinition",
    "TypeRestriction",
    "Union",
    "direct_restrictions",
    "from_json",
    "leaves",
    "parse_dsl",
    "parse_modules",
    "to_dsl",
    "to_json",
    "validate",
]
