"""OpenFGA's HTTP API under `/openfga`: stores, models, tuples and assertions. Questions are beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web

from context_manager import openfga_messages as messages
from context_manager import openfga_questions as questions
from context_manager.openfga_access import AuthorizationService
from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_fields import Message, Values, parse
from context_manager.openfga_http import Askers, asked, document, store_id
from context_manager.openfga_json import change_json, keys_of, store_json, tuple_json
from context_manager.openfga_paging import PAGE_SIZE, position_of, token_of
from context_manager.openfga_stores import StoreView
from graph.reads import Asker
from graph.stored_tuples import ChangeFilter, TupleFilter, TupleWrite
from graph.tuple_store_records import StoredModel

PREFIX = "/openfga"

StoreHandler = Callable[[StoreView, web.Request], Awaitable[web.StreamResponse]]


def add_openfga(app: web.Application, service: AuthorizationService, askers: Askers) -> None:
    """The routes of the API."""

    def of_store(handler: StoreHandler, request: web.Request, asker: Asker) -> Awaitable[web.StreamResponse]:
        async def work() -> web.StreamResponse:
            return await handler(await service.store(asker, store_id(request)), request)

        return work()

    def add(method: str, path: str, handler: StoreHandler) -> None:
        route = asked(askers, partial(of_store, handler), OpenFgaError.response)
        app.router.add_route(method, f"{PREFIX}/stores/{{store_id}}{path}", route)

    def of_question(
        handler: questions.QuestionHandler, request: web.Request, asker: Asker
    ) -> Awaitable[web.StreamResponse]:
        return handler(partial(service.store, asker, store_id(request)), request)

    def ask(path: str, handler: questions.QuestionHandler) -> None:
        route = asked(askers, partial(of_question, handler), OpenFgaError.response)
        app.router.add_post(f"{PREFIX}/stores/{{store_id}}{path}", route)

    # First what is asked most: routes are tried in their order.
    ask("/check", questions.check)
    ask("/batch-check", questions.batch_check)
    ask("/expand", questions.expand)
    ask("/explain", questions.explain)
    ask("/list-objects", questions.list_objects)
    ask("/streamed-list-objects", questions.streamed_list_objects)
    ask("/list-users", questions.list_users)
    for method, handler in (("POST", _create_store), ("GET", _list_stores)):
        route = asked(askers, partial(handler, service), OpenFgaError.response)
        app.router.add_route(method, f"{PREFIX}/stores", route)
    add("GET", "", _get_store)
    add("DELETE", "", _delete_store)
    add("POST", "/authorization-models", _write_model)
    add("GET", "/authorization-models", _read_models)
    add("GET", "/authorization-models/{id}", _read_model)
    add("POST", "/write", _write)
    add("POST", "/read", _read)
    add("GET", "/changes", _read_changes)
    add("GET", "/assertions/{id}", _read_assertions)
    add("PUT", "/assertions/{id}", _write_assertions)
    app.router.add_route("*", PREFIX + "/{rest:.*}", _undefined)


async def _undefined(request: web.Request) -> web.StreamResponse:
    for resource in request.app.router.resources():
        _match, methods = await resource.resolve(request)
        if methods - {"*"}:
            return OpenFgaError("unimplemented", "Method Not Allowed").response()
    return OpenFgaError("undefined_endpoint", "Not Found").response()


# Stores.


async def _create_store(service: AuthorizationService, request: web.Request, asker: Asker) -> web.Response:
    values = parse(messages.CREATE_STORE, await document(request))
    made = store_json(await service.create(asker, values["name"]))
    del made["deleted_at"]
    return web.json_response(made, status=201)


async def _list_stores(service: AuthorizationService, request: web.Request, asker: Asker) -> web.Response:
    values = _query(messages.LIST_STORES, request)
    after = position_of("stores", values["continuation_token"], "")
    found, last = await service.list(asker, values["name"], after, values["page_size"] or PAGE_SIZE)
    return web.json_response(
        {
            "stores": [store_json(store) for store in found],
            "continuation_token": token_of("stores", last) if last else "",
        }
    )


async def _get_store(store: StoreView, _request: web.Request) -> web.Response:
    return web.json_response(store_json(store.description()))


async def _delete_store(store: StoreView, _request: web.Request) -> web.Response:
    await store.delete()
    return web.Response(status=204)


# Models and assertions.


async def _write_model(store: StoreView, request: web.Request) -> web.Response:
    body = await document(request)
    messages.check_model(body)
    id = await store.write_model(body)
    return web.json_response({"authorization_model_id": id}, status=201)


async def _read_models(store: StoreView, request: web.Request) -> web.Response:
    values = _query(messages.READ_MODELS, request)
    found, token = await store.models(values["continuation_token"], values["page_size"] or PAGE_SIZE)
    return web.json_response(
        {"authorization_models": list(map(_model_json, found)), "continuation_token": token}
    )


async def _read_model(store: StoreView, request: web.Request) -> web.Response:
    return web.json_response({"authorization_model": _model_json(await store.model(_model_id(request)))})


async def _read_assertions(store: StoreView, request: web.Request) -> web.Response:
    id = _model_id(request)
    found = list(await store.assertions(id))
    return web.json_response({"authorization_model_id": id, "assertions": found})


async def _write_assertions(store: StoreView, request: web.Request) -> web.Response:
    values = parse(messages.WRITE_ASSERTIONS, await document(request))
    await store.write_assertions(_model_id(request), values["assertions"])
    return web.Response(status=204)


def _model_id(request: web.Request) -> str:
    id: str = parse(messages.MODEL_ID, {"id": request.match_info["id"]})["id"]
    return id


def _model_json(model: StoredModel) -> Mapping[str, Any]:
    return {"id": model.id, **model.document}


# Tuples.


async def _write(store: StoreView, request: web.Request) -> web.Response:
    values = parse(messages.WRITE, await document(request))
    writes, deletes = values["writes"], values["deletes"]
    if writes is None and deletes is None:
        raise OpenFgaError(
            "invalid_write_input",
            "Invalid input. Make sure you provide at least one write, or at least one delete",
        )
    write = TupleWrite(
        keys_of(writes["tuple_keys"]) if writes else (),
        keys_of(deletes["tuple_keys"]) if deletes else (),
        _ignores(writes, "on_duplicate"),
        _ignores(deletes, "on_missing"),
    )
    await store.write(write, values["authorization_model_id"])
    return web.json_response({})


def _ignores(values: Values | None, option: str) -> bool:
    chosen = values[option] if values else ""
    if chosen not in ("", "error", "ignore"):
        raise OpenFgaError("validation_error", f"invalid {option} option: {chosen}")
    return bool(chosen == "ignore")


async def _read(store: StoreView, request: web.Request) -> web.Response:
    values = parse(messages.READ, await document(request))
    found, token = await store.read(
        _filter(values["tuple_key"]), values["continuation_token"], values["page_size"] or PAGE_SIZE
    )
    return web.json_response({"tuples": list(map(tuple_json, found)), "continuation_token": token})


def _filter(key: Values | None) -> TupleFilter:
    if key is None:
        return TupleFilter()
    type_name, colon, id = key["object"].partition(":")
    if not (type_name and colon) or not (id or key["user"]):
        raise OpenFgaError(
            "validation_error",
            "the 'tuple_key' field was provided but the object type field is required and both the object "
            "id and user cannot be empty",
        )
    return TupleFilter(key["object"], key["relation"], key["user"])


async def _read_changes(store: StoreView, request: web.Request) -> web.Response:
    values = _query(messages.READ_CHANGES, request)
    found, token = await store.changes(
        ChangeFilter(values["type"], _start(values["start_time"])),
        values["continuation_token"],
        min(values["page_size"] or PAGE_SIZE, 100),
    )
    return web.json_response({"changes": list(map(change_json, found)), "continuation_token": token})


def _start(text: str) -> datetime | None:
    if not text:
        return None
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise OpenFgaError(
            "validation_error", f'parsing field "start_time": expected RFC 3339, found {text[:50]!r}'
        ) from error
    if start.tzinfo is None:
        raise OpenFgaError("validation_error", 'parsing field "start_time": expected an offset from UTC')
    if start >= datetime.now(UTC):
        raise OpenFgaError(
            "validation_error", "invalid ReadChangesRequest.StartTime: value must be less than now"
        )
    return start


def _query(message: Message, request: web.Request) -> Values:
    """The message in the query string."""
    return parse(message, dict(request.query), "the query string")
