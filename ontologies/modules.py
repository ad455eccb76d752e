"""The files of the ontology, ours and those that an organization adds, read but not yet understood.

A `.ttl` file holds either an OWL module (one `owl:Ontology`) or SHACL shapes; a `.toml` file holds
bindings; an `.fga` file of an organization holds `type` definitions without a header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdflib import OWL, RDF, SH, SKOS, VANN, Graph, URIRef
from rdflib.term import BNode, Node

from ontologies.finding import Finding
from ontologies.ontology import Module

#: The namespace of our own terms.
OG = "urn:orgraph:ontology:"
#: Of the terms that describe statements about facts: no classes of entities.
PROVENANCE = "urn:orgraph:provenance:"

_FOLDER = Path(__file__).resolve().parent
#: The OWL modules and the SHACL shapes, in Turtle.
MODULES = tuple(sorted((_FOLDER / "owl").glob("*.ttl")))
SHAPES = tuple(sorted((_FOLDER / "shapes").glob("*.ttl")))
AUTHORIZATION_MODEL = _FOLDER / "authorization" / "organization.fga"
BINDINGS = _FOLDER / "authorization" / "bindings.toml"
OURS = (*MODULES, *SHAPES, BINDINGS, AUTHORIZATION_MODEL)

_KINDS = (".ttl", ".toml", ".fga")
_HEADER = {
    OWL.versionInfo: "owl:versionInfo",
    OWL.versionIRI: "owl:versionIRI",
    VANN.preferredNamespaceUri: "vann:preferredNamespaceUri",
}
_DECLARED = {OWL.Class, OWL.ObjectProperty, OWL.DatatypeProperty, OWL.AnnotationProperty}


@dataclass(frozen=True, slots=True)
class Files:
    """The content of all files, and what is wrong with it so far."""

    owl: Graph
    shapes: Graph
    modules: tuple[Module, ...]
    bindings: tuple[Path, ...]
    models: tuple[Path, ...]
    where: Mapping[str, str]
    """The file of each term of a module and of each shape, by IRI."""
    findings: tuple[Finding, ...]

    def is_own(self, term: Node) -> bool:
        """Whether it is a term of a module that is about entities."""
        return _namespace(term, (m.namespace for m in self.modules)) not in ("", PROVENANCE)


def organization_files(folder: Path, patterns: Sequence[str]) -> tuple[Path, ...]:
    """The files that the patterns (files, folders or globs, relative to `folder`) name, sorted.

    A pattern that names none is kept as it is: reading it is what fails, and says so.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = folder / pattern
        if path.is_dir():
            matches = [one for kind in _KINDS for one in path.glob(f"*{kind}")]
        else:
            matches = list(folder.glob(pattern)) if not Path(pattern).is_absolute() else [path]
        found += matches or [path]
    return tuple(sorted(set(found)))


def read_files(paths: Iterable[Path]) -> Files:
    """Read them all; what cannot be read is among the findings, and the rest goes on."""
    owl, shapes = Graph(), Graph()
    modules: dict[Path, tuple[Module, Graph]] = {}
    where: dict[str, str] = {}
    findings: list[Finding] = []
    texts: dict[str, list[Path]] = {".toml": [], ".fga": []}
    for path in paths:
        if path.suffix in texts:
            texts[path.suffix].append(path)
        elif (graph := _parsed(path, findings)) is None:
            continue
        elif (module := _module(path, graph, findings)) is not None:
            modules[path] = module, graph
            owl += graph
        elif node_shapes := list(graph.subjects(RDF.type, SH.NodeShape)):
            where |= {str(node): path.name for node in node_shapes}
            shapes += graph
    namespaces = {module.namespace for module, _ in modules.values()}
    iris = Counter(module.iri for module, _ in modules.values())
    for path, (module, graph) in modules.items():
        if module.namespace in (OG, PROVENANCE) and path not in MODULES:
            expected = f"expected a namespace of your own, found {module.namespace}"
            findings.append(Finding(module.file, module.iri, expected, "choose another"))
        if iris[module.iri] > 1:
            expected = "expected one file with a module of this IRI, found several"
            findings.append(Finding(module.file, module.iri, expected, "keep one"))
        findings += _imports(module, graph, iris)
        findings += _strangers(module, graph, namespaces)
        for term in set(graph.subjects()):
            if _namespace(term, [module.namespace]) and _states_more(graph, term):
                where.setdefault(str(term), module.file)
    return Files(
        owl,
        shapes,
        tuple(module for module, _ in modules.values()),
        tuple(texts[".toml"]),
        tuple(texts[".fga"]),
        where,
        tuple(findings),
    )


def shown(term: object) -> str:
    """A term as people write it: `og:memberOf`, else its IRI."""
    text = str(term)
    return "og:" + text.removeprefix(OG) if text.startswith(OG) else text


def _parsed(path: Path, findings: list[Finding]) -> Graph | None:
    if path.suffix not in _KINDS:
        expected = f"expected a file of the kind {', '.join(_KINDS)}"
        findings.append(Finding(path.name, "", expected, "name another file, or a folder"))
        return None
    try:
        return Graph().parse(path, format="turtle")
    except (OSError, UnicodeDecodeError) as error:
        findings.append(Finding(path.name, "", f"expected a file to read: {error}", "correct the path"))
    except Exception as error:  # noqa: BLE001  rdflib raises many kinds, some of them bare
        problem = " ".join(str(error).split())[:300]
        findings.append(Finding(path.name, "", f"expected Turtle: {problem}", "correct the file"))
    return None


def _module(path: Path, graph: Graph, findings: list[Finding]) -> Module | None:
    """The module that the file is; None for a file of shapes, and for one that is neither."""
    headers = list(graph.subjects(RDF.type, OWL.Ontology))
    node_shapes = list(graph.subjects(RDF.type, SH.NodeShape))
    if node_shapes and not headers:
        return None
    if len(headers) != 1 or node_shapes:
        expected = (
            "expected one owl:Ontology, or SHACL node shapes, "
            f"found {len(headers)} ontologies and {len(node_shapes)} shapes"
        )
        findings.append(
            Finding(path.name, "", expected, "write each module and its shapes in files of their own")
        )
        return None
    version, version_iri, namespace = (
        {str(value) for value in graph.objects(headers[0], predicate)} for predicate in _HEADER
    )
    problems = [
        f"expected one {name}, found {len(values)}"
        for name, values in zip(_HEADER.values(), (version, version_iri, namespace), strict=True)
        if len(values) != 1
    ]
    if not problems and min(namespace)[-1:] not in ("#", "/", ":"):
        problems = [f"expected a namespace that ends in '#', '/' or ':', found {min(namespace)}"]
    if problems:
        findings += [Finding(path.name, str(headers[0]), one, "write it in the header") for one in problems]
        return None
    return Module(str(headers[0]), min(version), min(version_iri), min(namespace), path.name)


def _imports(module: Module, graph: Graph, known: Collection[str]) -> Iterator[Finding]:
    for imported in sorted(map(str, graph.objects(URIRef(module.iri), OWL.imports))):
        if imported not in known:
            expected = f"expected imports of modules that are read, found {imported}"
            yield Finding(
                module.file, module.iri, expected, "add its file to the configuration or correct it"
            )


def _strangers(module: Module, graph: Graph, namespaces: set[str]) -> Iterator[Finding]:
    """What a module says of terms that are not its own, beyond that they are, and other words for them."""
    for term in sorted({t for t in graph.subjects() if isinstance(t, URIRef)}):
        if str(term) == module.iri or _namespace(term, [module.namespace]):
            continue
        of_other = bool(_namespace(term, namespaces))
        for predicate, value in graph.predicate_objects(term):
            declares = predicate == RDF.type and value in _DECLARED
            if not declares and not (of_other and predicate == SKOS.altLabel):
                expected = f"expected axioms only of terms in {module.namespace}, found one: {predicate}"
                yield Finding(module.file, shown(term), expected, "say it of a term of your own")


def _states_more(graph: Graph, term: Node) -> bool:
    return any(predicate != SKOS.altLabel for predicate in graph.predicates(term))


def _namespace(term: Node, namespaces: Iterable[str]) -> str:
    """The longest of the namespaces that the term is in; empty when it is in none."""
    if isinstance(term, BNode):
        return ""
    text = str(term)
    found = [one for one in namespaces if one and text.startswith(one) and len(text) > len(one)]
    return max(found, key=len, default="")
