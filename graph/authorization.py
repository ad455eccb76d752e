"""OpenFGA's check over tuples in memory.

Goals are `object#relation`. A goal's value is True, False, or None where it is undetermined: it
rests on nothing but a cycle, or on tuples of a source that is past its age. Operators follow
Kleene's three-valued logic and the values are its least fixed point (Fitting's semantics), so
they do not depend on the order of evaluation: what is undetermined grants nothing, and below an
exclusion it denies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ontologies.authorization_model import (
    AuthorizationModel,
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    TypeRestriction,
    Union,
    direct_restrictions,
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


_NOBODY = _Users({}, {})


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

    def users(self, goal: Goal) -> _Users:
        """The users that the goal's own tuples name."""
        return self._users.get(goal, _NOBODY)


def permits(model: AuthorizationModel, entry: RelationTuple) -> bool:
    """Whether the model lets a tuple like this exist: what its relation's `[...]` lists."""
    if not model.has(type_of(entry.object), entry.relation):
        return False
    subject, _, relation = entry.user.partition("#")
    kind, _, name = subject.partition(":")
    restrictions = direct_restrictions(model.rewrite(type_of(entry.object), entry.relation))
    return TypeRestriction(kind, relation, wildcard=name == "*") in restrictions


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
            relation and not self._model.has(type_of(user), relation)
        ):
            raise AuthorizationError(
                f"{user!r} cannot be a user: expected `type:id` or `type:id#relation` "
                "of a type and relation that the authorization model defines"
            )
        self._wildcard = user if relation else f"{type_of(user)}:*"
        self._itself = (subject, relation) if relation else None
        self._settled: dict[Goal, bool | None] = {}

    def has(self, relation: str, object: str) -> bool:
        """Whether the user has the relation to the object; AuthorizationError as for `check`."""
        return self.value((object, relation)) is True

    def value(self, goal: Goal) -> bool | None:
        """True, False, or None where it is undetermined. AuthorizationError as for `check`."""
        object, relation = goal
        if not self._model.has(type_of(object), relation):
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
        """The goal's value as far as `values` tell; goals that it rests on are added to `needs`."""
        object, relation = goal
        if goal == self._itself:
            return True
        if not self._model.has(type_of(object), relation):
            return False  # a tupleset may lead to types without the relation

        def below(subgoal: Goal) -> bool | None:
            if subgoal in self._settled:
                return self._settled[subgoal]
            needs.append(subgoal)
            return values.get(subgoal)

        def rewritten(rewrite: Rewrite) -> bool | None:
            match rewrite:
                case Direct():
                    return self._direct(goal, below)
                case Computed(other):
                    return below((object, other))
                case TupleToUserset(other, tupleset):
                    named = self._authorization.users((object, tupleset)).named
                    return any_of(all_of((held, below((name, other)))) for name, held in named.items())
                case Union(children):
                    return any_of(map(rewritten, children))
                case Intersection(children):
                    return all_of(map(rewritten, children))
                case Exclusion(base, subtract):
                    # Both, eagerly: `needs` must be complete where the base is undetermined.
                    return all_of((rewritten(base), negate(rewritten(subtract))))

        return rewritten(self._model.rewrite(type_of(object), relation))

    def _direct(self, goal: Goal, below: Callable[[Goal], bool | None]) -> bool | None:
        users = self._authorization.users(goal)
        named = any_of(users.named.get(name, False) for name in (self._user, self._wildcard))
        if named:
            return True
        return any_of((named, *(all_of((held, below(goal))) for goal, held in users.usersets.items())))


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
