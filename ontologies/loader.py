"""Makes the values that the rest of Orgraph knows of the OWL modules, shapes, model and bindings.

Nothing stops at the first thing that is wrong: what is, is collected as findings.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from rdflib import OWL, RDF, RDFS, SH, SKOS, XSD, Graph, Literal, Namespace, URIRef
from rdflib.collection import Collection
from rdflib.term import Node

from ontologies.authorization_model import AuthorizationModel, ModelError, parse_dsl
from ontologies.check import check
from ontologies.finding import Finding, OntologyError
from ontologies.modules import AUTHORIZATION_MODEL, OURS, PROVENANCE, Files, read_files, shown
from ontologies.ontology import (
    ROOT,
    Binding,
    Datatype,
    Ontology,
    OntologyClass,
    RelationshipType,
    Strength,
    ValueProperty,
)
from ontologies.shapes import Shapes, compile_shapes

OG = Namespace("urn:orgraph:ontology:")

_DATATYPES: Mapping[Node | None, Datatype] = {XSD[name]: name for name in get_args(Datatype)}
#: What live nodes and those of versions carry beside their values.
_TAKEN = frozenset(
    {"id", "audience", "sources", "confidence", "since", "validFrom", "validTo", "embedding", "pages"}
    | {"class", "collection", "fact", "heldAudience", "status", "until"}
)
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_PROPERTY_NAME = re.compile(r"[a-z][A-Za-z0-9]*")
#: An organization's part of the model begins so: else it could go on where the file before it ends.
_TYPES = re.compile(r"(?:\s|#[^\n]*\n)*type\s")
#: How the entities of an organization's own class are viewed, unless it says so itself.
_PLACED = """
type {type}
  relations
    define collection: [collection]
    define viewer: viewer from collection
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """The ontology with what belongs to it. Parts that could not be made are None."""

    files: Files
    ontology: Ontology | None
    shapes: Shapes | None
    model: AuthorizationModel | None
    findings: tuple[Finding, ...]


@cache
def assemble(added: tuple[Path, ...] = ()) -> Parts:
    """Our files and those that an organization adds, as far as they can be understood, and checked."""
    files = read_files((*OURS, *added))
    findings = list(files.findings)
    classes = _classes(files, findings)
    model = _model(files, classes.values(), findings)
    if model is None:
        return Parts(files, None, None, None, tuple(sorted(findings)))
    bindings, places = _bindings(files, model, findings)
    ontology = build(files, bindings, findings)
    if findings:
        return Parts(files, ontology, None, model, tuple(sorted(findings)))
    shapes, problems = compile_shapes(files.shapes, ontology)
    findings += [
        Finding(files.where.get(p.shape, ""), shown(p.shape), p.expected, p.action) for p in problems
    ]
    findings += _described_without_shape(files)
    findings += check(ontology, model, shapes, {**files.where, **places})
    return Parts(files, ontology, shapes, model, tuple(sorted(findings)))


def load(added: tuple[Path, ...] = ()) -> Ontology:
    """All modules, merged and checked. Raises OntologyError."""
    return _whole(added, assemble(added).ontology)


def load_shapes(added: tuple[Path, ...] = ()) -> Shapes:
    """The shapes, compiled to check states. Raises OntologyError."""
    return _whole(added, assemble(added).shapes)


def load_authorization(added: tuple[Path, ...] = ()) -> AuthorizationModel:
    """The authorization model. Raises OntologyError."""
    return _whole(added, assemble(added).model)


def _whole(added: tuple[Path, ...], part: T | None) -> T:
    parts = assemble(added)
    if parts.findings or part is None:
        raise OntologyError(parts.findings)
    return part


def modules_graph() -> Graph:
    """All our OWL modules in one RDF graph."""
    return read_files(OURS).owl


def shapes_graph() -> Graph:
    """All our SHACL shapes in one RDF graph."""
    return read_files(OURS).shapes


def build(files: Files, bindings: tuple[Binding, ...], findings: list[Finding]) -> Ontology:
    """The values that the merged modules state; terms that say too little or too much are findings."""
    classes = _classes(files, [])
    values = _made(files, OWL.DatatypeProperty, lambda node: _value(files.owl, node, classes), findings)
    access_bearing = {binding.relationship for binding in bindings}
    relationships = _made(
        files,
        OWL.ObjectProperty,
        lambda node: _relationship(files, node, access_bearing, classes),
        findings,
    )
    return Ontology(
        files.modules,
        {one.name: one for one in classes.values()},
        {one.name: one for one in values.values()},
        {one.type: one for one in relationships.values()},
        bindings,
    )


def _described_without_shape(files: Files) -> list[Finding]:
    """Classes of statements about facts that no shape describes."""
    described = {node for node in files.owl.subjects(RDF.type, OWL.Class) if str(node).startswith(PROVENANCE)}
    bare = sorted(map(str, described - set(files.shapes.objects(None, SH.targetClass))))
    expected = "expected a node shape with it as sh:targetClass, found none"
    return [Finding(files.where.get(iri, ""), iri, expected, "write one") for iri in bare]


class _UnusableError(Exception):
    """A term cannot be used; what was expected, and what to do."""

    def __init__(self, expected: str, action: str) -> None:
        super().__init__(expected)
        self.expected, self.action = expected, action


def _made(
    files: Files, kind: URIRef, make: Callable[[URIRef], T], findings: list[Finding]
) -> dict[URIRef, T]:
    """Of each own term of the kind what `make` makes of it, in order of their names."""
    made: dict[URIRef, T] = {}
    names: dict[str, URIRef] = {}
    own = {s for s in files.owl.subjects(RDF.type, kind) if isinstance(s, URIRef) and files.is_own(s)}
    for node in sorted(own, key=lambda term: (term not in OG, term)):  # ours have the names first
        try:
            name = _own_name(files, node, kind)
            if (other := names.setdefault(name.casefold(), node)) != node:
                raise _UnusableError(
                    f"expected a name of its own, found that of {shown(other)}", "choose another"
                )
            made[node] = make(node)
        except _UnusableError as problem:
            file = files.where.get(str(node), "")
            findings.append(Finding(file, shown(node), problem.expected, problem.action))
    return made


def _own_name(files: Files, node: URIRef, kind: URIRef) -> str:
    """The local name, which becomes a label, a property key or a relationship type."""
    namespace = max((m.namespace for m in files.modules if node.startswith(m.namespace)), key=len)
    name = str(node).removeprefix(namespace)
    pattern = _CLASS_NAME if kind == OWL.Class else _PROPERTY_NAME
    if not pattern.fullmatch(name):
        raise _UnusableError(f"expected a local name of the form {pattern.pattern}", "rename it")
    if kind == OWL.DatatypeProperty and name in _TAKEN:
        raise _UnusableError("expected a name that no node carries for Orgraph's own use", "rename it")
    return name


# Classes and properties.


def _classes(files: Files, findings: list[Finding]) -> dict[URIRef, OntologyClass]:
    return _made(files, OWL.Class, lambda node: _class(files, node), findings)


def _class(files: Files, node: URIRef) -> OntologyClass:
    name = _local_name(node)
    return OntologyClass(
        name=name,
        iri=str(node),
        label=_text(files.owl, node, RDFS.label),
        comment=_text(files.owl, node, RDFS.comment),
        superclasses=_superclasses(files, node),
        type=_snake_case(name),
        abstract=_flag(files.owl, node, OG.abstract) or node == OG[ROOT],
    )


def _value(graph: Graph, node: URIRef, classes: Mapping[URIRef, OntologyClass]) -> ValueProperty:
    ranges = list(graph.objects(node, RDFS.range))
    if len(ranges) != 1 or ranges[0] not in _DATATYPES:
        known = ", ".join(_DATATYPES.values())
        raise _UnusableError(
            f"expected one range, of the datatypes {known}, found {', '.join(map(str, ranges)) or 'none'}",
            "write one of xsd:",
        )
    return ValueProperty(
        name=_local_name(node),
        iri=str(node),
        label=_text(graph, node, RDFS.label),
        datatype=_DATATYPES[ranges[0]],
        many=_flag(graph, node, OG.many),
        domain=_class_names(graph, node, RDFS.domain, classes),
        synonyms=_synonyms(graph, node),
        identifies=_strength(graph, node),
    )


def _relationship(
    files: Files, node: URIRef, access_bearing: set[str], classes: Mapping[URIRef, OntologyClass]
) -> RelationshipType:
    graph, type_ = files.owl, _type_name(node)

    def own(terms: Iterable[Node]) -> frozenset[str]:
        return frozenset(_type_name(term) for term in terms if files.is_own(term))

    inverses = (*graph.objects(node, OWL.inverseOf), *graph.subjects(OWL.inverseOf, node))
    return RelationshipType(
        type=type_,
        iri=str(node),
        label=_text(graph, node, RDFS.label),
        inverse_label=_text(graph, node, OG.inverseLabel),
        domain=_class_names(graph, node, RDFS.domain, classes),
        range=_class_names(graph, node, RDFS.range, classes),
        access_bearing=type_ in access_bearing,
        synonyms=_synonyms(graph, node),
        broader=own(graph.objects(node, RDFS.subPropertyOf)),
        inverses=own(inverses),
        symmetric=(node, RDF.type, OWL.SymmetricProperty) in graph,
        transitive=(node, RDF.type, OWL.TransitiveProperty) in graph,
        acyclic=_flag(graph, node, OG.acyclic),
        inverse_functional=(node, RDF.type, OWL.InverseFunctionalProperty) in graph,
        identifies=_strength(graph, node),
    )


def _superclasses(files: Files, node: URIRef) -> tuple[str, ...]:
    """Our own superclasses, breadth first, the root last whatever the distance."""
    found: list[str] = []
    level = [node]
    while level:
        level = sorted(
            {
                parent
                for child in level
                for parent in files.owl.objects(child, RDFS.subClassOf)
                if isinstance(parent, URIRef) and files.is_own(parent) and _local_name(parent) not in found
            }
        )
        found += map(_local_name, level)
    name = _local_name(node)
    if name in found:
        raise _UnusableError("expected no class above itself", "remove one of the subclass axioms")
    if node != OG[ROOT] and ROOT not in found:
        raise _UnusableError(
            f"expected a subclass of og:{ROOT}, as every class of entities is", "write rdfs:subClassOf"
        )
    return tuple(sorted(found, key=lambda ancestor: ancestor == ROOT))


def _class_names(
    graph: Graph, node: URIRef, predicate: URIRef, classes: Mapping[URIRef, OntologyClass]
) -> frozenset[str]:
    """The class, or the members of the union of classes, that a domain or range names."""
    stated = list(graph.objects(node, predicate))
    said = f"rdfs:{_local_name(predicate)}"
    if len(stated) != 1:
        raise _UnusableError(
            f"expected one {said}, found {len(stated)}", "write one class, or an owl:unionOf"
        )
    union = graph.value(stated[0], OWL.unionOf)
    members = list(Collection(graph, union)) if union is not None else stated
    for member in members:
        if member not in classes:
            raise _UnusableError(
                f"expected classes of entities as its {said}, found {shown(member)}",
                "declare it, or correct it",
            )
    return frozenset(_local_name(member) for member in members)


def _text(graph: Graph, node: URIRef, predicate: URIRef) -> str:
    texts = [o for o in graph.objects(node, predicate) if isinstance(o, Literal) and o.language == "en"]
    if len(texts) != 1:
        raise _UnusableError(
            f"expected one {_local_name(predicate)} in English (@en), found {len(texts)}", "write one"
        )
    return str(texts[0])


def _synonyms(graph: Graph, node: URIRef) -> str:
    return ", ".join(sorted(str(o) for o in graph.objects(node, SKOS.altLabel)))


def _flag(graph: Graph, node: URIRef, predicate: URIRef) -> bool:
    return (node, predicate, Literal(True)) in graph


def _strength(graph: Graph, node: URIRef) -> Strength:
    stated = sorted(str(o) for o in graph.objects(node, OG.identifies))
    if not stated:
        return ""
    strengths: tuple[Strength, ...] = get_args(Strength)
    found = next((strength for strength in strengths if stated == [strength] != [""]), None)
    if found is None:
        raise _UnusableError(
            f"expected one og:identifies, 'weak', 'strong' or 'decides', found {', '.join(stated)}",
            "write one of them",
        )
    return found


def _type_name(node: Node) -> str:
    return _snake_case(_local_name(node)).upper()


def _local_name(node: Node) -> str:
    return re.split(r"[:#/]", str(node))[-1]


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# The authorization model and its bindings.


def _model(
    files: Files, classes: Iterable[OntologyClass], findings: list[Finding]
) -> AuthorizationModel | None:
    """All models as one. An organization's class without a type gets one with the collection's viewers."""
    texts: list[tuple[str, str]] = []
    for path in files.models:
        try:
            text = path.read_text(encoding="utf-8") + "\n"
        except (OSError, UnicodeDecodeError) as error:
            findings.append(Finding(path.name, "", f"expected a file to read: {error}", "correct the path"))
            continue
        if path != AUTHORIZATION_MODEL and not _TYPES.match(text):
            expected = "expected definitions of types, without a header"
            findings.append(Finding(path.name, "", expected, "begin with 'type'"))
            continue
        texts.append((path.name, text))
    whole = "".join(text for _, text in texts)
    defined = set(re.findall(r"^[ \t]*type[ \t]+(\S+)", whole, re.MULTILINE))
    whole += "".join(
        _PLACED.format(type=one.type)
        for one in classes
        if not (one.abstract or one.iri.startswith(str(OG)) or one.type in defined)
    )
    try:
        return parse_dsl(whole, AUTHORIZATION_MODEL.name)
    except ModelError as error:
        findings.append(_of_model(str(error), texts))
        return None


def _of_model(message: str, texts: list[tuple[str, str]]) -> Finding:
    """The parser's error at the file and line where it is."""
    number, problem = 0, message
    if found := re.search(r"line (\d+)[^:]*: ", message):
        number, problem = int(found[1]), message[found.end() :]
    for file, text in texts:
        if number <= text.count("\n") or file == texts[-1][0]:
            return Finding(file, f"line {number}", problem, "correct the model")
        number -= text.count("\n")
    return Finding("", "", problem, "correct the model")


def _bindings(
    files: Files, model: AuthorizationModel, findings: list[Finding]
) -> tuple[tuple[Binding, ...], dict[str, str]]:
    """The bindings of all files, and the file of each as `binding of RELATIONSHIP to type#relation`."""
    bindings: list[Binding] = []
    places: dict[str, str] = {}
    for path in files.bindings:
        for binding in read_bindings(path, model, findings):
            bindings.append(binding)
            places.setdefault(binding.name, path.name)
    return tuple(bindings), places


def read_bindings(path: Path, model: AuthorizationModel, findings: list[Finding]) -> tuple[Binding, ...]:
    """The bindings; the object type `*` becomes every type of the model that has the relation."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        findings.append(Finding(path.name, "", f"expected TOML: {error}", "correct the file"))
        return ()
    if set(raw) != {"binding"} or not isinstance(raw["binding"], list):
        expected = f"expected only [[binding]] tables, found {', '.join(sorted(raw)) or 'nothing'}"
        findings.append(Finding(path.name, "", expected, "write them"))
        return ()
    bindings: list[Binding] = []
    for number, entry in enumerate(raw["binding"], start=1):
        if problem := _wrong_binding(entry):
            findings.append(Finding(path.name, f"binding {number}", *problem))
            continue
        for object_type in _object_types(entry, model):
            bindings.append(Binding(**{**entry, "object_type": object_type}))
    return tuple(bindings)


def _wrong_binding(entry: Any) -> tuple[str, str] | None:
    keys = set(Binding.__dataclass_fields__)
    if not isinstance(entry, dict) or set(entry) != keys:
        found = ", ".join(sorted(entry)) if isinstance(entry, dict) else repr(entry)
        return f"expected the keys {', '.join(sorted(keys))}, found {found}", "write these and no others"
    if entry["object_end"] not in ("start", "end"):
        return f"expected an object_end, found {entry['object_end']!r}", "write 'start' or 'end'"
    users = entry["users"]
    if not isinstance(users, dict) or not users or not all(isinstance(v, str) for v in users.values()):
        return f"expected users, found {users!r}", "write a table from type to relation"
    for key in ("relationship", "object_type", "relation"):
        if not isinstance(entry[key], str):
            return f"expected text as {key}, found {entry[key]!r}", "write a name in quotes"
    return None


def _object_types(entry: Mapping[str, Any], model: AuthorizationModel) -> tuple[str, ...]:
    if entry["object_type"] != "*":
        return (entry["object_type"],)
    return tuple(name for name in model.types if model.has(name, entry["relation"]))
