"""The organization's own store: its tuples are the graph's, so it is only read.

The administrator may ask anything. Anybody else asks only about themselves, and about what they
may see: an object that they may not see answers like one that is not there. What is supposed in a
request changes its answer and nothing else; only the administrator may suppose tuples, since for
others the answer would tell of grants that they may not see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from context_manager.openfga_answers import Answers, StoreAnswers, Supposed
from context_manager.openfga_errors import OpenFgaError, model_not_found
from context_manager.openfga_paging import position_of, token_of
from graph.organization_tuples import OrganizationTuples
from graph.reads import Asker, Reader, View
from graph.rebac.evaluator import Shown
from graph.rebac.explanation import Explanation, Ground, entities
from graph.rebac.names import NameSet
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.stored_tuples import ChangeFilter, StoredChange, StoredTuple, TupleFilter, TupleWrite
from graph.tuple_store_records import Assertions, Store, StoredModel
from graph.ulid import ulid_of
from ontologies.authorization_model import AuthorizationModel, to_json

ORGANIZATION_STORE = "0RGAN1ZAT10N00000000000000"
"""Its id, everywhere the same."""
_SINCE = datetime(1970, 1, 1, tzinfo=UTC)


class Organization:
    """The organization as a store: its name, its model, and where its tuples are read."""

    def __init__(
        self, name: str, model: AuthorizationModel, tuples: OrganizationTuples, reader: Reader
    ) -> None:
        self.name = name
        self.model = model
        self.document = to_json(model)
        # A model's id names its content: an altered model is another one.
        digest = hashlib.sha256(json.dumps(self.document, sort_keys=True).encode()).digest()
        self.model_id = ulid_of(int.from_bytes(digest[:16], "big"))
        self.tuples = tuples
        self.reader = reader

    def description(self) -> Store:
        return Store(ORGANIZATION_STORE, self.name, "", _SINCE, _SINCE, model=self.model_id)


@dataclass(frozen=True, slots=True)
class OrganizationView:
    """The organization's store on behalf of an account that is enabled."""

    organization: Organization
    asker: Asker
    administrator: bool

    def description(self) -> Store:
        return self.organization.description()

    async def answers(self, model_id: str) -> Answers:
        await self.model(model_id or self.organization.model_id)
        return OrganizationAnswers(self.organization, self.asker, self.administrator)

    async def models(self, token: str, size: int) -> tuple[Sequence[StoredModel], str]:
        return [await self.model(self.organization.model_id)], ""

    async def model(self, id: str) -> StoredModel:
        if id != self.organization.model_id:
            raise model_not_found(id)
        return StoredModel(id, self.organization.document)

    async def read(self, filter: TupleFilter, token: str, size: int) -> tuple[Sequence[StoredTuple], str]:
        after = tuple(position_of("read", token, ["", "", ""]))
        held = await self.organization.tuples.held()
        placed = await self.organization.tuples.placements(await self._asked(filter))
        keys = sorted(
            (key for key in (*held, *placed) if _matches(filter, key) and _named(key) > after), key=_named
        )
        keys = await _seen_by(self, keys)
        page = keys[:size]
        more = token_of("read", list(_named(page[-1]))) if len(keys) > size else ""
        return [StoredTuple(key, _SINCE) for key in page], more

    async def changes(
        self, filter: ChangeFilter, token: str, size: int
    ) -> tuple[Sequence[StoredChange], str]:
        raise OpenFgaError(
            "unimplemented", "what changes in the organization is told by its revisions, not in this store"
        )

    async def assertions(self, model_id: str) -> Assertions:
        await self.model(model_id)
        return ()

    async def write_model(self, document: Mapping[str, Any]) -> str:
        raise _read_only()

    async def write(self, write: TupleWrite, model_id: str) -> None:
        raise _read_only()

    async def write_assertions(self, model_id: str, assertions: Assertions) -> None:
        raise _read_only()

    async def delete(self) -> None:
        raise _read_only()

    async def _asked(self, filter: TupleFilter) -> Sequence[str]:
        """The entities whose placement the filter asks for."""
        if filter.object and not filter.object.endswith(":"):
            return [filter.object]
        types = [filter.object.rstrip(":")] if filter.object else list(self.organization.model.types)
        return [id for name in types for id in await self.organization.tuples.ids(name)]


@dataclass(frozen=True, slots=True)
class OrganizationAnswers:
    """Questions to the organization's graph, with the rights of who asks."""

    organization: Organization
    asker: Asker
    administrator: bool

    @property
    def model_id(self) -> str:
        return self.organization.model_id

    @property
    def model(self) -> AuthorizationModel:
        return self.organization.model

    async def check(self, key: TupleKey, supposed: Supposed) -> bool:
        self._refuse_others(key.user, supposed)
        # Also of an object that is not seen, so that a wrong question is refused alike.
        return await (await self._about(key.object)).check(key, supposed)

    async def list_objects(self, user: str, relation: str, type_name: str, supposed: Supposed) -> NameSet:
        self._refuse_others(user, supposed)
        answers = await self._graph(await self.organization.tuples.ids(type_name))
        found = await answers.list_objects(user, relation, type_name, supposed)
        return found if self.administrator else NameSet.of(await self._only_seen(list(found)))

    async def list_users(
        self, object: str, relation: str, user_type: str, user_relation: str, supposed: Supposed
    ) -> list[str]:
        self._refuse_supposed(supposed)
        question = object, relation, user_type, user_relation, supposed
        answers, names = await self._about(object), set[str]()
        found = await answers.list_users(*question, _noting(names))
        if self.administrator:
            return found
        seen = {object, *await self._only_seen(sorted(names))}
        told = set(await answers.list_users(*question, seen.__contains__))
        return [user for user in found if user in told]

    async def expand(self, object: str, relation: str, supposed: Supposed) -> Mapping[str, Any]:
        self._refuse_supposed(supposed)
        tree = await (await self._about(object)).expand(object, relation, supposed)
        seen = set(await self._only_seen(_named_in(tree)))
        pruned: Mapping[str, Any] = _prune(tree, seen | {object})
        return pruned

    async def explain(self, key: TupleKey, supposed: Supposed) -> Explanation:
        self._refuse_others(key.user, supposed)
        answers = await self._about(key.object)
        names = set[str]()
        found = await answers.explain(key, supposed, _noting(names))
        if self.administrator:
            return found
        if found.ground is not None:
            names.update(*map(entities, found.ground.path()))
        seen = {key.object, *await self._only_seen(sorted(names))}
        if found.ground is not None:
            return Explanation(True, _seen_of(found.ground, seen))
        return await answers.explain(key, supposed, seen.__contains__)

    async def _about(self, object: str) -> StoreAnswers:
        """Without tuples for an object that the asker does not see: it is as if it were not there."""
        if not await self._sees(object):
            return StoreAnswers(self.model_id, self.model, TupleIndex())
        return await self._graph([object])

    async def _graph(self, ids: Iterable[str]) -> StoreAnswers:
        index = await self.organization.tuples.index()
        placed = await self.organization.tuples.placements(ids)
        return StoreAnswers(self.model_id, self.model, index, placed, bounded=False)

    async def _sees(self, id: str) -> bool:
        return self.administrator or bool(await self._only_seen([id]))

    async def _only_seen(self, names: Sequence[str]) -> list[str]:
        if self.administrator:
            return list(names)
        seen = await _present(self.organization.reader, self.asker, map(_entity, names))
        return [name for name in names if name.endswith(":*") or _entity(name) in seen]

    def _refuse_others(self, user: str, supposed: Supposed) -> None:
        self._refuse_supposed(supposed)
        if not self.administrator and user != self.asker.account:
            raise OpenFgaError(
                "forbidden", f"you may ask about yourself only: the user must be {self.asker.account}"
            )

    def _refuse_supposed(self, supposed: Supposed) -> None:
        if supposed.tuples and not self.administrator:
            raise OpenFgaError(
                "forbidden", "contextual tuples of the organization's store need its administrator"
            )


def _noting(names: set[str]) -> Shown:
    """All may be shown, and is noted."""

    def noted(name: str) -> bool:
        names.add(name)
        return True

    return noted


def _read_only() -> OpenFgaError:
    return OpenFgaError(
        "forbidden", "the organization's store is read-only: its tuples are what its sources claim"
    )


async def _seen_by(view: OrganizationView, keys: Sequence[TupleKey]) -> list[TupleKey]:
    """Those between entities that the asker sees, as for relationships in any read."""
    if view.administrator:
        return list(keys)
    names = {_entity(name) for key in keys for name in (key.object, key.user)}
    seen = await _present(view.organization.reader, view.asker, names)
    return [key for key in keys if {_entity(key.object), _entity(key.user)} <= seen]


async def _present(reader: Reader, asker: Asker, ids: Iterable[str]) -> frozenset[str]:
    asked = list(ids)

    async def work(view: View) -> frozenset[str]:
        return await view.present(asked)

    seen, _revision = await reader.run(asker, work)
    return seen


def _entity(name: str) -> str:
    return name.partition("#")[0]


def _named(key: TupleKey) -> tuple[str, str, str]:
    return key.object, key.relation, key.user


def _matches(filter: TupleFilter, key: TupleKey) -> bool:
    return (
        (
            key.object.startswith(filter.object)
            if filter.object.endswith(":")
            else filter.object in ("", key.object)
        )
        and filter.relation in ("", key.relation)
        and filter.user in ("", key.user)
    )


def _seen_of(ground: Ground, seen: set[str]) -> Ground:
    """The ground, with what the asker does not see left nameless."""
    below = tuple(_seen_of(one, seen) for one in ground.rests_on)
    if entities(ground) <= seen:
        return replace(ground, rests_on=below)
    return Ground("", "", None, below)


def _named_in(tree: Any) -> list[str]:
    """All users and usersets that a tree names."""
    match tree:
        case str():
            return [tree] if ":" in tree else []
        case Mapping():
            return [name for value in tree.values() for name in _named_in(value)]
        case list() | tuple():
            return [name for value in tree for name in _named_in(value)]
        case _:
            return []


def _prune(tree: Any, seen: set[str]) -> Any:
    """The tree with only those users, and usersets of those, that are seen."""
    match tree:
        case Mapping():
            return {key: _prune(value, seen) for key, value in tree.items()}
        case list() | tuple():
            return [_prune(value, seen) for value in tree if _stays(value, seen)]
        case _:
            return tree


def _stays(value: Any, seen: set[str]) -> bool:
    name = value.get("userset", "") if isinstance(value, Mapping) else value
    return not isinstance(name, str) or not name or name in seen or _entity(name) in seen
