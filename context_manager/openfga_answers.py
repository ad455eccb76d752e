"""The questions of OpenFGA's API, answered from a store's model and tuples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from context_manager.openfga_errors import OpenFgaError
from graph.rebac import evaluator, expansion, explanation, listing
from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Shown, everything
from graph.rebac.explanation import Explanation
from graph.rebac.names import NameSet
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.rebac.validation import (
    validate_check,
    validate_contextual,
    validate_list_objects,
    validate_list_users,
)
from ontologies.authorization_model import AuthorizationModel

CONDITIONS_S = 3.0
"""Seconds that conditions may take in a request: whoever makes a store writes them, and others wait
meanwhile. OpenFGA gives a list as long."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """What a request asks to be supposed: tuples beside the stored ones, values for conditions."""

    tuples: Sequence[TupleKey] = ()
    context: Mapping[str, Any] | None = None


class Answers(Protocol):
    """Questions to one store and one of its models, on behalf of somebody who may ask them.

    All raise OpenFgaError. Users and objects are written as in tuples.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def model(self) -> AuthorizationModel: ...

    async def check(self, key: TupleKey, supposed: Supposed) -> bool:
        """Whether the user has the relation to the object."""

    async def list_objects(self, user: str, relation: str, type_name: str, supposed: Supposed) -> NameSet:
        """All objects of the type to which the user has the relation."""

    async def list_users(
        self, object: str, relation: str, user_type: str, user_relation: str, supposed: Supposed
    ) -> list[str]:
        """All users of the type (usersets, where a relation is named) that have the relation."""

    async def expand(self, object: str, relation: str, supposed: Supposed) -> Mapping[str, Any]:
        """Who has the relation, one step deep, as OpenFGA's tree."""

    async def explain(self, key: TupleKey, supposed: Supposed) -> Explanation:
        """Why the user has the relation to the object, or what comes nearest to it."""


@dataclass(frozen=True, slots=True)
class StoreAnswers:
    """From an index in memory, without awaiting anything: nothing changes it meanwhile."""

    model_id: str
    model: AuthorizationModel
    index: TupleIndex
    beside: Sequence[TupleKey] = ()
    """Tuples that stand but are not in the index."""
    bounded: bool = True
    """Whether a resolution may be too deep, as it may be for OpenFGA."""
    allowance: evaluator.Allowance = field(default_factory=lambda: evaluator.Allowance(CONDITIONS_S))

    async def check(self, key: TupleKey, supposed: Supposed) -> bool:
        with as_openfga():
            self._validate(key, supposed)
            request = self._request(supposed)
            if self.bounded:
                return evaluator.check(request, key.user, key.relation, key.object)
            value = evaluator.Search(request, key.user).value(key.object, key.relation)
            if isinstance(value, RebacError):
                raise value
            return value is True

    async def list_objects(self, user: str, relation: str, type_name: str, supposed: Supposed) -> NameSet:
        with as_openfga():
            try:
                validate_list_objects(self.model, user, relation, type_name)
            except RebacError as error:
                about = "invalid 'user' value: " if error.code == "validation_error" else ""
                raise RebacError(error.code, about + error.message) from error
            request = self._request(supposed, listing=True)
            return listing.list_objects(request, user, relation, type_name)

    async def list_users(  # noqa: PLR0913, PLR0917  the parts of the question
        self,
        object: str,
        relation: str,
        user_type: str,
        user_relation: str,
        supposed: Supposed,
        shown: Shown = everything,
    ) -> list[str]:
        with as_openfga():
            validate_list_users(self.model, object, relation, user_type, user_relation)
            request = self._request(supposed, listing=True)
            return list(listing.list_users(request, object, relation, user_type, user_relation, shown))

    async def expand(self, object: str, relation: str, supposed: Supposed) -> Mapping[str, Any]:
        with as_openfga():
            validate_check(self.model, "", relation, object)
            return expansion.expand(self._request(supposed), object, relation)

    async def explain(self, key: TupleKey, supposed: Supposed, shown: Shown = everything) -> Explanation:
        with as_openfga():
            self._validate(key, supposed)
            return explanation.explain(self._request(supposed), key.user, key.relation, key.object, shown)

    def _validate(self, key: TupleKey, supposed: Supposed) -> None:
        try:
            validate_check(self.model, key.user, key.relation, key.object, supposed.context)
        except RebacError as error:
            raise RebacError(error.code, f"invalid relation: {error.message}") from error

    def _request(self, supposed: Supposed, listing: bool = False) -> evaluator.Request:
        validate_contextual(self.model, supposed.tuples, listing=listing)
        return evaluator.Request(
            self.model,
            self.index,
            (*self.beside, *supposed.tuples),
            supposed.context or {},
            datetime.now(UTC),
            self.allowance,
        )


class as_openfga:  # noqa: N801  used as a function is; a class is entered and left in a third of the time
    """A RebacError in the block becomes the OpenFgaError of the same code."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, RebacError):
            raise OpenFgaError(error.code, error.message) from error
