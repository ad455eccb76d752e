"""OpenFGA's check over tuples in memory.

Goals are `object#relation`. A goal's value is True, False, or None where it is undetermined: it
rests on nothing but a cycle, or on tuples of a source that is past its age. Operators follow
Kleene's three-valued logic and the values are its least fixed point (Fitting's semantics), so
they do not depend on the order of evaluation: what is undetermined grants nothing, and below an
exclusion it denies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    Union,
)

Goal = tuple[str, str]
"""(object, relation)."""


class AuthorizationError(ValueError):
    """A check that the model gives no meaning; the message names what the model lacks."""


@dataclass(frozen=True, slots=True)
class RelationTuple:
    """`object#relation@user`; the user is `type:id`, `type:*` or `type:id#relation`."""

    object: str
    relation: str
    user: str


def type_of(name: str) -> str:
    """The type in `type:id`, `type:*` or `type:id#relation`."""
    return name.partition(":")[0]


@dataclass(slots=True)
class _Users:
    """The users of one `object#relation`: themselves, and the goals whose users they include."""

    named: dict[str, bool | None]
    usersets: dict[Goal, bool | None]


class Authorization:
    """Tuples indexed for checks. Those that the model does not permit are left out."""

    def __init__(
        self,
        model: AuthorizationModel,
        tuples: Iterable[RelationTuple],
        suspended: Iterable[RelationTuple] = (),
    ) -> None:
        """`suspended` are tuples that nobody vouches for at present: undetermined, not absent."""
        self.model = model
        self._users: dict[Goal, _Users] = defaultdict(lambda: _Users({}, {}))
        for value, group in ((None, suspended), (True, tuples)):
            for entry in group:
                self._add(entry, value)

    def check(self, user: str, relation: str, object: str) -> bool:
        """Whether the user has the relation to the object.

        Raises AuthorizationError when the model lacks the relation or the user's type.
        """
        return Subject(self, user).has(relation, object)

    def _add(self, entry: RelationTuple, value: bool | None) -> None:
        if not permits(self.model, entry):
            return
        users = self._users[entry.object, entry.relation]
        subject, _, relation = entry.user.partition("#")
        if relation:
            users.usersets[subject, relation] = value
        else:
            users.named[entry.user] = value

    def users(self, goal: Goal) -> _Users | None:
        return self._users.get(goal)


def permits(model: AuthorizationModel, entry: RelationTuple) -> bool:
    """Whether the model lets a tuple like this exist: what its relation's `[...]` lists."""
    rewrite = model.types.get(type_of(entry.object), {}).get(entry.relation)
    subject, _, relation = entry.user.partition("#")
    kind, _, name = subject.partition(":")
    wanted = (kind, relation or None, name == "*")
    return rewrite is not None and any(
        wanted == (r.type, r.relation, r.wildcard)
        for direct in leaves(rewrite)
        if isinstance(direct, Direct)
        for r in direct.restrictions
    )


def leaves(rewrite: Rewrite) -> Iterator[Direct | Computed | TupleToUserset]:
    """What the operators of a rewrite combine."""
    match rewrite:
        case Union(children) | Intersection(children):
            for child in children:
                yield from leaves(child)
        case Exclusion(base, subtract):
            yield from leaves(base)
            yield from leaves(subtract)
        case _:
            yield rewrite


class Subject:
    """All that is known of one user; goals once settled are kept."""

    def __init__(self, authorization: Authorization, user: str) -> None:
        self._authorization = authorization
        self._model = authorization.model
        self._user = user
        subject, _, relation = user.partition("#")
        if type_of(user) not in self._model.types or (
            relation and relation not in self._model.types[type_of(user)]
        ):
            raise AuthorizationError(
                f"{user!r} cannot be a user: expected `type:id` or `type:id#relation` "
                "of a type and relation that the authorization model defines"
            )
        self._wildcard = None if relation else f"{type_of(user)}:*"
        self._itself = (subject, relation) if relation else None
        self._settled: dict[Goal, bool | None] = {}

    def has(self, relation: str, object: str) -> bool:
        """Whether the user has the relation to the object; AuthorizationError as for `check`."""
        return self.value((object, relation)) is True

    def value(self, goal: Goal) -> bool | None:
        """True, False, or None where it is undetermined. AuthorizationError as for `check`."""
        object, relation = goal
        if relation not in self._model.types.get(type_of(object), {}):
            raise AuthorizationError(
                f"{object}#{relation}: the authorization model defines no relation {relation!r} "
                f"on a type {type_of(object)!r}"
            )
        if goal not in self._settled:
            self._settle(goal)
        return self._settled[goal]

    def _settle(self, goal: Goal) -> None:
        """Expand the goals below, then let values flow up until nothing changes."""
        values: dict[Goal, bool | None] = {}
        above: dict[Goal, list[Goal]] = defaultdict(list)
        stack = [goal]
        while stack:
            current = stack.pop()
            if current in values:
                continue
            needs: list[Goal] = []
            values[current] = None
            values[current] = self._evaluate(current, values, needs)
            if values[current] is None:
                for below in needs:
                    above[below].append(current)
                    stack.append(below)
        pending: Iterable[Goal] = reversed(list(values))
        while pending:
            changed: list[Goal] = []
            for current in pending:
                if values[current] is None:
                    values[current] = self._evaluate(current, values, [])
                    if values[current] is not None:
                        changed.append(current)
            pending = {up for goal in changed for up in above[goal] if values[up] is None}
        self._settled.update(values)

    def _evaluate(self, goal: Goal, values: dict[Goal, bool | None], needs: list[Goal]) -> bool | None:
        if goal == self._itself:
            return True
        object, relation = goal
        rewrite = self._model.types.get(type_of(object), {}).get(relation)
        return False if rewrite is None else self._rewritten(rewrite, goal, values, needs)

    def _rewritten(
        self, rewrite: Rewrite, goal: Goal, values: dict[Goal, bool | None], needs: list[Goal]
    ) -> bool | None:
        object, _ = goal

        def below(subgoal: Goal) -> bool | None:
            if subgoal in self._settled:
                return self._settled[subgoal]
            needs.append(subgoal)
            return values.get(subgoal)

        match rewrite:
            case Direct():
                users = self._authorization.users(goal)
                if users is None:
                    return False
                named = [users.named.get(name, False) for name in (self._user, self._wildcard) if name]
                if True in named:
                    return True
                return any_of(
                    (*named, *(all_of((held, below(g))) for g, held in users.usersets.items()))
                )
            case Computed(relation):
                return below((object, relation))
            case TupleToUserset(tupleset, relation):
                users = self._authorization.users((object, tupleset))
                named_ = users.named.items() if users else ()
                return any_of(all_of((held, below((name, relation)))) for name, held in named_)
            case Union(children):
                return any_of(self._rewritten(child, goal, values, needs) for child in children)
            case Intersection(children):
                return all_of(self._rewritten(child, goal, values, needs) for child in children)
            case Exclusion(base, subtract):
                return all_of(
                    (
                        self._rewritten(base, goal, values, needs),
                        negate(self._rewritten(subtract, goal, values, needs)),
                    )
                )


def any_of(values: Iterable[bool | None]) -> bool | None:
    """Kleene's or."""
    result: bool | None = False
    for value in values:
        if value is True:
            return True
        if value is None:
            result = None
    return result


def all_of(values: Iterable[bool | None]) -> bool | None:
    """Kleene's and."""
    result: bool | None = True
    for value in values:
        if value is False:
            return False
        if value is None:
            result = None
    return result


def negate(value: bool | None) -> bool | None:
    """Kleene's not."""
    return None if value is None else not value
