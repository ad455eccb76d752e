"""SCIM 2.0 for identity providers that push: `/scim/v2` (RFC 7644). The token says which source it is."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from aiohttp import web
from neo4j.exceptions import DriverError, Neo4jError

from context_manager import scim_schemas
from discovery.connectors.scim_push import ScimPushOptions
from discovery.options import parse_options
from discovery.runner import Runner
from discovery.scim.filters import Equals, parse_filter
from discovery.scim.patches import patched
from discovery.scim.pushed import Edit, Pushed, absent, found
from discovery.scim.pushing import Pushing
from discovery.scim.resources import CORE, ENTERPRISE, Document, Kind, ScimError, checked
from discovery.secrets import read_secret
from discovery.sources import ConfigurationError

log = logging.getLogger(__name__)

ROOT = "/scim/v2"
MAX_RESULTS = 200
_MAX_BODY = 1024 * 1024
_CONTENT = "application/scim+json"
_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_KINDS: Mapping[str, Kind] = {"Users": "User", "Groups": "Group"}

Handler = Callable[[web.Request, Pushing], Awaitable[web.Response]]


def add_scim(app: web.Application, runner: Runner) -> None:
    """The routes, where a source is pushed to; without one there are none."""
    sources = [source for source in runner.organization.source if source.connector == "scim-push"]
    if sources:
        _Scim(runner, [Pushing(runner, source) for source in sources]).add_to(app)


class _Scim:
    def __init__(self, runner: Runner, sources: Sequence[Pushing]) -> None:
        self._runner = runner
        self._sources = sources

    def add_to(self, app: web.Application) -> None:
        for path, kind in _KINDS.items():
            at = f"{ROOT}/{path}"
            app.router.add_get(at, self._handled(self._listed(kind)))
            app.router.add_post(at, self._handled(self._created(kind)))
            app.router.add_get(f"{at}/{{id}}", self._handled(self._one(kind)))
            app.router.add_put(f"{at}/{{id}}", self._handled(self._replaced(kind)))
            app.router.add_patch(f"{at}/{{id}}", self._handled(self._patched(kind)))
            app.router.add_delete(f"{at}/{{id}}", self._handled(self._deleted(kind)))
        for name, describe in scim_schemas.DESCRIPTIONS.items():
            app.router.add_get(f"{ROOT}/{name}", self._handled(_described(describe)))

    def _handled(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request, self._source_of(request))
            except ScimError as error:
                return _refused(error)
            except (DriverError, Neo4jError):
                log.exception("%s %s", request.method, request.path)
                return _refused(ScimError("", "the graph does not answer at present; send it again", 503))
            except Exception:
                # Whatever goes wrong within a request stays within it, and is told to the log alone.
                log.exception("%s %s", request.method, request.path)
                return _refused(ScimError("", "it could not be done; send it again", 500))

        return handle

    def _source_of(self, request: web.Request) -> Pushing:
        """The source whose token it is. All are compared, so that time tells nothing."""
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        matching = None
        for source in self._sources:
            try:
                options = parse_options(ScimPushOptions, source.source)
                token = read_secret(self._runner.organization, options.token)
            except ConfigurationError as error:
                log.error("source %s: %s", source.source.name, error)
                continue
            if hmac.compare_digest(token.encode(), sent.strip().encode()) and scheme.lower() == "bearer":
                matching = source
        if matching is None:
            raise ScimError("", "send the source's token as `Authorization: Bearer TOKEN`", 401)
        return matching

    def _listed(self, kind: Kind) -> Handler:
        async def handle(request: web.Request, source: Pushing) -> web.Response:
            start = max(_number(request, "startIndex", 1), 1)
            count = min(max(_number(request, "count", MAX_RESULTS), 0), MAX_RESULTS)
            equals = parse_filter(request.query["filter"]) if "filter" in request.query else None
            database, name = self._runner.database, source.source.name
            total, resources = await found(database, name, kind, equals, (start - 1, count))
            without = request.query.get("excludedAttributes", "").lower().split(",")
            page = [_shown(request, resource, without) for resource in resources]
            return _json(
                {
                    "schemas": [_LIST],
                    "totalResults": total,
                    "startIndex": start,
                    "itemsPerPage": len(page),
                    "Resources": page,
                }
            )

        return handle

    def _one(self, kind: Kind) -> Handler:
        async def handle(request: web.Request, source: Pushing) -> web.Response:
            id_ = request.match_info["id"]
            database, name = self._runner.database, source.source.name
            _, resources = await found(database, name, kind, Equals("id", id_), (0, 1))
            if not resources:
                raise absent(id_)
            without = request.query.get("excludedAttributes", "").lower().split(",")
            return _json(_shown(request, resources[0], without))

        return handle

    def _created(self, kind: Kind) -> Handler:
        async def handle(request: web.Request, source: Pushing) -> web.Response:
            document = checked(await _body(request), kind, active=True)
            created = await source.put(Edit(str(uuid4()), kind, lambda _: document))
            shown = _shown(request, created)
            return _json(shown, 201, {"Location": shown["meta"]["location"]})

        return handle

    def _replaced(self, kind: Kind) -> Handler:
        async def handle(request: web.Request, source: Pushing) -> web.Response:
            body, id_ = await _body(request), request.match_info["id"]

            def replaced(before: Document | None) -> Document:
                there = _there(before, id_)
                return checked(body, kind, active=there.get("active"))  # who was disabled stays so

            return _json(_shown(request, await source.put(Edit(id_, kind, replaced))))

        return handle

    def _patched(self, kind: Kind) -> Handler:
        async def handle(request: web.Request, source: Pushing) -> web.Response:
            body, id_ = await _body(request), request.match_info["id"]

            def changed(before: Document | None) -> Document:
                return checked(patched(_there(before, id_), body), kind)

            return _json(_shown(request, await source.put(Edit(id_, kind, changed))))

        return handle

    def _deleted(self, kind: Kind) -> Handler:
        async def handle(request: web.Request, source: Pushing) -> web.Response:
            await source.delete(kind, request.match_info["id"])
            return web.Response(status=204)

        return handle


def _described(describe: Callable[[str], Any]) -> Handler:
    async def handle(request: web.Request, source: Pushing) -> web.Response:
        description = describe(_root(request))
        if isinstance(description, list):
            description = {"schemas": [_LIST], "totalResults": len(description), "Resources": description}
        return _json(description)

    return handle


def _there(before: Document | None, id_: str) -> Document:
    if before is None:
        raise absent(id_)
    return before


def _shown(request: web.Request, resource: Pushed, without: Sequence[str] = ()) -> dict[str, Any]:
    schemas = [f"{CORE}{resource.kind}"]
    if ENTERPRISE in resource.document:
        schemas.append(ENTERPRISE)
    said = {key: value for key, value in resource.document.items() if key.lower() not in without}
    location = f"{_root(request)}/{resource.kind}s/{resource.id}"
    meta = {
        "resourceType": resource.kind,
        "created": resource.created.isoformat(),
        "lastModified": resource.modified.isoformat(),
        "location": location,
    }
    return {"schemas": schemas, "id": resource.id, **said, "meta": meta}


def _root(request: web.Request) -> str:
    return f"{request.url.origin()}{ROOT}"


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    try:
        return min(int(text), 1 << 40)
    except ValueError:
        raise ScimError("invalidValue", f"{name}: expected a number, found {text!r:.80}") from None


async def _body(request: web.Request) -> Any:
    """JSON. It is not read further than a body may be long."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _MAX_BODY:
            raise ScimError("tooMany", f"expected at most {_MAX_BODY} bytes; send fewer members at once", 413)
    try:
        document = json.loads(bytes(body))
        json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ScimError("invalidSyntax", "expected JSON in the body") from error
    return document


def _json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(document, status=status, headers=headers, content_type=_CONTENT)


def _refused(error: ScimError) -> web.Response:
    said = {"schemas": [_ERROR], "status": str(error.status), "detail": str(error)}
    headers = {"WWW-Authenticate": 'Bearer realm="orgraph scim"'} if error.status == 401 else None
    return _json(said | ({"scimType": error.kind} if error.kind else {}), error.status, headers)
