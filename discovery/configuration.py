"""The configuration as a source: what `sources.toml` itself says of the organization and its collections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from discovery.connector import Connector, Problem
from discovery.patterns import Parts
from discovery.sources import OrganizationConfig, PlacementRule, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, entity_id
from graph.tuples import CONFIGURATION

_FILE = "sources.toml"


def configuration_source(organization: OrganizationConfig) -> SourceConfig:
    """The source named `configuration`. Each collection is placed in itself; handled as questions are."""
    return SourceConfig(
        name=CONFIGURATION,
        connector=CONFIGURATION,
        collection=organization.collection[0].id,
        trust=100,
        grants=(
            "MAY_VIEW",
            "INHERITS_FROM",
            "MAY_GRANT",
            "MAY_BREAK_GLASS",
            "ADMINISTERS_ACCESS",
            "MAY_BE_REPRESENTED_BY",
        ),
        handling=organization.asker_handling,
        placement=tuple(PlacementRule(pattern=c.id, collection=c.id) for c in organization.collection),
    )


def all_sources(organization: OrganizationConfig) -> tuple[SourceConfig, ...]:
    """The configuration, then the sources that it declares."""
    return (configuration_source(organization), *organization.source)


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    return ConfigurationConnector(organization, source)


@dataclass(frozen=True)
class ConfigurationConnector:
    organization: OrganizationConfig
    source: SourceConfig

    def scopes(self) -> Sequence[str]:
        return (_FILE,)

    def read(self, scope: str) -> Iterator[Claim | Problem]:
        parts = Parts(self.organization, self.source)
        whole = self.organization.id
        yield EntityClaim(whole, "Organization", parts.collection(), {"name": self.organization.name}, scope)
        yield RelationshipClaim(self.organization.administrator, "ADMINISTERS_ACCESS", whole, scope)
        for collection in self.organization.collection:
            id_, evidence = entity_id("collection", collection.id), f"{scope} collection {collection.id}"
            yield EntityClaim(
                id_, "Collection", parts.collection(collection.id), {"name": collection.name}, evidence
            )
            for reader in collection.readers:
                yield RelationshipClaim(reader, "MAY_VIEW", id_, evidence)
            for granter in dict.fromkeys((self.organization.administrator, *collection.owners)):
                yield RelationshipClaim(granter, "MAY_GRANT", id_, evidence)
            if collection.break_glass is not None:
                for reader in collection.break_glass.by:
                    yield RelationshipClaim(reader, "MAY_BREAK_GLASS", id_, evidence)
            if collection.inherits is not None:
                parent = entity_id("collection", collection.inherits)
                yield RelationshipClaim(id_, "INHERITS_FROM", parent, evidence)
        for agent in self.organization.agent:
            id_, evidence = entity_id("software_agent", agent.id), f"{scope} agent {agent.id}"
            yield EntityClaim(id_, "SoftwareAgent", parts.collection(), {"name": agent.name}, evidence)
            for person in agent.may_act_for:
                yield RelationshipClaim(person, "MAY_BE_REPRESENTED_BY", id_, evidence)
