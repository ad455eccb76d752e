"""OWL modules, shapes, the authorization model, and the loader that checks them."""

from ontologies.authorization_model import AuthorizationModel, ModelError
from ontologies.finding import Finding, OntologyError
from ontologies.loader import load, load_authorization, load_shapes
from ontologies.ontology import Ontology
from ontologies.shapes import EntityState, Shapes, ShapeViolation

__all__ = [
    "AuthorizationModel",
    "EntityState",
    "Finding",
    "ModelError",
    "Ontology",
    "OntologyError",
    "ShapeViolation",
    "Shapes",
    "load",
    "load_authorization",
    "load_shapes",
]
