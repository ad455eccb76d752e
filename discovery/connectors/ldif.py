"""People, accounts, groups and units from an LDIF export (RFC 2849) of an LDAP directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from discovery.connector import Change, Connector, Item, Position, Problem, only_if_unchanged
from discovery.connectors.directory import Directory, DirectoryOptions
from discovery.connectors.ldif_entries import Entry, read_entries
from discovery.files import find, listing, locate
from discovery.options import parse_options
from discovery.sources import OrganizationConfig, SourceConfig


class LdifOptions(DirectoryOptions):
    path: str
    """A file, or a glob over several that make one directory."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for a placement rule that matches no attribute of contact details."""
    options = parse_options(LdifOptions, source)
    options.check(source)
    return LdifConnector(organization, source, options)


@dataclass(frozen=True)
class LdifConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: LdifOptions

    def scopes(self) -> Sequence[str]:
        base = self.options.people_base
        return (self.options.path + ("" if base is None else f" people below {base}"),)

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        entries: list[Entry] = []
        for found in find(locate(self.organization, self.options.path)):
            for entry in [found] if isinstance(found, Problem) else read_entries(*found):
                if isinstance(entry, Problem):
                    yield entry
                else:
                    entries.append(entry)
        if not entries:  # an export that broke off must not be taken for a directory without people
            yield Problem(scope, "expected at least one entry, found none; export the directory again")
        yield from Directory(self.organization, self.source, self.options, entries).claims()
        yield Position(position)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position())

    def _position(self) -> str:
        return f"{self.options.digest()} {listing(find(locate(self.organization, self.options.path)))}"
