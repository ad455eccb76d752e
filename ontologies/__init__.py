"""OWL modules, shapes, the authorization model, and the loader that checks them."""

from ontologies.authorization_model import AuthorizationModel, ModelError
from ontologies.loader import OntologyError, load, load_authorization, load_shapes
from ontologies.ontology import Ontology
from ontologies.shapes import EntityState, Shapes, ShapesError, ShapeViolation

__all__ = [
    "AuthorizationModel",
    "EntityState",
    "ModelError",
    "Ontology",
    "OntologyError",
    "ShapeViolation",
    "Shapes",
    "ShapesError",
    "load",
    "load_authorization",
    "load_shapes",
]
