"""Check: whether a user has a relation to an object.

Values are the least fixed point of the rules in Kleene's logic (Fitting's semantics), so they do not
depend on the order of evaluation. A search goes depth first and keeps what it has settled. What stays
undetermined because it met a goal that is still being resolved is looked at again as long as anything
new was settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any

from graph.rebac.errors import RebacError
from graph.rebac.memberships import OPEN, Memberships, memberships
from graph.rebac.relation_tuples import (
    Goal,
    Grant,
    LayeredIndex,
    TupleIndex,
    TupleKey,
    split_userset,
    type_of,
)
from graph.rebac.rules import CompiledModel, Conditions, Rule, Value, compile_model
from ontologies.authorization_model import AuthorizationModel
from ontologies.authorization_model.conditions import ConditionError, typed_parameters

#: The error of a condition that could not be decided.
UNDECIDED = "validation_error"
#: OpenFGA's limit of the tuples that may lie between an object and a user that has a relation to it.
RESOLUTION_LIMIT = 25
#: Python calls that a search may nest. What lies deeper is resolved by itself first.
_CALLS = 400
_UNLIMITED = 2**62

Shown = Callable[[str], bool]
"""Whether who asks may be shown an entity. Nothing is looked for beyond one that they may not see: what is
found there would tell of it."""


def everything(_name: str) -> bool:
    """All may be shown."""
    return True


@dataclass(slots=True, eq=False)
class Allowance:
    """What conditions may still take, in seconds; several requests may share one."""

    seconds: float


@dataclass(slots=True, eq=False)  # not frozen: it is made for each check, in a fifth of the time
class Request:
    """What a question is asked over. May be used for many questions while the index does not change."""

    model: AuthorizationModel
    index: TupleIndex
    contextual: Sequence[TupleKey] = ()
    """Tuples for this request alone; valid by `validation.validate_contextual`."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of conditions, as JSON; a tuple's stored context stands above them."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    allowance: Allowance | None = None
    """What is not decided once it is used up is an error."""
    tuples: TupleIndex = field(init=False, repr=False)
    """The index, with the contextual tuples laid over it."""
    compiled: CompiledModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.tuples = LayeredIndex(self.index, self.contextual) if self.contextual else self.index
        self.compiled = compile_model(self.model)

    def stands(self, grant: Grant, allowed: Conditions) -> bool | None:
        """Whether a tuple is one that the model permits, in its time; None where nobody vouches for it.

        What the model does not permit, or no longer, is False: it is as if it were not there. Of a tuple
        that nobody vouches for the condition is not kept, so that any which is permitted may be its own.
        """
        if grant is None:
            return None if allowed else False
        if not isinstance(grant, TupleKey):
            return grant if "" in allowed else False
        if grant.condition not in allowed:
            return False
        if grant.valid_from is not None and self.now < grant.valid_from:
            return False
        if grant.valid_to is not None and grant.valid_to <= self.now:
            return False
        return not grant.condition or self._context_fits(grant)

    def holds(self, grant: Grant, allowed: Conditions) -> Value:
        """Whether a tuple counts at this request: it stands, and its condition is met."""
        stands = self.stands(grant, allowed)
        if stands is not True or not isinstance(grant, TupleKey) or not grant.condition:
            return stands
        try:
            return self._decided(grant)
        except ConditionError as error:
            reason = str(error)
            if error.missing:
                missing = " ".join(error.missing)
                reason = f"'{grant.condition}' - tuple '{grant}' is missing context parameters '[{missing}]'"
            return RebacError(UNDECIDED, f"failed to evaluate relationship condition: {reason}")

    def _decided(self, grant: TupleKey) -> bool:
        condition, context = self.compiled.conditions[grant.condition], {**self.context, **grant.context}
        allowance = self.allowance
        if allowance is None:
            return condition.holds(context)
        if allowance.seconds <= 0:
            raise ConditionError(f"'{grant.condition}' - cost limit exceeded by the conditions before it")
        began = perf_counter()
        try:
            return condition.holds(context)
        finally:
            allowance.seconds -= perf_counter() - began

    def _context_fits(self, key: TupleKey) -> bool:
        condition = self.model.conditions[key.condition]
        try:
            return typed_parameters(condition, key.context).keys() == key.context.keys()
        except ConditionError:
            return False


def check(request: Request, user: str, relation: str, object: str) -> bool:
    """Whether the user has the relation to the object.

    Raises RebacError where nothing grants it and a condition could not be decided (`validation_error`) or
    the resolution was deeper than OpenFGA's limit (`authorization_model_resolution_too_complex`). The
    question itself is validated by `validation.validate_check`.
    """
    value = Search(request, user, RESOLUTION_LIMIT).value(object, relation)
    if isinstance(value, RebacError):
        raise value
    return value is True


class Search:
    """All that is known of one user at one request; goals once settled are kept."""

    __slots__ = (
        "_again",
        "_deep",
        "_limit",
        "_member_of",
        "_memberships",
        "_nesting",
        "_open",
        "_path",
        "_rules",
        "_undecided",
        "holds",
        "index",
        "settled",
        "user",
        "user_type",
        "wildcard",
    )

    def __init__(self, request: Request, user: str, limit: int | None = None) -> None:
        """`limit`: after so many tuples a resolution is too deep; None: none is."""
        self.index = request.tuples
        self.holds = request.holds
        self.user = user
        self.user_type = type_of(user)
        name, relation = split_userset(user)
        # A userset is no instance of a wildcard, and has its own relation to its own object.
        self.wildcard = user if relation else f"{self.user_type}:*"
        self.settled: dict[Goal, bool] = {(name, relation): True} if relation else {}
        #: Tuples of the request are in no membership that is kept.
        self._memberships = None if request.contextual else memberships(request.model, request.index)
        self._member_of: frozenset[Goal] | None = None
        self._rules = request.compiled.rules
        self._nesting = max(_CALLS // (request.compiled.nesting + 1), 2)
        self._limit = limit
        self._path: set[Goal] = set()
        #: What was undetermined in this pass, and at which depth.
        self._open: dict[Goal, tuple[int, Value]] = {}
        #: Goals too far down to be resolved from here, with their depth.
        self._deep: list[tuple[Goal, int]] = []
        #: Goals that rest on a condition that could not be decided.
        self._undecided: dict[Goal, RebacError] = {}
        self._again = False

    def value(self, object: str, relation: str) -> Value:
        """The goal's value; False where the object's type has no such relation."""
        known = self.settled.get((object, relation))
        if known is None and not (self._open or self._deep):
            # The first pass mostly settles it.
            found = self.resolve(object, relation, 0)
            known = found if isinstance(found, bool) else None
        return self._settle(partial(self.resolve, object, relation, 0)) if known is None else known

    def operand(self, object: str, rule: Rule) -> Value:
        """The value of a part of a relation's rewrite."""
        return self._settle(partial(rule, self, object, 0))

    def resolve(self, object: str, relation: str, depth: int) -> Value:
        """The goal's value as far as this pass can tell, reached over `depth` tuples."""
        goal = (object, relation)
        known = self.settled.get(goal)
        if known is not None:
            return known
        if goal in self._path:
            self._again = True
            return self._undecided.get(goal)
        seen = self._open.get(goal)
        if seen is not None and seen[0] <= depth:
            return seen[1]
        if len(self._path) == self._nesting:
            self._deep.append((goal, depth))
            return None
        relations = self._rules.get(type_of(object))
        rule = relations.get(relation) if relations is not None else None
        self._path.add(goal)
        value: Value = False
        if rule is not None:
            value = rule(self, object, depth) if depth != self._limit else too_complex()
        self._path.discard(goal)
        if isinstance(value, bool):
            self.settled[goal] = value
        else:
            self._open[goal] = (0 if self._limit is None else depth, value)
            if isinstance(value, RebacError) and value.code == UNDECIDED:
                self._undecided[goal] = value
        return value

    def known_member(self, objects: Iterable[str], relation: str, depth: int) -> bool | None:
        """Whether the user has the relation to one of the objects; None where that has to be resolved."""
        known = self._known()
        if known is None or self._member_of is None:
            return None
        highest = _UNLIMITED if self._limit is None else self._limit - depth - 2
        for object in objects:
            goal = (object, relation)
            height = known.heights.get(goal)
            if height is None:
                height = known.height(goal)
            if height == OPEN or height > highest:
                return None
            if goal in self._member_of:
                return True
        return False

    def known_from(self, parents: Iterable[tuple[str, Grant]], relation: str, depth: int) -> bool | None:
        """As `known_member`, for the objects that stand before `from`."""
        known = self._known()
        # A userset has its own relation by no tuple.
        if known is None or self._member_of is None or self.wildcard == self.user:
            return None
        highest = _UNLIMITED if self._limit is None else self._limit - depth - 2
        for parent, _ in parents:
            flat = known.flat((parent, relation))
            if flat is None or flat.height > highest:
                return None
            for named, facets in flat.tables:
                if self.user in named and "" in facets.of(self.user):
                    return True
                if self.wildcard in named and "" in facets.of(self.wildcard):
                    return True
            if not flat.usersets.isdisjoint(self._member_of):
                return True
        return False

    def _known(self) -> Memberships | None:
        if self._member_of is None and self._memberships is not None:
            self._member_of = self._memberships.of(self.user)
            if self._member_of is None:
                self._memberships = None
        return self._memberships

    def _settle(self, ask: Callable[[], Value]) -> Value:
        """Pass over what is undetermined as long as anything new is settled."""
        while True:
            known = len(self.settled) + len(self._undecided)
            self._again = False
            value = self._from_the_deepest(ask)
            if (
                isinstance(value, bool)
                or not self._again
                or known == len(self.settled) + len(self._undecided)
            ):
                return value

    def _from_the_deepest(self, ask: Callable[[], Value]) -> Value:
        """Ask, after the goals that lie too far below to be reached in one go."""
        roots = [ask]
        tried: set[Goal] = set()
        while True:
            self._open.clear()
            self._deep.clear()
            value = roots[-1]()
            fresh = dict(entry for entry in self._deep if entry[0] not in tried)
            if fresh and not isinstance(value, bool):
                self._again = True
                tried.update(fresh)
                roots += [partial(self.resolve, *goal, depth) for goal, depth in fresh.items()]
            elif len(roots) == 1:
                return value
            else:
                roots.pop()


def too_complex() -> RebacError:
    """OpenFGA's 2002."""
    return RebacError(
        "authorization_model_resolution_too_complex",
        "Authorization Model resolution required too many rewrite rules to be resolved. Check your "
        "authorization model for infinite recursion or too much nesting",
    )
