"""ListObjects and ListUsers: all that a user has a relation to, all that have one to an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from graph.rebac.errors import RebacError
from graph.rebac.evaluator import RESOLUTION_LIMIT, Request, Search, too_complex
from graph.rebac.relation_tuples import Goal, Grant, split_userset, type_of
from graph.rebac.rules import Conditions, Value
from graph.rebac.user_sets import (
    EVERYBODY,
    NOBODY,
    Bounds,
    UserSet,
    combine,
    exclude,
    intersection,
    union,
)
from graph.rebac.ways_up import Way, ways_to
from ontologies.authorization_model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Rewrite,
    TupleToUserset,
    Union,
    leaves,
)


def list_objects(request: Request, user: str, relation: str, type: str) -> Iterator[str]:
    """Every object of the type that the user has the relation to, once, as soon as it is found.

    Goes up from the user's tuples over goals that hold; where a goal has operands beside the one that
    leads to it, it is checked. Raises RebacError `validation_error` at the end, after all that could be
    found, where a condition on the way could not be decided.
    """
    yield from _Objects(request, user, relation, type).listed()


class _Objects:
    """A walk up from a user over goals that hold."""

    def __init__(self, request: Request, user: str, relation: str, type: str) -> None:
        self._request = request
        self._user = user
        self._asked = (type, relation)
        self._ways = ways_to(request.model, frozenset({self._asked}))
        self._search = Search(request, user)
        self._seen: set[Goal] = set()
        self._todo: list[Goal] = []
        self._failures: list[RebacError] = []

    def listed(self) -> Iterator[str]:
        ways = self._ways
        name, member = split_userset(self._user)
        kind = type_of(name)
        if member:
            self._seen.add((name, member))
            self._todo.append((name, member))
            if (kind, member) == self._asked:
                yield name
        else:
            if self._user != f"{kind}:*":
                yield from self._follow(self._user, ways.from_user.get(kind, ()))
            yield from self._follow(f"{kind}:*", ways.from_wildcard.get(kind, ()))
        while self._todo:
            object, reached = self._todo.pop()
            here = (type_of(object), reached)
            for way in ways.from_same.get(here, ()):
                if self._arrive(way, object) and (way.type, way.reached) == self._asked:
                    yield object
            if here in ways.from_userset:
                yield from self._follow(f"{object}#{reached}", ways.from_userset[here])
            if here in ways.from_parent:
                yield from self._follow(object, ways.from_parent[here])
        if self._failures:
            raise self._failures[0]

    def _follow(self, named: str, ways: Iterable[Way]) -> Iterator[str]:
        """Over the tuples that name a user, a wildcard, a userset or a parent; yields what is asked for."""
        tuples = self._request.tuples
        for way in ways:
            asked = (way.type, way.reached) == self._asked
            # A copy: whoever takes the objects one by one lets others write between them.
            for object in list(tuples.objects(named, f"{way.type}#{way.through}")):
                grant = tuples.grant(named, way.through, object)
                held = self._holds(self._request.holds(grant, way.conditions))
                if held and self._arrive(way, object) and asked:
                    yield object

    def _arrive(self, way: Way, object: str) -> bool:
        """Whether the way leads to a goal that was not known to hold."""
        goal = (object, way.reached)
        if goal in self._seen or not (way.certain or self._holds(self._search.value(*goal))):
            return False
        self._seen.add(goal)
        self._search.settled[goal] = True
        self._todo.append(goal)
        return True

    def _holds(self, value: Value) -> bool:
        if isinstance(value, RebacError):
            self._failures.append(value)
        return value is True


def list_users(
    request: Request,
    object: str,
    relation: str,
    user_type: str,
    user_relation: str = "",
) -> Iterator[str]:
    """Every `type:id` and `type:*`, or with `user_relation` every `type:id#relation`, that has the relation.

    Who has it only as one of everyone is not named; who is excluded from everyone is left out. Raises
    RebacError where a condition could not be decided, or where the resolution is too deep.
    """
    users = _Users(request, user_type, user_relation).of((object, relation))
    if users.everyone:
        yield f"{user_type}:*"
    yield from sorted(users.named)


class _Users:
    """The users of goals, as the least fixed point of what is certain and what is possible."""

    def __init__(self, request: Request, user_type: str, user_relation: str) -> None:
        self._request = request
        self._type = user_type
        self._relation = user_relation
        self._bounds: dict[Goal, Bounds] = {}
        self._above: dict[Goal, list[Goal]] = defaultdict(list)

    def of(self, goal: Goal) -> UserSet:
        goals = self._below(goal)
        self._bounds = dict.fromkeys(goals, Bounds(NOBODY, EVERYBODY))
        pending: Iterable[Goal] = reversed(goals)
        while pending:
            changed: list[Goal] = []
            for current in pending:
                found = self._evaluate(current)
                if found != self._bounds[current]:
                    self._bounds[current] = found
                    changed.append(current)
            pending = dict.fromkeys(above for goal in changed for above in self._above[goal])
        return self._bounds[goal].certain

    def _below(self, goal: Goal) -> list[Goal]:
        """All goals that it rests on, the nearest first."""
        order: dict[Goal, int] = {goal: 0}
        level = [goal]
        depth = 0
        while level:
            if depth == RESOLUTION_LIMIT:
                raise too_complex()
            following: dict[Goal, None] = {}
            for current in level:
                for below, _ in self._rests_on(current):
                    self._above[below].append(current)
                    if below not in order:
                        following[below] = None
            depth += 1
            for below in following:
                order[below] = depth
            level = list(following)
        return sorted(order, key=order.__getitem__)

    def _rests_on(self, goal: Goal) -> Iterator[tuple[Goal, Value]]:
        object, relation = goal
        kind = type_of(object)
        if not self._request.model.has(kind, relation):
            return
        for leaf in leaves(self._request.model.rewrite(kind, relation)):
            match leaf:
                case Direct():
                    yield from self._usersets(object, relation)
                case Computed(other):
                    yield (object, other), True
                case TupleToUserset(other, tupleset):
                    yield from self._parents(object, other, tupleset)

    def _usersets(self, object: str, relation: str) -> Iterator[tuple[Goal, Value]]:
        users = self._request.tuples.users(object, relation)
        facets = self._request.compiled.facets[type_of(object)][relation]
        for kind, grants in users.usersets.items() if users else ():
            for name, held in self._held(grants, facets.usersets.get(kind, frozenset())):
                yield (name, kind.partition("#")[2]), held

    def _parents(self, object: str, relation: str, tupleset: str) -> Iterator[tuple[Goal, Value]]:
        users = self._request.tuples.users(object, tupleset)
        facets = self._request.compiled.facets[type_of(object)][tupleset]
        for name, grant in users.named.items() if users else ():
            if name[-2:] != ":*":
                for parent, held in self._held({name: grant}, facets.of(name)):
                    yield (parent, relation), held

    def _held(self, grants: Mapping[str, Grant], allowed: Conditions) -> Iterator[tuple[str, Value]]:
        for name, grant in grants.items():
            held = self._request.holds(grant, allowed)
            if isinstance(held, RebacError):
                raise held
            if held is not False:
                yield name, held

    def _evaluate(self, goal: Goal) -> Bounds:
        object, relation = goal
        kind = type_of(object)
        if not self._request.model.has(kind, relation):
            return Bounds(NOBODY, NOBODY)
        found = self._rewritten(goal, self._request.model.rewrite(kind, relation))
        if (kind, relation) == (self._type, self._relation):
            itself = UserSet(False, frozenset({f"{object}#{relation}"}), frozenset())
            return combine(union, [found, Bounds(itself, itself)])
        return found

    def _rewritten(self, goal: Goal, rewrite: Rewrite) -> Bounds:
        object, relation = goal
        match rewrite:
            case Direct():
                return combine(union, [self._direct(goal), *self._through(self._usersets(object, relation))])
            case Computed(other):
                return self._bounds[object, other]
            case TupleToUserset(other, tupleset):
                nobody = Bounds(NOBODY, NOBODY)
                return combine(union, [nobody, *self._through(self._parents(object, other, tupleset))])
            case Union(children):
                return combine(union, [self._rewritten(goal, child) for child in children])
            case Intersection(children):
                return combine(intersection, [self._rewritten(goal, child) for child in children])
            case Exclusion(base, subtract):
                return exclude(self._rewritten(goal, base), self._rewritten(goal, subtract))

    def _through(self, goals: Iterable[tuple[Goal, Value]]) -> Iterator[Bounds]:
        for goal, held in goals:
            found = self._bounds[goal]
            yield found if held is True else Bounds(NOBODY, found.possible)

    def _direct(self, goal: Goal) -> Bounds:
        object, relation = goal
        users = self._request.tuples.users(object, relation)
        if users is None or self._relation:
            return Bounds(NOBODY, NOBODY)
        facets = self._request.compiled.facets[type_of(object)][relation]
        wildcard = f"{self._type}:*"
        of_type = {name: grant for name, grant in users.named.items() if type_of(name) == self._type}
        public = of_type.pop(wildcard, False)
        named = dict(self._held(of_type, facets.named.get(self._type, frozenset())))
        everyone = dict(self._held({wildcard: public}, facets.wildcards.get(self._type, frozenset())))
        possible = UserSet(bool(everyone), frozenset(named), frozenset())
        if None not in named.values() and None not in everyone.values():
            return Bounds(possible, possible)
        certain = frozenset(name for name, held in named.items() if held is True)
        return Bounds(UserSet(everyone.get(wildcard) is True, certain, frozenset()), possible)
