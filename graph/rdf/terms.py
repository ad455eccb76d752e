"""Terms of RDF for what the graph holds: IRIs of entities and sources, literals of values."""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote, unquote

from pyoxigraph import Literal, NamedNode, RdfFormat

from graph.claims import Scalar
from ontologies.ontology import Datatype

ENTITY = "urn:orgraph:entity:"
SOURCE = "urn:orgraph:source:"
PROVENANCE = "urn:orgraph:provenance:"
PROV = "http://www.w3.org/ns/prov#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XSD = "http://www.w3.org/2001/XMLSchema#"

TYPE = NamedNode(RDF + "type")
SUBJECT, PREDICATE, OBJECT = (NamedNode(RDF + name) for name in ("subject", "predicate", "object"))
CLAIM, SAYING, SOURCE_CLASS = (NamedNode(PROVENANCE + name) for name in ("Claim", "Saying", "Source"))
CONFIDENCE, TRUST = NamedNode(PROVENANCE + "confidence"), NamedNode(PROVENANCE + "trust")
EVIDENCE, SAYS = NamedNode(PROVENANCE + "evidence"), NamedNode(PROVENANCE + "says")
KNOWN_SINCE = NamedNode(PROVENANCE + "knownSince")
VALID_FROM, VALID_TO = NamedNode(PROVENANCE + "validFrom"), NamedNode(PROVENANCE + "validTo")
ATTRIBUTED_TO = NamedNode(PROV + "wasAttributedTo")

FORMATS = {"turtle": RdfFormat.TURTLE, "nt": RdfFormat.N_TRIPLES, "jsonld": RdfFormat.JSON_LD}
"""By the names that the command line uses."""
SUFFIXES = {".ttl": RdfFormat.TURTLE, ".nt": RdfFormat.N_TRIPLES, ".jsonld": RdfFormat.JSON_LD}

#: What an IRI may hold as it is; `%` is not among them, so that nothing is decoded that was not encoded.
_SAFE = "-._~:/@!$&'()*+,;="
_DATE_TIME = re.compile(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")


def entity_iri(id: str) -> NamedNode:
    return NamedNode(ENTITY + quote(id, safe=_SAFE))


def entity_id_of(iri: str) -> str | None:
    """The inverse of `entity_iri`; None for another's IRI."""
    return unquote(iri.removeprefix(ENTITY)) if iri.startswith(ENTITY) else None


def source_iri(name: str) -> NamedNode:
    return NamedNode(SOURCE + quote(name, safe=_SAFE))


def literal(value: Scalar, datatype: Datatype) -> Literal:
    """In the one lexical form that reading gives the same value for."""
    if isinstance(value, datetime):
        text = value.isoformat()
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
    else:
        text = str(value)
    return Literal(text) if datatype == "string" else Literal(text, datatype=NamedNode(XSD + datatype))


def value(term: Literal, datatype: Datatype) -> Scalar:
    """The literal as a value of the datatype. Raises ValueError that says what was expected and found."""
    text, found = term.value, term.datatype.value
    if found == XSD + datatype:
        match datatype:
            case "string" | "anyURI":
                return text
            case "boolean" if text in ("true", "false", "1", "0"):
                return text in ("true", "1")
            case "integer" if _INTEGER.fullmatch(text) and len(text) <= 20:
                return int(text)
            case "decimal" if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
                return float(text)
            case "dateTime" if _DATE_TIME.fullmatch(text):
                return datetime.fromisoformat(text)
    shown = f"{text[:100]!r} of {term.language or found.removeprefix(XSD)}"
    raise ValueError(f"expected a literal of xsd:{datatype}, found {shown}")
