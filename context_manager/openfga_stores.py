"""A store as OpenFGA's API works on it, and the stores of applications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from context_manager.openfga_answers import Answers, StoreAnswers, as_openfga
from context_manager.openfga_errors import (
    OpenFgaError,
    exceeded,
    model_not_found,
    no_model,
    store_not_found,
)
from context_manager.openfga_json import keys_of
from context_manager.openfga_paging import position_of, token_of
from graph.rebac.relation_tuples import TupleKey
from graph.rebac.validation import validate_check, validate_tuple
from graph.stored_tuples import (
    AbsentTupleError,
    ChangeFilter,
    ConflictingTupleError,
    PresentTupleError,
    StoredChange,
    StoredTuple,
    TupleFilter,
    TupleWrite,
)
from graph.tuple_store_records import Assertions, Store, StoredModel, StoreGoneError
from graph.tuple_stores import TupleStores
from ontologies.authorization_model import AuthorizationModel, ModelError

MAX_TUPLES = 100
"""Of a write."""
_MAX_TYPES = 100
#: OpenFGA allows 256 KiB of protobuf; as JSON the same is about half as much again.
_MAX_MODEL_BYTES = 384 * 1024
_MAX_ASSERTIONS_BYTES = 64_000
_DIFFERENT = "tuple to be written already existed or the tuple to be deleted did not exist"


class StoreView(Protocol):
    """A store on behalf of somebody who may use it. All raise OpenFgaError.

    Listings take a continuation token and the size of a page, and give items and the next token,
    which is empty at the end.
    """

    def description(self) -> Store: ...

    async def answers(self, model_id: str) -> Answers:
        """For questions by the model; by the newest, when no id is given."""

    async def models(self, token: str, size: int) -> tuple[Sequence[StoredModel], str]: ...

    async def model(self, id: str) -> StoredModel: ...

    async def read(self, filter: TupleFilter, token: str, size: int) -> tuple[Sequence[StoredTuple], str]: ...

    async def changes(
        self, filter: ChangeFilter, token: str, size: int
    ) -> tuple[Sequence[StoredChange], str]:
        """The token is the one that was sent where nothing follows, to ask again with later."""

    async def assertions(self, model_id: str) -> Assertions: ...

    async def write_model(self, document: Mapping[str, Any]) -> str: ...

    async def write(self, write: TupleWrite, model_id: str) -> None: ...

    async def write_assertions(self, model_id: str, assertions: Assertions) -> None: ...

    async def delete(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ApplicationStore:
    """A store that an application made. `by` is the account that asks."""

    stores: TupleStores
    store: Store
    by: str

    def description(self) -> Store:
        return self.store

    async def answers(self, model_id: str) -> Answers:
        id, model = await self._model(model_id)
        try:
            return StoreAnswers(id, model, await self.stores.index(self.store))
        except StoreGoneError as error:
            raise store_not_found() from error

    async def models(self, token: str, size: int) -> tuple[Sequence[StoredModel], str]:
        page = await self.stores.models(self.store.id, position_of("models", token, 0), size)
        return page.items, token_of("models", page.last) if page.more else ""

    async def model(self, id: str) -> StoredModel:
        document = await self.stores.model_document(self.store.id, id)
        if document is None:
            raise model_not_found(id)
        return StoredModel(id, document)

    async def read(self, filter: TupleFilter, token: str, size: int) -> tuple[Sequence[StoredTuple], str]:
        page = await self.stores.read(self.store.id, filter, position_of("read", token, 0), size)
        return page.items, token_of("read", page.last) if page.more else ""

    async def changes(
        self, filter: ChangeFilter, token: str, size: int
    ) -> tuple[Sequence[StoredChange], str]:
        type_name, after = _changes_position(token, filter.type)
        page = await self.stores.changes(self.store.id, filter, after, size)
        return page.items, token_of("changes", [type_name, page.last]) if page.items else token

    async def assertions(self, model_id: str) -> Assertions:
        await self.model(model_id)
        return await self.stores.assertions(self.store.id, model_id)

    async def write_model(self, document: Mapping[str, Any]) -> str:
        types = document.get("type_definitions")
        if isinstance(types, list) and len(types) > _MAX_TYPES:
            raise exceeded("type definitions in an authorization model", _MAX_TYPES)
        if (size := len(orjson.dumps(document))) > _MAX_MODEL_BYTES:
            raise OpenFgaError(
                "exceeded_entity_limit",
                f"model exceeds size limit: {size} bytes vs {_MAX_MODEL_BYTES} bytes",
            )
        try:
            return await self.stores.write_model(self.store.id, document, self.by)
        except ModelError as error:
            raise OpenFgaError(error.code, error.message) from error
        except StoreGoneError as error:
            raise store_not_found() from error

    async def write(self, write: TupleWrite, model_id: str) -> None:
        if write.writes:
            _id, model = await self._model(model_id)
            for key in write.writes:
                _validate(model, key)
        _refuse_twice((*write.deletes, *write.writes))
        try:
            await self.stores.write(self.store.id, write, self.by)
        except ConflictingTupleError as error:
            raise OpenFgaError(
                "Aborted",
                "transactional write failed due to conflict: attempted to write a tuple which already "
                f"exists with a different condition: {_shown(error.key)}",
            ) from error
        except PresentTupleError as error:
            raise _failed(f"cannot write a tuple which already exists: {_shown(error.key)}") from error
        except AbsentTupleError as error:
            raise _failed(f"cannot delete a tuple which does not exist: {_shown(error.key)}") from error
        except StoreGoneError as error:
            raise store_not_found() from error

    async def write_assertions(self, model_id: str, assertions: Assertions) -> None:
        if len(orjson.dumps(assertions)) > _MAX_ASSERTIONS_BYTES:
            raise exceeded("bytes", _MAX_ASSERTIONS_BYTES)
        _id, model = await self._model(model_id)
        for assertion in assertions:
            _validate_assertion(model, assertion)
        try:
            await self.stores.write_assertions(self.store.id, model_id, assertions)
        except StoreGoneError as error:
            raise store_not_found() from error

    async def delete(self) -> None:
        await self.stores.delete(self.store.id)

    async def _model(self, id: str) -> tuple[str, AuthorizationModel]:
        if not (id or self.store.model):
            raise no_model(self.store.id)
        model = await self.stores.model(self.store.id, id or self.store.model)
        if model is None:
            raise model_not_found(id)
        return id or self.store.model, model


def _changes_position(token: str, type_name: str) -> tuple[str, int]:
    asked, after = position_of("changes", token, [type_name, 0])
    if asked != type_name:
        raise OpenFgaError(
            "query_string_type_continuation_token_mismatch",
            "The type in the querystring and the continuation token don't match",
        )
    return type_name, after


def _validate(model: AuthorizationModel, key: TupleKey) -> None:
    with as_openfga():
        validate_tuple(model, key)
    if f"{key.object}#{key.relation}" == key.user:
        raise OpenFgaError(
            "validation_error", f"Invalid tuple '{key}'. Reason: cannot write a tuple that is implicit"
        )


def _validate_assertion(model: AuthorizationModel, assertion: Mapping[str, Any]) -> None:
    asked = assertion["tuple_key"]
    with as_openfga():
        validate_check(model, asked["user"], asked["relation"], asked["object"])
        for key in keys_of(assertion["contextual_tuples"]):
            validate_tuple(model, key)


def _refuse_twice(keys: Sequence[TupleKey]) -> None:
    seen = set()
    for key in keys:
        named = (key.object, key.relation, key.user)
        if named in seen:
            raise OpenFgaError(
                "cannot_allow_duplicate_tuples_in_one_request", f"duplicate tuple in write: {_shown(key)}"
            )
        seen.add(named)
    if len(seen) > MAX_TUPLES:
        raise exceeded("write operations", MAX_TUPLES)


def _failed(what: str) -> OpenFgaError:
    return OpenFgaError("write_failed_due_to_invalid_input", f"{what}: {_DIFFERENT}")


def _shown(key: TupleKey) -> str:
    return f"user: '{key.user}', relation: '{key.relation}', object: '{key.object}'"
