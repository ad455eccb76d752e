"""Users and groups of a SCIM 2.0 service, page by page (RFC 7644, 3.4.2)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

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
from discovery.options import parse_options
from discovery.pages import turn
from discovery.scim.resources import Kind, ScimClaims, ScimError, ScimOptions, checked, entity_of
from discovery.secrets import SecretReference, read_secret
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig

_SECONDS = 60
_MAX_BYTES = 64 * 1024 * 1024
KINDS: Sequence[Kind] = ("User", "Group")


class ScimClientOptions(ScimOptions):
    url: str
    """Where its `/Users` and `/Groups` are: `https://host/scim/v2`."""
    token: SecretReference
    page_size: int = 100


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    """Raises ConfigurationError for an address that is none, or would send the token in the clear."""
    options = parse_options(ScimClientOptions, source)
    address = urlsplit(options.url)
    here = address.scheme == "http" and is_here(address.hostname or "")
    if not (address.scheme == "https" or here) or not address.hostname or address.username:
        raise ConfigurationError(
            f"source {source.name!r}: url: expected https://host/path without name and password, "
            "or http to this machine"
        )
    return ScimConnector(organization, source, options)


@dataclass(frozen=True)
class ScimConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: ScimClientOptions

    def scopes(self) -> Sequence[str]:
        return (self.options.url,)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        versions = [_told(kind, item) for kind in KINDS for item in self._listed(kind, "meta")]
        yield from only_if_unchanged(position, self.options.position(versions) or "")

    def read(self, scope: str) -> Iterator[Item]:
        versions: list[str | None] = []
        found: dict[str, tuple[Kind, Mapping[str, Any]]] = {}
        for kind in KINDS:
            for item in self._resources(kind, versions):
                if isinstance(item, Problem):
                    yield item
                else:
                    found.setdefault(item[0], (kind, item[1]))
        if not found:
            yield Problem(scope, "expected at least one user, found none; check url and rights")
        claims = ScimClaims(self.organization, self.source, self.options)
        entities: dict[str, str] = {}
        taken: set[str | None] = set()
        for id_, (kind, document) in found.items():
            entity = entity_of(document, id_, kind, self.options)
            if entity in taken:
                yield Problem(f"{kind}s/{id_}", f"{entity} is another resource as well; rename one of them")
            elif entity is not None:
                entities[id_] = entity
                taken.add(entity)
        for id_, (kind, document) in found.items():
            if id_ in entities or entity_of(document, id_, kind, self.options) is None:
                yield from claims.of(document, id_, kind, entities.get)
        if (position := self.options.position(versions)) is not None:
            yield Position(position)

    def _resources(
        self, kind: Kind, versions: list[str | None]
    ) -> Iterator[tuple[str, Mapping[str, Any]] | Problem]:
        """All of a kind with their ids; what they tell of their versions is added to those."""
        for resource in self._listed(kind):
            versions.append(_told(kind, resource))
            if isinstance(resource, Problem):
                yield resource
                continue
            try:
                # Who does not say that they are active has no access.
                yield resource["id"], checked(resource, kind, active=False)
            except ScimError as error:
                yield Problem(f"{kind}s/{resource['id']}", f"{error}; have it corrected")

    def _listed(self, kind: Kind, attributes: str = "") -> Iterator[Mapping[str, Any] | Problem]:
        """All of a kind, each once. A list that ends early, or changes underway, is a problem."""
        ids: set[str] = set()
        start, total = 1, None
        while total is None or start <= total:
            page = self._page(kind, start, attributes)
            listed, said = page.get("Resources", []), page.get("totalResults")
            if not isinstance(said, int) or not isinstance(listed, list):
                raise self._failed("expected totalResults and a list of Resources")
            if total is not None and said != total:
                yield Problem(f"{kind}s", "their number changed while they were read; they are read again")
            total = said
            if not listed and start <= total:
                raise self._failed(f"the list of {kind}s ends at {start - 1} of {total}")
            for resource in listed:
                id_ = resource.get("id") if isinstance(resource, Mapping) else None
                if not isinstance(id_, str) or not id_:
                    yield Problem(f"{kind}s", "expected a resource with an id; have it corrected")
                elif id_ not in ids:
                    ids.add(id_)
                    yield resource
            start += len(listed)
        if len(ids) < (total or 0):
            yield Problem(f"{kind}s", f"expected {total} of them, found {len(ids)}: a page was repeated")

    def _page(self, kind: Kind, start: int, attributes: str) -> Mapping[str, Any]:
        address = urlsplit(self.options.url)
        wanted = {"attributes": attributes} if attributes else {}
        query = urlencode({"startIndex": start, "count": self.options.page_size, **wanted})
        connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = connect(address.hostname or "", address.port, timeout=_SECONDS)
        token = read_secret(self.organization, self.options.token)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/scim+json"}
        try:
            turn(f"{kind}s from {start}")
            # Redirects are not followed: the token is for this host.
            connection.request("GET", f"{address.path.rstrip('/')}/{kind}s?{query}", headers=headers)
            answer = connection.getresponse()
            data = answer.read(_MAX_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(f"{error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise self._failed(f"{kind}s were answered with {answer.status} {answer.reason}")
        if len(data) > _MAX_BYTES:
            raise self._failed(f"expected at most {_MAX_BYTES} bytes a page; set a smaller page_size")
        try:
            page = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._failed("expected JSON") from error
        if not isinstance(page, Mapping):
            raise self._failed("expected an object in JSON")
        return page

    def _failed(self, why: str) -> SourceError:
        return SourceError(f"{self.options.url}: cannot be read: {why}; check url, token and rights")


def _told(kind: Kind, resource: Mapping[str, Any] | Problem) -> str | None:
    """A resource with its version; None where it does not tell any."""
    version = None if isinstance(resource, Problem) else _version(resource)
    return None if isinstance(resource, Problem) or version is None else f"{kind} {resource['id']} {version}"


def _version(resource: Mapping[str, Any]) -> str | None:
    """Two changes within a second must have two; a time in whole seconds is none."""
    meta = resource.get("meta")
    if not isinstance(meta, Mapping):
        return None
    if version := meta.get("version"):
        return str(version)
    modified = str(meta.get("lastModified", ""))
    return modified if "." in modified else None
