"""People, accounts, groups and units of an LDAP directory, by paged searches (RFC 2696)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ldap3 import NONE, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPException

from discovery.addresses import is_here
from discovery.connector import (
    Change,
    Connector,
    Item,
    Position,
    Problem,
    SourceError,
    only_if_unchanged,
)
from discovery.connectors.directory import Directory, DirectoryOptions
from discovery.connectors.ldif_entries import Entry, normal_dn
from discovery.files import locate
from discovery.options import parse_options
from discovery.pages import turn
from discovery.secrets import SecretReference, read_secret
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig

_PAGED_RESULTS = "1.2.840.113556.1.4.319"
_SECONDS = 60
#: What changes with an entry: in OpenLDAP, Active Directory, 389; and where it tells less than seconds.
_VERSIONS = ("entryCSN", "uSNChanged", "entryUSN", "modifyTimestamp")
_DEFAULT_PORTS = {"ldap": 389, "ldaps": 636}


class LdapOptions(DirectoryOptions):
    url: str
    """`ldaps://host[:port]`, or `ldap://` with start_tls, or to this machine."""
    base: str
    """Distinguished name below which is searched."""
    filter: str = (
        "(|(objectClass=person)(objectClass=user)(objectClass=group)(objectClass=groupOfNames)"
        "(objectClass=groupOfUniqueNames)(objectClass=organizationalUnit))"
    )
    bind_dn: str | None = None
    """Who asks; anonymous if none is named."""
    password: SecretReference | None = None
    start_tls: bool = False
    ca_file: str | None = None
    """Certificates to trust, beside sources.toml; the machine's if none is named."""
    page_size: int = 500


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for an address that is none, or would send a password in the clear."""
    options = parse_options(LdapOptions, source)
    options.check(source)
    where = f"source {source.name!r}: url"
    try:
        address = urlsplit(options.url)
        port = address.port or _DEFAULT_PORTS[address.scheme]
        host = address.hostname or ""
        normal_dn(options.base)
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            f"{where}: expected ldaps://host or ldap://host, and a base: {error}"
        ) from error
    if not host or address.username or address.password:
        raise ConfigurationError(f"{where}: expected a host and no name or password; use bind_dn, password")
    if (options.bind_dn is None) is not (options.password is None):
        raise ConfigurationError(f"source {source.name!r}: bind_dn and password belong together")
    if options.password and not (address.scheme == "ldaps" or options.start_tls or is_here(host)):
        raise ConfigurationError(f"{where}: the password would be sent in the clear; use ldaps or start_tls")
    return LdapConnector(organization, source, options, host, port, address.scheme == "ldaps")


@dataclass(frozen=True)
class LdapConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: LdapOptions
    host: str
    port: int
    tls: bool

    def scopes(self) -> Sequence[str]:
        people = self.options.people_base
        below = "" if people is None else f" people below {people}"
        return (f"{self.options.url} {self.options.base} {self.options.filter}{below}",)

    def read(self, scope: str) -> Iterator[Item]:
        entries: list[Entry] = []
        versions: list[str | None] = []
        for page in self._pages(sorted({*self.options.attributes(), *_VERSIONS, *self._locks})):
            versions += map(self._told, page)
            found = [_entry(one) for one in page]
            yield from (one for one in found if isinstance(one, Problem))
            entries += (one for one in found if isinstance(one, Entry))
        if not entries:
            yield Problem(scope, "expected at least one entry, found none; check base, filter and rights")
        yield from Directory(self.organization, self.source, self.options, entries).claims()
        if (position := self.options.position(versions)) is not None:
            yield Position(position)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        versions = [self._told(found) for page in self._pages([*_VERSIONS, *self._locks]) for found in page]
        yield from only_if_unchanged(position, self.options.position(versions) or "")

    @property
    def _locks(self) -> Sequence[str]:
        """What locks an account: that may not count as a change of its entry."""
        return ("userAccountControl", *self.options.disabled)

    def _told(self, found: Mapping[str, Any]) -> str | None:
        """An entry with its version; None where it does not tell any."""
        raw = {name.lower(): values for name, values in found["raw_attributes"].items()}
        version = _version(raw)
        locks = [raw.get(lock.lower()) for lock in self._locks]
        return None if version is None else repr((found["dn"], version, locks))

    def _pages(self, attributes: Sequence[str]) -> Iterator[list[Mapping[str, Any]]]:
        """Entries page by page. A page that ends the search early is an error, never an end."""
        try:
            yield from self._found(attributes)
        except (LDAPException, OSError) as error:
            raise SourceError(
                f"{self.options.url}: the directory cannot be read: {_said(error)}; "
                "check the url, the rights of bind_dn and the directory's limits"
            ) from error

    def _found(self, attributes: Sequence[str]) -> Iterator[list[Mapping[str, Any]]]:
        turn("bind")
        with self._connection() as connection:
            cookie, seen = b"", set[bytes]()
            while True:
                turn(f"page {len(seen) + 1}")
                connection.search(
                    self.options.base,
                    self.options.filter,
                    SUBTREE,
                    attributes=attributes,
                    paged_size=self.options.page_size,
                    paged_cookie=cookie,
                )
                result = connection.result
                if result["result"] != 0:
                    raise SourceError(
                        f"{self.options.url}: the search ended with {result['description']}; "
                        "ask for the rights to read it whole, or for higher limits"
                    )
                yield [
                    found
                    for found in connection.response or ()
                    if found["type"] == "searchResEntry"  # a reference leads to another source
                ]
                cookie = _cookie(result)
                if not cookie:
                    return
                if cookie in seen:
                    raise SourceError(f"{self.options.url}: the directory repeats a page; try again later")
                seen.add(cookie)

    def _connection(self) -> Connection:
        ca_file = (
            None if self.options.ca_file is None else str(locate(self.organization, self.options.ca_file))
        )
        tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=ca_file)
        server = Server(
            self.host, self.port, use_ssl=self.tls, tls=tls, get_info=NONE, connect_timeout=_SECONDS
        )
        password = self.options.password and read_secret(self.organization, self.options.password)
        connection = Connection(
            server,
            self.options.bind_dn,
            password,
            read_only=True,
            auto_referrals=False,
            receive_timeout=_SECONDS,
            check_names=False,
        )
        connection.open()
        if self.options.start_tls and not connection.start_tls():
            raise SourceError(f"{self.options.url}: the directory offers no StartTLS; use ldaps")
        if not connection.bind():
            raise SourceError(
                f"{self.options.url}: {self.options.bind_dn or 'anonymous'} may not bind: "
                f"{connection.result['description']}; check bind_dn and password"
            )
        return connection


def _cookie(result: Mapping[str, Any]) -> bytes:
    control = (result.get("controls") or {}).get(_PAGED_RESULTS)
    return control["value"]["cookie"] if control else b""


def _version(raw: Mapping[str, Sequence[bytes]]) -> bytes | None:
    """Two changes within a second must have two; a time in whole seconds is none."""
    for name in _VERSIONS:
        if values := raw.get(name.lower()):
            return values[0] if name != "modifyTimestamp" or b"." in values[0] else None
    return None


def _entry(found: Mapping[str, Any]) -> Entry | Problem:
    try:
        dn = normal_dn(found["dn"])
    except ValueError as error:
        return Problem(str(found["dn"])[:200], f"{error}; correct the entry")
    texts: dict[str, list[str]] = {}
    undecodable = []
    for attribute, values in found["raw_attributes"].items():
        for value in values:
            try:
                if text := value.decode().strip():
                    texts.setdefault(attribute.lower(), []).append(text)
            except UnicodeDecodeError:
                undecodable.append(attribute.lower())
    return Entry(dn, texts, undecodable, str(found["dn"]))


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
