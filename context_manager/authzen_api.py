"""The OpenID AuthZEN Authorization API 1.0 over HTTP, on the organization's store or a named one.

At the root it asks the organization's store, below `/openfga/stores/ID` that store. What the
evaluation refuses (an unknown action, a value that a condition lacks) is no permission: the
decision is false, and `context.error` says why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from context_manager.authzen_requests import BadRequest, Evaluation, Search, evaluation, evaluations, search
from context_manager.openfga_access import AuthorizationService
from context_manager.openfga_answers import Answers, Supposed
from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_http import Askers, asked, document, store_id
from context_manager.openfga_organization import ORGANIZATION_STORE
from graph.reads import Asker
from graph.rebac.relation_tuples import TupleKey

Json = Mapping[str, Any]
Work = Callable[[Answers, Json], Awaitable[Json]]

WELL_KNOWN = "/.well-known/authzen-configuration"
_STORES = "/openfga/stores/{store_id}"
_ENDPOINTS = {
    "access_evaluation_endpoint": "/access/v1/evaluation",
    "access_evaluations_endpoint": "/access/v1/evaluations",
    "search_subject_endpoint": "/access/v1/search/subject",
    "search_resource_endpoint": "/access/v1/search/resource",
    "search_action_endpoint": "/access/v1/search/action",
}
#: A refusal with one of these is one of the whole request; others leave the decision at false.
_OF_THE_REQUEST = frozenset({401, 403, 404, 413, 500, 503})


def add_authzen(app: web.Application, service: AuthorizationService, askers: Askers) -> None:
    """The routes of the API and of its metadata."""

    def route(work: Work, named: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request, asker: Asker) -> web.StreamResponse:
            id = store_id(request) if named else ORGANIZATION_STORE
            store = await service.store(asker, id, current=False)
            answers = await store.answers("")
            try:
                return web.json_response(await work(answers, await document(request)))
            except BadRequest as error:
                raise OpenFgaError("validation_error", str(error)) from error

        answer = asked(askers, handle, _refusal)

        async def identified(request: web.Request) -> web.StreamResponse:
            response = await answer(request)
            if "X-Request-ID" in request.headers:
                response.headers["X-Request-ID"] = request.headers["X-Request-ID"]
            return response

        return identified

    works = (_evaluation, _evaluations, _search_subject, _search_resource, _search_action)
    for path, work in zip(_ENDPOINTS.values(), works, strict=True):
        app.router.add_post(path, route(work, named=False))
        app.router.add_post(_STORES + path, route(work, named=True))
    app.router.add_get(WELL_KNOWN, _metadata)
    app.router.add_get(WELL_KNOWN + _STORES, _metadata)


def _refusal(error: OpenFgaError) -> web.Response:
    response = web.Response(status=error.status, text=error.message)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="orgraph"'
    return response


async def _metadata(request: web.Request) -> web.Response:
    """The same for any store: it does not tell which there are."""
    secure = request.scheme == "https" or request.headers.get("X-Forwarded-Proto") == "https"
    base = f"{'https' if secure else 'http'}://{request.host}{request.path.removeprefix(WELL_KNOWN)}"
    return web.json_response(
        {"policy_decision_point": base, **{name: base + path for name, path in _ENDPOINTS.items()}}
    )


async def _evaluation(answers: Answers, body: Json) -> Json:
    return await _decision(answers, evaluation(body))


async def _evaluations(answers: Answers, body: Json) -> Json:
    asked_for = evaluations(body)
    if asked_for is None:
        return await _evaluation(answers, body)
    last = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(asked_for.semantic)
    decisions: list[Json] = []
    for item in asked_for.items:
        decisions.append(await _decision(answers, item, alone=False))
        if decisions[-1]["decision"] is last:
            break
    return {"evaluations": decisions}


async def _decision(answers: Answers, item: Evaluation, alone: bool = True) -> Json:
    """One decision; one of several is false also where it alone would be a refused request."""
    try:
        return {"decision": await answers.check(item.key, Supposed(context=item.context))}
    except OpenFgaError as error:
        if alone and error.status in _OF_THE_REQUEST:
            raise
        return {"decision": False, "context": _error(error)}


async def _search_subject(answers: Answers, body: Json) -> Json:
    asked_for = search(body, "subject")

    async def found() -> list[str]:
        return await answers.list_users(
            asked_for.resource, asked_for.action, asked_for.subject, "", Supposed(context=asked_for.context)
        )

    return await _page(asked_for, found, _entity)


async def _search_resource(answers: Answers, body: Json) -> Json:
    asked_for = search(body, "resource")

    async def found() -> list[str]:
        supposed = Supposed(context=asked_for.context)
        return list(
            await answers.list_objects(asked_for.subject, asked_for.action, asked_for.resource, supposed)
        )

    return await _page(asked_for, found, _entity)


async def _search_action(answers: Answers, body: Json) -> Json:
    asked_for = search(body, "action")

    async def found() -> list[str]:
        definition = answers.model.types.get(asked_for.resource.partition(":")[0])
        return [
            relation
            for relation in (definition.relations if definition else ())
            if await _may(answers, TupleKey(asked_for.subject, relation, asked_for.resource), asked_for)
        ]

    return await _page(asked_for, found, lambda name: {"name": name})


async def _may(answers: Answers, key: TupleKey, asked_for: Search) -> bool:
    decision = await _decision(answers, Evaluation(key, asked_for.context))
    return bool(decision["decision"])


async def _page(
    asked_for: Search, find: Callable[[], Awaitable[Sequence[str]]], shown: Callable[[str], Json]
) -> Json:
    try:
        found = sorted(await find())
    except OpenFgaError as error:
        if error.status in _OF_THE_REQUEST:
            raise
        return {"page": {"next_token": "", "count": 0, "total": 0}, "context": _error(error), "results": []}
    rest = [name for name in found if name > asked_for.after]
    page = rest[: asked_for.limit]
    last = page[-1] if page else asked_for.after
    more = asked_for.next_token(last) if len(rest) > len(page) else ""
    return {
        "page": {"next_token": more, "count": len(page), "total": len(found)},
        "results": list(map(shown, page)),
    }


def _entity(name: str) -> Json:
    type_name, _, id = name.partition(":")
    return {"type": type_name, "id": id}


def _error(error: OpenFgaError) -> Json:
    return {"error": {"status": error.status, "message": error.message}}
