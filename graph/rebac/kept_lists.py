"""Lists of objects, kept while no tuple of their index changes.

Only such as are the same whatever the request: no tuple that they could rest on has a condition, a time or
nobody who vouches for it, and the request brings no tuples of its own. So no key needs its context.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from graph.rebac.evaluator import Request
from graph.rebac.names import NameSet
from graph.rebac.relation_tuples import TupleIndex
from graph.rebac.rules import places_below
from ontologies.authorization_model import AuthorizationModel

Question = tuple[str, str, str]
"""User, relation and type."""
#: Names in all lists of a model and index.
_MOST = 1_000_000


@dataclass(slots=True)
class _Lists:
    version: int
    names: int = 0
    lists: OrderedDict[Question, NameSet] = field(default_factory=OrderedDict)


_kept: WeakKeyDictionary[TupleIndex, WeakKeyDictionary[AuthorizationModel, _Lists]] = WeakKeyDictionary()


def kept(request: Request, question: Question) -> NameSet | None:
    """The list that answers the question, where it is kept."""
    lists = _of(request)
    return lists.lists.get(question) if lists is not None and not request.contextual else None


def keep(request: Request, question: Question, found: NameSet) -> None:
    """Keep the list that answers the question, if that may be."""
    index, (_user, relation, type) = request.index, question
    plain = all(map(index.plain, places_below(request.model, type, relation)))
    if request.contextual or not plain or len(found) > _MOST:
        return
    lists = _of(request)
    if lists is None:
        lists = _Lists(index.version)
        _kept.setdefault(index, WeakKeyDictionary())[request.model] = lists
    lists.names += len(found) + 1
    lists.lists[question] = found
    while lists.names > _MOST:
        lists.names -= len(lists.lists.popitem(last=False)[1]) + 1


def _of(request: Request) -> _Lists | None:
    of_index = _kept.get(request.index)
    lists = of_index.get(request.model) if of_index is not None else None
    return lists if lists is not None and lists.version == request.index.version else None
