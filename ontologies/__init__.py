"""OWL modules, shapes, the authorization model, and the loader that checks them."""

from ontologies.authorization_model import AuthorizationModel
from ontologies.loader import OntologyError, load, load_authorization
from ontologies.ontology import Ontology

__all__ = ["AuthorizationModel", "Ontology", "OntologyError", "load", "load_authorization"]
