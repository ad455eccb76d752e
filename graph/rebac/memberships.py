"""Which usersets a user is in, kept while the tuples do not change.

Only for what can be known without a request: relations that are unions all the way down, over tuples that
hold whatever is asked, without a cycle. For these a check looks up what it would otherwise resolve, userset
by userset; the values are the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from graph.rebac.relation_tuples import Goal, TupleIndex, split_userset, type_of
from graph.rebac.rules import Facets, compile_model
from graph.rebac.ways_up import Way, ways_to
from ontologies.authorization_model import AuthorizationModel, Computed, Direct, TupleToUserset, leaves

#: The height of a goal that cannot be known without a request.
OPEN = -1
#: Users whose memberships are kept, and how many they may be in all.
_KEPT = 16_384
_KEPT_GOALS = 2_000_000
#: A goal over more others, by computed relations and parents, is not flattened.
_WIDEST = 64
#: A user with more memberships is cheaper resolved.
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Flat:
    """Who has a goal: the users that tables name, as far as the facets permit, and who is in a userset."""

    height: int
    tables: tuple[tuple[Collection[str], Facets], ...]
    usersets: frozenset[Goal]


class Memberships:
    """Of one model over an index, at one version of it."""

    def __init__(self, model: AuthorizationModel, index: TupleIndex) -> None:
        compiled = compile_model(model)
        self.version = index.version
        #: How many tuples lie in a line below a goal at most, or OPEN.
        self.heights: dict[Goal, int] = {}
        self._model = model
        self._index = index
        self._facets = compiled.facets
        self._ways = ways_to(model, compiled.memberships)
        self._flat: dict[Goal, Flat | None] = {}
        self._of: OrderedDict[str, frozenset[Goal] | None] = OrderedDict()
        #: How many goals `_of` has.
        self._goals = 0

    def of(self, user: str) -> frozenset[Goal] | None:
        """The goals that the user has of those that are not OPEN, perhaps with others; None: too many."""
        if user not in self._of:
            found = self._of[user] = self._up(user)
            self._goals += len(found or ())
            while len(self._of) > _KEPT or self._goals > _KEPT_GOALS:
                self._goals -= len(self._of.popitem(last=False)[1] or ())
            return found
        return self._of[user]

    def height(self, goal: Goal) -> int:
        """The height of a goal whose relation is one of the model's unions."""
        path: dict[Goal, list[tuple[Goal, int]]] = {}
        todo = [goal]
        while goal not in self.heights:
            current = todo[-1]
            if current in self.heights:
                todo.pop()
            elif current in path:
                self.heights[current] = self._above(path.pop(current))
            else:
                below = self._below(current)
                if below is None or any(other == current or other in path for other, _ in below):
                    # What rests on this is as little known.
                    self.heights.update(dict.fromkeys([current, *path], OPEN))
                else:
                    path[current] = below
                    todo += [other for other, _ in below]
        return self.heights[goal]

    def flat(self, goal: Goal) -> Flat | None:
        """Who has a goal of the model's unions over other relations; None where that is not known here."""
        if goal not in self._flat:
            self._flat[goal] = self._flatten(goal) if self.height(goal) != OPEN else None
        return self._flat[goal]

    def _flatten(self, goal: Goal) -> Flat | None:
        tables: list[tuple[Collection[str], Facets]] = []
        usersets: set[Goal] = set()
        seen = {goal}
        todo = [goal]
        while todo:
            if len(seen) > _WIDEST:
                return None
            object, relation = todo.pop()
            users = self._index.users(object, relation)
            facets = self._facets[type_of(object)][relation]
            if users is not None and users.named:
                tables.append((users.named, facets))
            for below, _, userset in self._rests_on(object, relation):
                if userset:
                    usersets.add(below)
                elif below not in seen:
                    seen.add(below)
                    todo.append(below)
        return Flat(self.heights[goal], tuple(tables), frozenset(usersets))

    def _above(self, below: Iterable[tuple[Goal, int]]) -> int:
        heights = [(self.heights[goal], over) for goal, over in below]
        if any(height == OPEN for height, _ in heights):
            return OPEN
        return max((height + over for height, over in heights), default=0)

    def _below(self, goal: Goal) -> list[tuple[Goal, int]] | None:
        """The goals that it rests on and whether over a tuple; None where a tuple decides at a request."""
        object, relation = goal
        for leaf in leaves(self._model.rewrite(type_of(object), relation)):
            if not isinstance(leaf, Computed):
                users = self._index.users(
                    object, leaf.tupleset if isinstance(leaf, TupleToUserset) else relation
                )
                if users is not None and users.undecided:
                    return None
        return [(below, over) for below, over, _ in self._rests_on(object, relation)]

    def _rests_on(self, object: str, relation: str) -> Iterator[tuple[Goal, int, bool]]:
        """The goals below one, over how many tuples, and whether each is a userset that a tuple names."""
        kind = type_of(object)
        for leaf in leaves(self._model.rewrite(kind, relation)):
            match leaf:
                case Direct():
                    users = self._index.users(object, relation)
                    for userset, conditions in self._facets[kind][relation].usersets.items():
                        if "" in conditions and users is not None:
                            member = userset.partition("#")[2]
                            names = users.usersets.get(userset, ())
                            yield from (((name, member), 1, True) for name in names)
                case Computed(other):
                    yield (object, other), 0, False
                case TupleToUserset(other, tupleset):
                    users = self._index.users(object, tupleset)
                    facets = self._facets[kind][tupleset]
                    for parent in users.named if users is not None else ():
                        permitted = "" in facets.of(parent) and parent[-2:] != ":*"
                        if permitted and self._model.has(type_of(parent), other):
                            yield (parent, other), 1, False

    def _up(self, user: str) -> frozenset[Goal] | None:
        name, member = split_userset(user)
        kind = type_of(user)
        seen: dict[Goal, None] = {}
        if member:
            seen[name, member] = None
        else:
            for named, ways in ((user, self._ways.from_user), (f"{kind}:*", self._ways.from_wildcard)):
                for way in ways.get(kind, ()):
                    seen.update(dict.fromkeys(self._follow(named, way)))
        todo = list(seen)
        while todo and len(seen) <= _MOST:
            object, relation = todo.pop()
            reached: list[Goal] = []
            for way in self._ways.from_relation.get((type_of(object), relation), ()):
                if way.through:
                    reached += self._follow(f"{object}#{way.member}" if way.member else object, way)
                else:
                    reached.append((object, way.reached))
            for goal in reached:
                if goal not in seen:
                    seen[goal] = None
                    todo.append(goal)
        return frozenset(seen) if len(seen) <= _MOST else None

    def _follow(self, named: str, way: Way) -> Iterator[Goal]:
        if "" in way.conditions:
            for object, grant in self._index.objects(named, f"{way.type}#{way.through}").items():
                if grant is True:
                    yield object, way.reached


_kept: WeakKeyDictionary[TupleIndex, WeakKeyDictionary[AuthorizationModel, Memberships]] = WeakKeyDictionary()


def memberships(model: AuthorizationModel, index: TupleIndex) -> Memberships:
    """Those of the index as it is now."""
    of_index = _kept.get(index)
    if of_index is None:
        of_index = _kept[index] = WeakKeyDictionary()
    found = of_index.get(model)
    if found is None or found.version != index.version:
        found = of_index[model] = Memberships(model, index)
    return found
