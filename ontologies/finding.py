"""What is wrong with a file of the ontology, so that whoever wrote it can mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that does not fit."""

    file: str
    """Name of the file; empty where it could be any."""
    term: str
    """What in it: `og:memberOf`, an IRI, `collection#viewer`, `binding 3`, `line 7`."""
    expected: str
    """What was expected there, and what was found."""
    action: str
    """What to do."""

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.term) if part)
        return f"{place}: {self.expected}; {self.action}"


class OntologyError(Exception):
    """The ontology's files cannot be used; the message names each term, its file and what to do."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("the ontology cannot be used: " + " | ".join(map(str, findings)))
        self.findings = findings
