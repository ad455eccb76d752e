"""OpenFGA's questions over HTTP: check, batch-check, list-objects, list-users, expand; and explain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import islice

import orjson
from aiohttp import web

from context_manager import openfga_messages as messages
from context_manager.openfga_answers import Answers, Supposed
from context_manager.openfga_errors import OpenFgaError
from context_manager.openfga_fields import Values, parse
from context_manager.openfga_http import document
from context_manager.openfga_json import explanation_json, key_of, keys_of, user_json
from context_manager.openfga_paging import PAGE_SIZE, position_of, token_of
from context_manager.openfga_stores import StoreView
from graph.rebac.names import NameSet

MAX_CHECKS = 50
"""Of a batch."""
_MODEL_HEADER = "Openfga-Authorization-Model-Id"
_STREAMED_AT_ONCE = 1_000


Opener = Callable[[bool], Awaitable[StoreView]]
"""Opens the store of the request; True for its current state."""
QuestionHandler = Callable[[Opener, web.Request], Awaitable[web.StreamResponse]]


async def check(open_store: Opener, request: web.Request) -> web.Response:
    values = parse(messages.CHECK, await document(request))
    answers = await _answers(open_store, values)
    allowed = await answers.check(key_of(values["tuple_key"]), supposed(values))
    return _answer({"allowed": allowed, "resolution": ""}, answers)


async def batch_check(open_store: Opener, request: web.Request) -> web.Response:
    values = parse(messages.BATCH_CHECK, await document(request))
    checks = values["checks"]
    if len(checks) > MAX_CHECKS:
        raise OpenFgaError(
            "validation_error",
            f"batchCheck received {len(checks)} checks, the maximum allowed is {MAX_CHECKS}",
        )
    ids = [one["correlation_id"] for one in checks]
    for id in ids:
        if ids.count(id) > 1:
            raise OpenFgaError("validation_error", f"received duplicate correlation id: {id}")
    answers = await _answers(open_store, values)
    result = {one["correlation_id"]: await _one_of_batch(answers, one) for one in checks}
    return _answer({"result": result}, answers)


async def _one_of_batch(answers: Answers, one: Values) -> dict[str, object]:
    try:
        return {"allowed": await answers.check(key_of(one["tuple_key"]), supposed(one))}
    except OpenFgaError as error:
        return {"error": {"input_error": error.code, "message": error.message}}


async def expand(open_store: Opener, request: web.Request) -> web.Response:
    values = parse(messages.EXPAND, await document(request))
    answers = await _answers(open_store, values)
    key = values["tuple_key"]
    if not (key["object"] and key["relation"]):
        raise OpenFgaError(
            "invalid_expand_input", "Invalid input. Make sure you provide an object and a relation"
        )
    tree = await answers.expand(key["object"], key["relation"], supposed(values))
    return _answer({"tree": tree}, answers)


async def explain(open_store: Opener, request: web.Request) -> web.Response:
    """Beside OpenFGA's API: the same question as check, answered with its reasons."""
    values = parse(messages.CHECK, await document(request))
    answers = await _answers(open_store, values)
    found = await answers.explain(key_of(values["tuple_key"]), supposed(values))
    return _answer(explanation_json(found), answers)


async def list_objects(open_store: Opener, request: web.Request) -> web.Response:
    """All objects, as OpenFGA without its limits; in the order of their names where a page is asked for."""
    values = parse(messages.LIST_OBJECTS, await document(request))
    size, after = values["page_size"], position_of("objects", values["continuation_token"], "")
    answers = await _answers(open_store, values)
    found = await _objects(answers, values)
    if size is None and not after:
        return _answer(found.json(b'{"objects":', b"}"), answers)
    rest = sorted(name for name in found if name > after)
    page = rest[: size or PAGE_SIZE]
    token = token_of("objects", page[-1]) if len(rest) > len(page) else ""
    return _answer({"objects": page, "continuation_token": token}, answers)


async def streamed_list_objects(open_store: Opener, request: web.Request) -> web.StreamResponse:
    """A line of JSON for each object. A refusal has the form that OpenFGA gives to an ended stream."""
    try:
        values = parse(messages.STREAMED_LIST_OBJECTS, await document(request))
        answers = await _answers(open_store, values)
        found = await _objects(answers, values)
    except OpenFgaError as error:
        ended = {"error": {"code": 3, "message": error.message, "details": []}}
        return web.json_response(ended, status=error.status)
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", _MODEL_HEADER: answers.model_id}
    )
    await response.prepare(request)
    rest = iter(found)
    while names := list(islice(rest, _STREAMED_AT_ONCE)):
        lines = [orjson.dumps({"result": {"object": name}}) for name in names]
        await response.write(b"\n".join(lines) + b"\n")
    await response.write_eof()
    return response


async def _objects(answers: Answers, values: Values) -> NameSet:
    return await answers.list_objects(values["user"], values["relation"], values["type"], supposed(values))


async def list_users(open_store: Opener, request: web.Request) -> web.Response:
    values = parse(messages.LIST_USERS, await document(request))
    answers = await _answers(open_store, values)
    [filter] = values["user_filters"]
    object = f"{values['object']['type']}:{values['object']['id']}"
    found = await answers.list_users(
        object, values["relation"], filter["type"], filter["relation"], supposed(values)
    )
    return _answer({"users": list(map(user_json, found))}, answers)


async def _answers(open_store: Opener, values: Values) -> Answers:
    store = await open_store(values["consistency"] == "HIGHER_CONSISTENCY")
    return await store.answers(values["authorization_model_id"])


def supposed(values: Values) -> Supposed:
    """The contextual tuples and the context of a request."""
    listed = values["contextual_tuples"] or []
    return Supposed(
        keys_of(listed if isinstance(listed, list) else listed["tuple_keys"]), values.get("context")
    )


def _answer(body: Mapping[str, object] | bytes, answers: Answers) -> web.Response:
    """`body`: the document, or its JSON."""
    return web.Response(
        body=body if isinstance(body, bytes) else orjson.dumps(body),
        content_type="application/json",
        headers={_MODEL_HEADER: answers.model_id},
    )
