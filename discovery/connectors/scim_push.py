"""What identity providers pushed over SCIM, read again from where it is kept: a crawl puts right what a
push that was interrupted left undone, and keeps grants fresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from discovery.connector import Connector, Item, Problem, SourceError
from discovery.options import parse_options
from discovery.pages import turn
from discovery.scim.pushed import Pushed
from discovery.scim.resources import ScimClaims, ScimOptions, entity_of
from discovery.secrets import SecretReference
from discovery.sources import OrganizationConfig, SourceConfig

SCOPE = "pushed"


class ScimPushOptions(ScimOptions):
    token: SecretReference
    """What the provider sends as `Authorization: Bearer`."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What is kept of a source."""

    all: Sequence[Pushed]
    stale: int
    """Those that were pushed before the graph was restored from a backup."""


def connect(
    organization: OrganizationConfig, source: SourceConfig, resources: Callable[[], Resources]
) -> Connector:
    return ScimPushConnector(organization, source, parse_options(ScimPushOptions, source), resources)


@dataclass(frozen=True)
class ScimPushConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: ScimPushOptions
    resources: Callable[[], Resources]
    """Asked within the crawl: none of what is pushed meanwhile is missed."""

    def scopes(self) -> Sequence[str]:
        return (SCOPE,)

    def read(self, scope: str) -> Iterator[Item]:
        try:
            turn(SCOPE)
            kept = self.resources()
        except OSError as error:
            raise SourceError(f"what was pushed cannot be read: {error}; it is tried again") from error
        claims = ScimClaims(self.organization, self.source, self.options)
        known = {
            one.id: entity
            for one in kept.all
            if (entity := entity_of(one.document, one.id, one.kind, self.options))
        }
        for one in kept.all:
            for claim in claims.of(one.document, one.id, one.kind, known.get):
                if not isinstance(claim, Problem):  # who is named may yet be pushed
                    yield claim
        if kept.stale:
            yield Problem(
                scope,
                f"{kept.stale} resources were pushed before the graph was restored from a backup; "
                "have the provider send all of them again",
            )
