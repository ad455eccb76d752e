"""What a connector says of a small source, ready to be compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from discovery.connector import Places, Position, Problem
from discovery.connectors.table import build
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import EntityClaim, RelationshipClaim


@dataclass(frozen=True)
class Said:
    """What one crawl of all scopes yielded."""

    claims: Sequence[EntityClaim | RelationshipClaim]
    problems: Sequence[Problem]

    @property
    def entities(self) -> Mapping[str, EntityClaim]:
        return {claim.id: claim for claim in self.claims if isinstance(claim, EntityClaim)}

    @property
    def relationships(self) -> set[tuple[str, str, str]]:
        return {(c.start, c.type, c.end) for c in self.claims if isinstance(c, RelationshipClaim)}

    def of(self, class_name: str) -> list[EntityClaim]:
        return [claim for claim in self.entities.values() if claim.class_name == class_name]

    def typed(self, type_name: str) -> set[tuple[str, str]]:
        return {(start, end) for start, kind, end in self.relationships if kind == type_name}


def organization(folder: Path, *sources: Mapping[str, Any]) -> OrganizationConfig:
    return OrganizationConfig.model_validate(
        {
            "name": "Acme",
            "issuer": "acme",
            "administrator": "person:ada",
            "collection": [
                {"id": "all", "name": "All", "readers": ["group:everyone"]},
                {"id": "hr", "name": "HR", "readers": ["group:hr"], "inherits": "all"},
            ],
            "source": [{"collection": "all", "handling": {}, **source} for source in sources],
            "folder": folder,
        }
    )


def crawl(config: OrganizationConfig, source: SourceConfig, known_names=None) -> Said:
    connector = build(config, source, known_names or {})
    items = [item for scope in connector.scopes() for item in connector.read(scope)]
    claims = [item for item in items if not isinstance(item, (Problem, Position, Places))]
    ids = [claim.id for claim in claims if isinstance(claim, EntityClaim)]
    assert len(ids) == len(set(ids)), "an entity was claimed twice"
    assert all(claim.evidence for claim in claims)
    return Said(claims, [item for item in items if isinstance(item, Problem)])


@pytest.fixture
def say() -> Callable[..., Said]:
    """`say(folder, connector, options, **source)`: build that connector and read all it says."""

    def read(folder: Path, connector: str, options: Mapping[str, Any], known_names=None, **source) -> Said:
        declared = {"name": "source", "connector": connector, "options": options, **source}
        config = organization(folder, declared)
        return crawl(config, config.source[0], known_names)

    return read


@pytest.fixture
def make_organization() -> Callable[..., OrganizationConfig]:
    return organization


@pytest.fixture
def crawl_source() -> Callable[..., Said]:
    return crawl
