"""Files and folders of a file system or an object store: who owns them and may read them there, and the
schemas of data files. Memory does not grow with their number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import fsspec
from s3fs import S3FileSystem

from discovery.addresses import is_here
from discovery.connector import Change, Connector, Item, Position, Problem, SourceError, only_if_unchanged
from discovery.files import UnreadableError, locate
from discovery.options import Options, parse_options
from discovery.pages import turn
from discovery.patterns import Parts, matches
from discovery.schemas import Sample, has_schema, sample
from discovery.secrets import SecretReference, read_secret
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from discovery.stores.entries import Entry, ListingDigest, Store
from discovery.stores.local import LocalStore
from discovery.stores.remote import RemoteStore
from discovery.stores.s3 import S3Store
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id

_ALL = ("**",)
_SECRET = re.compile("secret|password|token|credential", re.IGNORECASE)


class FilesOptions(Options):
    url: str
    """A folder, or an address that fsspec knows: `s3://bucket/prefix`."""
    schemas: tuple[str, ...] = _ALL
    """Globs of the data files whose columns are read."""
    principals: Mapping[str, str] = {}
    """Ids of who the store names (`"user:ada" = "person:ada"`); groups if not named."""
    arguments: Mapping[str, Any] = {}
    """fsspec's, of the store: `endpoint_url`, `key`."""
    secrets: Mapping[str, SecretReference] = {}
    """Those of them that are secret."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for an unknown kind of store, a secret in the clear, and one that would be
    sent so."""
    options = parse_options(FilesOptions, source)
    where = f"source {source.name!r}"
    for name in options.arguments:
        if _SECRET.search(name):
            raise ConfigurationError(f"{where}: arguments: {name} is a secret; name it in `secrets`")
    if urlsplit(options.url).password:
        raise ConfigurationError(f"{where}: url: expected no password; name it in `secrets`")
    endpoint = urlsplit(str(options.arguments.get("endpoint_url", "")))
    if endpoint.scheme == "http" and not is_here(endpoint.hostname or ""):
        raise ConfigurationError(f"{where}: endpoint_url: expected https, but on this machine")
    return FilesConnector(organization, source, options)


@dataclass(frozen=True)
class FilesConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: FilesOptions

    def scopes(self) -> Sequence[str]:
        schemas = self.options.schemas
        return (self.options.url if schemas == _ALL else " ".join((self.options.url, *schemas)),)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        digest = ListingDigest()
        for entry in self._store().entries():
            digest.add(entry)
        yield from only_if_unchanged(position, self._position(digest))

    def read(self, scope: str) -> Iterator[Item]:
        store, digest = self._store(), ListingDigest()
        claims = _Claims(self.organization, self.source, self.options)
        yield from claims.parts.classifications()
        for entry in store.entries():
            digest.add(entry)
            if isinstance(entry, Problem):
                yield entry
                continue
            yield from claims.of(entry)
            if not entry.is_folder and self._has_schema(entry):
                yield from self._schema(store, entry, claims)
        yield Position(self._position(digest))

    def _position(self, digest: ListingDigest) -> str:
        return f"{self.options.digest()} {digest.text()}"

    def _has_schema(self, entry: Entry) -> bool:
        return has_schema(entry.name) and any(matches(glob, entry.path) for glob in self.options.schemas)

    def _schema(self, store: Store, entry: Entry, claims: _Claims) -> Iterator[Claim | Problem]:
        try:
            turn(entry.path)
            with store.open(entry.path) as file:
                found = sample(file, entry.name)
        except UnreadableError as error:
            yield Problem(entry.path, f"{error}, or leave the file out of `schemas`")
        except OSError as error:
            yield Problem(entry.path, f"cannot be read: {error}; check its permissions")
        else:
            if found is not None:
                yield from claims.table(entry, found)

    def _store(self) -> Store:
        """Raises SourceError where the store's address is not understood."""
        url = self.options.url
        if "://" not in url:
            return LocalStore(locate(self.organization, url))
        secrets = {name: read_secret(self.organization, at) for name, at in self.options.secrets.items()}
        try:
            system, path = fsspec.url_to_fs(
                url, use_listings_cache=False, **self.options.arguments, **secrets
            )
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigurationError(
                f"source {self.source.name!r}: url: expected an address that fsspec knows: {error}"
            ) from None
        except OSError as error:
            raise SourceError(f"{url}: cannot be reached: {error}; check url and rights") from None
        if isinstance(system, S3FileSystem):
            bucket, _, prefix = path.partition("/")
            return S3Store(system, bucket, f"{prefix.rstrip('/')}/" if prefix else "")
        return RemoteStore(system, path.rstrip("/"))


class _Claims:
    """Claims of entries; of whom the store names, one when they first occur."""

    def __init__(self, organization: OrganizationConfig, source: SourceConfig, options: FilesOptions) -> None:
        self.parts = Parts(organization, source)
        self._source, self._principals, self._url = source.name, options.principals, options.url
        self._named: dict[str, str] = {}

    def of(self, entry: Entry) -> Iterator[Claim]:
        id_ = self._id(entry.path, is_folder=entry.is_folder)
        place = f"{self._url}: {entry.path}" if entry.path else self._url
        values: dict[str, Value] = {"name": entry.name if entry.path else self._source}
        if entry.path:
            values["path"] = entry.path
        if not entry.is_folder:
            values["byteSize"] = entry.size
        kind = "Folder" if entry.is_folder else "File"
        yield EntityClaim(id_, kind, self.parts.collection(entry.path), values, place)
        yield from self.parts.classified(id_, place, entry.path)
        if entry.path:
            yield RelationshipClaim(self._id(entry.parent, is_folder=True), "CONTAINS", id_, place)
        owners = (entry.access.owner,) if entry.access.owner else ()
        for type_name, names in (
            ("OWNS", owners),
            ("MAY_READ", entry.access.readers),
            ("MAY_WRITE", entry.access.writers),
        ):
            for name in names:
                yield from self._name(name)
                yield RelationshipClaim(self._named[name], type_name, id_, place)

    def table(self, entry: Entry, found: Sample) -> Iterator[Claim]:
        place = f"{self._url}: {entry.path}"
        table = entity_id("table", f"{self._source}/{entry.path}")
        collection = self.parts.collection(entry.path)
        yield EntityClaim(table, "Table", collection, {"name": entry.name, "path": entry.path}, place)
        yield RelationshipClaim(table, "DERIVED_FROM", self._id(entry.path, is_folder=False), place)
        yield from self.parts.classified(table, place, entry.path)
        for position, column in enumerate(found.columns, start=1):
            part = f"{entry.path}.{column.name}"
            id_ = entity_id("column", f"{self._source}/{entry.path}/{column.name}")
            said: dict[str, Value] = {
                "name": column.name,
                "dataType": column.data_type,
                "nullable": column.nullable,
                "position": position,
            }
            yield EntityClaim(id_, "Column", self.parts.collection(part, entry.path), said, place)
            yield RelationshipClaim(table, "HAS_COLUMN", id_, place)
            values = [row.get(column.name) for row in found.rows]
            yield from self.parts.classified(id_, place, part, entry.path, values=values)

    def _id(self, path: str, *, is_folder: bool) -> str:
        return entity_id("folder" if is_folder else "file", f"{self._source}/{path}".rstrip("/"))

    def _name(self, name: str) -> Iterator[Claim]:
        if name in self._named:
            return
        if name in self._principals:
            self._named[name] = self._principals[name]
            return
        id_ = self._named[name] = entity_id("group", f"{self._source}/{name}")
        values = {"name": f"{name} of {self._source}"}
        yield EntityClaim(id_, "Group", self.parts.collection(), values, self._url)
