"""Explain: the relationships that granted, or for a denial the nearest misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, Search, Shown, everything
from graph.rebac.relation_tuples import Goal, Grant, TupleKey, type_of
from graph.rebac.rules import Conditions, Value, rule_of
from ontologies.authorization_model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    Union,
)

#: Misses that an explanation names at most, the nearest.
MAX_MISSES = 20
#: Goals that it looks at for them at most.
_LOOKED_AT = 10_000


@dataclass(frozen=True, slots=True)
class Ground:
    """Why a goal holds: the relationship that gives it, if one does, and what it rests on."""

    object: str
    relation: str
    relationship: TupleKey | None
    rests_on: tuple[Ground, ...] = ()

    def path(self) -> Iterator[Ground]:
        """All grounds, each before those that it rests on."""
        yield self
        for ground in self.rests_on:
            yield from ground.path()


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that, were it otherwise, would grant or bring a grant nearer.

    `excluded`: what is subtracted takes the goal away, and `because` grounds it (empty: undetermined).
    `condition`, `expired`, `not_yet`, `suspended`: the relationship is there and does not count.
    `no_tuple`: it is not there.
    """

    kind: Literal["excluded", "condition", "expired", "not_yet", "suspended", "no_tuple"]
    object: str
    relation: str
    distance: int
    """Goals between the question and this one."""
    relationship: TupleKey | None = None
    because: tuple[Ground, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`ground` where it is allowed, `misses` where it is not, the nearest first."""

    allowed: bool
    ground: Ground | None = None
    misses: tuple[Miss, ...] = ()


def explain(
    request: Request, user: str, relation: str, object: str, shown: Shown = everything
) -> Explanation:
    """Why the user has the relation to the object, or what is missing, of that what may be shown.

    The ground of what is allowed is whole. See `validation.validate_check`.
    """
    search = Search(request, user)
    if search.value(object, relation) is True:
        (ground,) = _Grounds(request, search).of((object, relation), Computed(relation))
        return Explanation(True, ground)
    found = _Misses(request, search, shown).of((object, relation))
    misses = sorted(
        (miss for miss in found if all(map(shown, entities(miss)))),
        key=lambda miss: (miss.kind == "no_tuple", miss.distance),
    )
    return Explanation(False, misses=tuple(misses[:MAX_MISSES]))


def entities(step: Ground | Miss) -> frozenset[str]:
    """What a step of an explanation names."""
    key = step.relationship
    own = {step.object} if key is None else {step.object, key.object, key.user.partition("#")[0]}
    because = step.because if isinstance(step, Miss) else ()
    return frozenset(own).union(*(entities(ground) for one in because for ground in one.path()))


@dataclass(frozen=True, slots=True)
class _Step:
    """A tuple of a goal, whether it counts, and the goal that it leads to; None: it names the user."""

    relationship: TupleKey
    grant: Grant
    held: Value
    goal: Goal | None


def _steps(request: Request, search: Search, goal: Goal, leaf: Direct | TupleToUserset) -> Iterator[_Step]:
    object, relation = goal
    through = leaf.tupleset if isinstance(leaf, TupleToUserset) else relation
    users = request.tuples.users(object, through)
    if users is None:
        return
    facets = request.compiled.facets[type_of(object)][through]

    def step(user: str, grant: Grant, allowed: Conditions, below: Goal | None) -> _Step:
        key = grant if isinstance(grant, TupleKey) else TupleKey(user, through, object)
        return _Step(key, grant, request.holds(grant, allowed), below)

    if isinstance(leaf, TupleToUserset):
        for parent, grant in users.named.items():
            if parent[-2:] != ":*":
                yield step(parent, grant, facets.of(parent), (parent, leaf.relation))
        return
    for name in dict.fromkeys((search.user, search.wildcard)):
        grant = users.named.get(name, False)
        if grant is not False:
            yield step(name, grant, facets.of(name), None)
    for kind, grants in users.usersets.items():
        member = kind.partition("#")[2]
        for name, grant in grants.items():
            yield step(f"{name}#{member}", grant, facets.usersets.get(kind, frozenset()), (name, member))


class _Grounds:
    """The shortest grounds of goals that hold: nothing rests on itself."""

    def __init__(self, request: Request, search: Search) -> None:
        self._request = request
        self._search = search
        self._found: dict[Goal, Ground] = {}

    def of(self, goal: Goal, operand: Rewrite) -> tuple[Ground, ...]:
        """What grounds an operand of the goal, which holds."""
        goals = self._below(goal, operand)
        while True:
            found = self._rewritten(goal, operand)
            if found is not None:
                return tuple(found)
            # Each round grounds what rests on rounds before it alone; what holds is grounded at last.
            self._found.update(
                {g: ground for g in goals if g not in self._found and (ground := self._ground(g)) is not None}
            )

    def _below(self, goal: Goal, operand: Rewrite) -> Sequence[Goal]:
        """The goals that hold and that the operand may rest on."""
        seen: dict[Goal, None] = {}
        todo = list(self._operands(goal, operand))
        while todo:
            current = todo.pop()
            if current not in seen and self._search.value(*current) is True:
                seen[current] = None
                todo += self._operands(current, self._rewrite(current))
        return list(seen)

    def _rewrite(self, goal: Goal) -> Rewrite:
        return self._request.model.rewrite(type_of(goal[0]), goal[1])

    def _operands(self, goal: Goal, rewrite: Rewrite) -> Iterator[Goal]:
        match rewrite:
            case Direct() | TupleToUserset():
                for step in _steps(self._request, self._search, goal, rewrite):
                    if step.held is True and step.goal is not None:
                        yield step.goal
            case Computed(other):
                yield (goal[0], other)
            case Union(children) | Intersection(children):
                for child in children:
                    yield from self._operands(goal, child)
            case Exclusion(base, _):
                yield from self._operands(goal, base)

    def _ground(self, goal: Goal) -> Ground | None:
        if self._search.user == f"{goal[0]}#{goal[1]}":
            return Ground(*goal, None)
        found = self._rewritten(goal, self._rewrite(goal))
        if found is None:
            return None
        own = len(found) == 1 and (found[0].object, found[0].relation) == goal
        return found[0] if own else Ground(*goal, None, tuple(found))

    def _rewritten(self, goal: Goal, rewrite: Rewrite) -> list[Ground] | None:
        """What grounds the operand by goals that are grounded; None where they do not suffice yet."""
        match rewrite:
            case Direct() | TupleToUserset():
                for step in _steps(self._request, self._search, goal, rewrite):
                    if step.held is True and (step.goal is None or step.goal in self._found):
                        below = (self._found[step.goal],) if step.goal is not None else ()
                        return [Ground(*goal, step.relationship, below)]
                return None
            case Computed(other):
                return [self._found[goal[0], other]] if (goal[0], other) in self._found else None
            case Union(children):
                return next(filter(None, (self._rewritten(goal, child) for child in children)), None)
            case Intersection(children):
                parts = [self._rewritten(goal, child) for child in children]
                return None if None in parts else [ground for part in parts if part for ground in part]
            case Exclusion(base, _):
                # What is subtracted may hold where another operand gives the goal.
                holds = _value(self._request, self._search, goal, rewrite) is True
                return self._rewritten(goal, base) if holds else None


class _Misses:
    """What stands between a goal and its holding."""

    def __init__(self, request: Request, search: Search, shown: Shown) -> None:
        self._request = request
        self._search = search
        self._shown = shown

    def of(self, goal: Goal) -> Iterator[Miss]:
        seen = {goal}
        level = [goal]
        distance = 0
        while level and len(seen) < _LOOKED_AT:
            following: list[Goal] = []
            for current in level:
                if self._request.model.has(type_of(current[0]), current[1]):
                    rewrite = self._request.model.rewrite(type_of(current[0]), current[1])
                    for found in self._in(current, rewrite, distance):
                        if isinstance(found, Miss):
                            yield found
                        elif found not in seen and self._shown(found[0]):
                            seen.add(found)
                            following.append(found)
            level = following
            distance += 1

    def _in(self, goal: Goal, rewrite: Rewrite, distance: int) -> Iterator[Miss | Goal]:
        """The misses of an operand that does not hold, and the goals in which to look on."""
        match rewrite:
            case Direct() | TupleToUserset():
                yield from self._in_tuples(goal, rewrite, distance)
            case Computed(other):
                yield (goal[0], other)
            case Union(children) | Intersection(children):
                for child in children:
                    if _value(self._request, self._search, goal, child) is not True:
                        yield from self._in(goal, child, distance)
            case Exclusion(base, subtract):
                if _value(self._request, self._search, goal, base) is True:
                    because: tuple[Ground, ...] = ()
                    if _value(self._request, self._search, goal, subtract) is True:
                        because = _Grounds(self._request, self._search).of(goal, subtract)
                    yield Miss("excluded", *goal, distance, because=because)
                else:
                    yield from self._in(goal, base, distance)

    def _in_tuples(self, goal: Goal, leaf: Direct | TupleToUserset, distance: int) -> Iterator[Miss | Goal]:
        named = False
        for step in _steps(self._request, self._search, goal, leaf):
            named = named or step.goal is None
            leads = step.goal is None or self._search.value(*step.goal) is True
            if step.held is True and step.goal is not None:
                yield step.goal
            elif step.held is not True and leads:
                miss = self._uncounted(goal, step, distance)
                if miss is not None:
                    yield miss
        user = self._search.user
        if isinstance(leaf, Direct) and not named and self._accepts(goal, user):
            yield Miss("no_tuple", *goal, distance, relationship=TupleKey(user, goal[1], goal[0]))

    def _accepts(self, goal: Goal, user: str) -> bool:
        facets = self._request.compiled.facets[type_of(goal[0])][goal[1]]
        member = user.partition("#")[2]
        return f"{type_of(user)}#{member}" in facets.usersets if member else bool(facets.of(user))

    def _uncounted(self, goal: Goal, step: _Step, distance: int) -> Miss | None:
        """Why the tuple does not count; None where the model does not permit it."""
        key = step.relationship
        if step.grant is None:
            return Miss("suspended", *goal, distance, relationship=key)
        if key.valid_from is not None and self._request.now < key.valid_from:
            return Miss("not_yet", *goal, distance, relationship=key)
        if key.valid_to is not None and key.valid_to <= self._request.now:
            return Miss("expired", *goal, distance, relationship=key)
        if not key.condition:
            return None
        detail = step.held.message if isinstance(step.held, RebacError) else ""
        return Miss("condition", *goal, distance, relationship=key, detail=detail)


def _value(request: Request, search: Search, goal: Goal, operand: Rewrite) -> Value:
    """The value of a part of the goal's rewrite."""
    facets = request.compiled.facets[type_of(goal[0])]
    return search.operand(goal[0], rule_of(operand, goal[1], facets))
