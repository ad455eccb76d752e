"""ListObjects and ListUsers: all that a user has a relation to, all that have one to an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from pyroaring import BitMap

from graph.rebac.cyclic_goals import cyclic_goals
from graph.rebac.errors import RebacError
from graph.rebac.evaluator import RESOLUTION_LIMIT, Request, Search, Shown, everything, too_complex
from graph.rebac.kept_lists import keep, kept
from graph.rebac.names import NameSet
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
from graph.rebac.ways_up import Relation, Way, ways_to
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


def list_objects(request: Request, user: str, relation: str, type: str) -> NameSet:
    """Every object of the type that the user has the relation to.

    Goes up from the user's tuples over goals that hold. Where a goal has operands beside the one that leads
    to it, it is checked, or, under an exclusion, looked up in what the exclusion may take away. Raises
    RebacError `validation_error` where a condition on the way could not be decided.
    """
    question = (user, relation, type)
    found = kept(request, question)
    if found is None:
        found = _Objects(request, *question).listed()
        keep(request, question, found)
    return found


#: Numbers from here on are of names that the index has no number for.
_BESIDE = 2**31


class _Objects:
    """A walk up from a user over goals that hold, as many at a time as a tuple's user leads to.

    Sets of objects are bitmaps of their numbers in the index.
    """

    def __init__(self, request: Request, user: str, relation: str, type: str) -> None:
        self._request = request
        self._user = user
        self._asked = (type, relation)
        self._ways = ways_to(request.model, frozenset({self._asked}))
        self._search = Search(request, user)
        #: Where the request has tuples of its own.
        self._own = {f"{type_of(key.object)}#{key.relation}" for key in request.contextual}
        self._beside: dict[str, int] = {}
        self._named_beside: list[str] = []
        self._all_beside = BitMap()
        self._seen: dict[Relation, BitMap] = defaultdict(BitMap)
        #: Objects that the user has a relation to, by the ways on from there.
        self._todo: dict[Way, BitMap] = {}
        self._possible: dict[Relation, BitMap] = {}
        self._failures: list[RebacError] = []

    def listed(self) -> NameSet:
        self._reach()
        if not self._failures and self._conditional():
            self._failures = _Unchecked(self._request, self._user, *reversed(self._asked)).failures()
        if self._failures:
            raise self._failures[0]
        return self._set(self._seen[self._asked])

    def _conditional(self) -> bool:
        """Whether a condition may stand where this did not come, since something was checked on the way."""
        ways = [way for found in self._ways.from_relation.values() for way in found]
        plain = self._request.tuples.plain
        return any(way.unless != () for way in ways) and not all(
            plain(f"{way.type}#{way.through}") for way in ways if way.through
        )

    def possible(self) -> Collection[str]:
        """What the user may have the relation to, the undetermined included, and perhaps more."""
        for here, names in cyclic_goals(self._request, self._ways.order).items():
            self._arrive(here, BitMap(map(self._number, names)))
        self._reach()
        return self._set(self._seen[self._asked])

    def _reach(self) -> None:
        ways = self._ways
        name, member = split_userset(self._user)
        kind = type_of(name)
        if member:
            self._arrive((kind, member), BitMap([self._number(name)]))
        else:
            everyone = f"{kind}:*"
            if self._user != everyone:
                self._begin(self._user, ways.from_user.get(kind, ()))
            self._begin(everyone, ways.from_wildcard.get(kind, ()))
        while self._todo:
            # First what others rest on: so most ways are followed once, from all that leads to them.
            way = min(self._todo, key=lambda way: ways.order[way.to])
            self._follow(self._todo.pop(way), way)

    def _begin(self, user: str, ways: Iterable[Way]) -> None:
        for way in ways:
            self._follow(BitMap([self._number(user)]), way)

    def _follow(self, users: BitMap, way: Way) -> None:
        """Over the tuples that name them, or nothing but them."""
        if not way.through:
            self._pass(way, users)
            return
        tuples, holds, allowed = self._request.tuples, self._request.holds, way.conditions
        place = f"{way.type}#{way.through}"
        if "" in allowed and place not in self._own and tuples.plain(place):
            self._pass(way, self._led_to(users, way.member, place))
        else:
            found = tuples.objects_of(self._userset_names(users, way.member), place)
            held = (o for of in found for o, grant in of.items() if self._holds(holds(grant, allowed)))
            self._pass(way, BitMap(map(self._number, held)))

    def _led_to(self, users: BitMap, relation: str, place: str) -> BitMap:
        index = self._request.index
        if not self._named_beside:
            return index.led_to(users, relation, place)
        beside = BitMap()
        for objects in index.objects_of(self._userset_names(users & self._all_beside, relation), place):
            beside.update(map(index.names.number, objects))
        return beside | index.led_to(users - self._all_beside, relation, place)

    def _pass(self, way: Way, objects: BitMap) -> None:
        """On to what the way leads to."""
        fresh, relation = objects - self._seen[way.to], way.reached
        if way.unless is None:
            fresh = self._checked(fresh, relation)
        for other in way.unless or ():
            barred = fresh & self._barred((way.type, other))
            if barred:
                fresh = (fresh - barred) | self._checked(barred, relation)
        self._arrive(way.to, fresh)

    def _checked(self, objects: BitMap, relation: str) -> BitMap:
        names = zip(objects, self._set(objects), strict=True)
        return BitMap(n for n, name in names if self._holds(self._search.value(name, relation)))

    def _arrive(self, place: Relation, objects: BitMap) -> None:
        if not objects:
            return
        self._seen[place] |= objects
        for way in self._ways.from_relation.get(place, ()):
            waiting = self._todo.get(way)
            self._todo[way] = objects if waiting is None else waiting | objects

    def _barred(self, place: Relation) -> BitMap:
        if place not in self._possible:
            found = _Possible(self._request, self._user, place[1], place[0]).possible()
            self._possible[place] = BitMap(map(self._number, found))
        return self._possible[place]

    def _holds(self, value: Value) -> bool:
        if isinstance(value, RebacError):
            self._failures.append(value)
        return value is True

    def _number(self, name: str) -> int:
        number = self._request.index.number(name)
        if number is None:
            number = self._beside.get(name)
        if number is None:
            number = self._beside[name] = _BESIDE + len(self._named_beside)
            self._named_beside.append(name)
            self._all_beside.add(number)
        return number

    def _set(self, objects: BitMap) -> NameSet:
        names, beside = self._request.index.names, self._named_beside
        if not beside:
            return NameSet(names, objects)
        others = [beside[number - _BESIDE] for number in objects & self._all_beside]
        return NameSet(names, objects - self._all_beside, others)

    def _userset_names(self, objects: BitMap, relation: str) -> Collection[str]:
        names = self._set(objects)
        return [f"{name}#{relation}" for name in names] if relation else names


class _Unchecked(_Objects):
    """A walk up over whatever tuples lead to, whether it holds or not: so OpenFGA, until the very end."""

    def failures(self) -> list[RebacError]:
        """Of the conditions on its way that could not be decided."""
        self._reach()
        return self._failures

    def _pass(self, way: Way, objects: BitMap) -> None:
        self._arrive(way.to, objects - self._seen[way.to])


class _Possible(_Objects):
    """A walk up over all that is not certainly false."""

    def _pass(self, way: Way, objects: BitMap) -> None:
        self._arrive(way.to, objects - self._seen[way.to])

    def _holds(self, value: Value) -> bool:
        return value is not False


def list_users(  # noqa: PLR0913, PLR0917  the parts of the question
    request: Request,
    object: str,
    relation: str,
    user_type: str,
    user_relation: str = "",
    shown: Shown = everything,
) -> Iterator[str]:
    """Every `type:id` and `type:*`, or with `user_relation` every `type:id#relation`, that has the relation.

    Who has it only as one of everyone is not named; who is excluded from everyone is left out. What may not
    be shown is as if it were not there, also where it excludes somebody. Raises RebacError where a condition
    could not be decided, or where the resolution is too deep.
    """
    users = _Users(request, user_type, user_relation, shown).of((object, relation))
    if users.everyone:
        yield f"{user_type}:*"
    yield from sorted(users.named)


class _Users:
    """The users of goals, as the least fixed point of what is certain and what is possible."""

    def __init__(self, request: Request, user_type: str, user_relation: str, shown: Shown) -> None:
        self._request = request
        self._type = user_type
        self._relation = user_relation
        self._shown = shown
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
            if held is not False and self._shown(name):
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
