"""The sample organization, read once: its files, and what its connectors claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from ldif import LDIFParser

from discovery.configuration import all_sources
from discovery.connector import Places, Position, Problem
from discovery.connectors.table import build
from discovery.sources import OrganizationConfig, load_organization
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy

SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "sample"

Entry = dict[str, list[str]]


@dataclass(frozen=True)
class Crawl:
    """What all connectors said."""

    organization: OrganizationConfig
    claims: Sequence[tuple[SourcePolicy, Claim]]
    problems: Sequence[str]

    @cached_property
    def entities(self) -> dict[str, EntityClaim]:
        return {claim.id: claim for _, claim in self.claims if isinstance(claim, EntityClaim)}

    @cached_property
    def relationships(self) -> Sequence[RelationshipClaim]:
        return [claim for _, claim in self.claims if isinstance(claim, RelationshipClaim)]

    def ends(self, start: str, *types: str) -> set[str]:
        return {r.end for r in self.relationships if r.start == start and r.type in types}

    def groups(self, person: str) -> set[str]:
        """Groups of a person, nested ones included."""
        found: set[str] = set()
        ahead = self.ends(person, "MEMBER_OF")
        while ahead:
            found |= ahead
            ahead = {outer for group in ahead for outer in self.ends(group, "SUBGROUP_OF")} - found
        return found

    def collections(self, person: str) -> set[str]:
        """Ids of the collections that a person may view."""
        groups = self.groups(person)
        viewed = {c.id for c in self.organization.collection if groups & set(c.readers)}
        while more := {c.id for c in self.organization.collection if c.inherits in viewed} - viewed:
            viewed |= more
        return {f"collection:{key}" for key in viewed}

    def visible_text(self, person: str) -> str:
        """All names and values of the entities that a person may view."""
        viewed = self.collections(person)
        return "\n".join(
            str(value)
            for entity in self.entities.values()
            if entity.collection in viewed
            for value in entity.values.values()
        )


@pytest.fixture(scope="session")
def sample() -> Path:
    return SAMPLE


@pytest.fixture(scope="session")
def directory(sample: Path) -> dict[str, Entry]:
    """Entries of the directory by distinguished name, in lower case."""
    with (sample / "directory.ldif").open("rb") as file:
        records = LDIFParser(file, strict=True).parse()
        return {dn.lower(): dict(entry) for dn, entry in records if dn}  # the version line has none


@pytest.fixture(scope="session")
def having(directory: dict[str, Entry]) -> Callable[[str], list[Entry]]:
    """The entries of an object class."""
    return lambda name: [entry for entry in directory.values() if name in entry["objectClass"]]


@pytest.fixture(scope="session")
def crawl(sample: Path) -> Crawl:
    organization = load_organization(sample / "sources.toml")
    claims: list[tuple[SourcePolicy, Claim]] = []
    problems: list[str] = []
    for source in all_sources(organization):
        connector = build(organization, source, {})
        for scope in connector.scopes():
            for said in connector.read(scope):
                if isinstance(said, Problem):
                    problems.append(f"{source.name} {said.place}: {said.message}")
                elif not isinstance(said, (Places, Position)):
                    claims.append((source.policy(), said))
    return Crawl(organization, claims, problems)
