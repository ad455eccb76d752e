"""Mesh nodes by the statements of attesters, each a file NAME.jwt in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from discovery.connector import Change, Item, Position, Problem, only_if_unchanged
from discovery.files import UnreadableError, listing, locate, read_text, search
from discovery.node_statements import MAX_BYTES, Statement, StatementRefused, read_statement
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim

CONNECTOR = "mesh-nodes"


class MeshNodesOptions(Options):
    folder: str
    """Of the statements; nodes that announce themselves have theirs put here."""
    attesters: Annotated[Mapping[str, str], Field(min_length=1)]
    """Who vouches for nodes: the file of the public key (PEM) of each, by its name."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> MeshNodesConnector:
    options = parse_options(MeshNodesOptions, source)
    return MeshNodesConnector(organization, source, options, attester_keys(organization, options))


def attester_keys(organization: OrganizationConfig, options: MeshNodesOptions) -> dict[str, str]:
    """The public keys by the names of the attesters. Raises ConfigurationError."""
    keys = {}
    for name, file in options.attesters.items():
        try:
            keys[name] = read_text(locate(organization, file), MAX_BYTES)
        except UnreadableError as error:
            raise ConfigurationError(f"the key of the attester {name!r}: {file}: {error}") from error
    return keys


@dataclass(frozen=True)
class MeshNodesConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: MeshNodesOptions
    keys: Mapping[str, str]

    def scopes(self) -> Sequence[str]:
        return (self.options.folder,)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position())

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        parts = Parts(self.organization, self.source)
        yield from parts.classifications()
        newest: dict[str, tuple[Statement, str]] = {}
        for found in self._files():
            if isinstance(found, Problem):
                yield found
                continue
            path, name = found
            try:
                statement = self.statement(read_text(path, MAX_BYTES).strip())
            except (UnreadableError, StatementRefused) as error:
                yield Problem(name, str(error))
                continue
            before = newest.get(statement.node)
            if before is None or before[0].issued <= statement.issued:
                newest[statement.node] = (statement, name)
        for statement, name in newest.values():
            yield from _claims(statement, f"{name}, attested by {statement.attester}", name, parts)
        yield Position(position)

    def statement(self, text: str) -> Statement:
        """Raises StatementRefused."""
        return read_statement(text, self.keys, self.organization.issuer, datetime.now(UTC))

    def _files(self) -> Iterator[tuple[Path, str] | Problem]:
        yield from search(locate(self.organization, self.options.folder), ["*.jwt"])

    def _position(self) -> str:
        keys = hashlib.sha256(repr(sorted(self.keys.items())).encode()).hexdigest()
        return f"{self.options.digest()} {keys} {listing(self._files())}"


def _claims(statement: Statement, evidence: str, part: str, parts: Parts) -> Iterator[Claim]:
    """It ends with its statement."""
    declared = statement.declared
    values = {
        "name": statement.node.partition(":")[2],
        "endpoint": declared.endpoint,
        "certificateDigest": statement.certificate,
        "jurisdiction": (declared.jurisdiction,),
        "region": declared.region,
        "silicon": (declared.silicon,),
        "model": declared.models,
        "capability": declared.capabilities,
        "engine": declared.engine,
        "site": declared.site,
        "certification": declared.certifications or None,
        "clearance": declared.clearance,
        "purpose": declared.purposes or None,
        "memory": declared.memory,
        "contextLength": declared.context_length,
        "price": declared.price,
    }
    yield EntityClaim(
        statement.node,
        "MeshNode",
        parts.collection(part),
        {name: value for name, value in values.items() if value is not None},
        evidence,
        valid_to=statement.expires,
    )
    yield from parts.classified(statement.node, evidence, part)
    if declared.owner is not None:
        yield RelationshipClaim(declared.owner, "OWNS", statement.node, evidence, valid_to=statement.expires)
